"""A file on its way, in pieces: to this machine, or from it to blob storage.

What arrives here is put together beside its place under a hidden name, and renamed: no half file has a final name.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from runner.errors import UserError
from runner.model.datastore import BlobInfo
from runner.outputs.block_ids import BlockIds
from runner.storage.problems import BlobChanged, BlocksLost

if TYPE_CHECKING:
    from runner.storage.blob import BlobContainer

PIECE = 16 << 20  # bytes that are moved at once
LONGEST_NAME = 255  # bytes of a file's name, on nearly all file systems


class Moving(Protocol):
    """One that is copied in pieces, by several threads."""

    size: int

    def move(self, offset: int, length: int) -> None: ...
    def finish(self) -> None: ...
    def abandon(self) -> None: ...


@contextlib.contextmanager
def errors_of_disk(path: Path, what: str) -> Iterator[None]:
    """Errors of this machine's disk inside `with` are told as such (UserError)."""
    try:
        yield
    except OSError as error:
        todo = "mend that, or choose another place"
        raise UserError(f"{path} cannot be {what}: {error.strerror or error}", todo=todo) from None


class Arriving:
    """A file that comes to this machine. Errors: UserError for a name that no file can have."""

    def __init__(self, read: Callable[[int, int], bytes], size: int, target: Path) -> None:
        if too_long := next((part for part in target.parts if len(os.fsencode(part)) > LONGEST_NAME), None):
            problem = f"{target} cannot be made: '{too_long}' has more than the {LONGEST_NAME} bytes of a file's name"
            raise UserError(problem, todo="fetch it by its own name, and choose another here")
        self._read, self.size, self._target = read, size, target
        self._part = target.with_name(f".{secrets.token_hex(12)}.part")
        self._lock = threading.Lock()
        self._handle = -1

    def move(self, offset: int, length: int) -> None:
        data = self._read(offset, length)
        if len(data) != length:
            raise UserError(f"what is copied to {self._target} changed meanwhile", todo="try again when nobody writes to it")
        with errors_of_disk(self._target, "made"):
            with self._lock:
                if self._handle < 0:
                    self._target.parent.mkdir(parents=True, exist_ok=True)
                    self._handle = os.open(self._part, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
            view = memoryview(data)
            while view:
                written = os.pwrite(self._handle, view, offset)
                view, offset = view[written:], offset + written

    def finish(self) -> None:
        with errors_of_disk(self._target, "made"):
            self._close()
            self._part.replace(self._target)

    def abandon(self) -> None:
        with contextlib.suppress(OSError):  # what went wrong before is what is told
            self._close()
        with contextlib.suppress(OSError):
            self._part.unlink()

    def _close(self) -> None:
        handle, self._handle = self._handle, -1
        if handle >= 0:
            os.close(handle)


class Leaving:
    """A file that goes to blob storage; it appears there when all of it has arrived.

    Its blocks have ids of their own, so that nobody who writes there at the same time commits them; a commit of another's drops them.
    """

    def __init__(self, source: Path, container: BlobContainer, path: str) -> None:
        self._source, self._container, self._path = source, container, path
        self._before = self._look()
        self.size = self._before.st_size
        self._new_blocks()

    def move(self, offset: int, length: int) -> None:
        with errors_of_disk(self._source, "read"):
            data = _bytes_of(self._source, offset, length)
        if len(data) != length:
            raise self._changed()
        if self.size <= PIECE:
            self._container.put(self._path, data)
        else:
            self._container.stage(self._path, self._blocks[offset], data)

    def finish(self) -> None:
        self._check()
        if self.size <= PIECE:
            return
        try:
            self._commit()
        except (BlocksLost, BlobChanged):
            self._new_blocks()
            for offset, length in pieces(self.size):
                self.move(offset, length)
            self._check()
            self._commit_or_tell()

    def abandon(self) -> None:
        """Blocks that are never committed go by themselves."""

    def _new_blocks(self) -> None:
        offsets = [offset for offset, _ in pieces(self.size)]
        self._blocks = dict(zip(offsets, BlockIds().many(len(offsets)), strict=True))

    def _commit(self) -> None:
        self._container.commit(self._path, list(self._blocks.values()))

    def _commit_or_tell(self) -> None:
        try:
            self._commit()
        except (BlocksLost, BlobChanged):
            problem = f"somebody else is writing '{self._container.address(self._path)}'"
            raise UserError(problem, todo="try again when nobody writes to it") from None

    def _check(self) -> None:
        now = self._look()
        if (now.st_size, now.st_mtime_ns) != (self._before.st_size, self._before.st_mtime_ns):
            raise self._changed()

    def _look(self) -> os.stat_result:
        with errors_of_disk(self._source, "read"):
            return self._source.stat()

    def _changed(self) -> UserError:
        return UserError(f"{self._source} changed while it was copied", todo="try again when nobody writes to it")


def pieces(size: int) -> Iterator[tuple[int, int]]:
    for offset in range(0, max(size, 1), PIECE):
        yield offset, min(PIECE, size - offset)


def reader_of_blob(container: BlobContainer, blob: BlobInfo) -> Callable[[int, int], bytes]:
    return lambda offset, length: container.read(blob.path, offset, length, etag=blob.etag)


def reader_of_file(file: Path) -> Callable[[int, int], bytes]:
    def read(offset: int, length: int) -> bytes:
        with errors_of_disk(file, "read"):
            return _bytes_of(file, offset, length)

    return read


def _bytes_of(file: Path, offset: int, length: int) -> bytes:
    with open(file, "rb") as opened:
        return os.pread(opened.fileno(), length, offset)
