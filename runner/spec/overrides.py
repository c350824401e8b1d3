"""`--set path=value`, as `az ml job create` has it: `a.b.c=value`, lists by index (`a[0].b=value` or `a.0.b=value`).

The value is read as YAML reads a scalar (`2` is a number, `"2"` text); relative paths in it are relative to the job file, like
those in the file.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from runner.errors import Place, UserError
from runner.spec.yaml_source import Node, child_field, parse_yaml

DEEPEST = 100  # levels; a job file has fewer than ten
_PART = re.compile(r"([^.\[\]]+)|\[(\d+)\]")


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


def _parts(path: str, place: Place) -> list[str]:
    parts = [key or index for key, index in _PART.findall(path)]
    malformed = _PART.sub("", path).strip(".") or ".." in path or not parts or path[0] in ".[" or path[-1] == "."
    if malformed or len(parts) > DEEPEST:
        raise UserError("the path of an override is not well formed", place=place, allowed="names and list indexes: a.b.c, a[0].b, a.0.b")
    return parts


def _value(text: str, place: Place, base: Path) -> Node:
    """One YAML scalar; whatever YAML would not read as a scalar is text as it stands."""
    try:
        node = parse_yaml(f"value: {text}", file="--set", base=base).entries["value"]
    except UserError:
        node = None
    if node is None or node.is_mapping or node.is_list or "\n" in text:
        return Node(value=text, text=text, place=place, base=base)
    return replace(node, place=place)


def _put(node: Node | None, parts: list[str], value: Node, place: Place, field: str | None) -> Node:
    if not parts:
        return value
    head, rest = parts[0], parts[1:]
    here = child_field(field, head)
    if node is None or node.is_unset:
        return Node(value={head: _put(None, rest, value, place, here)}, place=replace(place, field=field), base=value.base)
    if isinstance(node.value, dict):
        return replace(node, value={**node.value, head: _put(node.value.get(head), rest, value, place, here)})
    if isinstance(node.value, list):
        if not head.isdigit() or int(head) > len(node.value):
            raise UserError(
                f"'{head}' is not an index of the list `{field}`", place=place, allowed=f"0 to {len(node.value)} (one past the end adds)"
            )
        items = list(node.value)
        old = items[int(head)] if int(head) < len(items) else None
        items[int(head) : int(head) + 1] = [_put(old, rest, value, place, here)]
        return replace(node, value=items)
    raise UserError(
        f"`{field}` is {node.kind} and holds no '{head}'", place=place, todo=f"set `{field}` itself, or write it in its long form"
    )
