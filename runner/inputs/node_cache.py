"""Files from blob storage that all jobs of a node share: brought here once, by one process, while others wait.

    <digest>/data     the files; the digest is that of their names, sizes and ETags
    <digest>/files    all names below data, and how each file was when it was brought: it is checked at each use
    <digest>.use      locked, shared, by those who use them; its time is that of the last use
    <digest>.fill     locked by the one who brings them, into <digest>.filling

Nobody may write there, and scripts that do all the same (root, or after a chmod) change nothing for later jobs: what is no longer as it
was brought is brought anew, to <digest>-1 and so on where somebody still uses it.

The kernel frees the locks of processes that end, however they do.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import itertools
import json
import os
import shutil
import stat
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import wait
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from runner.inputs.download import Blob, Downloads

KEPT = 32 << 30  # bytes beyond which what was not used for longest is removed
SPARE = 1 << 30  # bytes of the disk that are left free, where that can be had by removing
CLOSED, OPEN = 0o555, 0o700  # folders: as they are kept, and to be removed
_State = dict[str, list[int] | None]


@dataclass
class Use:
    """Files in the cache, which stay there until it is closed."""

    folder: Path
    _lock: int

    def close(self) -> None:
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1


class NodeCache:
    """Threads and processes may share the folder."""

    def __init__(self, folder: Path, *, kept: int = KEPT) -> None:
        self._folder, self._kept = folder, kept

    def get(self, blobs: Mapping[str, Blob], *, begin: Callable[[], None] = lambda: None) -> Use:
        """The blobs as files: relative path → blob; `begin` is called where they have to be brought here first.

        Errors: UserError, BlobChanged and BlobMissing among them; OSError.
        """
        self._folder.mkdir(parents=True, exist_ok=True)
        digest = _digest(blobs)
        for number in itertools.count():
            use = self._use(self._folder / (f"{digest}-{number}" if number else digest), blobs, begin)
            if use is not None:
                return use
        raise AssertionError

    def _use(self, entry: Path, blobs: Mapping[str, Blob], begin: Callable[[], None]) -> Use | None:
        """None where the entry is damaged, and others use it."""
        use = Use(entry / "data", _locked(entry.with_suffix(".use"), fcntl.LOCK_SH))
        try:
            os.utime(entry.with_suffix(".use"))
            if not _is_whole(entry):
                with _lock(entry.with_suffix(".fill")):
                    if not _is_whole(entry):
                        use.close()
                        if not _free(entry):
                            return None
                        use = Use(entry / "data", _locked(entry.with_suffix(".use"), fcntl.LOCK_SH))
                        begin()
                        self._fill(entry, blobs)
        except BaseException:
            use.close()
            raise
        return use

    def _fill(self, entry: Path, blobs: Mapping[str, Blob]) -> None:
        size = sum(blob.size for blob in blobs.values())
        self._make_room(size)
        filling = entry.with_suffix(".filling")
        _delete(filling)  # of a process that was killed
        try:
            filling.mkdir()
            _bring(blobs, filling / "data")
            (filling / "bytes").write_text(str(size))
            _close(filling / "data")
            (filling / "files").write_text(json.dumps(_state(filling / "data")))
            filling.chmod(CLOSED)
            filling.rename(entry)
        finally:
            _delete(filling)

    def _make_room(self, needed: int) -> None:
        for left in self._folder.glob("*.filling"):
            with _lock(left.with_suffix(".fill"), wait=False) as locked:
                if locked:
                    _delete(left)
        entries = {use.with_suffix(""): use.stat().st_mtime_ns for use in self._folder.glob("*.use")}
        sizes = {entry: _size(entry) for entry in entries}
        total = sum(sizes.values())
        for entry in sorted(sizes, key=lambda one: entries[one]):
            free = shutil.disk_usage(self._folder).free
            if total + needed <= self._kept and needed + SPARE <= free:
                return
            with _lock(entry.with_suffix(".use"), wait=False) as locked:
                if locked:
                    _remove(entry)
                    total -= sizes[entry]


def _bring(blobs: Mapping[str, Blob], target: Path) -> None:
    for folder in {target, *((target / name).parent for name in blobs)}:
        folder.mkdir(parents=True, exist_ok=True)
    with Downloads() as downloads:
        failed: list[bool] = []
        start = partial(downloads.start, arrived=lambda: None, wanted=lambda: not failed)
        arrivals = [start(blob, target / name) for name, blob in blobs.items()]
        try:
            for arrival in arrivals:
                arrival.result()
        except BaseException:
            failed.append(True)
            raise
        finally:
            wait(arrivals)


def _digest(blobs: Mapping[str, Blob]) -> str:
    parts = [[name, blob.container.address(blob.path), blob.size, blob.etag] for name, blob in sorted(blobs.items())]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:32]


def _is_whole(entry: Path) -> bool:
    try:
        known = json.loads((entry / "files").read_text())
        return bool(known == _state(entry / "data"))
    except (OSError, ValueError):
        return False


def _state(data: Path) -> _State:
    """What is below: of each file what changes when anybody writes to it or replaces it; None of folders. Links count as themselves."""
    found: _State = {}
    for root, folders, files in os.walk(data, onerror=_fail):
        for name in (*folders, *files):
            path = os.path.join(root, name)
            seen = os.lstat(path)
            kept = [seen.st_size, seen.st_mtime_ns, seen.st_ctime_ns, seen.st_ino]
            found[os.path.relpath(path, data)] = None if stat.S_ISDIR(seen.st_mode) else kept
    return found


def _fail(error: OSError) -> None:
    raise error


def _close(data: Path) -> None:
    for root, _folders, _files in os.walk(data, topdown=False):
        Path(root).chmod(CLOSED)


def _free(entry: Path) -> bool:
    """Removes what is damaged; False where somebody uses it."""
    with _lock(entry.with_suffix(".use"), wait=False) as locked:
        if locked or not entry.exists():
            _remove(entry)
            return True
    return False


def _size(entry: Path) -> int:
    try:
        return int((entry / "bytes").read_text())
    except (OSError, ValueError):
        return 0


def _remove(entry: Path) -> None:
    gone = entry.with_suffix(".gone")
    _delete(gone)
    with contextlib.suppress(FileNotFoundError):
        entry.rename(gone)
    _delete(gone)


def _delete(folder: Path) -> None:
    for root, folders, _files in os.walk(folder):
        for path in (Path(root), *(Path(root, name) for name in folders)):
            if not path.is_symlink():  # somebody else's folder may be at its end
                with contextlib.suppress(OSError):
                    path.chmod(OPEN)
    shutil.rmtree(folder, ignore_errors=True)


def _locked(path: Path, how: int) -> int:
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        fcntl.flock(descriptor, how)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


@contextmanager
def _lock(path: Path, *, wait: bool = True) -> Iterator[bool]:
    """Whether it is locked for us alone: always, if it is waited for."""
    try:
        descriptor = _locked(path, fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        yield False
        return
    try:
        yield True
    finally:
        os.close(descriptor)
