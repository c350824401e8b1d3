"""`filter` steps as Arrow compute calls, checked against the table's columns before anything is read.

As in mltable a comparison with null is neither true nor false, and drops the row. Comparisons across types and chained ones, by
which mltable keeps all rows, are errors.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from runner.errors import Place, UserError, did_you_mean
from runner.inputs.filter_syntax import COMPARISONS, Node, error, parse

_WORDS = {"number": "a number", "text": "text", "truth": "true or false", "moment": "a date", "unknown": "null"}
_COMPARE = {
    "==": pc.equal, "!=": pc.not_equal, "<": pc.less, "<=": pc.less_equal, ">": pc.greater, ">=": pc.greater_equal,
}  # fmt: skip

Values = Any  # a ChunkedArray or a Scalar
Evaluate = Callable[[pa.Table], Values]


@dataclass(frozen=True, kw_only=True)
class _Part:
    kind: str  # number, text, truth, moment; unknown: always null
    evaluate: Evaluate
    whole: bool = False  # a number without decimals


@dataclass(frozen=True, kw_only=True)
class Filter:
    """A compiled filter."""

    text: str
    columns: frozenset[str]
    evaluate: Evaluate

    def apply(self, table: pa.Table) -> pa.Table:
        """The rows for which it is true. Raises pa.ArrowInvalid for a division by zero or a number that grows too large."""
        mask = self.evaluate(table)
        if isinstance(mask, pa.Scalar):
            return table if mask.as_py() else table.slice(0, 0)
        return table.filter(mask)


def compile_filter(text: str, schema: pa.Schema, *, place: Place | None, warn: Callable[[str], None]) -> Filter:
    """Raises a UserError at `place` for what the grammar or the columns' types don't allow; a missing column is only warned of."""
    compiler = _Compiler(text, schema, place, warn)
    tree = parse(text, place)
    part = compiler.truth(tree)
    return Filter(text=text, columns=frozenset(compiler.columns), evaluate=part.evaluate)


def _constant(value: Any, kind: pa.DataType | None = None) -> Evaluate:
    scalar = pa.scalar(value, kind)
    return lambda _table: scalar


class _Compiler:
    def __init__(self, text: str, schema: pa.Schema, place: Place | None, warn: Callable[[str], None]) -> None:
        self._text, self._schema, self._place, self._warn = text, schema, place, warn
        self.columns: set[str] = set()

    def _error(self, node: Node, problem: str, todo: str = "") -> UserError:
        return error(self._text, node.at, problem, self._place, todo)

    def compile(self, node: Node) -> _Part:
        if node.op in ("number", "text", "truth"):
            return _Part(kind=node.op, evaluate=_constant(node.value), whole=isinstance(node.value, int))
        if node.op == "moment":
            return _Part(kind="moment", evaluate=_constant(node.value, pa.timestamp("us")))
        if node.op == "column":
            return self._column(node)
        if node.op in ("and", "or"):
            left, right = (self.truth(operand).evaluate for operand in node.operands)
            join = pc.and_kleene if node.op == "and" else pc.or_kleene
            return _Part(kind="truth", evaluate=lambda table: join(left(table), right(table)))
        if node.op == "not":
            inner = self.truth(node.operands[0]).evaluate
            return _Part(kind="truth", evaluate=lambda table: pc.invert(inner(table)))
        if node.op in COMPARISONS:
            return self._compare(node)
        return self._starts(node) if node.op == "startswith" else self._arithmetic(node)

    def truth(self, node: Node) -> _Part:
        part = self.compile(node)
        if part.kind not in ("truth", "unknown"):
            raise self._error(node, f"{_WORDS[part.kind]} stands where true or false is wanted", "compare it with something")
        return part

    def _column(self, node: Node) -> _Part:
        name = node.value
        if name not in self._schema.names:
            near = did_you_mean(name, self._schema.names)
            self._warn(f"filter {self._text!r}: the table has no column '{name}'{', ' + near if near else ''}; it counts as null")
            return _Part(kind="unknown", evaluate=_constant(None, pa.bool_()))
        self.columns.add(name)
        kind = self._schema.field(name).type
        if pa.types.is_integer(kind):
            return _Part(kind="number", evaluate=lambda table: table.column(name), whole=True)
        if pa.types.is_floating(kind):
            return _Part(kind="number", evaluate=lambda table: table.column(name))
        if pa.types.is_decimal(kind):
            return _Part(kind="number", evaluate=lambda table: table.column(name).cast(pa.float64()))
        if pa.types.is_string(kind) or pa.types.is_large_string(kind):
            return _Part(kind="text", evaluate=lambda table: table.column(name))
        if pa.types.is_boolean(kind):
            return _Part(kind="truth", evaluate=lambda table: table.column(name))
        if pa.types.is_timestamp(kind):
            naive = pa.timestamp(kind.unit)
            return _Part(kind="moment", evaluate=lambda table: table.column(name).cast(naive))
        if pa.types.is_date(kind):
            return _Part(kind="moment", evaluate=lambda table: table.column(name).cast(pa.timestamp("us")))
        if pa.types.is_null(kind):
            return _Part(kind="unknown", evaluate=_constant(None, pa.bool_()))
        raise self._error(node, f"the column '{name}' has the type {kind}, which a filter cannot look into")

    def _compare(self, node: Node) -> _Part:
        left, right = map(self.compile, node.operands)
        if "unknown" in (left.kind, right.kind):
            return _Part(kind="unknown", evaluate=_constant(None, pa.bool_()))
        if left.kind != right.kind:
            todo = "compare like with like, or convert_column_types"
            if "moment" in (left.kind, right.kind):
                todo = "write datetime(2024, 1, 31)"
            elif {left.kind, right.kind} == {"truth", "number"}:
                todo = "write == True; a column of nothing but 0 and 1 is one of numbers with column_type_overrides"
            raise self._error(node, f"{_WORDS[left.kind]} is compared with {_WORDS[right.kind]}", todo)
        if left.kind == "truth" and node.op not in ("==", "!="):
            raise self._error(node, f"truth values have no order, so '{node.op}' means nothing", "write == or !=")
        compare, one, other = _COMPARE[node.op], left.evaluate, right.evaluate
        return _Part(kind="truth", evaluate=lambda table: compare(one(table), other(table)))

    def _starts(self, node: Node) -> _Part:
        inner = self.compile(node.operands[0])
        if inner.kind == "unknown":
            return inner
        if inner.kind != "text":
            raise self._error(node, f".startswith is for text, and this is {_WORDS[inner.kind]}")
        pattern, evaluate = node.value, inner.evaluate
        return _Part(kind="truth", evaluate=lambda table: pc.starts_with(evaluate(table), pattern=pattern))

    def _arithmetic(self, node: Node) -> _Part:
        parts = [self.compile(operand) for operand in node.operands]
        kinds = {part.kind for part in parts}
        if "unknown" in kinds:
            return _Part(kind="unknown", evaluate=_constant(None, pa.bool_()))
        if kinds == {"text"} and node.op == "+":
            one, other = (part.evaluate for part in parts)
            return _Part(kind="text", evaluate=lambda table: pc.binary_join_element_wise(one(table), other(table), ""))
        if kinds != {"number"}:
            raise self._error(node, f"'{node.op}' is for numbers, and this is {_WORDS[next(iter(kinds - {'number'}))]}")
        whole = all(part.whole for part in parts) and node.op not in ("/", "**")
        operate = _operation(node.op, whole)
        evaluates = [part.evaluate for part in parts]
        return _Part(kind="number", evaluate=lambda table: operate(*(evaluate(table) for evaluate in evaluates)), whole=whole)


def _operation(op: str, whole: bool) -> Callable[..., Values]:
    if op in ("/", "**"):
        function = pc.divide_checked if op == "/" else pc.power
        return lambda one, other: function(pc.cast(one, pa.float64()), pc.cast(other, pa.float64()))
    if op in ("%", "//"):
        return (_whole_remainder if op == "%" else _whole_quotient) if whole else (_remainder if op == "%" else _quotient)
    functions: dict[str, Callable[..., Values]] = {
        "+": pc.add_checked,
        "-": pc.subtract_checked,
        "*": pc.multiply_checked,
        "negative": pc.negate_checked,
        "positive": lambda one: one,
    }
    return functions[op]


def _quotient(one: Values, other: Values) -> Values:
    return pc.floor(pc.divide_checked(pc.cast(one, pa.float64()), pc.cast(other, pa.float64())))


def _remainder(one: Values, other: Values) -> Values:
    return pc.subtract(one, pc.multiply(_quotient(one, other), other))


def _whole_remainder(one: Values, other: Values) -> Values:
    """With the sign of the divisor, as in Python."""
    rest = pc.subtract(one, pc.multiply(pc.divide_checked(one, other), other))
    crosses = pc.and_(pc.not_equal(rest, 0), pc.not_equal(pc.less(rest, 0), pc.less(other, 0)))
    return pc.if_else(crosses, pc.add(rest, other), rest)


def _whole_quotient(one: Values, other: Values) -> Values:
    return pc.divide_checked(pc.subtract(one, _whole_remainder(one, other)), other)
