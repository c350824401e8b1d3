"""Typed reading of the keys of a mapping: expressions resolved, then the kind of value, then its range.

Wherever an int, a string or one of a few words is wanted, a number, a numeric string or an expression will do; booleans are
not numbers, and 0 is a value.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from runner.errors import UserError, did_you_mean
from runner.model.job import JobInput
from runner.spec.expressions import Scope, has_expression, meaning, only_expression, substitute
from runner.spec.problems import Problems
from runner.spec.schema import WRITTEN_BY_AZURE
from runner.spec.yaml_source import Node, Scalar, scalar_text, shown

INT_MAX = 2**31 - 1


class Reader:
    """Reads one mapping. A wrong value is put down in `problems` and the default returned, so that the check goes on."""

    def __init__(self, node: Node | None, scope: Scope, problems: Problems) -> None:
        self.node, self.scope, self.problems = node, scope, problems

    def written(self, key: str) -> Node | None:
        return self.node.get(key) if self.node else None

    def below(self, key: str) -> Reader:
        """The reader of a nested mapping (of nothing, where it is absent)."""
        return Reader(self.mapping(key), self.scope, self.problems)

    def mapping(self, key: str) -> Node | None:
        node = self.written(key)
        if node is None or node.is_mapping:
            return node
        self.problems.add(f"must be a mapping, not {node.kind}", node.place, todo="write its keys in further lines, indented")
        return None

    def text(self, key: str, default: str = "") -> str:
        with self.problems.catching():
            return as_text(self.written(key), self.scope, default)
        return default

    def literal(self, key: str) -> str | None:
        """Text in which no expression may stand."""
        node = self.written(key)
        if node is None:
            return None
        with self.problems.catching():
            text = require_scalar(node)
            if has_expression(text):
                raise UserError(f"takes no expression, but has {shown(text)}", place=node.place, todo="write the value itself")
            return text
        return None

    def integer(self, key: str, *, low: int, high: int = INT_MAX, default: int | None = None) -> int | None:
        with self.problems.catching():
            node = self.written(key)
            return default if node is None else as_int(node, self.scope, low, high)
        return default

    def boolean(self, key: str, default: bool) -> bool:
        with self.problems.catching():
            node = self.written(key)
            return default if node is None else as_bool(node, self.scope)
        return default

    def choice(self, key: str, allowed: Sequence[str], default: str) -> str:
        node = self.written(key)
        if node is None:
            return default
        text = self.text(key, default)
        if text in allowed:
            return text
        self.problems.add(f"{shown(text)} is not one of the values", node.place, allowed=", ".join(allowed), todo=near_case(text, allowed))
        return default

    def texts(self, key: str) -> tuple[str, ...]:
        """A list of texts; a single text counts as a list of one."""
        node = self.written(key)
        if node is None:
            return ()
        found = []
        for item in node.items if node.is_list else [node]:
            with self.problems.catching():
                found.append(as_text(item, self.scope))
        return tuple(found)

    def text_mapping(self, key: str) -> dict[str, str]:
        """Names and texts; numbers and booleans as YAML writes them."""
        found = {}
        for name, child in (node.entries if (node := self.mapping(key)) else {}).items():
            with self.problems.catching():
                found[name] = as_text(child, self.scope)
        return found


def near_case(word: str, known: Sequence[str]) -> str:
    """`did you mean`, whatever the case of the letters."""
    for one in known:
        if one.lower() == word.lower():
            return f"did you mean '{one}'?"
    return did_you_mean(word, known)


def require_scalar(node: Node) -> str:
    if node.is_mapping or node.is_list:
        raise UserError(f"must be one value, not {node.kind}", place=node.place)
    return scalar_text(node.value) if isinstance(node.value, bool) else node.text


def as_text(node: Node | None, scope: Scope, default: str = "") -> str:
    """A scalar as text, its expressions replaced."""
    if node is None or node.is_unset:
        return default
    text = require_scalar(node)
    return substitute(text, scope, node.place) if isinstance(node.value, str) else text


def resolved(node: Node, scope: Scope) -> Scalar:
    """A scalar with its expressions replaced; a lone expression keeps the type of the literal that it refers to."""
    text = require_scalar(node)
    inner = only_expression(text) if isinstance(node.value, str) else None
    if inner is not None:
        value = meaning(inner, scope, node.place)
        if isinstance(value, JobInput) and not value.is_data and not value.optional_unset:
            return value.value
    if isinstance(node.value, str):
        return substitute(text, scope, node.place)
    assert not isinstance(node.value, (dict, list))
    return node.value


def as_int(node: Node, scope: Scope, low: int, high: int = INT_MAX) -> int:
    """An int, a numeric string, or an expression that stands for one, within low … high."""
    value = resolved(node, scope)
    number = to_int(value)
    allowed = f"a whole number from {low} to {high}" if high != INT_MAX else f"a whole number from {low} up (at most {INT_MAX})"
    if number is None:
        raise UserError(f"{describe(value)} is not a whole number", place=node.place, allowed=allowed)
    if not low <= number <= high:
        raise UserError(f"{number} is out of range", place=node.place, allowed=allowed)
    return number


def as_number(node: Node, scope: Scope, allowed: str) -> float:
    """As `as_int`, with fractions; the caller checks the range that `allowed` describes."""
    value = resolved(node, scope)
    number = to_float(value)
    if number is None:
        raise UserError(f"{describe(value)} is not a number", place=node.place, allowed=allowed)
    return int(number) if number.is_integer() else number


def as_bool(node: Node, scope: Scope) -> bool:
    value = resolved(node, scope)
    flag = to_bool(value)
    if flag is None:
        raise UserError(f"{describe(value)} is not a boolean", place=node.place, allowed="true, false")
    return flag


def to_int(value: Scalar) -> int | None:
    if isinstance(value, bool) or value is None:
        return None
    if isinstance(value, float):
        return int(value) if value.is_integer() else None
    if isinstance(value, int):
        return value
    text = value.strip()
    digits = text[1:] if text[:1] in "+-" else text
    return int(text) if digits.isascii() and digits.isdigit() and len(digits) <= 30 else None


def to_float(value: Scalar) -> float | None:
    if isinstance(value, bool) or value is None:
        return None
    try:
        number = float(value) if not (isinstance(value, str) and "_" in value) else math.nan
    except (ValueError, OverflowError):
        return None
    return None if math.isnan(number) else number


def to_number(value: Scalar) -> int | float | None:
    """A whole number stays one: scripts get it as it was written."""
    whole = None if isinstance(value, float) else to_int(value)
    return to_float(value) if whole is None else whole


def to_bool(value: Scalar) -> bool | None:
    if isinstance(value, bool):
        return value
    return {"true": True, "false": False}.get(value.strip().lower()) if isinstance(value, str) else None


def describe(value: Scalar) -> str:
    if isinstance(value, bool):
        return f"the boolean {scalar_text(value)}"
    return shown(value) if isinstance(value, str) else str(value)


def check_keys(node: Node | None, known: Sequence[str], what: str, problems: Problems, hints: Mapping[str, str] | None = None) -> None:
    """Puts down every key of a mapping that is not known, with the nearest known one."""
    for key, child in (node.entries if node else {}).items():
        if key in known:
            continue
        todo = (hints or {}).get(key) or near_case(key, known) or "remove it, or put a # before it"
        advertised = [one for one in known if one not in WRITTEN_BY_AZURE]
        problems.add(f"unknown key '{key}' {what}", child.place, allowed=", ".join(advertised), todo=todo)
