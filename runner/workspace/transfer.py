"""Copies of files and folders: from blob storage, to it, or between folders; many at a time, large files in pieces (moving.py)."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from runner.errors import UserError
from runner.model.datastore import BlobInfo
from runner.storage import addresses
from runner.storage.addresses import is_address
from runner.storage.markers import is_folder_marker
from runner.storage.problems import StorageUnavailable
from runner.storage.stores import Kind, Stores
from runner.workspace.moving import Arriving, Leaving, Moving, errors_of_disk, pieces, reader_of_blob, reader_of_file

if TYPE_CHECKING:
    from runner.storage.blob import BlobContainer

SILENCE = 60.0  # seconds that a user waits for a storage that does not answer
THREADS = 8


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


def _files(source: str, target: str, stores: Stores) -> Iterator[Moving]:
    if is_address(source):
        container, path = stores.at(source)
        if is_single(source, stores):
            blob = container.info(path)
            yield Arriving(reader_of_blob(container, blob), blob.size, Path(target))
            return
        for blob, place in _blobs(container, path, Path(target)):
            yield Arriving(reader_of_blob(container, blob), blob.size, place)
        return
    names = [""] if is_single(source, stores) else sorted(_below(Path(source)))
    for name in names:
        file = Path(source, name) if name else Path(source)
        if is_address(target):
            container, path = stores.at(addresses.join(target, name) if name else target)
            yield Leaving(file, container, path)
        else:
            with errors_of_disk(file, "read"):
                size = file.stat().st_size
            yield Arriving(reader_of_file(file), size, Path(target, name) if name else Path(target))


def _blobs(container: BlobContainer, path: str, target: Path) -> Iterator[tuple[BlobInfo, Path]]:
    """What is to be fetched of a folder, and where it goes. Errors: UserError for names that cannot be paths here."""
    prefix = f"{path}/" if path else ""
    found = [blob for page in container.pages(prefix) for blob in page if not is_folder_marker(blob)]
    named = {relative_name(blob.path, prefix): blob for blob in found}
    folders = {parent for name in named for parent in _parents(name)}
    for name in folders & named.keys():
        if named[name].size:
            problem = f"there are a blob {prefix + name!r} and blobs below it: on a disk a name is a file or a folder"
            raise UserError(problem, todo="fetch them by their own names")
    yield from ((blob, target / name) for name, blob in named.items() if name not in folders)


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


def _move(files: Sequence[Moving], stores: Stores, watch: Watch) -> Moved:
    moved = Moved(files=len(files), bytes=sum(file.size for file in files))
    watch(moved)
    left = {id(file): len(list(pieces(file.size))) for file in files}
    lock = threading.Lock()

    def do(file: Moving, offset: int, length: int) -> None:
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
            for offset, length in pieces(file.size):
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
