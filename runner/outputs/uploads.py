"""Output folders in blob storage: scripts write to a local one, and what has changed in it is uploaded."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import IO, BinaryIO, Protocol

from runner.errors import UserError, one_line
from runner.failpoints import failpoint
from runner.model.datastore import BlobInfo
from runner.outputs.block_ids import BlockIds
from runner.outputs.tree import Look, Tree, look_of
from runner.storage.problems import BlobChanged, BlobMissing, BlocksLost

JOB, NODE = "runner_job", "runner_node"  # metadata of each blob: whose it is

THREADS = 8
SHARE = 0.1  # of the time that looking for changes may take
BLOCK = 8 << 20  # larger files are uploaded in blocks
MOST_BLOCKS = 20_000
TRIES = 3  # of a file that another instance writes as well
TICK_NS = 20_000_000  # in which a file may change twice without its time telling
NAMED = 5  # of the files that a warning is about
LONGEST_NAME = 1024  # characters of a blob's
MOST_KNOWN = 100_000  # blobs of others in the folder whose ETags are remembered: one request, instead of three, replaces such a one
_NO_NAME = re.compile("[\x00-\x1f\x7f-\x9f\\\\\ud800-\udfff\ufffe\uffff]")  # surrogates: what was no UTF-8


class Uploading(Protocol):
    """What is needed of a container of blobs (storage.blob.BlobContainer)."""

    def pages(self, prefix: str) -> Iterator[list[BlobInfo]]: ...
    def read_into(self, path: str, out: IO[bytes], *, size: int, etag: str) -> None: ...
    def info(self, path: str) -> BlobInfo: ...
    def put(self, path: str, data: bytes, *, etag: str | None, metadata: Mapping[str, str]) -> str: ...
    def stage(self, path: str, block: str, data: bytes) -> None: ...
    def commit(self, path: str, blocks: Sequence[str], *, etag: str | None, metadata: Mapping[str, str]) -> str: ...
    def delete(self, path: str, *, etag: str) -> None: ...


@dataclass(frozen=True)
class Sent:
    """A file that is uploaded."""

    look: Look | None  # how it looked; None: to be uploaded again
    etag: str  # of its blob; empty where there is none of ours


class FolderUpload:
    """`Folder` (outlet.py): what is in `local` goes below `prefix` of `container`. Files that vanish again are deleted there, too.

    `kept_out` are paths in it that are not uploaded, `files` those that must not become folders. `job` and `node` stand in the metadata of
    each blob, by which `prepare` knows those of an earlier life of the job; `goes_on_for` says of which other nodes it brings them, too.
    Content of others that was there before is never looked at. A blob that another node has written meanwhile is replaced, and told of.
    """

    def __init__(
        self,
        container: Uploading,
        prefix: str,
        local: Path,
        *,
        job: str,
        node: str,
        goes_on_for: Callable[[str], bool] = lambda _node: False,
        kept_out: Collection[str] = (),
        files: Collection[str] = (),
        warn: Callable[[str], None] = lambda _text: None,
        now: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._container, self._prefix, self._warn = container, prefix.strip("/"), warn
        self._job, self._node, self._goes_on_for = job, node, goes_on_for
        self._marks = {JOB: job, NODE: node}
        self._kept_out, self._single = frozenset(kept_out), frozenset(files)
        self._tree = Tree(local)
        self._now, self._sleep = now, sleep
        self._ids = BlockIds()
        self._sent: dict[str, Sent] = {}
        self._there: dict[str, str] = {}  # file → ETag of the blob that is known to be there, and may be replaced
        self._clashes: list[tuple[str, str]] = []  # (node, file): replaced since they were last told of
        self._told_clashes: set[tuple[str, str]] = set()
        self._warned: set[str] = set()
        self._next_look = float("-inf")

    def prepare(self) -> None:
        """Before scripts run: brings what they had written in an earlier life, which they may append to. Errors: OSError, UserError."""
        prefix = self._blob("")
        with ThreadPoolExecutor(max_workers=THREADS, thread_name_prefix="bring") as pool:
            for page in self._container.pages(prefix):
                own = [blob for blob in page if self._is_own(blob)]
                list(pool.map(self._bring, own))
                others = [blob for blob in page if blob.metadata.get(JOB) != self._job][: max(0, MOST_KNOWN - len(self._there))]
                self._there.update((blob.path.removeprefix(prefix), blob.etag) for blob in (*own, *others))
        self._sent = {name: Sent(look, self._there.pop(name, "")) for name, look in self._tree.look().files.items()}

    def _is_own(self, blob: BlobInfo) -> bool:
        """To go on with; its name is one that a file can have, too."""
        parts = blob.path.removeprefix(self._blob("")).split("/")
        node = blob.metadata.get(NODE, "")
        ours = blob.metadata.get(JOB) == self._job and (node == self._node or self._goes_on_for(node))
        return ours and not {"", ".", ".."}.intersection(parts)

    def _bring(self, blob: BlobInfo) -> None:
        with self._tree.create(blob.path.removeprefix(self._blob(""))) as file:
            self._container.read_into(blob.path, file, size=blob.size, etag=blob.etag)

    def sync(self) -> None:
        """Returns when all that has changed since the last time is uploaded. Errors: OSError, UserError."""
        if (left := self._next_look - self._now()) > 0:
            self._sleep(left)
        began = self._now()
        found = self._look()
        changed = {name: look for name, look in found.items() if name not in self._sent or self._sent[name].look != look}
        gone = [name for name in self._sent if name not in found]
        took = self._now() - began
        self._next_look = self._now() + took * (1 / SHARE - 1)
        if changed or gone:
            self._send(changed, gone)

    def _send(self, changed: Mapping[str, Look], gone: list[str]) -> None:
        failpoint("files.before")
        with ThreadPoolExecutor(max_workers=min(THREADS, max(1, len(changed) + len(gone))), thread_name_prefix="upload") as pool:
            sent = {name: pool.submit(self._upload, name) for name in changed}
            deleted = {name: pool.submit(self._delete, name) for name in gone}
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
        self._tell_clashes()

    def _upload(self, name: str) -> Sent:
        """Its look is left out where it is to be uploaded again: what changes meanwhile is seen at the next look."""
        known = self._sent[name].etag if name in self._sent else self._there.pop(name, "")
        file = self._tree.open(name)
        if file is None:
            return Sent(None, known)
        with file:
            now, look = time.time_ns(), look_of(os.fstat(file.fileno()))
            etag = self._send_file(file, name, look[0], known)
        return Sent(look if now - max(look[1], look[2]) > TICK_NS else None, etag)

    def _send_file(self, file: BinaryIO, name: str, size: int, known: str) -> str:
        """`known`: the ETag of the blob that it replaces, empty if there should be none. Returns the new one."""
        path = self._blob(name)
        if size <= BLOCK:
            data = file.read(size)
            return self._replacing(name, known, lambda etag: self._container.put(path, data, etag=etag, metadata=self._marks))
        for left in range(TRIES - 1, -1, -1):
            ids = self._ids.many(0)
            file.seek(0)
            while data := file.read(max(BLOCK, size // MOST_BLOCKS)):
                ids += self._ids.many(1)
                self._container.stage(path, ids[-1], data)
            try:
                return self._replacing(name, known, partial(self._commit, path, tuple(ids)))
            except BlocksLost:
                if not left:
                    raise
        raise AssertionError  # the last one has returned or raised

    def _commit(self, path: str, blocks: Sequence[str], etag: str | None) -> str:
        return self._container.commit(path, blocks, etag=etag, metadata=self._marks)

    def _replacing(self, name: str, known: str, write: Callable[[str | None], str]) -> str:
        """The later upload wins; whose it replaces is noted where that is another node of this job."""
        try:
            return write(known)
        except BlobChanged:
            self._note_clash(name)
            return write(None)

    def _note_clash(self, name: str) -> None:
        try:
            marks = self._container.info(self._blob(name)).metadata
        except BlobMissing:
            return
        if marks.get(JOB) == self._job and (node := marks.get(NODE, "")) != self._node:
            self._clashes.append((node, name))

    def _tell_clashes(self) -> None:
        new = sorted(set(self._clashes) - self._told_clashes)
        self._clashes.clear()
        self._told_clashes.update(new)
        for node in dict.fromkeys(node for node, _ in new):
            named = _some([name for other, name in new if other == node])
            self._warn(f"{named}: written by {node} and by {self._node}; the upload of {self._node} came last and is kept")

    def _delete(self, name: str) -> None:
        """Unless it is another's by now."""
        if etag := self._sent[name].etag:
            try:
                self._container.delete(self._blob(name), etag=etag)
            except BlobChanged:
                pass

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
            self._warn(f"not uploaded, as links may lead to files that are none of the job's output: {_some(new)}; write copies instead")


def _check_name(blob: str) -> None:
    if len(blob) > LONGEST_NAME or _NO_NAME.search(blob):
        raise UserError(
            f"no blob can have the name of the file '{_shown(blob)}', which the script has written to an output",
            allowed=f"UTF-8 without control characters, backslashes, U+FFFE, U+FFFF; {LONGEST_NAME} characters with the output's path",
            todo="give it another name, and `job resume`",
        )


def _some(names: Sequence[str]) -> str:
    """The first of them, and how many more."""
    return ", ".join(f"'{_shown(name)}'" for name in names[:NAMED]) + (f" and {len(names) - NAMED} more" if len(names) > NAMED else "")


def _shown(name: str) -> str:
    return one_line(name.encode("utf-8", "backslashreplace").decode())
