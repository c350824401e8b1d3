"""Containers that were to become images, and folders for them, left behind by processes that were killed."""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import socket
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from runner.launch.image_cache import locked_if_free, try_lock

if TYPE_CHECKING:
    from runner.launch.image import Engine

PREFIX = "runner-install-"
FOLDERS = "runner-exchange-"  # what has this name is locked as long as it is used


def container_name(hash_: str, cache: Path) -> str:
    """The same for all processes of a workspace on a machine: who holds the lock may remove what a killed one has left."""
    who = hashlib.sha256(f"{socket.gethostname()}\0{cache.resolve()}".encode()).hexdigest()[:8]
    return f"{PREFIX}{hash_}-{who}"


def sweep(engine: Engine, cache: Path) -> None:
    """Removes this workspace's containers of that kind for which no process holds the lock."""
    for name in engine.containers_named(PREFIX):
        hash_ = name.removeprefix(PREFIX).partition("-")[0]
        if name == container_name(hash_, cache):
            with locked_if_free(cache, hash_) as free:
                if free:
                    engine.remove_container(name)


@contextmanager
def held_folder() -> Iterator[Path]:
    """A new folder for us alone, removed at the end; first those that killed processes of this user have left: tokens may lie in them."""
    sweep_folders(Path(tempfile.gettempdir()))
    folder, lock = new_folder()
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        os.close(lock)


def new_folder() -> tuple[Path, int]:
    """The folder and its lock, which ends with this process; it gets its name when it is locked, so that nobody takes it for left."""
    made = Path(tempfile.mkdtemp(prefix="runner-new-"))
    lock = os.open(made, os.O_RDONLY | os.O_DIRECTORY)
    fcntl.flock(lock, fcntl.LOCK_EX)
    return made.rename(made.with_name(FOLDERS + made.name.removeprefix("runner-new-"))), lock


def sweep_folders(where: Path) -> None:
    """Removes this user's folders of that name which no process holds."""
    for folder in where.glob(f"{FOLDERS}*"):
        with suppress(OSError):  # another user's, or gone by now
            lock = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
            try:
                if os.fstat(lock).st_uid == os.geteuid() and try_lock(lock):
                    shutil.rmtree(folder, ignore_errors=True)
            finally:
                os.close(lock)
