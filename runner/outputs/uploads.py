"""Output folders in blob storage: scripts write to a local one, and what has changed in it is uploaded."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import IO, BinaryIO, Protocol

from runner.errors import UserError, one_line
from runner.failpoints import failpoint
from runner.model.datastore import BlobInfo
from runner.outputs.block_ids import BlockIds
from runner.outputs.tree import Look, Tree, look_of
from runner.storage.problems import BlocksLost

THREADS = 8
SHARE = 0.1  # of the time that looking for changes may take
BLOCK = 8 << 20  # larger files are uploaded in blocks
MOST_BLOCKS = 20_000
TRIES = 3  # of a file that another instance writes as well
TICK_NS = 20_000_000  # in which a file may change twice without its time telling
NAMED = 5  # of the files that a warning is about
LONGEST_NAME = 1024  # characters of a blob's
_NO_NAME = re.compile("[\x00-\x1f\x7f-\x9f\\\\\ud800-\udfff\ufffe\uffff]")  # surrogates: what was no UTF-8


class Uploading(Protocol):
    """What is needed of a container of blobs (storage.blob.BlobContainer)."""

    def pages(self, prefix: str) -> Iterator[list[BlobInfo]]: ...
    def read_into(self, path: str, out: IO[bytes], *, size: int, etag: str) -> None: ...
    def put(self, path: str, data: bytes, *, metadata: Mapping[str, str]) -> str: ...
    def stage(self, path: str, block: str, data: bytes) -> None: ...
    def commit(self, path: str, blocks: Sequence[str], *, metadata: Mapping[str, str]) -> str: ...
    def delete(self, path: str) -> None: ...


class FolderUpload:
    """`Folder` (outlet.py): what is in `local` goes below `prefix` of `container`. Files that vanish again are deleted there, too.

    `kept_out` are paths in it that are not uploaded, `files` those that must not become folders. `marks` is the metadata of each blob,
    by which `prepare` knows those of an earlier life of the job. Content of others that was there before is never looked at.
    """

    def __init__(
        self,
        container: Uploading,
        prefix: str,
        local: Path,
        *,
        marks: Mapping[str, str],
        kept_out: Collection[str] = (),
        files: Collection[str] = (),
        warn: Callable[[str], None] = lambda _text: None,
        now: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._container, self._prefix, self._marks, self._warn = container, prefix.strip("/"), marks, warn
        self._kept_out, self._single = frozenset(kept_out), frozenset(files)
        self._tree = Tree(local)
        self._now, self._sleep = now, sleep
        self._ids = BlockIds()
        self._sent: dict[str, Look | None] = {}  # None: to be uploaded again
        self._warned: set[str] = set()
        self._next_look = float("-inf")

    def prepare(self) -> None:
        """Before scripts run: brings what they had written in an earlier life, which they may append to. Errors: OSError, UserError."""
        prefix = self._blob("")
        with ThreadPoolExecutor(max_workers=THREADS, thread_name_prefix="bring") as pool:
            for page in self._container.pages(prefix):
                list(pool.map(self._bring, filter(self._is_own, page)))
        self._sent = dict(self._tree.look().files)

    def _is_own(self, blob: BlobInfo) -> bool:
        """Its name is one that a file can have, too."""
        parts = blob.path.removeprefix(self._blob("")).split("/")
        return self._marks.items() <= blob.metadata.items() and not {"", ".", ".."}.intersection(parts)

    def _bring(self, blob: BlobInfo) -> None:
        with self._tree.create(blob.path.removeprefix(self._blob(""))) as file:
            self._container.read_into(blob.path, file, size=blob.size, etag=blob.etag)

    def sync(self) -> None:
        """Returns when all that has changed since the last time is uploaded. Errors: OSError, UserError."""
        if (left := self._next_look - self._now()) > 0:
            self._sleep(left)
        began = self._now()
        found = self._look()
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
        file = self._tree.open(name)
        if file is None:
            return None
        with file:
            now, look = time.time_ns(), look_of(os.fstat(file.fileno()))
            self._send_file(file, self._blob(name), look[0])
        return look if now - max(look[1], look[2]) > TICK_NS else None

    def _send_file(self, file: BinaryIO, path: str, size: int) -> None:
        if size <= BLOCK:
            self._container.put(path, file.read(size), metadata=self._marks)
            return
        for left in range(TRIES - 1, -1, -1):
            ids = self._ids.many(0)
            file.seek(0)
            while data := file.read(max(BLOCK, size // MOST_BLOCKS)):
                ids += self._ids.many(1)
                self._container.stage(path, ids[-1], data)
            try:
                self._container.commit(path, ids, metadata=self._marks)
            except BlocksLost:
                if not left:
                    raise
            else:
                return

    def _blob(self, name: str) -> str:
        return f"{self._prefix}/{name}" if self._prefix else name

    def _look(self) -> dict[str, Look]:
        """All files that are to be there. Errors: UserError for what can never be."""
        found = self._tree.look()
        if taken := sorted(self._single & found.folders):
            raise UserError(
                f"'{self._blob(taken[0])}' is an output of type uri_file, and the script has made a folder of it",
                todo="write a file, or make it an output of type uri_folder",
            )
        self._warn_of([name for name in found.left_out if name not in self._kept_out])
        files = {name: look for name, look in found.files.items() if name not in self._kept_out}
        for name in files:
            _check_name(self._blob(name))
        return files

    def _warn_of(self, left_out: list[str]) -> None:
        if new := sorted(set(left_out) - self._warned):
            self._warned.update(new)
            named = ", ".join(f"'{_shown(name)}'" for name in new[:NAMED]) + (f" and {len(new) - NAMED} more" if len(new) > NAMED else "")
            self._warn(f"not uploaded, as links may lead to files that are none of the job's output: {named}; write copies instead")


def _check_name(blob: str) -> None:
    if len(blob) > LONGEST_NAME or _NO_NAME.search(blob):
        raise UserError(
            f"no blob can have the name of the file '{_shown(blob)}', which the script has written to an output",
            allowed=f"UTF-8 without control characters, backslashes, U+FFFE, U+FFFF; {LONGEST_NAME} characters with the output's path",
            todo="give it another name, and `job resume`",
        )


def _shown(name: str) -> str:
    return one_line(name.encode("utf-8", "backslashreplace").decode())
