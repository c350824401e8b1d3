"""Opens addresses: which container they lie in."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Literal

from runner.errors import UserError, did_you_mean
from runner.model.datastore import BlobStore
from runner.storage import addresses
from runner.storage.markers import is_folder_marker
from runner.storage.patience import PATIENCE
from runner.storage.problems import BlobMissing

if TYPE_CHECKING:
    from runner.storage.blob import BlobContainer

Kind = Literal["file", "folder", "nothing"]


class Stores:
    """The containers that a process may use. Threads may share it.

    `say` gets lines while a storage does not answer, and `over`, or else `say`, one when it does again.
    `patience`: seconds after which a storage that does not answer is given up.
    """

    def __init__(
        self,
        stores: Iterable[BlobStore] = (),
        *,
        say: Callable[[str], None] = lambda _text: None,
        over: Callable[[str], None] | None = None,
        patience: float = PATIENCE,
    ) -> None:
        self._stores = {store.root: store for store in stores}
        self._say, self._over, self._patience = say, over, patience
        self._stopped = False
        self._lock = threading.Lock()
        self._opened: dict[str, BlobContainer] = {}

    @property
    def known(self) -> tuple[BlobStore, ...]:
        return tuple(self._stores.values())

    def at(self, address: str) -> tuple[BlobContainer, str]:
        """The container and the path in it ("" for the container itself). Nothing is asked of the network. Errors: UserError."""
        root, store = self._find(address)
        with self._lock:
            if root not in self._opened:
                from runner.storage.blob import BlobContainer  # loads the SDK

                self._opened[root] = BlobContainer(store, say=self._say, over=self._over, patience=self._patience)
                if self._stopped:
                    self._opened[root].stop_waiting()
            return self._opened[root], addresses.relative(address, root) or ""

    def kind(self, address: str) -> Kind:
        """What is at an address; a blob comes before blobs below a folder of the same name. Errors: UserError; StorageUnavailable."""
        container, path = self.at(address)
        if not path:
            container.holds("")  # which fails where there is no container
            return "folder"
        try:
            return "folder" if is_folder_marker(container.info(path)) else "file"
        except BlobMissing:
            return "folder" if container.holds(f"{path}/") else "nothing"

    @property
    def calm_since(self) -> float:
        """When (time.monotonic) the last of them began to answer again; inf while one does not, -inf when all always have."""
        with self._lock:
            return max((container.patience.calm_since for container in self._opened.values()), default=float("-inf"))

    def stop_waiting(self) -> None:
        """What waits for a storage, or will, fails at once (StorageUnavailable): the job is cancelled."""
        with self._lock:
            self._stopped = True
            for container in self._opened.values():
                container.stop_waiting()

    def _find(self, address: str) -> tuple[str, BlobStore]:
        for root, store in self._stores.items():
            if addresses.relative(address, root) is not None:
                return root, store
        known = [store.name for store in self._stores.values()]
        raise UserError(f"no credential is known for '{address}'", allowed=", ".join(known), todo=did_you_mean(address, self._stores))
