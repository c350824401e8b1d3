"""Which containers of blobs a job uses, under which addresses and with which credentials; and what stands there.

An address in a container that a datastore of the workspace covers is written as that datastore's, and uses its credential. Everything
else is reached with the SAS that its URL has, or as what the job's `identity` says.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping
from typing import TypeVar

from runner.errors import NotSupportedHere, UserError
from runner.model.datastore import BlobStore, Credential
from runner.storage import addresses
from runner.storage.datastores import BlobDatastore, check_transport, identity_credential
from runner.storage.problems import BlocksLost, StorageUnavailable
from runner.storage.stores import Kind, Stores
from runner.storage.uri import Uri

T = TypeVar("T")

WRITE_CHECK = ".runner-write-check"
CHECK_SECONDS = 30.0  # for a storage that does not answer when a job is checked
_ALLOWED = (
    "azureml://datastores/<datastore>/paths/<path>, https://<account>.blob.core.windows.net/<container>/<path>, "
    "wasbs://, abfss://, a local path"
)


class Blobs:
    """What a job that is being resolved gathers. `datastores`: those of the workspace that are containers of blobs."""

    def __init__(self, datastores: Mapping[str, BlobDatastore] | None = None, *, say: Callable[[str], None] = lambda _text: None) -> None:
        self.datastores = dict(datastores or {})
        self._say = say
        self.notices: dict[str, str] = {}  # root of a container → what becomes of a SAS that the job has for it
        self.by_identity = False  # whether anything is reached as what the job's `identity` says
        self._used: dict[str, BlobStore] = {}
        self._stores: Stores | None = None
        self._there: dict[str, Kind] = {}
        self._writable: set[str] = set()

    @property
    def used(self) -> tuple[BlobStore, ...]:
        """With their secrets."""
        return tuple(self._used.values())

    def locate(self, uri: Uri, identity: Mapping[str, object] | None) -> str:
        """The address of what is written as an URI of the kinds datastore, blob and web. Errors: UserError without a place."""
        if ".." in uri.path.split("/"):
            raise UserError(f"'{uri.text}' has '..' in it, which could leave the container", todo="write the path without '..'")
        datastore, path = self._datastore_of(uri)
        store = datastore.open(identity_credential(identity)) if datastore else self._foreign(uri, identity)
        self.by_identity |= datastore.kind == "identity" if datastore else not uri.sas
        self._use(store, uri.text)
        if uri.sas:
            self.notices.setdefault(store.root, _of_sas(store.root, datastore))
        return addresses.join(store.root, path) if path.strip("/") else store.root

    def there(self, address: str) -> Kind:
        """What stands at an address: a blob of that name, or names below it, or nothing. Errors: UserError for a storage that refuses."""
        if address not in self._there:
            self._there[address] = self._asked(address, lambda stores: stores.kind(address))
        return self._there[address]

    def read(self, folder: str, name: str) -> bytes | None:
        """The content of a small blob in a folder; None if there is none."""
        if not self.holds_file(folder, name):
            return None
        address = addresses.join(folder, name)
        return self._asked(address, lambda stores: _read(stores, address))

    def holds_file(self, address: str, name: str) -> bool:
        """Whether there is a blob of that name in a folder."""
        return self.there(addresses.join(address, name)) == "file"

    def is_container(self, address: str) -> bool:
        return address in self._used

    def check_writable(self, address: str, kind: str) -> None:
        """Errors: UserError where an output of that type may not be written."""
        blob = address if kind == "uri_file" else addresses.join(address, WRITE_CHECK)
        if blob not in self._writable:
            self._asked(blob, lambda stores: _try_to_write(stores, blob))
            self._writable.add(blob)

    def _datastore_of(self, uri: Uri) -> tuple[BlobDatastore | None, str]:
        if uri.kind == "datastore":
            return self.datastores[uri.datastore], uri.path
        found = ((one, one.path_of(uri)) for one in self.datastores.values())
        return next(((one, path) for one, path in found if path is not None), (None, uri.path))

    def _foreign(self, uri: Uri, identity: Mapping[str, object] | None) -> BlobStore:
        if uri.kind != "blob":
            raise NotSupportedHere(
                f"'{uri.text}' is no address in blob storage that is known here",
                allowed=_ALLOWED,
                todo="copy the data; or write type: string and value: if it is meant as a text",
            )
        if not uri.container:
            raise UserError(f"'{uri.text}' names no container", allowed=_ALLOWED)
        scheme = "http" if uri.text.startswith("http:") else "https"
        endpoint = f"{scheme}://{uri.endpoint}"
        root = addresses.container_root(endpoint, uri.container)
        if root in self._used and not uri.sas:
            return self._used[root]
        credential = Credential(kind="sas", secret=uri.sas) if uri.sas else identity_credential(identity)
        check_transport(endpoint, credential, f"'{uri.text}'", None)
        where = {"endpoint": endpoint, "container": uri.container, "account": uri.account}
        return BlobStore(root=root, name=uri.account, credential=credential, **where)

    def _use(self, store: BlobStore, text: str) -> None:
        before = self._used.get(store.root)
        if before is not None and before.credential != store.credential:
            raise UserError(
                f"'{text}' lies in a container that the job reaches with another credential already",
                todo="use one SAS, or one identity, for all of a container; or describe it as a datastore in workspace.yml",
            )
        if before is None:
            self._used[store.root] = store
            self._stores = None

    def _asked(self, address: str, ask: Callable[[Stores], T]) -> T:
        """Errors: UserError, also for a storage that does not answer within CHECK_SECONDS: whoever submits a job is waiting."""
        self._stores = self._stores or Stores(self.used, say=self._say)
        self._stores.at(address)[0].patience.seconds = CHECK_SECONDS
        try:
            return ask(self._stores)
        except StorageUnavailable as error:
            todo = "check the account's name and endpoint, and the network of this machine"
            raise UserError(error.strerror or str(error), todo=todo) from None


def _of_sas(root: str, datastore: BlobDatastore | None) -> str:
    if datastore:
        return (
            f"the SAS of an address in the container '{datastore.container}' is not used: "
            f"the datastore '{datastore.name}' of workspace.yml covers it, and its credential is"
        )
    return (
        f"the SAS for {root} is kept only while the job runs: "
        "`job resume` and `job download` of it need a datastore in workspace.yml that describes this container"
    )


def _read(stores: Stores, address: str) -> bytes:
    container, path = stores.at(address)
    return container.read(path)


def _try_to_write(stores: Stores, address: str) -> None:
    container, path = stores.at(address)
    with contextlib.suppress(BlocksLost):  # what it has to say of other blocks shows that one may write
        container.check_writable(path)
