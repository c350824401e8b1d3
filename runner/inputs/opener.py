"""Opens the files of an input, wherever they lie."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from runner.inputs.bytes_of import Bytes, LocalBytes
from runner.inputs.files import FileEntry
from runner.storage.addresses import is_address
from runner.storage.stores import Stores

if TYPE_CHECKING:
    from runner.inputs.blob_bytes import Blobs

FILES_AHEAD = 16  # of which the beginning or the end is on its way before it is asked for


class Opener:
    """Threads may share it."""

    def __init__(self, stores: Stores | None = None) -> None:
        self._stores = stores or Stores()
        self._blobs: Blobs | None = None
        self._lock = threading.Lock()

    def open(self, file: FileEntry) -> Bytes:
        """Nothing is asked of a network yet. Errors: UserError for an address in a store that nobody knows."""
        return self._remote().open(file) if is_address(file.path) else LocalBytes(file)

    def ahead(self, files: Iterator[FileEntry], prepare: Callable[[Bytes], None]) -> Iterator[Bytes]:
        """Opens them one after the other. `prepare` says what of a file will be read first; that of blobs is fetched some files ahead."""
        waiting: deque[Bytes] = deque()
        most = 0  # the first is wanted at once
        for file in files:
            source = self.open(file)
            prepare(source)
            waiting.append(source)
            while len(waiting) > (most if is_address(file.path) else 0):
                with waiting.popleft() as first:
                    yield first
                most = min(2 * most + 1, FILES_AHEAD)
        while waiting:
            with waiting.popleft() as first:
                yield first

    def _remote(self) -> Blobs:
        with self._lock:
            if self._blobs is None:
                from runner.inputs.blob_bytes import Blobs  # what is local needs no threads

                self._blobs = Blobs(self._stores)
            return self._blobs
