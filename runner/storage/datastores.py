"""Datastores of a workspace that are containers of blobs, and how one becomes a `BlobStore` when it is needed."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

from runner.errors import Place, UserError
from runner.model.datastore import BlobStore, Credential
from runner.storage import addresses
from runner.storage.uri import Uri

BlobKind = Literal["account_key", "sas", "connection_string", "service_principal", "managed_identity", "identity"]
OF_TOKENS = ("service_principal", "managed_identity", "default")  # credentials that are sent over https only

_DEVELOPMENT = {  # UseDevelopmentStorage=true: the same account and key in every Azurite, no secret
    "accountname": "devstoreaccount1",
    "accountkey": "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw==",
    "blobendpoint": "http://127.0.0.1:10000/devstoreaccount1",
}
_WORDS = {
    "account_key": "account key",
    "sas": "SAS token",
    "connection_string": "connection string",
    "service_principal": "service principal {client_id}",
    "managed_identity": "managed identity {client_id}",
    "identity": "that of the job (identity:), else the default credential",
}


@dataclass(frozen=True, kw_only=True)
class Secret:
    """A secret as workspace.yml has it: the text itself, or the file or environment variable that it is read from when it is used."""

    text: str = field(default="", repr=False)
    file: str = ""
    env: str = ""
    place: Place | None = None

    def read(self) -> str:
        """Errors: UserError for a file or variable that is not there or empty."""
        if self.text:
            return self.text
        if self.env:
            value = os.environ.get(self.env, "").strip()
            what, todo = f"the environment variable {self.env}", f"export {self.env}"
        else:
            what, todo = f"the file {self.file}", "make it, or name another one"
            try:
                value = Path(self.file).read_text(encoding="utf-8").strip()
            except (OSError, UnicodeDecodeError) as error:
                reason = getattr(error, "strerror", None) or "it is no text"
                raise UserError(f"{what}, which has a credential, cannot be read: {reason}", place=self.place, todo=todo) from None
        if not value:
            raise UserError(f"{what}, which should have a credential, is not set or empty", place=self.place, todo=todo)
        return value


@dataclass(frozen=True, kw_only=True)
class BlobDatastore:
    """A datastore of type azure_blob. Its secret is read by `open()`, not before.

    kind `identity`: nothing is written, so that the job's `identity` chooses, and else azure-identity's default credential.
    """

    name: str
    container: str
    account: str = ""  # may be left out with a connection string, which names it
    url: str = ""  # of the account's blob service; "" where the connection string says it
    kind: BlobKind = "identity"
    secret: Secret = field(default_factory=Secret)
    tenant_id: str = ""
    client_id: str = ""
    authority: str = ""
    place: Place | None = None

    @property
    def root(self) -> str:
        return addresses.datastore_root(self.name)

    def describe(self) -> str:
        """The kind of its credential, never the secret."""
        return _WORDS[self.kind].format(client_id=self.client_id).strip()

    def open(self, identity: Credential | None = None) -> BlobStore:
        """`identity`: what the job says, where the datastore has no credential of its own. Errors: UserError for what is not complete."""
        account, url, credential = self.account, self.url, identity or Credential()
        if self.kind == "connection_string":
            account, url, credential = self._of_connection_string()
        elif self.kind == "sas":
            credential = Credential(kind="sas", secret=self.secret.read().lstrip("?"))
        elif self.kind == "account_key":
            credential = Credential(kind="account_key", secret=self.secret.read())
        elif self.kind == "service_principal":
            secret = self.secret.read()
            ids = {"tenant_id": self.tenant_id, "client_id": self.client_id, "authority": self.authority}
            credential = Credential(kind="service_principal", secret=secret, **ids)
        elif self.kind == "managed_identity":
            credential = Credential(kind="managed_identity", client_id=self.client_id)
        check_transport(url, credential, f"the datastore '{self.name}'", self.place)
        return BlobStore(root=self.root, name=self.name, endpoint=url, container=self.container, account=account, credential=credential)

    def where(self) -> tuple[str, str]:
        """(account, URL of its blob service). Errors: UserError where both are in a connection string that cannot be read."""
        return self._of_connection_string()[:2] if self.kind == "connection_string" else (self.account, self.url)

    def path_of(self, uri: Uri) -> str | None:
        """The path in this datastore that an address means which does not name it; None for what lies elsewhere."""
        try:
            return path_below(uri, self.where()[1], self.container)
        except UserError:
            return None

    def _of_connection_string(self) -> tuple[str, str, Credential]:
        parts = connection_parts(self.secret.read())
        account = parts.get("accountname", self.account)
        suffix = parts.get("endpointsuffix", "core.windows.net")
        made = f"{parts.get('defaultendpointsprotocol', 'https')}://{account}.blob.{suffix}" if account else ""
        url = (parts.get("blobendpoint") or self.url or made).rstrip("/")
        if parts.get("accountkey"):
            credential = Credential(kind="account_key", secret=parts["accountkey"])
        elif parts.get("sharedaccesssignature"):
            credential = Credential(kind="sas", secret=parts["sharedaccesssignature"].lstrip("?"))
        else:
            raise UserError(
                f"the connection string of the datastore '{self.name}' has no credential",
                place=self.place,
                allowed="…;AccountName=…;AccountKey=…, or …;BlobEndpoint=…;SharedAccessSignature=…",
            )
        if not url:
            problem = f"the connection string of the datastore '{self.name}' names no account"
            raise UserError(problem, place=self.place, todo="write account_name: as well")
        return account, url, credential


def connection_parts(text: str) -> dict[str, str]:
    """Keys in lower case. What stands for Azurite's well-known account is written out."""
    pairs = (part.partition("=") for part in text.split(";"))
    parts = {key.strip().lower(): value.strip() for key, equals, value in pairs if equals}
    return dict(_DEVELOPMENT) if parts.get("usedevelopmentstorage", "").lower() == "true" else parts


def path_below(uri: Uri, url: str, container: str) -> str | None:
    """The path in a container, of an address that names its service and itself; None for others.

    An emulator stands for the account's own hosts, too.
    """
    if uri.kind == "blob" and uri.container == container:
        own = "/" not in uri.endpoint and _is_emulator_of(uri.account, url)
        return uri.path if own or _without_scheme(uri.endpoint) == _without_scheme(url) else None
    if uri.kind != "web":
        return None
    return addresses.relative(_without_scheme(f"{uri.endpoint}/{uri.path}"), f"{_without_scheme(url)}/{container}")


def _is_emulator_of(account: str, url: str) -> bool:
    """Whether the URL of a service ends with the account's name, as that of an emulator does."""
    return _without_scheme(url).partition("/")[2] == account


def _without_scheme(url: str) -> str:
    """Whether https or http is written makes no other place; hosts have no upper case."""
    host, slash, path = url.partition("://")[2].partition("/") if "://" in url else url.partition("/")
    return host.lower() + slash + path


def check_transport(url: str, credential: Credential, what: str, place: Place | None) -> None:
    """Errors: UserError where a token would have to be sent in the clear, which the SDK refuses."""
    if url.startswith("http://") and credential.kind in OF_TOKENS:
        raise UserError(
            f"{what} is reached by http, and identities are used over https only",
            place=place,
            todo="give the datastore an account_key or a sas_token in workspace.yml, or write protocol: https",
        )


def identity_credential(identity: Mapping[str, object] | None) -> Credential:
    """What the `identity` of a job chooses; the default credential without one, and for aml_token and user_identity."""
    if identity and identity.get("type") in ("managed", "managed_identity"):
        return Credential(kind="managed_identity", client_id=str(identity.get("client_id") or ""))
    return Credential()


def without_secret(store: BlobStore) -> BlobStore:
    return replace(store, credential=replace(store.credential, secret=""))
