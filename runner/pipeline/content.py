"""Which content lies at a path or address: what a step's results depend on, told apart by a text that is equal for equal content.

Local files count by their names and bytes. A file is read once: its hash is kept as long as its size, its time of change and its inode
stay as they are. Blobs count by their names and ETags, so that nothing is read.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import secrets
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from runner.errors import UserError
from runner.storage import addresses
from runner.storage.stores import Stores

READERS = 4
PIECE = 1 << 20  # bytes read at once
SETTLED_NS = 2_000_000_000  # a file that has changed less than so long ago may change again within the same tick of its clock
_Known = dict[str, tuple[str, str]]  # relative path → (size, time and inode; hash)


class Contents:
    """Threads may share it. `folder`: where hashes are kept; `stop`: whether nobody wants to know any more (InterruptedError then)."""

    def __init__(self, folder: Path, stores: Stores, stop: Callable[[], bool] = lambda: False) -> None:
        self._folder, self._stores, self._stop = folder, stores, stop
        self._noted: dict[str, tuple[str, str]] = {}  # path → (state of all there, content)
        self.unread = 0  # bytes that had to be read, so far as that is known

    def counted(self) -> Contents:
        """The same with a count of its own, for one question."""
        one = Contents(self._folder, self._stores, self._stop)
        one._noted = self._noted
        return one

    def note(self, path: str, content: str) -> None:
        """What is known to lie at a path as long as nothing changes there: copies of blobs have other ETags than what they were made
        from, and those of files need not be read. Errors: as `of`.
        """
        self._noted[path] = self._state_of(path), content

    def of(self, path: str) -> str:
        """The content there, "" for nothing. Errors: OSError, and those of `Stores`."""
        state, content = self._noted.get(path, ("", ""))
        return content if state and state == self._state_of(path) else self.now(path)

    def now(self, path: str) -> str:
        """As `of`, whatever was noted."""
        return self._of_blobs(path) if addresses.is_address(path) else self._of_files(Path(path))

    def of_table(self, path: str) -> str:
        """Of an MLTable with all that it names."""
        from runner.inputs.mltable import find, read

        own = self.of(path)
        if not find(path, self._stores):
            return own
        with contextlib.suppress(UserError):  # a mistake in it is told by who reads it
            table = read(path, self._stores)
            named = {entry.location for entry in table.entries if addresses.is_address(entry.location)} | table.roots(many=0)
            outside = sorted(one for one in named if addresses.relative(one, table.folder) is None)
            return _digest([own, *(f"{one} {self.of(one)}" for one in outside)]) if outside else own
        return own

    def pieces(self, path: str) -> set[tuple[str, str]]:
        """Names and states of the files there: one that is written again has another state, whatever is in it. Errors: as `of`."""
        if addresses.is_address(path):
            return set(self._etags(path))
        root = Path(path)
        if root.is_file():
            return {("", _state(root))}
        return {(name, _state(root / name)) for name in _files_below(root)} if root.exists() else set()

    def _state_of(self, path: str) -> str:
        return _digest(f"{name}\0{state}" for name, state in sorted(self.pieces(path)))

    def _of_blobs(self, address: str) -> str:
        kind = self._stores.kind(address)
        if kind == "folder":
            return _digest(f"{name}\0{etag}" for name, etag in sorted(self._etags(address)))
        return f"blob {self._etags(address)[0][1]}" if kind == "file" else ""

    def _etags(self, address: str) -> list[tuple[str, str]]:
        """Relative names and ETags; the name of a single blob is empty."""
        container, path = self._stores.at(address)
        if self._stores.kind(address) == "file":
            return [("", container.info(path).etag)]
        prefix = f"{path}/" if path else ""
        return [(blob.path[len(prefix) :], blob.etag) for page in container.pages(prefix) for blob in page]

    def _of_files(self, root: Path) -> str:
        if root.is_file():
            return f"file {self._hashes(root.parent, [root.name])[root.name]}"
        if not root.exists():
            return ""
        names = sorted(_files_below(root))
        hashes = self._hashes(root, names)
        return _digest(f"{name}\0{hashes[name]}" for name in names)

    def _hashes(self, root: Path, names: list[str]) -> dict[str, str]:
        """Relative path → hash, from the cache where the file is as it was."""
        store = self._folder / hashlib.sha256(os.fsencode(root.absolute())).hexdigest()[:32]
        known, now = dict(_read(store)), time.time_ns()
        states = {name: _state(root / name) for name in names}
        missing = [name for name in names if known.get(name, ("", ""))[0] != states[name]]
        self.unread += sum(_size(states[name]) for name in missing)
        with ThreadPoolExecutor(READERS) as pool:
            fresh = dict(zip(missing, pool.map(lambda name: _hash(root / name, self._stop), missing), strict=True))
        hashes = {name: fresh.get(name) or known[name][1] for name in names}
        settled = {name: (states[name], fresh[name]) for name in missing if now - _changed(states[name]) > SETTLED_NS}
        if settled:
            _write(store, {**known, **settled})
        return hashes


def _state(path: Path) -> str:
    try:
        status = path.stat()
    except FileNotFoundError:  # a link to nothing
        return "0 0 0"
    return f"{status.st_size} {status.st_mtime_ns} {status.st_ino}"


def _size(state: str) -> int:
    return int(state.split()[0])


def _changed(state: str) -> int:
    return int(state.split()[1])


def _files_below(root: Path, below: str = "", above: frozenset[tuple[int, int]] = frozenset()) -> Iterator[str]:
    """Relative paths. Links to folders are followed, as where inputs are listed, except to a folder that contains them."""
    status = (root / below).stat()
    identity = (status.st_dev, status.st_ino)
    if identity in above:
        return
    with os.scandir(root / below) as entries:
        for entry in entries:
            if entry.is_dir():
                yield from _files_below(root, f"{below}{entry.name}/", above | {identity})
            elif entry.is_file() or (entry.is_symlink() and not Path(entry.path).exists()):  # pipes and sockets are nobody's input
                yield below + entry.name


def _hash(path: Path, stop: Callable[[], bool]) -> str:
    """Errors: OSError; InterruptedError when `stop` says so."""
    digest = hashlib.sha256()
    try:
        with open(path, "rb") as file:
            while piece := file.read(PIECE):
                if stop():
                    raise InterruptedError("cancelled")
                digest.update(piece)
    except FileNotFoundError:
        return "nothing"
    return digest.hexdigest()


def _digest(lines: object) -> str:
    digest = hashlib.sha256()
    for line in lines:  # type: ignore[attr-defined]
        digest.update(os.fsencode(line) + b"\n")
    return digest.hexdigest()


def _read(store: Path) -> Iterator[tuple[str, tuple[str, str]]]:
    with contextlib.suppress(OSError, ValueError), open(store, encoding="ascii") as file:
        for line in file:
            name, state, digest = json.loads(line)
            yield name, (state, digest)


def _write(store: Path, known: _Known) -> None:
    """Whoever comes last wins: what is lost is read again."""
    with contextlib.suppress(OSError):
        store.parent.mkdir(parents=True, exist_ok=True)
        draft = store.with_name(f".{store.name}.{secrets.token_hex(4)}")
        try:
            with open(draft, "w", encoding="ascii") as file:
                file.writelines(json.dumps([name, state, digest]) + "\n" for name, (state, digest) in known.items())
            draft.replace(store)
        finally:
            draft.unlink(missing_ok=True)
