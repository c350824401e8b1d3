"""The bytes of a file at an offset, wherever it lies: what all readers of tables read through."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, BinaryIO, Protocol

from runner.errors import InputError
from runner.inputs.files import FileEntry
from runner.inputs.stale import again_if_stale, is_stale
from runner.inputs.tabular import BadInputError, is_utf8

Range = tuple[int, int]  # first byte, behind the last


class Bytes(Protocol):
    """An opened file. All methods raise BadInputError where it is gone or no longer the one that was listed."""

    @property
    def file(self) -> FileEntry: ...

    def pread(self, length: int, offset: int) -> bytes:
        """Fewer where the file ends. What is read one after the other is fetched ahead where that takes long."""

    def want(self, start: int, end: int) -> None:
        """That range will be read soon. Returns at once."""

    def near(self, ranges: Iterator[Range]) -> Bytes:
        """To read there, in about that order: what comes next is on its way."""

    def stream(self) -> BinaryIO:
        """From its beginning to its end."""

    def arrow(self, ranges: Iterable[Range] = ()) -> Any:
        """As Arrow takes it. `ranges`: all that will be read, where that is known."""

    def close(self) -> None: ...

    def __enter__(self) -> Bytes: ...

    def __exit__(self, *_: object) -> None: ...


class LocalBytes:
    """A file of this machine. Belongs to one thread."""

    def __init__(self, file: FileEntry) -> None:
        self.file = file
        self._descriptor = -1

    def pread(self, length: int, offset: int) -> bytes:
        if self._descriptor < 0:
            self._open()
        try:
            try:
                return self._pread(length, offset)
            except OSError as error:
                if not is_stale(error):
                    raise
            self.close()
            self._open()
            if _version(os.fstat(self._descriptor)) != (self.file.size, self.file.version):
                raise BadInputError(changed=True, problem="has changed since it was listed", file=self.file.path, todo="start a new job")
            return self._pread(length, offset)
        except OSError as error:
            raise BadInputError(problem=f"cannot be read: {error.strerror}", file=self.file.path) from None

    def _open(self) -> None:
        self._descriptor = self._opened(lambda: os.open(self.file.path, os.O_RDONLY | os.O_CLOEXEC))

    def _pread(self, length: int, offset: int) -> bytes:
        data = os.pread(self._descriptor, length, offset)
        while len(data) < length and (more := os.pread(self._descriptor, length - len(data), offset + len(data))):
            data += more
        return data

    def want(self, start: int, end: int) -> None:
        """The system reads ahead."""

    def near(self, ranges: Iterator[Range]) -> Bytes:  # noqa: ARG002
        return self

    def stream(self) -> BinaryIO:
        opened: BinaryIO = self._opened(lambda: Path(self.file.path).open("rb"))  # noqa: SIM115
        return opened

    def arrow(self, ranges: Iterable[Range] = ()) -> Any:  # noqa: ARG002
        """Arrow wants names to be UTF-8; files with others it reads through Python."""
        import pyarrow as pa

        return pa.OSFile(self.file.path) if is_utf8(self.file.path) else pa.PythonFile(Path(self.file.path).open("rb"))

    def close(self) -> None:
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def __enter__(self) -> LocalBytes:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _opened(self, call: Callable[[], Any]) -> Any:
        path = self.file.path
        try:
            return again_if_stale(call)
        except FileNotFoundError as error:
            raise BadInputError(problem=f"cannot be read: {error.strerror}", file=path) from None
        except OSError as error:
            raise InputError(f"the file '{path}' cannot be read: {error.strerror}", todo="make it readable for this user") from None


def _version(status: os.stat_result) -> tuple[int, int]:
    """As a listing has it."""
    return status.st_size, status.st_mtime_ns
