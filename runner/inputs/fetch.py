"""Files of mini-batches that lie in blob storage: brought here before their mini-batch runs, and gone when it has."""

from __future__ import annotations

import json
import os
import threading
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import CancelledError, Future
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from itertools import count
from pathlib import Path
from typing import ClassVar

from runner.inputs.download import REQUESTS, Blob, Downloads
from runner.inputs.files import FileEntry
from runner.inputs.split import files_of
from runner.model.batch import INPUT_CHANGED, ErrorRecord, Loaded
from runner.model.job import JobInput
from runner.model.ports import Room, Transport
from runner.storage.addresses import base_name, is_address, join, relative
from runner.storage.problems import BlobChanged, BlobMissing
from runner.storage.stores import Stores

AHEAD = 1 << 30
INSIDE = "in"  # below an instance's folder: what lies in the input's own folder, laid out as there
ELSEWHERE = "at"  # what an MLTable file names that lies elsewhere
ARRIVING = "part"


def whole_path(path: str, root: str) -> str:
    """Of a path of the manifest: the file's address, or its local path."""
    return path if is_address(path) or path.startswith("/") else join(root, path)


def place_of(given: JobInput, fetched: Path) -> str:
    """Where the input would be, were it laid out as a whole."""
    inside = fetched / INSIDE
    return str(inside / base_name(given.path or "") if given.type == "uri_file" else inside)


@dataclass(eq=False)
class _Held:
    """A file that mini-batches use."""

    local: str
    version: int | str
    users: int = 1
    is_here: bool = False
    arrival: Future[None] = field(default_factory=Future)


class FileLoader:
    """A `Loader`."""

    room: ClassVar[Room] = Room(on_disk=True, ahead=AHEAD, frame=AHEAD // 16, loads=REQUESTS)

    def __init__(self, stores: Stores, *, root: str) -> None:
        """`root`: the input's folder, which relative manifest paths are below."""
        self._stores, self._root = stores, root
        self._downloads = Downloads()
        self._lock = threading.Lock()
        self._held: dict[str, _Held] = {}
        self._folders: Counter[str] = Counter()  # files in each
        self._numbers = count()
        self._ended: set[Path] = set()  # folders of instances

    def weight(self, line: bytes) -> int:
        return sum(file.size for file in files_of(line)[0])

    def load(self, first: int, lines: Sequence[bytes], scratch: Path, transport: Transport) -> Loaded:  # noqa: ARG002 - files are files
        batches = [files_of(line)[0] for line in lines]
        held: list[list[_Held | None]] = []
        told, failed, good = list[bytes](), dict[int, ErrorRecord](), list[str]()
        try:
            for files in batches:
                held.append([])
                for file in files:
                    held[-1].append(self._hold(file, scratch))
            for at, (line, files, here) in enumerate(zip(lines, batches, held, strict=True)):
                problem = self._wait(files, here)
                if problem:
                    failed[at] = problem
                    self._let_go(here)
                    here.clear()
                told.append(b"" if problem else _told(line, here))
        except BaseException:
            for here in held:
                self._let_go(here)
            raise
        good = [each.local for here in held for each in here if each]
        size = sum({whole_path(file.path, self._root): file.size for files in batches for file in files}.values())
        return Loaded(lines=told, failed=failed, scratch=tuple(good), bytes=size)

    def free(self, scratch: Sequence[str]) -> None:
        with self._lock:
            for local in scratch:
                if local in self._held:
                    self._release(self._held[local])

    def end(self, scratch: Path) -> None:
        with self._lock:
            self._ended.add(scratch)
            for held in [held for held in self._held.values() if held.local.startswith(f"{scratch}/")]:
                held.users = 1
                self._release(held)

    # One file

    def _hold(self, file: FileEntry, scratch: Path) -> _Held | None:
        """None for a local file, which is where it is."""
        address = whole_path(file.path, self._root)
        if not is_address(address):
            return None
        with self._lock:
            if scratch in self._ended:
                raise CancelledError
            for local in self._places(address, str(scratch)):
                held = self._held.get(local)
                if held is not None and held.version == file.version:
                    held.users += 1
                    return held
                if held is None and local not in self._folders and not any(each in self._held for each in _folders(local, scratch)):
                    break
            held = self._held[local] = _Held(local, file.version)
            try:
                self._make_folders(local, scratch)
                container, path = self._stores.at(address)
            except BaseException:
                self._release(held)
                raise
            blob = Blob(container=container, path=path, size=file.size, etag=str(file.version))
            part = scratch / ARRIVING / str(next(self._numbers))
            held.arrival = self._downloads.start(blob, part, arrived=partial(self._arrived, held, part), wanted=partial(_is_wanted, held))
        return held

    def _places(self, address: str, scratch: str) -> Iterator[str]:
        """Where it may be laid. Only the first is used unless a folder has the same name as a file, which no file system can have."""
        inside = relative(address, self._root)
        inside = f"{INSIDE}/{inside}" if inside else f"{ELSEWHERE}/{address.partition('://')[2]}"
        folder, _, rest = inside.partition("/")
        yield f"{scratch}/{inside}"
        for number in count(2):
            yield f"{scratch}/{folder}-{number}/{rest}"

    def _make_folders(self, local: str, scratch: Path) -> None:
        for folder in _folders(local, scratch):
            self._folders[folder] += 1
        Path(local).parent.mkdir(parents=True, exist_ok=True)
        (scratch / ARRIVING).mkdir(exist_ok=True)

    def _arrived(self, held: _Held, part: Path) -> None:
        with self._lock:
            held.is_here = held.users > 0
            if held.is_here:
                part.rename(held.local)
            else:  # nobody wants it any more
                part.unlink()

    def _wait(self, files: Sequence[FileEntry], here: Sequence[_Held | None]) -> ErrorRecord | None:
        """Until all files of a mini-batch are there; why they cannot be had."""
        for file, held in zip(files, here, strict=True):
            try:
                if held is not None:
                    held.arrival.result()
            except (BlobChanged, BlobMissing) as error:
                how = "has changed" if isinstance(error, BlobChanged) else "is gone"
                address = whole_path(file.path, self._root)
                text = f"'{address}' {how} since it was listed, at the beginning of the job"
                return ErrorRecord(kind="input", type=INPUT_CHANGED, message=text, item=address)
        return None

    def _let_go(self, here: Sequence[_Held | None]) -> None:
        with self._lock:
            for held in here:
                if held is not None:
                    self._release(held)

    def _release(self, held: _Held) -> None:
        held.users -= 1
        if held.users or self._held.get(held.local) is not held:
            return
        del self._held[held.local]
        if held.is_here:
            Path(held.local).unlink(missing_ok=True)  # the script may have removed it
        folder = os.path.dirname(held.local)
        while folder in self._folders:
            self._folders[folder] -= 1
            if not self._folders[folder]:
                del self._folders[folder]
                with suppress(OSError):  # the script may have put something in it
                    Path(folder).rmdir()
            folder = os.path.dirname(folder)


def _is_wanted(held: _Held) -> bool:
    return held.users > 0


def _folders(local: str, scratch: Path) -> Iterator[str]:
    """Those that a file lies in, below the instance's own."""
    folder, end = os.path.dirname(local), len(str(scratch))
    while len(folder) > end:
        yield folder
        folder = os.path.dirname(folder)


def _told(line: bytes, here: Sequence[_Held | None]) -> bytes:
    record = json.loads(line)
    record["files"] = [[held.local if held else path, *rest] for held, (path, *rest) in zip(here, record["files"], strict=True)]
    return json.dumps(record, separators=(",", ":")).encode("ascii")
