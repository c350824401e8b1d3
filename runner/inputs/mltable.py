"""The `MLTable` file: what it names and which steps it lists, checked with file:line before anything is read.

The rules are those of the `mltable` package (its JSON schema); files of a `folder` or `pattern` come in the order of their names.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from runner.errors import NotSupportedHere, Place, UserError, did_you_mean
from runner.inputs.files import FileEntry
from runner.inputs.mltable_steps import READERS, Reader, Step, read_transformations
from runner.inputs.nodes import check_keys, require_list, require_mapping, require_text
from runner.spec.yaml_source import Node, read_yaml
from runner.storage.uri import parse_uri

FILE_NAME = "MLTable"
_TOP_KEYS = ("$schema", "type", "paths", "transformations", "metadata", "traits", "query_source")
_GLOB = set("*?[")


@dataclass(frozen=True, kw_only=True)
class PathEntry:
    """One entry of `paths`. `location` is absolute, without a trailing slash; of a pattern it still holds the wildcards."""

    kind: Literal["file", "folder", "pattern"]
    location: str
    place: Place


@dataclass(frozen=True, kw_only=True)
class MLTable:
    """A checked MLTable file. Without a `reader` it is a list of files."""

    file: str
    folder: str  # absolute
    entries: tuple[PathEntry, ...]
    reader: Reader | None
    steps: tuple[Step, ...]

    def files(self) -> Iterator[FileEntry]:
        """All files in order, lazily, with absolute paths; entries that name the same file give it again.

        Raises a UserError for an entry that nothing matches.
        """
        for entry in self.entries:
            yield from files_of(entry, self.file)

    def roots(self, *, many: int) -> set[str]:
        """Files and folders in which everything lies that the table names; of more than `many` files their folders."""
        from runner.inputs.patterns import split_pattern

        files = {entry.location for entry in self.entries if entry.kind == "file"}
        folders = {entry.location for entry in self.entries if entry.kind == "folder"}
        folders |= {split_pattern(entry.location, inside=self.folder)[0] for entry in self.entries if entry.kind == "pattern"}
        return folders | (files if len(files) <= many else {os.path.dirname(path) for path in files})


def find(path: Path) -> Path | None:
    """The `MLTable` file of an input's folder, or None."""
    file = path / FILE_NAME
    return file if file.is_file() else None


def read(path: Path) -> MLTable:
    """Reads the MLTable file in the folder `path`. Raises a UserError with file and line for everything the format doesn't allow."""
    if path.name.lower() == FILE_NAME.lower() and path.is_file():
        raise UserError("an mltable input names the folder, not the file in it", place=Place(file=str(path)), todo=f"write {path.parent}")
    file = path / FILE_NAME
    if not file.is_file():
        near = next((each.name for each in path.iterdir() if each.name.lower() == FILE_NAME.lower()), "") if path.is_dir() else ""
        todo = f"rename '{near}' to '{FILE_NAME}'" if near else f"an mltable input is a folder with a file named '{FILE_NAME}' in it"
        raise UserError(f"there is no file '{FILE_NAME}' in '{path}'", todo=todo)
    root = read_yaml(file)
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
        file=str(file.absolute()),
        folder=str(path.absolute()),
        entries=_read_paths(root),
        reader=reader,
        steps=tuple(step for step in steps if not isinstance(step, READERS)),
    )


def _read_paths(root: Node) -> tuple[PathEntry, ...]:
    paths = root.get("paths")
    if paths is None:
        raise UserError("`paths` is missing", place=root.place, todo="name what to read, e.g. `paths: [{pattern: ./*.csv}]`")
    entries = tuple(_read_entry(node) for node in require_list(paths))
    if not entries:
        raise UserError("`paths` is empty", place=paths.place, allowed="a list of `file: …`, `folder: …` or `pattern: …`")
    return entries


def _read_entry(node: Node) -> PathEntry:
    require_mapping(node)
    check_keys(node, ("file", "folder", "pattern"), "of an entry of `paths`")
    if len(node.entries) != 1:
        raise UserError("an entry of `paths` has exactly one key", place=node.place, allowed="file, folder or pattern")
    kind, value = next(iter(node.entries.items()))
    text = require_text(value)
    if kind != "pattern" and _GLOB & set(text) and not Path(node.base, text).exists():
        raise UserError(f"`{kind}` takes no wildcards, but has {text!r}", place=value.place, todo=f"write `pattern: {text}`")
    if kind == "file" and text.endswith("/"):
        raise UserError(f"`file` names a folder: {text!r}", place=value.place, todo=f"write `folder: {text}`")
    try:
        uri = parse_uri(text)
    except UserError as error:
        raise UserError(error.problem, place=value.place, allowed=error.allowed, todo=error.todo) from None
    if not uri.is_local:
        raise NotSupportedHere(
            f"{text!r} is not on this machine, and this build reads local tables only", place=value.place, todo="use a local path"
        )
    return PathEntry(kind=kind, location=os.path.normpath(os.path.join(node.base, uri.path)), place=value.place)  # type: ignore[arg-type]


def files_of(entry: PathEntry, leave_out: str) -> Iterator[FileEntry]:
    """The files of one entry, with absolute paths; never the file `leave_out`, the MLTable file."""
    from runner.inputs.files import Tree, entries_of, status_of
    from runner.inputs.patterns import Pattern, split_pattern

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
