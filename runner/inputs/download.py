"""Blobs → local files: many at once, large ones in pieces side by side, and each there as a whole or not at all."""

from __future__ import annotations

import errno
import os
import threading
from collections.abc import Callable
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from runner.errors import UserError
from runner.storage.problems import BlobChanged

if TYPE_CHECKING:
    from runner.storage.blob import BlobContainer

REQUESTS = 16  # at once
PIECE = 8 << 20  # bytes of a large file in one request
READABLE = 0o444  # by the user of a container, too; and nobody changes it by mistake


@dataclass(frozen=True, kw_only=True)
class Blob:
    """One version of a blob."""

    container: BlobContainer
    path: str
    size: int
    etag: str

    def check(self) -> None:
        """Errors: BlobChanged, BlobMissing."""
        if self.container.info(self.path).etag != self.etag:
            raise BlobChanged(f"'{self.container.address(self.path)}' was written by somebody else")

    def read(self, offset: int, length: int) -> bytes:
        try:
            return self.container.read(self.path, offset, length, etag=self.etag)
        except BlobChanged:
            self.check()  # an emulator says the same of one that is gone
            raise


class Downloads:
    """Threads may share it."""

    def __enter__(self) -> Downloads:
        return self

    def __exit__(self, *_error: object) -> None:
        self._pool.shutdown(wait=False)

    def start(self, blob: Blob, part: Path, *, arrived: Callable[[], None], wanted: Callable[[], bool]) -> Future[None]:
        """Brings a blob into the new file `part`; `arrived` is called when it is complete, before the result is there.

        What is no longer `wanted` when its turn comes is cancelled.

        Errors, of the result: UserError, BlobChanged and BlobMissing among them; OSError. Then there is no such file.
        """
        download = _Download(blob=blob, part=part, arrived=arrived, wanted=wanted)
        for offset in range(0, blob.size or 1, PIECE):
            self._pool.submit(download.piece, offset)
        return download.result

    @cached_property
    def _pool(self) -> ThreadPoolExecutor:
        return ThreadPoolExecutor(REQUESTS, thread_name_prefix="download")


@dataclass(kw_only=True)
class _Download:
    blob: Blob
    part: Path
    arrived: Callable[[], None]
    wanted: Callable[[], bool]
    result: Future[None] = field(default_factory=Future)
    error: BaseException | None = None
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _descriptor: int = -1

    def __post_init__(self) -> None:
        self._left = len(range(0, self.blob.size or 1, PIECE))

    def piece(self, offset: int) -> None:
        if self.error is None and not self.wanted():
            self.error = CancelledError()
        if self.error is None:
            try:
                self._bring(offset)
            except BaseException as error:  # told to who waits
                self.error = error
        with self._lock:
            self._left -= 1
            last = not self._left
        if last:
            self._end()

    def _bring(self, offset: int) -> None:
        if not self.blob.size:
            self.blob.check()
            self._open()
            return
        data = memoryview(self.blob.read(offset, min(PIECE, self.blob.size - offset)))
        self._open()
        while data:
            done = os.pwrite(self._descriptor, data, offset)
            data, offset = data[done:], offset + done

    def _open(self) -> None:
        with self._lock:
            if self._descriptor < 0:
                self._descriptor = os.open(self.part, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, READABLE)
                os.fchmod(self._descriptor, READABLE)

    def _end(self) -> None:
        try:
            if self._descriptor >= 0:
                os.close(self._descriptor)
            if self.error is None:
                self.arrived()
        except BaseException as error:
            self.error = error
        if self.error is None:
            self.result.set_result(None)
            return
        if self._descriptor >= 0:
            self.part.unlink(missing_ok=True)
        self.result.set_exception(_in_words(self.error, self.part))


def _in_words(error: BaseException, part: Path) -> BaseException:
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        return UserError(
            f"there is no space left for files of the input, below '{part.parent}'",
            todo="free some, put the job's folder on a larger disk, or choose a smaller mini_batch_size or max_concurrency_per_instance",
        )
    return error
