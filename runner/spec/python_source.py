"""Mappings from Python as the same tree of nodes that a YAML file gives: no file, no lines, but field paths."""

from __future__ import annotations

import enum
import numbers
import os
from collections.abc import Mapping
from pathlib import Path

from runner.errors import Place, UserError
from runner.spec.yaml_source import Node, Scalar, child_field, scalar_text


def from_python(value: object, *, base: Path, field: str | None = None) -> Node:
    """The same tree from Python's values: no file, no lines, but field paths. Enums and paths count as their text."""
    place = Place(field=field)
    if isinstance(value, Mapping):
        entries = {}
        for key, child in value.items():
            if isinstance(key, enum.Enum):
                key = key.value
            if not isinstance(key, str):
                raise UserError(f"a key must be text, not {key!r}", place=place)
            entries[key] = from_python(child, base=base, field=child_field(field, key))
        return Node(value=entries, place=place, base=base)
    if isinstance(value, (list, tuple)):
        children = [from_python(child, base=base, field=child_field(field, index)) for index, child in enumerate(value)]
        return Node(value=children, place=place, base=base)
    scalar = _python_scalar(value, place)
    return Node(value=scalar, text="" if scalar is None else scalar_text(scalar), place=place, base=base)


def _python_scalar(value: object, place: Place) -> Scalar:
    if isinstance(value, enum.Enum):
        return _python_scalar(value.value, place)
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, str):
        return str(value)
    if isinstance(value, os.PathLike):
        return os.fsdecode(value)
    if isinstance(value, numbers.Integral):
        return int(value)
    if isinstance(value, numbers.Real):
        return float(value)
    raise UserError(
        f"a value of type {type(value).__name__} cannot stand here", place=place, allowed="text, numbers, booleans, lists, mappings"
    )
