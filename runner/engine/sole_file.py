"""A file that grows at its end and has one writer: the one that opened it last.

Whoever writes knows how long the file must be. Another length means that somebody else has opened it since: every opening appends
something. The comparison and the append are one step under a lock that is held for milliseconds, by `flock`, which network file systems
pass on to their server; an append blob has the same as a condition on its length.
"""

from __future__ import annotations

import fcntl
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from runner.failpoints import failpoint


class Superseded(Exception):
    """Another process has taken over: what this one still has to say does not count any more."""


class SoleFile:
    """Opening it takes it over. `begin(file)` reads what is there and returns how much of it counts, the rest of which is cut off, and
    what the new writer puts behind it. Used by several threads.
    """

    def __init__(self, path: Path, begin: Callable[[BinaryIO], tuple[int, bytes]]) -> None:
        self._mine = threading.Lock()
        self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        try:
            with self._locked(), open(self._file, "rb", closefd=False) as file:
                self._size, first = begin(file)
                os.ftruncate(self._file, self._size)
                self._write(first)
        except BaseException:
            os.close(self._file)
            raise

    def append(self, data: bytes) -> None:
        """Durable when it returns. Errors: Superseded; OSError (a full disk), which leaves the file as it was."""
        with self.owned():
            failpoint("journal.before")
            self._write(data)
        failpoint("journal.synced")

    @contextmanager
    def owned(self) -> Iterator[None]:
        """Nobody takes the file over while this lasts. Errors: Superseded when somebody has."""
        with self._locked():
            if os.fstat(self._file).st_size != self._size:
                raise Superseded
            yield

    def close(self) -> None:
        os.close(self._file)

    def _write(self, data: bytes) -> None:
        try:
            view = memoryview(data)
            while view:
                view = view[os.write(self._file, view) :]
            failpoint("journal.written")
            os.fsync(self._file)
        except OSError:
            os.ftruncate(self._file, self._size)
            raise
        self._size += len(data)

    @contextmanager
    def _locked(self) -> Iterator[None]:
        with self._mine:  # a lock of the open file keeps no other thread out that uses the same one
            fcntl.flock(self._file, fcntl.LOCK_EX)
            try:
                yield
            finally:
                fcntl.flock(self._file, fcntl.LOCK_UN)
