"""Held locks: one owner per job, one job per output path.

A lock is a file with `flock` on it, held as long as the open file lives: it ends with its process, however that dies, and it can
be handed to a child process without ever being free.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

from runner.errors import JobConflict, UserError
from runner.storage.addresses import is_address

_TRIES = 20  # a reader that asks whether a lock is held holds it for some microseconds itself
_PAUSE = 0.01  # seconds
# Others may have put something of that name there: a link would lead to a file of ours, which is emptied; a pipe would be waited for.
_FOR_LOCKING = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


@dataclass(frozen=True, kw_only=True)
class FileLock:
    """A held lock. `release()` gives it back; `hand_over()` only closes this process's copy, after a child has taken it."""

    path: Path
    handle: int

    def release(self, *, remove: bool = False) -> None:
        if remove:
            self.path.unlink(missing_ok=True)
        os.close(self.handle)

    def hand_over(self) -> None:
        os.close(self.handle)


def take_lock(path: Path, note: str = "") -> FileLock | None:
    """The lock, with `note` written into its file, or None if another process holds it."""
    while True:
        try:
            handle = os.open(path, _FOR_LOCKING, 0o644)
        except PermissionError:
            if is_held(path):  # by another user
                return None
            raise
        if not _lock(handle):
            os.close(handle)
            return None
        if _same_file(handle, path):
            break
        os.close(handle)  # its holder removed the file in between
    os.ftruncate(handle, 0)
    os.pwrite(handle, note.encode(), 0)
    return FileLock(path=path, handle=handle)


def is_held(path: Path) -> bool:
    """Whether a living process holds the lock."""
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    else:
        return False
    finally:
        os.close(handle)


def _lock(handle: int) -> bool:
    for attempt in range(_TRIES):
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
        except BlockingIOError:
            if attempt + 1 < _TRIES:
                time.sleep(_PAUSE)
    return False


def _same_file(handle: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(handle), path.stat())
    except FileNotFoundError:
        return False


class OutputLocks:
    """The held locks of a job's output paths; a context manager."""

    def __init__(self, locks: Sequence[FileLock]) -> None:
        self.locks = tuple(locks)

    def release(self) -> None:
        for lock in self.locks:
            lock.release(remove=True)
        self.locks = ()

    def hand_over(self) -> None:
        for lock in self.locks:
            lock.hand_over()
        self.locks = ()

    def __enter__(self) -> OutputLocks:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.release()


def hold_outputs(paths: Iterable[str | Path], *, job: str, registry: Path, again: bool = False) -> OutputLocks:
    """Reserves the output paths for `job`; raises `JobConflict` naming the job that writes to one of them already.

    Outputs inside the workspace, and those in blob storage, are registered in `registry`. For others a hidden lock file lies beside the
    output, where jobs of other workspaces and users find it; in the registry after all if that folder cannot be written to.

    `again`: what another process holds for the same job is left to it (see `runner.cluster.owner`).
    """
    held: list[FileLock] = []
    try:
        for path in sorted({_real(str(path)) for path in paths}):
            lock = _hold(path, job, registry, again=again)
            held += [lock] if lock else []
    except BaseException:
        OutputLocks(held).release()
        raise
    return OutputLocks(held)


def _real(path: str) -> str:
    return path if is_address(path) else os.path.realpath(path)


def _hold(path: str, job: str, registry: Path, *, again: bool) -> FileLock | None:
    key = hashlib.sha256(os.fsencode(path)).hexdigest()[:32]
    note = json.dumps({"job": job, "path": os.fsencode(path).decode("utf-8", "backslashreplace")})
    for place in _places(path, key, registry):
        try:
            place.parent.mkdir(parents=True, exist_ok=True)
            lock = take_lock(place, note)
        except (PermissionError, FileExistsError, NotADirectoryError):
            continue
        except OSError as error:
            raise UserError(f"the output {path} cannot be reserved: {error}", todo="choose a path that can be written to") from error
        if lock is None and again and _holder(place) == f"job {job}":
            return None
        if lock is None:
            raise JobConflict(
                f"{_holder(place)} is writing to {path}",
                todo="wait until it has ended (`runner job stream`), cancel it, or give this job another output path",
            )
        return lock
    raise UserError(f"the output {path} cannot be reserved: no permission", todo="choose a path that can be written to")


def _places(path: str, key: str, registry: Path) -> list[Path]:
    inside = registry / f"{key}.lock"
    if is_address(path) or Path(path).is_relative_to(os.path.realpath(registry.parent)):
        return [inside]
    return [Path(path).parent / f".runner-{key}.lock", inside]


def _holder(place: Path) -> str:
    try:
        return f"job {json.loads(place.read_text())['job']}"
    except (OSError, ValueError, KeyError):
        return "another job"
