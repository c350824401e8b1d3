"""A container in memory, for what downloads from one."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field

from runner.inputs.download import Blob
from runner.model.datastore import BlobInfo
from runner.storage.problems import BlobChanged, BlobMissing

ROOT = "azureml://datastores/az/paths"


@dataclass
class FakeContainer:
    """`before_read(path)` is called at each reading."""

    blobs: dict[str, bytes] = field(default_factory=dict)
    before_read: Callable[[str], None] = lambda _path: None
    reads: list[str] = field(default_factory=list)
    etags: dict[str, str] = field(default_factory=dict)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def address(self, path: str) -> str:
        return f"{ROOT}/{path}"

    def info(self, path: str) -> BlobInfo:
        if path not in self.blobs:
            raise BlobMissing(f"no {path}")
        return BlobInfo(path=path, size=len(self.blobs[path]), etag=self.etags.get(path, "0x1"))

    def read(self, path: str, offset: int, length: int, *, etag: str) -> bytes:
        with self.lock:
            self.reads.append(path)
        self.before_read(path)
        if self.info(path).etag != etag:
            raise BlobChanged(f"{path} changed")
        return self.blobs[path][offset : offset + length]

    def blob(self, path: str) -> Blob:
        info = self.info(path)
        return Blob(container=self, path=path, size=info.size, etag=info.etag)  # type: ignore[arg-type]


@dataclass
class FakeStores:
    """A `Stores` with one container."""

    container: FakeContainer

    def at(self, address: str) -> tuple[FakeContainer, str]:
        return self.container, address[len(ROOT) + 1 :]
