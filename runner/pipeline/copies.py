"""An output of one job as that of another: whole or not at all, as far as one file or a new folder goes."""

from __future__ import annotations

import os
import secrets
import shutil
from collections.abc import Callable
from pathlib import Path
from stat import S_ISREG

from runner.engine.workcopy import clone_file
from runner.failpoints import failpoint
from runner.outputs.block_ids import BlockIds
from runner.storage import addresses
from runner.storage.blob import BlobContainer
from runner.storage.stores import Stores

BLOCK = 8 << 20  # bytes
Stop = Callable[[], bool]  # whether nobody wants the copy any more


def can_copy(source: str, target: str) -> bool:
    """Within the file system, and from blobs to blobs."""
    return addresses.is_address(source) == addresses.is_address(target)


def is_there(path: str, stores: Stores) -> bool:
    """A file, or a folder with anything in it. Errors: OSError, and those of `Stores`."""
    return has_files(path, stores) or (not addresses.is_address(path) and Path(path).is_file())


def has_files(path: str, stores: Stores) -> bool:
    """Whether anything lies there. Errors: OSError, and those of `Stores`."""
    if addresses.is_address(path):
        return stores.kind(path) != "nothing"
    return Path(path).is_dir() and any(Path(path).iterdir())


def copy_output(source: str, target: str, stores: Stores, stop: Stop) -> None:
    """Errors: OSError, also when `stop` says so, and those of `Stores`; what stood there is still there then, of a folder
    that was there before some of it.
    """
    if addresses.is_address(source):
        _copy_blobs(source, target, stores, stop)
    elif Path(source).is_dir():
        _copy_folder(Path(source), Path(target), stop)
    else:
        Path(target).parent.mkdir(parents=True, exist_ok=True)
        _copy_file(Path(source), Path(target))


def _go_on(stop: Stop) -> None:
    if stop():
        raise InterruptedError("cancelled")


def _copy_file(source: Path, target: Path) -> None:
    draft = _draft_of(target)
    try:
        clone_file(str(source), str(draft))
        draft.replace(target)
    finally:
        draft.unlink(missing_ok=True)


def _copy_folder(source: Path, target: Path, stop: Stop) -> None:
    def copy(one: str, other: str) -> str:
        _go_on(stop)
        return clone_file(one, other) if S_ISREG(Path(one).stat().st_mode) else other  # reading a pipe would wait for ever

    target.parent.mkdir(parents=True, exist_ok=True)
    draft = _draft_of(target)
    try:
        shutil.copytree(source, draft, symlinks=True, copy_function=copy)
        _turn_links(draft, source, target)
        failpoint("reuse.drafted")
        if not target.exists() or not any(target.iterdir()):
            draft.replace(target)
            return
        for folder, below, files in os.walk(draft):
            place = target / os.path.relpath(folder, draft)
            place.mkdir(exist_ok=True)
            for name in (*files, *(name for name in below if Path(folder, name).is_symlink())):
                Path(folder, name).replace(place / name)
    finally:
        shutil.rmtree(draft, ignore_errors=True)


def _turn_links(draft: Path, source: Path, target: Path) -> None:
    """Links that name a place in `source` in full name the one in `target`: what they were copied from may be deleted."""
    for folder, below, files in os.walk(draft):
        for link in (Path(folder, name) for name in (*below, *files)):
            if link.is_symlink() and (place := link.readlink()).is_relative_to(source.absolute()):
                link.unlink()
                link.symlink_to(target.absolute() / place.relative_to(source.absolute()))


def _draft_of(target: Path) -> Path:
    return target.with_name(f".{target.name}.{secrets.token_hex(4)}")


def _copy_blobs(source: str, target: str, stores: Stores, stop: Stop) -> None:
    """Through this machine: a storage copies by itself only what the credential of its target can read."""
    (origin, path), (place, name) = stores.at(source), stores.at(target)
    if stores.kind(source) == "file":
        _copy_blob(origin, path, place, name, stop)
        return
    prefix = f"{path}/" if path else ""
    for page in origin.pages(prefix):
        for blob in page:
            below = blob.path[len(prefix) :]
            _copy_blob(origin, blob.path, place, f"{name}/{below}" if name else below, stop)
            failpoint("reuse.blob")


def _copy_blob(origin: BlobContainer, path: str, place: BlobContainer, name: str, stop: Stop) -> None:
    _go_on(stop)
    info, ids = origin.info(path), BlockIds()
    if info.size <= BLOCK:
        place.put(name, origin.read(path, 0, info.size, etag=info.etag) if info.size else b"")
        return
    blocks = ids.many(-(-info.size // BLOCK))
    for number, block in enumerate(blocks):
        _go_on(stop)
        offset = number * BLOCK
        place.stage(name, block, origin.read(path, offset, min(BLOCK, info.size - offset), etag=info.etag))
    place.commit(name, blocks)
