"""Output folders in blob storage: scripts write to a local one, and what has changed in it is uploaded."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import BinaryIO, Protocol

from runner.failpoints import failpoint
from runner.outputs.block_ids import BlockIds
from runner.storage.problems import BlocksLost

THREADS = 8
SHARE = 0.1  # of the time that looking for changes may take
BLOCK = 8 << 20  # larger files are uploaded in blocks
MOST_BLOCKS = 20_000
TRIES = 3  # of a file that another instance writes as well
TICK_NS = 20_000_000  # in which a file may change twice without its time telling

Look = tuple[int, int, int]  # size, mtime_ns and inode of a file


class Uploading(Protocol):
    """What is needed of a container of blobs (storage.blob.BlobContainer)."""

    def put(self, path: str, data: bytes) -> str: ...
    def stage(self, path: str, block: str, data: bytes) -> None: ...
    def commit(self, path: str, blocks: Sequence[str]) -> str: ...
    def delete(self, path: str) -> None: ...


class FolderUpload:
    """`Folder` (outlet.py): what is in `local` goes below `prefix` of `container`. Files that vanish again are deleted there, too.

    `kept_out` are paths in it that are not uploaded. Content that was there before is never looked at.
    """

    def __init__(
        self,
        container: Uploading,
        prefix: str,
        local: Path,
        *,
        kept_out: frozenset[str] = frozenset(),
        now: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._container, self._prefix, self._local, self._kept_out = container, prefix.strip("/"), local, kept_out
        self._now, self._sleep = now, sleep
        self._ids = BlockIds()
        self._sent: dict[str, Look | None] = {}  # None: to be uploaded again
        self._next_look = float("-inf")

    def sync(self) -> None:
        """Returns when all that has changed since the last time is uploaded. Errors: OSError, UserError."""
        if (left := self._next_look - self._now()) > 0:
            self._sleep(left)
        began = self._now()
        found = dict(self._files())
        changed = {name: look for name, look in found.items() if self._sent.get(name) != look}
        gone = [name for name in self._sent if name not in found]
        took = self._now() - began
        self._next_look = self._now() + took * (1 / SHARE - 1)
        if changed or gone:
            self._send(changed, gone)

    def _send(self, changed: Mapping[str, Look], gone: list[str]) -> None:
        failpoint("files.before")
        with ThreadPoolExecutor(max_workers=min(THREADS, max(1, len(changed) + len(gone))), thread_name_prefix="upload") as pool:
            sent = {name: pool.submit(self._upload, name) for name in changed}
            deleted = {name: pool.submit(self._container.delete, self._blob(name)) for name in gone}
            try:
                for name, work in sent.items():
                    self._sent[name] = work.result()
                for name, deletion in deleted.items():
                    deletion.result()
                    del self._sent[name]
            except BaseException:
                pool.shutdown(wait=False, cancel_futures=True)
                raise
        failpoint("files.uploaded")

    def _upload(self, name: str) -> Look | None:
        """How the file looked that was uploaded, unless it is to be uploaded again: what changes meanwhile is seen at the next look."""
        try:
            with open(self._local / name, "rb") as file:
                now, look = time.time_ns(), _look(os.fstat(file.fileno()))
                self._send_file(file, self._blob(name), look[0])
        except FileNotFoundError:
            return None
        return look if now - look[1] > TICK_NS else None

    def _send_file(self, file: BinaryIO, path: str, size: int) -> None:
        if size <= BLOCK:
            self._container.put(path, file.read(size))
            return
        for left in range(TRIES - 1, -1, -1):
            ids = self._ids.many(0)
            file.seek(0)
            while data := file.read(max(BLOCK, size // MOST_BLOCKS)):
                ids += self._ids.many(1)
                self._container.stage(path, ids[-1], data)
            try:
                self._container.commit(path, ids)
            except BlocksLost:
                if not left:
                    raise
            else:
                return

    def _blob(self, name: str) -> str:
        return f"{self._prefix}/{name}" if self._prefix else name

    def _files(self) -> Iterator[tuple[str, Look]]:
        """All files below, those that links lead to included; names relative to the folder, with slashes."""
        folders = [""]
        while folders:
            folder = folders.pop()
            try:
                entries = os.scandir(self._local / folder)
            except (FileNotFoundError, NotADirectoryError):  # a script has taken it away again
                continue
            with entries:
                for entry in entries:
                    name = f"{folder}{entry.name}"
                    if entry.is_dir(follow_symlinks=False):
                        folders.append(f"{name}/")
                    elif name not in self._kept_out and (look := _look_at(entry)):
                        yield name, look


def _look_at(entry: os.DirEntry[str]) -> Look | None:
    try:
        return _look(entry.stat()) if entry.is_file() else None
    except OSError:  # it has vanished, or a link leads nowhere
        return None


def _look(status: os.stat_result) -> Look:
    return status.st_size, status.st_mtime_ns, status.st_ino
