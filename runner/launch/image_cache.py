"""What the workspace keeps of images, below `cache/images/`: who makes one now, and when each was last used."""

from __future__ import annotations

import fcntl
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from runner.errors import UserError
from runner.launch.image_stream import OnCancel, Say

WAIT_SECONDS = 0.2  # between looks at a lock that another process holds: waiting for it can be cancelled


@contextmanager
def locked(cache: Path, hash_: str, say: Say, on_cancel: OnCancel) -> Iterator[None]:
    """Holds the right to make the image with this hash; waits while another process makes it. Errors: UserError when cancelled."""
    folder = cache / "images"
    folder.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(folder / f"{hash_}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
    try:
        if not try_lock(descriptor):
            say("another job is making this image: waiting for it")
            cancelled = threading.Event()
            on_cancel(cancelled.set)
            while not try_lock(descriptor):
                if cancelled.wait(WAIT_SECONDS):
                    raise UserError("waiting for another job's image was cancelled")
        yield
    finally:
        os.close(descriptor)


def try_lock(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


@contextmanager
def locked_if_free(cache: Path, hash_: str) -> Iterator[bool]:
    """Holds the same right where nobody else does, and says whether it does."""
    folder = cache / "images"
    folder.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(folder / f"{hash_}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
    try:
        yield try_lock(descriptor)
    finally:
        os.close(descriptor)


def touch(cache: Path, hash_: str, what: str) -> None:
    """Remembers that the image was used now, and what it was made from."""
    path = used_file(cache, hash_)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"{what}\n", encoding="utf-8")


def made_from(cache: Path, hash_: str) -> str:
    """What `touch` was told; empty for an image that this workspace has not used."""
    try:
        return used_file(cache, hash_).read_text(encoding="utf-8").strip()
    except OSError:
        return ""


def used_file(cache: Path, hash_: str) -> Path:
    return cache / "images" / f"{hash_}.used"


def last_used(cache: Path, hash_: str) -> float | None:
    """Seconds since the epoch; None for an image that this workspace has not used."""
    try:
        return used_file(cache, hash_).stat().st_mtime
    except OSError:
        return None


def forget(cache: Path, hash_: str, image_id: str) -> None:
    """Removes what was kept of an image that is gone; not its lock, which another process may hold."""
    for name in (f"{hash_}.used", f"{image_id.removeprefix('sha256:')}.json"):
        (cache / "images" / name).unlink(missing_ok=True)
