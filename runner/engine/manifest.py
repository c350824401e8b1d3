"""The list of all mini-batches of a job on disk: one line each, written as the input is listed.

Leases, resume and verification go by it. Memory: eight bytes for every 64 mini-batches.
"""

from __future__ import annotations

import os
import threading
from array import array
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from itertools import accumulate
from pathlib import Path

from runner.failpoints import failpoint

STRIDE = 64  # mini-batches between two known offsets


class Manifest:
    """One writer; readers in any thread. Opening it again cuts off a torn last line.

    `owned`: entered for each append; raises where this process is not the writer any more.
    """

    def __init__(self, path: Path, *, owned: Callable[[], AbstractContextManager[None]] = nullcontext) -> None:
        self._owned = owned
        self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        self._lock = threading.Lock()
        self._offsets = array("Q", [0])
        self._size = 0
        self._synced = 0  # mini-batches
        self.count = 0
        self._load()

    def append(self, lines: Sequence[bytes]) -> None:
        """Adds mini-batches at the end. Visible to `read` when it returns; durable after `sync`."""
        if not lines:
            return
        data = b"\n".join(lines) + b"\n"
        with self._owned():
            _write_all(self._file, data)
        failpoint("manifest.written")
        with self._lock:
            self._index(lines)

    def read(self, first: int, count: int) -> bytes:
        """The lines of mini-batches first … first + count − 1, joined by newlines."""
        with self._lock:
            start = self._offsets[first // STRIDE]
            block_end = -(-(first + count) // STRIDE)
            end = self._offsets[block_end] if block_end < len(self._offsets) else self._size
        data = os.pread(self._file, end - start, start)
        skip = first % STRIDE
        if skip == 0 and count % STRIDE == 0 and data.count(b"\n") == count:
            return data[:-1]
        return b"\n".join(data.split(b"\n")[skip : skip + count])

    def lines(self) -> Iterator[bytes]:
        """All lines in order, as they were when the call was made; block by block."""
        total = self.count
        for first in range(0, total, 4096):
            yield from self.read(first, min(4096, total - first)).split(b"\n")

    def sync(self, count: int | None = None) -> None:
        """Makes durable what was appended before the call; with `count`, only where the first so many mini-batches are not yet."""
        with self._lock:
            total = self.count
        if self._synced < (total if count is None else min(count, total)):
            os.fsync(self._file)
            self._synced = total
            failpoint("manifest.synced")

    def close(self) -> None:
        os.close(self._file)

    def _index(self, lines: Sequence[bytes]) -> None:
        starts = list(accumulate(map(len, lines), initial=self._size))  # line ends not counted
        first = -self.count % STRIDE or (0 if self.count else STRIDE)
        self._offsets.extend(starts[i] + i for i in range(first, len(lines), STRIDE))
        self._size = starts[-1] + len(lines)
        self.count += len(lines)

    def _load(self) -> None:
        size = os.fstat(self._file).st_size
        at, tail = 0, b""
        while at < size:
            block = os.pread(self._file, 1 << 22, at)
            at += len(block)
            *lines, tail = (tail + block).split(b"\n")
            if lines:
                self._index(lines)
        if tail:
            os.ftruncate(self._file, self._size)
        self._synced = self.count


def _write_all(file: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(file, view) :]
