"""`convert_column_types`: columns of any type → the type that is written. What cannot be converted is a `Misfit`, never a silent null."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal

import pyarrow as pa
import pyarrow.compute as pc

from runner.errors import Place, UserError
from runner.inputs.cells import INT64
from runner.inputs.types import CellType, Misfit, convert, first_true

Convert = Callable[[pa.Array], pa.Array]


def conversion(name: str, source: pa.DataType, target: CellType, place: Place) -> Convert:
    """A function from arrays of the source type. Raises a UserError at `place` where there is none."""
    if pa.types.is_string(source) or pa.types.is_large_string(source):
        return lambda texts: convert(texts.cast(pa.string()), target, truncate=True)
    if pa.types.is_null(source):
        return lambda nulls: nulls.cast(target.arrow)
    if pa.types.is_boolean(source):
        found = _of_truths(target)
    elif pa.types.is_integer(source) or pa.types.is_floating(source) or pa.types.is_decimal(source):
        found = _of_numbers(source, target)
    elif pa.types.is_timestamp(source) or pa.types.is_date(source):
        found = _of_moments(target)
    else:
        found = None
    if found is None:
        raise UserError(
            f"the column '{name}' has the type {source}, which cannot become {target.kind}",
            place=place,
            todo="take the column out of the conversion, or read it as text",
        )
    return found


def _of_truths(target: CellType) -> Convert | None:
    if target.kind == "boolean":
        return lambda truths: truths
    if target.kind == "string":
        return lambda truths: pc.if_else(truths, "True", "False")
    return (lambda truths: truths.cast(pa.int8()).cast(target.arrow)) if target.kind in ("int", "float") else None


def _of_numbers(source: pa.DataType, target: CellType) -> Convert | None:
    if target.kind == "int":
        return (lambda numbers: numbers.cast(pa.int64())) if pa.types.is_signed_integer(source) else _truncated
    if target.kind == "float":
        return lambda numbers: numbers.cast(pa.float64())
    if target.kind == "boolean":  # as in mltable the lists of true and false values are for text
        return lambda numbers: pc.not_equal(numbers, pa.scalar(0, source) if not pa.types.is_decimal(source) else Decimal(0))
    return _number_texts if target.kind == "string" else None


def _truncated(numbers: pa.Array) -> pa.Array:
    """Towards zero; what is no 64-bit number is a misfit."""
    if pa.types.is_integer(numbers.type):
        too_large = pc.greater(numbers, pa.scalar(INT64[-1], numbers.type)) if numbers.type == pa.uint64() else pa.nulls(0, pa.bool_())
    else:
        numbers = pc.trunc(numbers.cast(pa.float64()))
        too_large = pc.invert(pc.and_(pc.greater_equal(numbers, -(2.0**63)), pc.less(numbers, 2.0**63)))
    index = first_true(too_large)
    if index >= 0:
        raise Misfit(index, str(numbers[index].as_py()), "a whole number of 64 bits")
    return numbers.cast(pa.int64())


def _number_texts(numbers: pa.Array) -> pa.Array:
    """Without exponents, as mltable writes them: 1.0 is 1, 1e10 is 10000000000."""
    texts = numbers.cast(pa.string())
    if not pa.types.is_floating(numbers.type) or not pc.any(pc.match_substring(texts, "e"), min_count=0).as_py():
        return texts
    return pa.array([format(Decimal(text), "f") if text and "e" in text else text for text in texts.to_pylist()], pa.string())


def _of_moments(target: CellType) -> Convert | None:
    if target.kind == "datetime":
        return lambda moments: (
            moments.cast(pa.timestamp("us")).cast(pa.timestamp("ns")) if pa.types.is_date(moments.type) else _naive(moments)
        )
    return _moment_texts if target.kind == "string" else None


def _naive(moments: pa.Array) -> pa.Array:
    return moments.cast(pa.timestamp(moments.type.unit)).cast(pa.timestamp("ns"))


def _moment_texts(moments: pa.Array) -> pa.Array:
    """ISO 8601 with the offset of UTC, as mltable writes it."""
    naive = moments.cast(pa.timestamp("us")) if pa.types.is_date(moments.type) else moments.cast(pa.timestamp(moments.type.unit))
    texts = pc.replace_substring(naive.cast(pa.string()), " ", "T", max_replacements=1)
    # Decimals come by threes, and not at all where there are none.
    texts = pc.replace_substring_regex(texts, r"(\.\d*?)(000)*$", r"\1")
    texts = pc.replace_substring_regex(texts, r"\.$", "")
    return pc.binary_join_element_wise(texts, "+00:00", "")
