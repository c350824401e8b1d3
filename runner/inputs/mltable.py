"""The `MLTable` file: what it names and which steps it lists, checked with file:line before anything is read.

The rules are those of the `mltable` package (its JSON schema); files of a `folder` or `pattern` come in the order of their names.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Literal

from runner.errors import NotSupportedHere, Place, UserError, did_you_mean
from runner.inputs.file_list import NO_STORES, Root, blocks_of
from runner.inputs.files import FileEntry, Strays, Tree, entries_of, status_of
from runner.inputs.mltable_steps import READERS, Reader, Step, read_transformations
from runner.inputs.nodes import check_keys, require_list, require_mapping, require_text
from runner.inputs.patterns import Pattern, split_pattern
from runner.inputs.table_paths import is_there, locate
from runner.spec.yaml_source import Node, decode_yaml, read_yaml
from runner.storage import addresses
from runner.storage.addresses import is_address
from runner.storage.problems import BlobMissing
from runner.storage.stores import Stores
from runner.storage.uri import parse_uri, without_query

FILE_NAME = "MLTable"
_TOP_KEYS = ("$schema", "type", "paths", "transformations", "metadata", "traits", "query_source")
_GLOB = set("*?[")


@dataclass(frozen=True, kw_only=True)
class PathEntry:
    """One entry of `paths`. `location` is absolute or an address, without a trailing slash; of a pattern it still holds the wildcards."""

    kind: Literal["file", "folder", "pattern"]
    location: str
    place: Place


@dataclass(frozen=True, kw_only=True)
class MLTable:
    """A checked MLTable file. Without a `reader` it is a list of files."""

    file: str
    folder: str  # absolute, or an address
    entries: tuple[PathEntry, ...]
    reader: Reader | None
    steps: tuple[Step, ...]
    stores: Stores = field(default=NO_STORES, compare=False, repr=False)  # that open the addresses in it

    def files(self) -> Iterator[FileEntry]:
        """All files in order, lazily, with absolute paths or addresses; entries that name the same file give it again.

        Raises a UserError for an entry that nothing matches.
        """
        for entry in self.entries:
            yield from self._remote(entry) if is_address(entry.location) else files_of(entry, self.file)

    def _remote(self, entry: PathEntry) -> Iterator[FileEntry]:
        folder, pattern = split_pattern(entry.location, inside=self.folder) if entry.kind == "pattern" else (entry.location, "")
        root = Root(kind=entry.kind, path=folder, pattern=pattern, leave_out=self.file, place=asdict(entry.place))
        return entries_of(block for _, block in blocks_of([root], Strays(), stores=self.stores))

    def roots(self, *, many: int) -> set[str]:
        """Local files and folders in which all lies that the table names and that is no blob; of more than `many` files their folders."""
        entries = [entry for entry in self.entries if not is_address(entry.location)]
        files = {entry.location for entry in entries if entry.kind == "file"}
        folders = {entry.location for entry in entries if entry.kind == "folder"}
        folders |= {split_pattern(entry.location, inside=self.folder)[0] for entry in entries if entry.kind == "pattern"}
        return folders | (files if len(files) <= many else {os.path.dirname(path) for path in files})


def find(path: str | Path, stores: Stores = NO_STORES) -> str | None:
    """The `MLTable` file of an input's folder or address, or None."""
    file = _file_in(str(path))
    if not is_address(file):
        return file if Path(file).is_file() else None
    container, name = stores.at(file)
    try:
        container.info(name)
    except BlobMissing:
        return None
    return file


def read(path: str | Path, stores: Stores = NO_STORES) -> MLTable:
    """Reads the MLTable file in the folder, or at the address, `path`.

    Raises a UserError with file and line for everything the format doesn't allow.
    """
    folder = str(path) if is_address(str(path)) else str(Path(path).absolute())
    root = _read_remote(folder, stores) if is_address(folder) else _read_local(Path(path))
    check_keys(root, _TOP_KEYS, "of an MLTable file")
    kind = root.get("type")
    if kind is not None and kind.value != "mltable":
        raise UserError(f"the type of an MLTable file is not {kind.kind}", place=kind.place, allowed="mltable")
    query = root.get("query_source")
    if query is not None:
        raise NotSupportedHere("`query_source` reads from a database, which this build cannot do", place=query.place)
    steps = read_transformations(root.get("transformations"))
    reader = next((step for step in steps if isinstance(step, READERS)), None)
    return MLTable(
        file=_file_in(folder),
        folder=folder,
        entries=_read_paths(root, folder, stores),
        reader=reader,
        steps=tuple(step for step in steps if not isinstance(step, READERS)),
        stores=stores,
    )


def _file_in(folder: str) -> str:
    return addresses.join(folder, FILE_NAME) if is_address(folder) else str(Path(folder).absolute() / FILE_NAME)


def _read_local(path: Path) -> Node:
    if path.name.lower() == FILE_NAME.lower() and path.is_file():
        raise _names_file(str(path), str(path.parent))
    file = path / FILE_NAME
    if not file.is_file():
        raise _no_file(str(path), [each.name for each in path.iterdir()] if path.is_dir() else [])
    return read_yaml(file)


def _read_remote(folder: str, stores: Stores) -> Node:
    file = _file_in(folder)
    container, name = stores.at(file)
    try:
        data = container.read(name)
    except BlobMissing:
        if addresses.base_name(folder).lower() == FILE_NAME.lower() and is_there(folder, stores):
            raise _names_file(folder, addresses.parent(folder)) from None
        raise _no_file(folder, [addresses.base_name(each.path) for each in container.folder(name.removesuffix(FILE_NAME))[0]]) from None
    return decode_yaml(data, file=file, base=Path())


def _names_file(path: str, folder: str) -> UserError:
    return UserError("an mltable input names the folder, not the file in it", place=Place(file=path), todo=f"write {folder}")


def _no_file(folder: str, names: list[str]) -> UserError:
    near = next((name for name in names if name.lower() == FILE_NAME.lower()), "")
    todo = f"rename '{near}' to '{FILE_NAME}'" if near else f"an mltable input is a folder with a file named '{FILE_NAME}' in it"
    return UserError(f"there is no file '{FILE_NAME}' in '{folder}'", todo=todo)


def _read_paths(root: Node, folder: str, stores: Stores) -> tuple[PathEntry, ...]:
    paths = root.get("paths")
    if paths is None:
        raise UserError("`paths` is missing", place=root.place, todo="name what to read, e.g. `paths: [{pattern: ./*.csv}]`")
    entries = tuple(_read_entry(node, folder, stores) for node in require_list(paths))
    if not entries:
        raise UserError("`paths` is empty", place=paths.place, allowed="a list of `file: …`, `folder: …` or `pattern: …`")
    return entries


def _read_entry(node: Node, folder: str, stores: Stores) -> PathEntry:
    require_mapping(node)
    check_keys(node, ("file", "folder", "pattern"), "of an entry of `paths`")
    if len(node.entries) != 1:
        raise UserError("an entry of `paths` has exactly one key", place=node.place, allowed="file, folder or pattern")
    kind, value = next(iter(node.entries.items()))
    written = require_text(value)
    text = without_query(written)  # what follows is a secret, and no wildcard
    if kind == "file" and text.endswith("/"):
        raise UserError(f"`file` names a folder: {text!r}", place=value.place, todo=f"write `folder: {text}`")
    try:
        location = locate(parse_uri(written), folder, stores)
        literal = kind == "pattern" or not _GLOB & set(text) or is_there(location, stores)
    except UserError as error:
        raise type(error)(error.problem, place=value.place, allowed=error.allowed, todo=error.todo) from None
    if not literal:
        raise UserError(f"`{kind}` takes no wildcards, but has {text!r}", place=value.place, todo=f"write `pattern: {text}`")
    return PathEntry(kind=kind, location=location, place=value.place)  # type: ignore[arg-type]


def files_of(entry: PathEntry, leave_out: str) -> Iterator[FileEntry]:
    """The files of one local entry, with absolute paths; never the file `leave_out`, the MLTable file."""
    if entry.kind == "file":
        try:
            yield status_of(entry.location)
        except UserError as error:
            raise UserError(error.problem, place=entry.place, todo=_nearby(entry.location) or error.todo) from None
        return
    root, rest = (entry.location, "") if entry.kind == "folder" else split_pattern(entry.location, inside=os.path.dirname(leave_out))
    if not Path(root).is_dir():
        problem = f"'{root}' is not a folder" if Path(root).exists() else f"there is no folder '{root}'"
        raise UserError(problem, place=entry.place, todo=_nearby(root) or "check the path; it is relative to the MLTable file")
    inside = os.path.relpath(leave_out, root) if leave_out.startswith(root.rstrip("/") + "/") else ""
    count = 0
    for file in entries_of(Tree(root, hidden=True, pattern=Pattern(rest) if rest else None, leave_out=inside).blocks()):
        count += 1
        yield file._replace(path=os.path.join(root, file.path))
    if not count:
        what = f"no file matches '{entry.location}'" if rest else f"there is no file in '{root}'"
        raise UserError(what, place=entry.place, todo="check the path; it is relative to the MLTable file")


def _nearby(path: str) -> str:
    """`did you mean …?` from the names that stand beside the missing one."""
    try:
        return did_you_mean(os.path.basename(path), [each.name for each in Path(path).parent.iterdir()])
    except OSError:
        return ""
