"""Types of columns: inferred once for a table from the texts of its head, then applied to every mini-batch.

Where mltable makes silent nulls (later values that don't fit, ambiguous dates) or cuts numbers, a value that doesn't fit is a
`Misfit` here, which names it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

import pyarrow as pa
import pyarrow.compute as pc

from runner.inputs import cells
from runner.inputs.cells import Order
from runner.inputs.column_types import ColumnType
from runner.worker.delimited import FALSE, TRUE

Kind = Literal["int", "float", "string", "boolean", "datetime"]

ARROW: dict[str, pa.DataType] = {
    "int": pa.int64(),
    "float": pa.float64(),
    "string": pa.string(),
    "boolean": pa.bool_(),
    "datetime": pa.timestamp("ns"),
}
WORDS = {"int": "a whole number", "float": "a number", "boolean": "true or false", "datetime": "a date", "string": "text"}


@dataclass(frozen=True, kw_only=True)
class CellType:
    """How the text of a cell becomes a value."""

    kind: Kind = "string"
    order: Order = ""  # of dates such as 3/4/2020: "" where the head of the table has none
    formats: tuple[str, ...] = ()  # strptime codes instead of the usual date formats
    true_values: tuple[str, ...] = ()
    false_values: tuple[str, ...] = ()
    mismatch_as: Literal["error", "true", "false"] = "error"

    @staticmethod
    def of(written: ColumnType) -> CellType:
        """The type that a user wrote."""
        return CellType(
            kind=written.kind,
            formats=written.formats,
            true_values=written.true_values,
            false_values=written.false_values,
            mismatch_as=written.mismatch_as,
        )

    @property
    def arrow(self) -> pa.DataType:
        return ARROW[self.kind]

    @property
    def is_plain(self) -> bool:
        """Whether Arrow's own CSV reader converts (nearly all of) the texts that this type allows, and no others."""
        return not self.formats and not self.true_values and self.mismatch_as == "error"

    @cached_property
    def words(self) -> str:
        return f"a date of the form {' or '.join(self.formats)}" if self.formats else WORDS[self.kind]


_PLAIN_MOMENT = r"^\d{4}-\d{2}-\d{2}([ T]\d{2}:\d{2}:\d{2}(\.\d{1,9})?)?$"
_ZONED_MOMENT = r"^\d{4}-\d{2}-\d{2}[ T]\d{2}:\d{2}:\d{2}(\.\d{1,9})?(Z|[+-]\d{2}:\d{2})$"


class Misfit(Exception):
    """The value at `index` does not fit the column's type."""

    def __init__(self, index: int, text: str, words: str) -> None:
        self.index, self.text, self.words = index, text, words
        super().__init__(f"{text!r} is not {words}")


def infer(texts: Iterable[str | None]) -> CellType:
    """The type of a column whose head has these texts; nulls say nothing."""
    values = {text for text in texts if text is not None}
    if not values:
        return CellType()
    if all(map(cells.is_truth, values)):
        return CellType(kind="boolean")
    if all(map(cells.is_int, values)):
        return CellType(kind="int")
    if all(map(cells.FLOAT.match, values)):
        return CellType(kind="float")
    return _infer_dates(values)


def _infer_dates(values: set[str]) -> CellType:
    orders = {found for text in values if (found := cells.slash_order(text)) is not None}
    certain = orders - {""}
    if len(certain) > 1 or (orders and not certain):
        return CellType()  # contradicting, or all ambiguous: mltable makes nulls of the latter, here they stay text
    order: Order = next(iter(certain), "")
    if all(cells.moment(text, order) is not None for text in values):
        return CellType(kind="datetime", order=order)
    return CellType()


def convert(texts: pa.Array, kind: CellType, *, truncate: bool = False) -> pa.Array:
    """A string array as an array of the type; null stays null, and empty text is null in all but string columns.

    `truncate`: 1.6 and 1e3 count as whole numbers, cut towards zero, as `convert_column_types: int` has it. Raises a Misfit.
    """
    if kind.kind == "string":
        return texts
    texts = pc.if_else(pc.equal(texts, ""), pa.scalar(None, pa.string()), texts)
    if kind.kind == "int":
        return _ints(texts, kind, truncate)
    if kind.kind == "float":
        return _floats(texts, kind)
    return _truths(texts, kind) if kind.kind == "boolean" else _moments(texts, kind)


def first_true(mask: pa.Array) -> int:
    """The index of the first true value, or -1."""
    return int(pc.index(mask, True).as_py())


def _one_by_one(texts: pa.Array, kind: CellType, parse: Callable[[str], Any]) -> pa.Array:
    """Each different text once through `parse`, which gives None for a misfit."""
    encoded = texts.dictionary_encode()
    unique = encoded.dictionary.to_pylist()
    values = [None if text is None else parse(text) for text in unique]
    wrong = [at for at, (text, value) in enumerate(zip(unique, values, strict=True)) if value is None and text is not None]
    if wrong:
        index = first_true(pc.is_in(encoded.indices, value_set=pa.array(wrong, encoded.indices.type)))
        raise Misfit(index, texts[index].as_py(), kind.words)
    return pa.array(values, pa.int64() if kind.kind == "datetime" else kind.arrow).take(encoded.indices)


def _ints(texts: pa.Array, kind: CellType, truncate: bool) -> pa.Array:
    trimmed = pc.utf8_trim_whitespace(texts)
    if pc.all(pc.match_substring_regex(trimmed, r"^[+-]?\d{1,18}$"), min_count=0).as_py():
        return pc.cast(pc.utf8_ltrim(trimmed, characters="+"), pa.int64())
    return _one_by_one(texts, kind, _cut if truncate else lambda text: int(text) if cells.is_int(text.strip()) else None)


def _cut(text: str) -> int | None:
    stripped = text.strip()
    if cells.is_int(stripped):
        return int(stripped)
    if not cells.FLOAT.match(stripped):
        return None
    try:
        value = int(float(stripped))
    except (ValueError, OverflowError):
        return None
    return value if value in cells.INT64 else None


def _floats(texts: pa.Array, kind: CellType) -> pa.Array:
    trimmed = pc.utf8_ltrim(pc.utf8_trim_whitespace(texts), characters="+")
    if pc.all(pc.match_substring_regex(trimmed, r"^-?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?$"), min_count=0).as_py():
        return pc.cast(trimmed, pa.float64())
    return _one_by_one(texts, kind, lambda text: float(text) if cells.FLOAT.match(text) else None)


def _truths(texts: pa.Array, kind: CellType) -> pa.Array:
    yes, no = (kind.true_values, kind.false_values) if kind.true_values else (TRUE, FALSE)
    words = texts if kind.true_values else pc.utf8_lower(pc.utf8_trim_whitespace(texts))
    is_yes, is_no = (pc.is_in(words, value_set=pa.array(values, pa.string())) for values in (yes, no))
    stray = pc.and_not(pc.is_valid(texts), pc.or_(is_yes, is_no))
    index = first_true(stray)
    if index >= 0 and kind.mismatch_as == "error":
        raise Misfit(index, texts[index].as_py(), kind.words if not kind.true_values else f"one of {', '.join(yes + no)}")
    if kind.mismatch_as == "true":
        is_yes = pc.or_(is_yes, stray)
    return pc.if_else(pc.is_valid(texts), is_yes, pa.scalar(None, pa.bool_()))


def _moments(texts: pa.Array, kind: CellType) -> pa.Array:
    if kind.formats:
        return _one_by_one(texts, kind, lambda text: cells.formatted_moment(text, kind.formats)).cast(pa.timestamp("ns"))
    for pattern, arrow in ((_PLAIN_MOMENT, pa.timestamp("ns")), (_ZONED_MOMENT, pa.timestamp("ns", "UTC"))):
        if pc.all(pc.match_substring_regex(texts, pattern), min_count=0).as_py():
            try:
                return pc.cast(pc.cast(texts, arrow), pa.timestamp("ns"))
            except pa.ArrowInvalid:
                break  # no such day, or out of range: found below
    return _one_by_one(texts, kind, lambda text: cells.moment(text, kind.order)).cast(pa.timestamp("ns"))
