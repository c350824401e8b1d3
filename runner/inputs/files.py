"""Lists of files, in the order of blob listings: the bytes of the relative path, with `/` as separator.

Each folder is listed and sorted whole (names of folders compared as `name/`), and the next one only when it is reached: the first
files of a tree are there at once, however large the rest is. Memory: the names of the folders on the way to the current one.
"""

from __future__ import annotations

import errno
import os
import stat
import time
from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple, Protocol

from runner.errors import InputError, UserError
from runner.inputs.patterns import Pattern, State
from runner.inputs.stale import again_if_stale

BLOCK = 4096  # files whose sizes are asked for in one go
PATIENCE = 0.05  # seconds that files may wait for others to join them
EXAMPLES = 10  # names that a message has

# Seconds that each entry of a folder takes longer than it does: for tests that need a slow disk.
_DELAY = float(os.environ.get("RUNNER_LISTING_DELAY", "0"))


class FileEntry(NamedTuple):
    """A file of a list. `path` is relative to the folder that was listed; bytes that are no UTF-8 are surrogates in it."""

    path: str
    size: int
    version: int | str  # changes whenever the file does: of a local one its st_mtime_ns, of a blob its ETag


class Block(NamedTuple):
    """Consecutive files of one folder: `folder` is "" or ends in "/"; names are bytes, as the file system has them."""

    folder: bytes
    names: list[bytes]
    sizes: list[int]
    versions: Sequence[int | str]


class Pace:
    """How many to take at once: one at first, then twice as many each time while that takes little time."""

    def __init__(self, largest: int = BLOCK) -> None:
        self.size, self._largest = 1, largest

    def took(self, seconds: float) -> None:
        if seconds < PATIENCE / 2:
            self.size = min(2 * self.size, self._largest)
        elif seconds > PATIENCE:
            self.size = max(1, self.size // 2)


class Strays:
    """What a listing leaves out, by reason; told once at its end. `state` is plain data, which another process can go on from."""

    def __init__(self, state: Mapping[str, tuple[int, list[str]]] | None = None) -> None:
        self.state: dict[str, tuple[int, list[str]]] = dict(state or {})  # reason → count, examples

    def add(self, path: bytes, reason: str) -> None:
        count, examples = self.state.get(reason, (0, []))
        self.state[reason] = count + 1, [*examples, os.fsdecode(path)] if count < EXAMPLES else examples

    def tell(self, warn: Callable[[str], None]) -> None:
        for reason, (count, examples) in self.state.items():
            names = ", ".join(repr(name) for name in examples) + (f" and {count - len(examples)} more" if count > len(examples) else "")
            warn(f"left out of the input, since {'they are' if count > 1 else 'it is'} {reason}: {names}")


class _Entry(Protocol):
    @property
    def name(self) -> bytes: ...
    def is_dir(self) -> bool: ...
    def is_file(self, *, follow_symlinks: bool = True) -> bool: ...
    def is_symlink(self) -> bool: ...
    def stat(self) -> os.stat_result: ...


@dataclass(slots=True)
class _Folder:
    """A folder on the way to the current one."""

    path: bytes  # relative; "" or ends in "/"
    names: list[bytes]  # sorted; those of folders end in "/"
    folders: list[int]  # where in `names` they are
    linked: set[bytes]  # those of them that are links
    through_link: bool  # whether a link led here
    state: State
    after: bytes = b""  # what is left of the path to start behind, while on the way to it
    at: int = 0
    next_folder: int = 0
    identity: tuple[int, int] | None = field(default=None)


class Tree:
    """The files below a folder. Links to files and folders are followed, except to a folder that contains them."""

    def __init__(
        self, root: str, *, hidden: bool, pattern: Pattern | None = None, leave_out: str = "", strays: Strays | None = None
    ) -> None:
        """`hidden`: take names beginning with `.`; `leave_out`: relative path of one file that does not count."""
        self._root = os.fsencode(root)
        self._hidden, self._pattern = hidden, pattern
        self._leave_out = os.fsencode(leave_out)
        self._strays = strays if strays is not None else Strays()

    def blocks(self, after: bytes = b"") -> Iterator[Block]:
        """The files that come after the relative path `after`, in order. Raises a UserError for a folder that cannot be listed."""
        pace = Pace()
        way = [self._open(b"", state=self._pattern.start if self._pattern else frozenset(), after=after, through_link=False)]
        while way:
            folder = way[-1]
            stop = folder.folders[folder.next_folder] if folder.next_folder < len(folder.folders) else len(folder.names)
            if folder.at < stop:
                names = folder.names[folder.at : min(folder.at + pace.size, stop)]
                folder.at += len(names)
                started = time.monotonic()
                block = self._block(folder.path, names)
                pace.took(time.monotonic() - started)
                yield block
            elif stop < len(folder.names):
                folder.at += 1
                folder.next_folder += 1
                self._enter(way, folder.names[stop])
            else:
                way.pop()

    def _enter(self, way: list[_Folder], name: bytes) -> None:
        parent = way[-1]
        path = parent.path + name
        after, parent.after = parent.after, b""
        through_link = parent.through_link or name in parent.linked
        try:
            identity = self._identity(path) if through_link else None
            if identity and any(identity == self._identity_of(folder) for folder in way):
                self._strays.add(path[:-1], "a link to a folder that contains it")
                return
        except OSError as error:
            raise self._refused(path, error) from None
        state = (self._pattern.enter(parent.state, os.fsdecode(name[:-1])) if self._pattern else None) or frozenset()
        rest = after[len(name) :] if after.startswith(name) else b""
        folder = self._open(path, state=state, after=rest, through_link=through_link)
        folder.identity = identity
        way.append(folder)

    def _identity(self, path: bytes) -> tuple[int, int]:
        status = os.stat(os.path.join(self._root, path))  # noqa: PTH116 - bytes
        return status.st_dev, status.st_ino

    def _identity_of(self, folder: _Folder) -> tuple[int, int]:
        if folder.identity is None:
            folder.identity = self._identity(folder.path)
        return folder.identity

    def _open(self, path: bytes, *, state: State, after: bytes, through_link: bool) -> _Folder:
        try:
            names, linked = again_if_stale(lambda: self._scan(path, told=bool(after)))
        except OSError as error:
            raise self._refused(path, error) from None
        if self._pattern:
            names = [name for name in names if self._wanted(name, state)]
        if self._leave_out and self._leave_out.startswith(path) and self._leave_out[len(path) :] in names:
            names.remove(self._leave_out[len(path) :])
        names.sort()
        first = bisect_right(names, after) if after else 0
        if first and names[first - 1].endswith(b"/") and after.startswith(names[first - 1]):
            first -= 1
        folders = [at for at, name in enumerate(names) if name.endswith(b"/")]
        passed = bisect_right(folders, first - 1)
        return _Folder(
            path=path,
            names=names,
            folders=folders,
            linked=linked,
            through_link=through_link,
            state=state,
            after=after,
            at=first,
            next_folder=passed,
        )

    def _refused(self, path: bytes, error: OSError) -> UserError:
        where = os.fsdecode(os.path.join(self._root, path)).rstrip("/") or "/"
        todo = {errno.ENOENT: "check the path", errno.ENOTDIR: "check the path", errno.EACCES: f"make it readable: chmod u+rx '{where}'"}
        return UserError(f"the folder '{where}' cannot be listed: {error.strerror}", todo=todo.get(error.errno or 0, ""))

    def _wanted(self, name: bytes, state: State) -> bool:
        assert self._pattern is not None
        if name.endswith(b"/"):
            return self._pattern.enter(state, os.fsdecode(name[:-1])) is not None
        return self._pattern.accepts(state, os.fsdecode(name))

    def _scan(self, path: bytes, *, told: bool) -> tuple[list[bytes], set[bytes]]:
        """Names in it, and those that are links to folders. `told`: whoever was here before has noted the strays."""
        names: list[bytes] = []
        linked: set[bytes] = set()
        add, hidden, dot = names.append, self._hidden, ord(".")
        with os.scandir(os.path.join(self._root, path)) as entries:
            for entry in _slowly(entries) if _DELAY else entries:
                name = entry.name
                if name[0] == dot and not hidden:
                    continue
                if entry.is_file(follow_symlinks=False) or (kind := _kind(entry)) == "file":
                    add(name)
                elif kind == "folder":
                    add(name + b"/")
                    if entry.is_symlink():
                        linked.add(name + b"/")
                elif not told:
                    self._strays.add(path + name, kind)
        return names, linked

    def _block(self, folder: bytes, names: list[bytes]) -> Block:
        try:
            names, stats = again_if_stale(lambda: self._stats(folder, names))
        except OSError as error:
            raise self._refused(folder, error) from None
        return Block(folder, names, [one.st_size for one in stats], [one.st_mtime_ns for one in stats])

    def _stats(self, folder: bytes, names: list[bytes]) -> tuple[list[bytes], list[os.stat_result]]:
        descriptor = os.open(os.path.join(self._root, folder), os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            return names, [os.stat(name, dir_fd=descriptor) for name in names]
        except FileNotFoundError:
            return self._still_there(folder, names, descriptor)
        finally:
            os.close(descriptor)

    def _still_there(self, folder: bytes, names: list[bytes], descriptor: int) -> tuple[list[bytes], list[os.stat_result]]:
        found = []
        for name in names:
            try:
                found.append((name, os.stat(name, dir_fd=descriptor)))
            except FileNotFoundError:
                self._strays.add(folder + name, "gone since the folder was read")
        return [name for name, _ in found], [status for _, status in found]


def _kind(entry: _Entry) -> str:
    """`file`, `folder`, or what else it is, in words."""
    try:
        if entry.is_dir():
            return "folder"
        if entry.is_file():
            return "file"
        if entry.is_symlink():
            return "a link to nothing"
        mode = entry.stat().st_mode
    except OSError:
        return "a link that leads nowhere"
    words = {stat.S_IFIFO: "a named pipe", stat.S_IFSOCK: "a socket", stat.S_IFCHR: "a device", stat.S_IFBLK: "a device"}
    return words.get(stat.S_IFMT(mode), "no file")


def _slowly(entries: Iterator[os.DirEntry[bytes]]) -> Iterator[os.DirEntry[bytes]]:
    for entry in entries:
        time.sleep(_DELAY)
        yield entry


def entries_of(blocks: Iterator[Block]) -> Iterator[FileEntry]:
    """The files of blocks one by one."""
    for folder, names, sizes, versions in blocks:
        paths = (os.fsdecode(folder + name) for name in names)
        yield from map(FileEntry, paths, sizes, versions)


def list_folder(
    root: str | os.PathLike[str], *, hidden: bool, leave_out: str = "", warn: Callable[[str], None] | None = None
) -> Iterator[FileEntry]:
    """All files below a folder, in order, lazily; `path` is relative to it. Sockets and the like are told to `warn` at the end."""
    strays = Strays()
    yield from entries_of(Tree(os.fspath(root), hidden=hidden, leave_out=leave_out, strays=strays).blocks())
    if warn:
        strays.tell(warn)


def status_of(path: str) -> FileEntry:
    """A single file (or whatever else is named as one), with the path as given. Raises an InputError when it is not there."""
    try:
        status = Path(path).stat()
    except OSError as error:
        raise InputError(f"the file '{path}' cannot be read: {error.strerror}", todo="check the path") from None
    return FileEntry(path, status.st_size, status.st_mtime_ns)


def lay_out(files: Iterable[FileEntry], target: Path) -> None:
    """Makes links to all files of an MLTable below `target`, as `local/<absolute path>`; those there already are kept."""
    for file in files:
        link = target / "local" / file.path.lstrip("/")
        if link.is_symlink() or link.exists():
            if link.exists() and link.samefile(file.path):
                continue  # perhaps through a link to its folder: nothing may be changed there
            if not link.is_symlink():
                raise UserError(
                    f"the MLTable names the folder '{file.path}' as a file, and files in it as well", todo="name it as `folder:`"
                )
            link.unlink()
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(file.path)
