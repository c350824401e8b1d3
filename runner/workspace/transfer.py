"""Copies of files and folders: from blob storage, to it, or between folders; many at a time, large files in pieces.

What arrives on this machine is put together beside its place under a hidden name, and renamed: no half file has a final name.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from runner.errors import UserError
from runner.model.datastore import BlobInfo
from runner.outputs.block_ids import BlockIds
from runner.storage import addresses
from runner.storage.addresses import is_address
from runner.storage.problems import BlobChanged, BlocksLost, StorageUnavailable
from runner.storage.stores import Kind, Stores

if TYPE_CHECKING:
    from runner.storage.blob import BlobContainer

SILENCE = 60.0  # seconds that a user waits for a storage that does not answer
PIECE = 16 << 20  # bytes that are moved at once
THREADS = 8
LONGEST_NAME = 255  # bytes of a file's name, on nearly all file systems


@dataclass(kw_only=True)
class Moved:
    """How far a transfer has come."""

    files: int
    bytes: int
    done_files: int = 0
    done_bytes: int = 0


Watch = Callable[[Moved], None]


def transfer(source: str, target: str, stores: Stores, *, watch: Watch = lambda _moved: None) -> Moved:
    """Copies a file or a folder; one of the two may be an address, which `stores` opens. A folder's content goes below `target`.

    What is there already is replaced. Errors: UserError for what is not there, for names that cannot be files, for a disk that takes
    no more, and for a storage that refuses or does not answer.
    """
    with silence_told():
        return _move(list(_files(source, target, stores)), stores, watch)


@contextmanager
def silence_told() -> Iterator[None]:
    """A storage that does not answer within the block is a UserError."""
    try:
        yield
    except StorageUnavailable as error:
        raise UserError(error.strerror or str(error), todo="try again: what has arrived is replaced") from None


def target_of(source: str, target: str, *, into: bool) -> str:
    """The place of a file that goes to `target`, which is a folder if `into`."""
    return addresses.join(target, addresses.base_name(source)) if into else target


def is_single(path: str, stores: Stores) -> bool:
    """Whether a file stands at a path or address, not a folder. Errors: UserError if there is nothing."""
    with silence_told():
        kind = stores.kind(path) if is_address(path) else _local_kind(path)
    if kind == "nothing":
        raise UserError(f"there is nothing at '{path}'", todo="check the path")
    return kind == "file"


def _local_kind(path: str) -> Kind:
    return "file" if os.path.isfile(path) else "folder" if os.path.isdir(path) else "nothing"  # noqa: PTH112, PTH113


class _File(Protocol):
    """One that is copied in pieces, by several threads."""

    size: int

    def move(self, offset: int, length: int) -> None: ...
    def finish(self) -> None: ...
    def abandon(self) -> None: ...


@contextlib.contextmanager
def _disk(path: Path, what: str) -> Iterator[None]:
    """Errors of this machine's disk inside `with` are told as such (UserError)."""
    try:
        yield
    except OSError as error:
        todo = "mend that, or choose another place"
        raise UserError(f"{path} cannot be {what}: {error.strerror or error}", todo=todo) from None


class _Arriving:
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
        with _disk(self._target, "made"):
            with self._lock:
                if self._handle < 0:
                    self._target.parent.mkdir(parents=True, exist_ok=True)
                    self._handle = os.open(self._part, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
            view = memoryview(data)
            while view:
                written = os.pwrite(self._handle, view, offset)
                view, offset = view[written:], offset + written

    def finish(self) -> None:
        with _disk(self._target, "made"):
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


class _Leaving:
    """A file that goes to blob storage; it appears there when all of it has arrived.

    Its blocks have ids of their own, so that nobody who writes there at the same time commits them; a commit of another's drops them.
    """

    def __init__(self, source: Path, container: BlobContainer, path: str) -> None:
        self._source, self._container, self._path = source, container, path
        self._before = self._look()
        self.size = self._before.st_size
        self._new_blocks()

    def move(self, offset: int, length: int) -> None:
        with _disk(self._source, "read"):
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
            for offset, length in _pieces(self.size):
                self.move(offset, length)
            self._check()
            self._commit_or_tell()

    def abandon(self) -> None:
        """Blocks that are never committed go by themselves."""

    def _new_blocks(self) -> None:
        offsets = [offset for offset, _ in _pieces(self.size)]
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
        with _disk(self._source, "read"):
            return self._source.stat()

    def _changed(self) -> UserError:
        return UserError(f"{self._source} changed while it was copied", todo="try again when nobody writes to it")


def _pieces(size: int) -> Iterator[tuple[int, int]]:
    for offset in range(0, max(size, 1), PIECE):
        yield offset, min(PIECE, size - offset)


def _files(source: str, target: str, stores: Stores) -> Iterator[_File]:
    if is_address(source):
        container, path = stores.at(source)
        if is_single(source, stores):
            blob = container.info(path)
            yield _Arriving(_reader(container, blob), blob.size, Path(target))
            return
        for blob, place in _blobs(container, path, Path(target)):
            yield _Arriving(_reader(container, blob), blob.size, place)
        return
    names = [""] if is_single(source, stores) else sorted(_below(Path(source)))
    for name in names:
        file = Path(source, name) if name else Path(source)
        if is_address(target):
            container, path = stores.at(addresses.join(target, name) if name else target)
            yield _Leaving(file, container, path)
        else:
            with _disk(file, "read"):
                size = file.stat().st_size
            yield _Arriving(_file_reader(file), size, Path(target, name) if name else Path(target))


def _reader(container: BlobContainer, blob: BlobInfo) -> Callable[[int, int], bytes]:
    return lambda offset, length: container.read(blob.path, offset, length, etag=blob.etag)


def _file_reader(file: Path) -> Callable[[int, int], bytes]:
    def read(offset: int, length: int) -> bytes:
        with _disk(file, "read"):
            return _bytes_of(file, offset, length)

    return read


def _bytes_of(file: Path, offset: int, length: int) -> bytes:
    with open(file, "rb") as opened:
        return os.pread(opened.fileno(), length, offset)


def _blobs(container: BlobContainer, path: str, target: Path) -> Iterator[tuple[BlobInfo, Path]]:
    """What is to be fetched of a folder, and where it goes. Errors: UserError for names that cannot be paths here."""
    prefix = f"{path}/" if path else ""
    found = [blob for page in container.pages(prefix) for blob in page if not is_marker(blob)]
    named = {relative_name(blob.path, prefix): blob for blob in found}
    folders = {parent for name in named for parent in _parents(name)}
    for name in folders & named.keys():
        if named[name].size:
            problem = f"there are a blob {prefix + name!r} and blobs below it: on a disk a name is a file or a folder"
            raise UserError(problem, todo="fetch them by their own names")
    yield from ((blob, target / name) for name, blob in named.items() if name not in folders)


def is_marker(blob: BlobInfo) -> bool:
    """Whether a blob only stands for a folder: some programs make such."""
    return blob.path.endswith("/") or blob.metadata.get("hdi_isfolder") == "true"


def relative_name(path: str, prefix: str) -> str:
    """The name of a blob below a prefix, as a relative path. Errors: UserError where it would lead elsewhere, or is no path."""
    name = path[len(prefix) :]
    if "\0" in name or any(part in ("", ".", "..") for part in name.split("/")):
        raise UserError(f"the blob {path!r} cannot be a file: its name is no path", todo="rename it, or fetch others by their own names")
    return name


def _parents(name: str) -> Iterator[str]:
    while name := name.rpartition("/")[0]:
        yield name


def _below(folder: Path) -> Iterator[str]:
    """Files at any depth; links to files as what they point to, and links to folders not at all, which may lead in circles."""
    for place, _, files in os.walk(folder):
        for name in files:
            path = Path(place, name)
            if path.is_file():
                yield path.relative_to(folder).as_posix()


def _move(files: Sequence[_File], stores: Stores, watch: Watch) -> Moved:
    moved = Moved(files=len(files), bytes=sum(file.size for file in files))
    watch(moved)
    left = {id(file): len(list(_pieces(file.size))) for file in files}
    lock = threading.Lock()

    def do(file: _File, offset: int, length: int) -> None:
        file.move(offset, length)
        with lock:
            left[id(file)] -= 1
            last = not left[id(file)]
        if last:
            file.finish()
        with lock:
            moved.done_bytes += length
            moved.done_files += last

    pool = ThreadPoolExecutor(THREADS, thread_name_prefix="transfer")
    pending: set[Future[None]] = set()
    try:
        for file in files:
            for offset, length in _pieces(file.size):
                pending.add(pool.submit(do, file, offset, length))
                if len(pending) >= 2 * THREADS:
                    pending = _settle(pending, moved, watch)
        while pending:
            pending = _settle(pending, moved, watch)
    except BaseException:
        stores.stop_waiting()
        pool.shutdown(wait=True, cancel_futures=True)
        for file in files:
            file.abandon()
        raise
    pool.shutdown()
    return moved


def _settle(pending: set[Future[None]], moved: Moved, watch: Watch) -> set[Future[None]]:
    """Waits for one; its error is ours."""
    done, left = wait(pending, timeout=0.5, return_when=FIRST_COMPLETED)
    for one in done:
        one.result()
    watch(moved)
    return left
