"""Containers of blobs, and how one gets in; data that has a name."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Literal

CredentialKind = Literal["account_key", "sas", "service_principal", "managed_identity", "default", "anonymous"]


@dataclass(frozen=True, kw_only=True)
class Credential:
    """`secret` is the account key, the SAS without its question mark, or the client secret; it is never shown.

    service_principal  tenant_id, client_id, secret, authority (a URL; empty: Azure's public one)
    managed_identity   client_id of a user-assigned one, or empty
    default            what azure-identity's DefaultAzureCredential finds
    """

    kind: CredentialKind = "default"
    secret: str = field(default="", repr=False)
    tenant_id: str = ""
    client_id: str = ""
    authority: str = ""


@dataclass(frozen=True, kw_only=True)
class BlobStore:
    """One container. `root` begins the addresses (`storage/addresses.py`) of all that is in it."""

    root: str
    name: str  # of the datastore, for messages; that of the account where no datastore of the workspace covers it
    endpoint: str  # URL of the account's blob service, without a trailing slash: https://acc.blob.core.windows.net
    container: str
    account: str = ""  # its name, which a key is signed with; empty where the endpoint says it
    credential: Credential = field(default_factory=Credential)

    @property
    def account_name(self) -> str:
        """https://NAME.blob.core.windows.net; http://host:port/NAME of an emulator."""
        host, _, path = self.endpoint.partition("://")[2].partition("/")
        return self.account or path.strip("/") or host.partition(".")[0]

    @property
    def described(self) -> bool:
        """Whether it is a datastore of the workspace's: other containers have the addresses of the web."""
        return not self.root.startswith("http")

    @property
    def title(self) -> str:
        """For messages: its name."""
        return f"datastore '{self.name}'" if self.described else self.root

    @property
    def where(self) -> str:
        """For messages: its name and address."""
        return f"{self.title} ({self.endpoint}/{self.container})" if self.described else self.root

    def to_json(self) -> dict[str, object]:
        """With its secret: only for files and pipes that nobody but the job's user reads."""
        return asdict(self)

    @staticmethod
    def from_json(data: Mapping[str, object]) -> BlobStore:
        credential: Mapping[str, str] = data["credential"]  # type: ignore[assignment]
        return BlobStore(**{**data, "credential": Credential(**credential)})  # type: ignore[arg-type]


@dataclass(frozen=True, kw_only=True)
class BlobInfo:
    """One blob. `path` is its whole name in the container; `etag` changes with each change of the blob."""

    path: str
    size: int
    etag: str  # without quotation marks
    metadata: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Fetched:
    """A small blob as it was. `age`: seconds since it was written, both moments told by the storage's own clock."""

    data: bytes
    etag: str
    age: float


@dataclass(frozen=True, kw_only=True)
class DataAsset:
    """Data that the workspace knows by name. `path` is written as in a job file; relative ones start at the workspace's folder."""

    path: str
    type: str = ""
    description: str = ""
