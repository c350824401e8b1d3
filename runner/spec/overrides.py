"""`--set path=value`, as `az ml job create` has it: `a.b.c=value`, lists by index (`a[0].b=value` or `a.0.b=value`).

The value is read as YAML reads it on one line: `2` is a number, `"2"` text, `[user]` a list, `{a: b}` a mapping. Relative paths in it
are relative to the job file, like those in the file.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from runner.errors import Place, UserError
from runner.spec.yaml_source import Node, child_field, parse_yaml

DEEPEST = 100  # levels; a job file has fewer than ten
_INDEX = re.compile(r"[0-9]{1,9}")
_PART = re.compile(rf"([^.\[\]]+)|\[({_INDEX.pattern})\]")


def override(root: Node, assignments: Sequence[str]) -> Node:
    """The tree with every `path=value` applied, in order. Missing mappings on the way are made."""
    for assignment in assignments:
        path, equals, text = assignment.partition("=")
        if not equals or not path.strip():
            raise UserError(
                f"'{assignment}' is not an override",
                place=Place(file="--set"),
                allowed="path=value",
                todo="e.g. --set resources.instance_count=2",
            )
        place = Place(file="--set", field=path.strip())
        root = _put(root, _parts(path.strip(), place), _value(text, place, root.base), place, None)
    return root


def _parts(path: str, place: Place) -> list[str | int]:
    """Names, and numbers for what stands in brackets."""
    parts: list[str | int] = [key or int(index) for key, index in _PART.findall(path)]
    malformed = _PART.sub("", path).strip(".") or ".." in path or not parts or path[0] in ".[" or path[-1] == "."
    if malformed or len(parts) > DEEPEST:
        raise UserError("the path of an override is not well formed", place=place, allowed="names and list indexes: a.b.c, a[0].b, a.0.b")
    return parts


def _value(text: str, place: Place, base: Path) -> Node:
    """A YAML scalar, or a list or mapping in brackets; whatever else YAML would make of it is text as it stands."""
    try:
        node = parse_yaml(f"value: {text}", file="--set", base=base).entries["value"]
    except UserError:
        node = None
    collection = node is not None and (node.is_mapping or node.is_list)
    if node is None or "\n" in text or (collection and text.strip()[0] not in "[{"):
        return Node(value=text, text=text, place=place, base=base)
    return _placed(node, place, place.field)


def _placed(node: Node, place: Place, field: str | None) -> Node:
    """The value as one that stands at this field of `--set`, with all that is in it."""
    value = node.value
    if isinstance(value, dict):
        value = {key: _placed(child, place, child_field(field, key)) for key, child in value.items()}
    elif isinstance(value, list):
        value = [_placed(child, place, child_field(field, index)) for index, child in enumerate(value)]
    return replace(node, value=value, place=replace(place, field=field))


def _put(node: Node | None, parts: list[str | int], value: Node, place: Place, field: str | None) -> Node:
    if not parts:
        return value
    head, rest = parts[0], parts[1:]
    here = child_field(field, head)
    if node is None or node.is_unset:
        made: dict[str, Node] | list[Node] = [] if isinstance(head, int) else {}
        node = Node(value=made, place=replace(place, field=field), base=value.base)
    if isinstance(node.value, dict):
        key = str(head)
        return replace(node, value={**node.value, key: _put(node.value.get(key), rest, value, place, here)})
    if isinstance(node.value, list):
        return replace(node, value=_put_item(node.value, head, rest, value, place, field))
    raise UserError(
        f"`{field}` is {node.kind} and holds no '{head}'", place=place, todo=f"set `{field}` itself, or write it in its long form"
    )


def _put_item(items: list[Node], head: str | int, rest: list[str | int], value: Node, place: Place, field: str | None) -> list[Node]:
    number = int(head) if isinstance(head, int) or _INDEX.fullmatch(head) else -1
    if not 0 <= number <= len(items):
        raise UserError(
            f"'{head}' is not an index of the list `{field}`", place=place, allowed=f"0 to {len(items)} (one past the end adds)"
        )
    old = items[number] if number < len(items) else None
    return [*items[:number], _put(old, rest, value, place, child_field(field, number)), *items[number + 1 :]]
