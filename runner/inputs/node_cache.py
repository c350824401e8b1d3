"""Files from blob storage that all jobs of a node share: brought here once, by one process, while others wait.

    <digest>/data     the files; the digest is that of their names, sizes and ETags
    <digest>/files    their names and sizes, by which they are checked at each use
    <digest>.use      locked, shared, by those who use them; its time is that of the last use
    <digest>.fill     locked by the one who brings them, into <digest>.filling

The kernel frees the locks of processes that end, however they do.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import wait
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from runner.inputs.download import Blob, Downloads

KEPT = 32 << 30  # bytes beyond which what was not used for longest is removed
SPARE = 1 << 30  # bytes of the disk that are left free, where that can be had by removing


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
        entry = self._folder / _digest(blobs)
        use = Use(entry / "data", _locked(entry.with_suffix(".use"), fcntl.LOCK_SH))
        try:
            os.utime(entry.with_suffix(".use"))
            if not _is_whole(entry):
                with _lock(entry.with_suffix(".fill")):
                    if not _is_whole(entry):
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
        shutil.rmtree(filling, ignore_errors=True)  # of a process that was killed
        try:
            filling.mkdir()
            _bring(blobs, filling / "data")
            (filling / "bytes").write_text(str(size))
            (filling / "files").write_text(json.dumps({name: blob.size for name, blob in blobs.items()}))
            _remove(entry)  # it was damaged
            filling.rename(entry)
        finally:
            shutil.rmtree(filling, ignore_errors=True)

    def _make_room(self, needed: int) -> None:
        for left in self._folder.glob("*.filling"):
            with _lock(left.with_suffix(".fill"), wait=False) as locked:
                if locked:
                    shutil.rmtree(left, ignore_errors=True)
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
        files = json.loads((entry / "files").read_text())
        return all((entry / "data" / name).stat().st_size == size for name, size in files.items())
    except (OSError, ValueError):
        return False


def _size(entry: Path) -> int:
    try:
        return int((entry / "bytes").read_text())
    except (OSError, ValueError):
        return 0


def _remove(entry: Path) -> None:
    gone = entry.with_suffix(".gone")
    shutil.rmtree(gone, ignore_errors=True)
    with contextlib.suppress(FileNotFoundError):
        entry.rename(gone)
    shutil.rmtree(gone, ignore_errors=True)


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
