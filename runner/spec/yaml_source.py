"""YAML files as trees of nodes that know where they stand, so that each later error can say so.

Scalars follow YAML 1.1 as PyYAML reads it, with two exceptions that would surprise in a job file: dates stay text, and
`12:30` is text, not a number to the base of 60. Beyond YAML: a key that stands twice is an error, and so are aliases that
would blow a small file up.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import yaml

from runner.errors import Place, UserError

Scalar = str | int | float | bool | None

MAX_BYTES = 10 * 1024 * 1024  # of a job file
MAX_NODES = 100_000  # after aliases were followed

_STR, _MERGE = "tag:yaml.org,2002:str", "tag:yaml.org,2002:merge"


@dataclass(frozen=True, kw_only=True)
class Node:
    """A value with its place. `text` is a scalar as it was written; relative paths in it are relative to `base`."""

    value: Scalar | dict[str, Node] | list[Node]
    text: str = ""
    place: Place
    base: Path

    @property
    def is_unset(self) -> bool:
        """Nothing is written after the key (Python: None)."""
        return self.value is None

    @property
    def is_mapping(self) -> bool:
        return isinstance(self.value, dict)

    @property
    def is_list(self) -> bool:
        return isinstance(self.value, list)

    @property
    def entries(self) -> dict[str, Node]:
        """The children of a mapping; empty for everything else."""
        return self.value if isinstance(self.value, dict) else {}

    @property
    def items(self) -> list[Node]:
        return self.value if isinstance(self.value, list) else []

    def get(self, key: str) -> Node | None:
        """The child, or None where it is absent or unset."""
        child = self.entries.get(key)
        return None if child is None or child.is_unset else child

    def plain(self) -> object:
        """The value without places: dict, list, str, int, float, bool or None."""
        if isinstance(self.value, dict):
            return {key: child.plain() for key, child in self.value.items()}
        if isinstance(self.value, list):
            return [child.plain() for child in self.value]
        return self.value

    def walk(self) -> Iterator[Node]:
        """This node and all below it."""
        yield self
        for child in [*self.entries.values(), *self.items]:
            yield from child.walk()

    @property
    def kind(self) -> str:
        """The kind of value in words, for messages."""
        if isinstance(self.value, dict):
            return "a mapping"
        if isinstance(self.value, list):
            return "a list"
        if isinstance(self.value, bool):
            return f"the boolean {str(self.value).lower()}"
        if self.value is None:
            return "empty"
        return f"the {'number' if isinstance(self.value, (int, float)) else 'text'} {shown(self.text)}"


def shown(text: str) -> str:
    """A user's text in quotes, on one line and not too long."""
    quoted = repr(text)
    return quoted if len(quoted) <= 120 else quoted[:110] + "…'"


def child_field(parent: str | None, key: str | int) -> str:
    if isinstance(key, int):
        return f"{parent or ''}[{key}]"
    return f"{parent}.{key}" if parent else key


class _Loader(yaml.SafeLoader):
    """SafeLoader without dates and sexagesimal numbers."""


_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if not tag.endswith((":timestamp", ":int", ":float"))]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:int", re.compile(r"[-+]?(0b[01_]+|0[0-7_]+|0|[1-9][0-9_]*|0x[0-9a-fA-F_]+)\Z"), list("-+0123456789")
)
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(
        r"[-+]?([0-9][0-9_]*\.[0-9_]*([eE][-+]?[0-9]+)?|[0-9]+[eE][-+]?[0-9]+|\.[0-9][0-9_]*([eE][-+]?[0-9]+)?|\.(inf|Inf|INF)|\.(nan|NaN|NAN))\Z"
    ),
    list("-+0123456789."),
)


def read_yaml(path: Path, *, todo: str = "") -> Node:
    """Reads one YAML file whose top is a mapping. Every mistake is a UserError with file:line; `todo` is added when the file is missing."""
    place = Place(file=str(path))
    try:
        if path.is_dir():
            raise UserError("this is a folder, not a YAML file", place=place, todo="name the file in it, e.g. job.yml")
        data = path.read_bytes()
    except FileNotFoundError:
        raise UserError("no such file", place=place, todo=todo or "check the path; it is relative to the current folder") from None
    except (OSError, ValueError) as error:
        raise UserError(f"cannot be read: {getattr(error, 'strerror', None) or error}", place=place) from None
    return decode_yaml(data, file=str(path), base=path.absolute().parent)


def decode_yaml(data: bytes, *, file: str, base: Path) -> Node:
    """The same for what was read elsewhere."""
    place = Place(file=file)
    if len(data) > MAX_BYTES:
        raise UserError(f"{len(data):,} bytes are too large for a job file", place=place, allowed=f"up to {MAX_BYTES:,} bytes")
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise UserError("this is not UTF-8 text", place=replace(place, line=line), todo="save the file as UTF-8") from None
    return parse_yaml(text, file=file, base=base)


def parse_yaml(text: str, *, file: str, base: Path) -> Node:
    """Reads YAML text whose top is a mapping."""
    place = Place(file=file)
    try:
        root = yaml.compose(text, Loader=_Loader)
        if root is None:
            raise UserError(
                "the file is empty", place=replace(place, line=1), todo="a job file begins with `type: parallel` or `type: pipeline`"
            )
        if not isinstance(root, yaml.MappingNode):
            raise UserError(
                "the file must hold `key: value` lines",
                place=replace(place, line=root.start_mark.line + 1),
                todo="begin with type: parallel",
            )
        return _Converter(file, base).convert(root, place)
    except yaml.MarkedYAMLError as error:
        raise _syntax_error(error, place, text) from None
    except yaml.YAMLError as error:  # e.g. a control character
        raise UserError(f"YAML syntax: {' '.join(str(error).split())}", place=place) from None
    except RecursionError:
        raise UserError("the YAML is nested too deeply", place=place, todo="a job file needs fewer than ten levels") from None


def _syntax_error(error: yaml.MarkedYAMLError, place: Place, text: str) -> UserError:
    mark = error.problem_mark or error.context_mark
    line = mark.line + 1 if mark else None
    lines = text.splitlines()
    written = lines[line - 1] if line and line <= len(lines) else ""
    todo = "check the indentation, the colons and the quotes near this line"
    if "\t" in written[: len(written) - len(written.lstrip())] or "\\t" in (error.problem or ""):
        todo = "indent with spaces: YAML allows no tabs there"
    elif "${{" in written:
        todo = 'put quotes around a value that holds braces, e.g. "${{inputs.images}}"'
    said = error.problem or ""
    if error.context:  # "expected a single document, but found another", or "found a tab (while scanning …)"
        said = f"{error.context}, {said}" if said.startswith("but ") else f"{said} ({error.context})"
    return UserError(f"YAML syntax: {said}", place=replace(place, line=line), todo=todo)


class _Converter:
    """PyYAML's nodes → ours."""

    def __init__(self, file: str, base: Path) -> None:
        self._file, self._base, self._count = file, base, 0
        self._open: set[int] = set()
        self._constructor = _Loader("")

    def convert(self, node: yaml.Node, place: Place) -> Node:
        self._count += 1
        if self._count > MAX_NODES:
            raise UserError(
                f"more than {MAX_NODES:,} values (aliases counted each time)",
                place=Place(file=self._file, line=node.start_mark.line + 1),
                todo="write the values themselves in the place of aliases",
            )
        if id(node) in self._open:
            raise UserError(
                "an alias refers to the value that it stands in",
                place=Place(file=self._file, line=node.start_mark.line + 1),
                todo="write the value",
            )
        self._open.add(id(node))
        try:
            return self._convert(node, place)
        finally:
            self._open.discard(id(node))

    def _convert(self, node: yaml.Node, place: Place) -> Node:
        if isinstance(node, yaml.MappingNode):
            return Node(value=self._entries(node, place), place=place, base=self._base)
        if isinstance(node, yaml.SequenceNode):
            children = [
                self.convert(item, replace(place, line=item.start_mark.line + 1, field=child_field(place.field, index)))
                for index, item in enumerate(node.value)
            ]
            return Node(value=children, place=place, base=self._base)
        assert isinstance(node, yaml.ScalarNode)
        self._join_halves(node, place)
        return Node(value=self._scalar(node, place), text=str(node.value), place=place, base=self._base)

    def _entries(self, node: yaml.MappingNode, place: Place) -> dict[str, Node]:
        merged: dict[str, Node] = {}
        entries: dict[str, Node] = {}
        for key_node, value_node in node.value:
            line = key_node.start_mark.line + 1
            if key_node.tag == _MERGE:
                for source in value_node.value if isinstance(value_node, yaml.SequenceNode) else [value_node]:
                    merged = {**self.convert(source, replace(place, line=line)).entries, **merged}
                continue
            key = self._key(key_node, place)
            at = replace(place, line=line, field=child_field(place.field, key))
            if key in entries:
                first = entries[key].place.line
                raise UserError(f"the key '{key}' stands twice, first in line {first}", place=at, todo="keep one of them")
            entries[key] = self.convert(value_node, at)
        return {**merged, **entries}

    def _join_halves(self, node: yaml.ScalarNode, place: Place) -> None:
        """JSON writes 😀 as `"\\ud83d\\ude00"`, which PyYAML leaves as two. Errors: UserError for one without the other."""
        half = next((letter for letter in node.value if "\ud800" <= letter <= "\udfff"), "")
        try:
            node.value = node.value.encode("utf-16", "surrogatepass").decode("utf-16") if half else node.value
        except UnicodeDecodeError:
            raise UserError(
                f"'\\u{ord(half):04x}' is half a character",
                place=replace(place, line=node.start_mark.line + 1),
                todo="write the character itself",
            ) from None

    def _key(self, node: yaml.Node, place: Place) -> str:
        if isinstance(node, yaml.ScalarNode):
            self._join_halves(node, place)
        if isinstance(node, yaml.ScalarNode) and node.tag == _STR:
            return str(node.value)
        written = node.value if isinstance(node, yaml.ScalarNode) else "a list or mapping"
        raise UserError(
            f"a key must be text, not {written!r}" if isinstance(node, yaml.ScalarNode) else f"a key must be text, not {written}",
            place=replace(place, line=node.start_mark.line + 1),
            todo=f'write it in quotes: "{written}":' if isinstance(node, yaml.ScalarNode) else "",
        )

    def _scalar(self, node: yaml.ScalarNode, place: Place) -> Scalar:
        try:
            value = self._constructor.construct_object(node)
        except yaml.constructor.ConstructorError:
            raise UserError(f"the YAML tag '{node.tag}' is not allowed", place=place, todo="write a plain value") from None
        except ValueError:
            raise UserError(f"{shown(node.value)} is not a value of type {node.tag.rsplit(':', 1)[-1]}", place=place) from None
        return value if isinstance(value, (str, int, float, bool)) or value is None else str(node.value)


def scalar_text(value: Scalar) -> str:
    """A scalar as YAML writes it."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return "" if value is None else str(value)
