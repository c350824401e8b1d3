"""Copies what a job's folder and its logs have to the datastore, round by round, in the order that lets another machine go on.

1. the parts, up to what they have now, and the manifest
2. the journal, up to the last whole record that there was before 1: it never speaks of what is not in the archive
3. parts that are gone here go there. They are removed here after the journal has said, durably, that they are not needed: so those that
   were gone before 1 are not spoken of in 2 either. Where some vanish during 1, it is done again.
4. logs, and last the record as it was before 1: what it says is there

Only what has a name in this file is copied: no locks, sockets, credentials or keys, and nothing that makes sense on this machine only.
"""

from __future__ import annotations

import hashlib
import os
import tarfile
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import IO

from runner.failpoints import failpoint
from runner.model.datastore import BlobInfo
from runner.model.paths import JobPaths
from runner.storage.blob import BlobContainer
from runner.storage.problems import BlobMissing
from runner.workspace.archive.growing import GrowingBlob
from runner.workspace.archive.places import Places
from runner.workspace.records import JobRecord, load_record

THREADS = 4  # that send at the same time
BLOCK = 1 << 20
TRIES = 3  # to find the parts in rest
SIGNATURE = "sha256"  # of the code, among the blob's metadata

State = tuple[int, int, int]  # size, time of change, inode
RecordStates = tuple[State | None, State | None]  # of its two files


class Copier:
    """Of one job. `known`: the blobs that are there already, from an earlier owner. `still_mine` is called before anything is written, and
    raises when nothing may be. One thread calls it.

    Errors of its methods: BlobChanged where another owner has written; StorageUnavailable or StorageRefused, and then it can be called
    again.
    """

    def __init__(
        self, paths: JobPaths, places: Places, container: BlobContainer, known: Mapping[str, BlobInfo], *, still_mine: Callable[[], None]
    ) -> None:
        self._paths, self._places, self._container, self._still_mine = paths, places, container, still_mine
        self._blobs = {info.path: _known(container, info) for info in known.values()}
        self._seen: dict[Path, State] = {}  # as it was when it was copied
        self._begun = False
        self._record: RecordStates = (None, None)
        self._pool = ThreadPoolExecutor(THREADS, thread_name_prefix="archive")

    def copy(self) -> bool:
        """All, and then the record as it was before: what it says is there. True if anything else was new."""
        changed, states, record = False, *self._new_record()
        if not self._begun:
            self._begin()
            self._begun = changed = True
        for paths, places in self._steps():
            changed |= self._progress(paths, places)
        changed |= self._grow(self._paths.owner_log, self._places.owner_log)
        changed |= self._logs()
        self._put_record(states, record)
        return changed

    def copy_record(self) -> None:
        self._put_record(*self._new_record())

    def _new_record(self) -> tuple[RecordStates, JobRecord | None]:
        """None if it has not changed."""
        states = _state(self._paths.record), _state(self._paths.progress)
        return states, load_record(self._paths) if states != self._record else None

    def _put_record(self, states: RecordStates, record: JobRecord | None) -> None:
        if record is not None:
            self._blob(self._places.record).put(record.to_bytes())
        self._record = states

    def close(self) -> None:
        self._pool.shutdown()

    # What does not change

    def _begin(self) -> None:
        for path, place in ((self._paths.spec, self._places.spec), (self._paths.stores, self._places.stores)):
            if path.exists():
                self._blob(place).put(path.read_bytes())
        for paths, places in self._steps():
            if paths.code.is_dir():
                self._code(paths.code, places.code)

    def _code(self, folder: Path, place: str) -> None:
        with tempfile.TemporaryFile() as file:
            signature = pack(folder, file)
            if self._signature(place) != signature:
                size = file.tell()
                self._blob(place).etag = self._container.put(place, file, metadata={SIGNATURE: signature}, length=size)

    def _signature(self, place: str) -> str:
        if place not in self._blobs:
            return ""
        try:
            return self._container.info(place).metadata.get(SIGNATURE, "")
        except BlobMissing:
            return ""

    # What grows

    def _progress(self, paths: JobPaths, places: Places) -> bool:
        changed = False
        for _ in range(TRIES):
            before, size = _names(paths.parts), whole_lines(paths.journal)
            if size is None:
                return False
            changed |= self._all((paths.parts / name, places.parts + name) for name in sorted(before))
            failpoint("archive.parts")
            after = _names(paths.parts)
            if before <= after:
                break
        else:
            return changed  # the journal waits for the next round
        changed |= self._grow(paths.manifest, places.manifest, whole_lines(paths.manifest))
        failpoint("archive.manifest")
        changed |= self._grow(paths.journal, places.journal, size)
        failpoint("archive.journal")
        self._discard(places.parts, after)
        return changed

    def _discard(self, place: str, names: set[str]) -> None:
        """Parts that are gone here."""
        for path in [path for path in self._blobs if path.startswith(place) and path[len(place) :] not in names]:
            self._still_mine()
            self._container.delete(path)
            del self._blobs[path]

    def _logs(self) -> bool:
        root = self._paths.logs
        return self._all((path, self._places.logs + path.relative_to(root).as_posix()) for path in log_files(root))

    def _all(self, files: Iterable[tuple[Path, str]]) -> bool:
        return any(list(self._pool.map(lambda file: self._grow(*file), list(files))))

    def _grow(self, file: Path, place: str, size: int | None = None) -> bool:
        """Brings the blob to what the file has (or its first `size` bytes); False if that is nothing new."""
        state, before = _state(file), self._seen.get(file)
        if state is None or (before == state and size in (None, self._size(place))):
            return False
        replaced = before is not None and (before[2] != state[2] or (size is None and before[0] == state[0]))
        try:
            with open(file, "rb", buffering=0) as opened:
                self._blob(place).bring(partial(_read_all, opened), state[0] if size is None else size, anew=replaced)
        except FileNotFoundError:
            return False
        self._seen[file] = state
        return True

    def _size(self, place: str) -> int:
        return self._blobs[place].size if place in self._blobs else 0

    def _blob(self, place: str) -> GrowingBlob:
        """To be written."""
        self._still_mine()
        return self._blobs.setdefault(place, GrowingBlob(container=self._container, path=place))

    def _steps(self) -> Iterator[tuple[JobPaths, Places]]:
        yield self._paths, self._places
        for folder in sorted((self._paths.root / "steps").glob("*")):
            yield self._paths.step(folder.name), self._places.step(folder.name)


def _known(container: BlobContainer, info: BlobInfo) -> GrowingBlob:
    return GrowingBlob(container=container, path=info.path, size=info.size, etag=info.etag, known=True)


def log_files(root: Path) -> Iterator[Path]:
    """Regular files only: a link might lead anywhere. What begins with a dot is being written."""
    for folder, _, names in os.walk(root):
        for name in names:
            path = Path(folder, name)
            if not name.startswith(".") and path.is_file() and not path.is_symlink():
                yield path


def whole_lines(path: Path) -> int | None:
    """Where the last whole line ends; None if there is no such file."""
    try:
        with open(path, "rb", buffering=0) as file:
            end = file.seek(0, os.SEEK_END)
            while end:
                start = max(0, end - BLOCK)
                at = _read(file, start, end - start).rfind(b"\n")
                if at >= 0:
                    return start + at + 1
                end = start
            return 0
    except FileNotFoundError:
        return None


def _names(folder: Path) -> set[str]:
    try:
        return {entry.name for entry in os.scandir(folder)}
    except FileNotFoundError:
        return set()


def pack(folder: Path, out: IO[bytes]) -> str:
    """A tar of the regular files below the folder; returns a checksum of it, equal for equal names, modes, times and contents."""
    with tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for path in sorted(folder.rglob("*")):
            if path.is_symlink() or not (path.is_file() or path.is_dir()):
                continue
            member = tar.gettarinfo(path, path.relative_to(folder).as_posix())
            member.uid = member.gid = 0
            member.uname = member.gname = ""
            if path.is_dir():
                tar.addfile(member)
                continue
            with open(path, "rb") as data:
                tar.addfile(member, data)
    out.seek(0)
    digest = hashlib.sha256()
    while piece := out.read(BLOCK):
        digest.update(piece)
    return digest.hexdigest()


def _state(path: Path) -> State | None:
    try:
        status = path.stat()
    except FileNotFoundError:
        return None
    return status.st_size, status.st_mtime_ns, status.st_ino


def _read(file: IO[bytes], offset: int, length: int) -> bytes:
    """Fewer bytes only where the file ends."""
    pieces = []
    while length and (data := os.pread(file.fileno(), length, offset)):
        pieces.append(data)
        offset, length = offset + len(data), length - len(data)
    return b"".join(pieces)


def _read_all(file: IO[bytes], offset: int, length: int) -> bytes:
    """Errors: FileNotFoundError where there are fewer bytes: it has been cut since its size was asked for."""
    data = _read(file, offset, length)
    if len(data) != length:
        raise FileNotFoundError
    return data
