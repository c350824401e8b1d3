"""Columns and the types they are to get, as an MLTable file writes them: selectors, `column_type`, single conversions."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from runner.errors import NotSupportedHere, Place, UserError, did_you_mean
from runner.inputs.nodes import check_keys, read_bool, read_choice, read_texts, require_text
from runner.spec.yaml_source import Node


@dataclass(frozen=True, kw_only=True)
class Selector:
    """Columns by name, or by a regular expression that is searched in the name."""

    names: tuple[str, ...] = ()
    pattern: re.Pattern[str] | None = None
    invert: bool = False

    def pick(self, columns: Sequence[str]) -> list[str]:
        """Those of the columns that are meant, in their order; names that don't occur are passed over."""
        if self.pattern is None:
            return [column for column in columns if column in self.names]
        return [column for column in columns if bool(self.pattern.search(column)) != self.invert]


@dataclass(frozen=True, kw_only=True)
class ColumnType:
    kind: Literal["int", "float", "string", "boolean", "datetime"]
    formats: tuple[str, ...] = ()  # strptime codes, of datetime
    true_values: tuple[str, ...] = ()
    false_values: tuple[str, ...] = ()
    mismatch_as: Literal["error", "true", "false"] = "error"


@dataclass(frozen=True, kw_only=True)
class Conversion:
    columns: Selector
    type: ColumnType
    place: Place


def read_selector(node: Node) -> Selector:
    if not node.is_mapping:
        return Selector(names=read_texts(node))
    check_keys(node, ("pattern", "ignore_case", "invert"), "of a column selector")
    pattern = node.get("pattern")
    if pattern is None:
        raise UserError("`pattern` is missing", place=node.place, todo="write a regular expression")
    try:
        regex = re.compile(require_text(pattern), re.IGNORECASE if read_bool(node, "ignore_case", False) else 0)
    except re.error as error:
        raise UserError(f"{pattern.text!r} is not a regular expression: {error}", place=pattern.place) from None
    return Selector(pattern=regex, invert=read_bool(node, "invert", False))


def read_conversion(node: Node) -> Conversion:
    check_keys(node, ("columns", "column_type"), "of a type conversion")
    columns, kind = node.get("columns"), node.get("column_type")
    if columns is None or kind is None:
        raise UserError("`columns` and `column_type` are both needed", place=node.place)
    return Conversion(columns=read_selector(columns), type=_read_type(kind), place=node.place)


def _read_type(node: Node) -> ColumnType:
    simple = ("int", "float", "string", "boolean")
    if isinstance(node.value, str) and node.value in simple:
        return ColumnType(kind=node.value)  # type: ignore[arg-type]
    name = node.value if isinstance(node.value, str) else next(iter(node.entries), "")
    if name == "stream_info":
        raise NotSupportedHere("columns of type stream_info are not supported", place=node.place, todo="leave the column as text")
    if isinstance(node.value, str) or not node.is_mapping:
        todo = "write `datetime: {formats: ['%Y-%m-%d']}`" if name == "datetime" else did_you_mean(str(name), (*simple, "datetime"))
        raise UserError(f"{node.text!r} is not a column type", place=node.place, allowed="int, float, string, boolean, datetime", todo=todo)
    check_keys(node, ("boolean", "datetime"), "of a column type")
    if len(node.entries) != 1:
        raise UserError("a column type has one name", place=node.place, allowed="boolean or datetime")
    return _read_datetime(node.entries["datetime"]) if name == "datetime" else _read_boolean(node.entries["boolean"])


def _read_datetime(node: Node) -> ColumnType:
    check_keys(node, ("formats", "date_constant"), "of datetime")
    formats, constant = node.get("formats"), node.get("date_constant")
    if constant is not None:
        raise NotSupportedHere("`date_constant` is not supported", place=constant.place, todo="keep the column as text")
    if formats is None:
        raise UserError("`formats` is missing", place=node.place, todo="write `formats: '%Y-%m-%d'`")
    return ColumnType(kind="datetime", formats=read_texts(formats))


def _read_boolean(node: Node) -> ColumnType:
    if node.is_unset:
        return ColumnType(kind="boolean")
    check_keys(node, ("true_values", "false_values", "mismatch_as"), "of boolean")
    yes, no = node.get("true_values"), node.get("false_values")
    if (yes is None) != (no is None):
        raise UserError("`true_values` and `false_values` belong together", place=node.place, todo="write both, or neither")
    return ColumnType(
        kind="boolean",
        true_values=read_texts(yes) if yes is not None else (),
        false_values=read_texts(no) if no is not None else (),
        mismatch_as=read_choice(node, "mismatch_as", ("error", "true", "false"), "error"),  # type: ignore[arg-type]
    )
