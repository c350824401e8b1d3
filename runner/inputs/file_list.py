"""What an input of files consists of: one folder or file, or the `paths` of an MLTable file one after the other."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Literal, NamedTuple

from runner.errors import Place, UserError
from runner.inputs.blob_files import BlobTree, why_no_file
from runner.inputs.files import Block, FileEntry, Strays, Tree, entries_of, status_of
from runner.inputs.patterns import compiled
from runner.storage.addresses import is_address
from runner.storage.problems import BlobMissing, StorageUnavailable
from runner.storage.stores import Stores


@dataclass(frozen=True, kw_only=True)
class Root:
    """One place where files come from; plain data, so that it can be told to another process."""

    kind: Literal["file", "folder", "pattern"]
    path: str  # of the file, or of the folder that is listed: an absolute path, or an address
    pattern: str = ""  # below `path`
    hidden: bool = True  # whether names that begin with "." count
    absolute: bool = True  # whether the manifest has absolute paths; otherwise relative to `path`, or the file's name
    leave_out: str = ""  # absolute path of a file that is no item: the MLTable file itself
    place: Mapping[str, object] = field(default_factory=dict)  # fields of the `Place` where the user wrote it

    def complaint(self, problem: str, todo: str) -> UserError:
        return UserError(problem, place=Place(**self.place), todo=todo)  # type: ignore[arg-type]

    def nothing(self) -> UserError:
        if self.kind == "file":
            return self.complaint(f"'{self.path}' is the MLTable file itself, which is no item of its list", "take it out of `paths`")
        if self.kind == "folder":
            hint = "" if self.hidden else " (names that begin with '.' are left out)"
            return self.complaint(f"there is no file in '{self.path}'{hint}", "check the path")
        hint = ""
        if self.pattern.split("/")[-1] == "**":
            hint = "a pattern that ends in '**' matches nothing: write '**/*'"
        elif "{" in self.pattern:
            hint = "'{a,b}' is plain text in a pattern: write one entry for each"
        return self.complaint(f"no file matches '{self.path.rstrip('/')}/{self.pattern}'", hint or "check the pattern")

    @cached_property
    def _prefix(self) -> str:
        """What stands before a listed path in the manifest."""
        return (self.path if self.path.endswith("/") else f"{self.path}/") if self.absolute else ""

    @property
    def is_remote(self) -> bool:
        return is_address(self.path)

    def blocks(self, after: str, strays: Strays, stores: Stores) -> Iterator[Block]:
        """The files after the manifest path `after` ("": all), with manifest paths."""
        if self.kind == "file":
            if not after and self.path != self.leave_out:
                entry = blob_status(self.path, stores) if self.is_remote else status_of(self.path)
                folder, name = os.path.split(os.fsencode(self.path))
                yield Block(os.path.join(folder, b"") if self.absolute else b"", [name], [entry.size], [entry.version])
            return
        prefix = os.fsencode(self._prefix)
        for block in self._below(os.fsencode(after)[len(prefix) :], strays, stores):
            yield block._replace(folder=prefix + block.folder) if prefix else block

    def _below(self, after: bytes, strays: Strays, stores: Stores) -> Iterator[Block]:
        leave_out = self.leave_out.removeprefix(self._folder) if self.leave_out.startswith(self._folder) else ""
        if self.is_remote:
            container, path = stores.at(self.path)
            prefix = f"{path}/" if path else ""
            blobs = BlobTree(
                container=container, prefix=prefix, hidden=self.hidden, pattern=self.pattern, leave_out=leave_out, strays=strays
            )  # fmt: skip
            return blobs.blocks(os.fsdecode(after))
        pattern = compiled(self.pattern) if self.kind == "pattern" else None
        return Tree(self.path, hidden=self.hidden, pattern=pattern, leave_out=leave_out, strays=strays).blocks(after)

    def is_there(self) -> bool:
        """Whether it is worth listing: what is gone has nothing in it."""
        return self.is_remote or os.path.lexists(self.path)

    @property
    def _folder(self) -> str:
        return self.path if self.path.endswith("/") else f"{self.path}/"

    def holds(self, path: str) -> bool:
        """Whether a file of that manifest path would be listed here, were it there."""
        if self.kind == "file":
            return path == (self.path if self.absolute else os.path.basename(self.path))
        if not path.startswith(self._prefix):
            return False
        return self.kind == "folder" or compiled(self.pattern).matches(path[len(self._prefix) :])


NO_STORES = Stores()


class Position(NamedTuple):
    """A place in a list of roots: behind the manifest path `after` of one of them."""

    root: int = 0
    after: str = ""


START = Position()


def blob_status(address: str, stores: Stores) -> FileEntry:
    """A blob, with its address as the path. Errors: UserError, BlobMissing among them."""
    container, path = stores.at(address)
    reason = why_no_file(path)
    if reason:
        raise UserError(f"'{address}' is {reason}")
    info = container.info(path)
    return FileEntry(address, info.size, info.etag)


def blocks_of(roots: Sequence[Root], strays: Strays, start: Position = START, stores: Stores = NO_STORES) -> Iterator[tuple[int, Block]]:
    """All files behind `start`, in order, with the number of the root they come from. A root that has none is a UserError."""
    for number in range(start.root, len(roots)):
        after = start.after if number == start.root else ""
        empty = not after
        try:
            for block in roots[number].blocks(after, strays, stores):
                empty = empty and not block.names
                yield number, block
        except UserError as error:
            raise roots[number].complaint(error.problem, error.todo) from None
        except StorageUnavailable as error:
            raise roots[number].complaint(
                f"'{roots[number].path}' cannot be listed: {error.strerror}",
                "try again when it answers; a job that has begun goes on with `runner job resume`",
            ) from None
        if empty:
            raise roots[number].nothing()


def entries_with_root(roots: Sequence[Root], stores: Stores = NO_STORES) -> Iterator[tuple[int, FileEntry]]:
    """All files one by one; a root that is gone is passed over."""
    for number, root in enumerate(roots):
        if root.is_there():
            try:
                for entry in entries_of(root.blocks("", Strays(), stores)):
                    yield number, entry
            except BlobMissing:
                pass
