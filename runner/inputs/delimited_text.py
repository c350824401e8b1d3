"""The bytes of a slice of delimited text → an Arrow table: by Arrow's reader where it reads as mltable does, with care elsewhere."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pyarrow as pa

from runner.inputs.records import Record, UnclosedQuoteError, split
from runner.inputs.tabular import BadInputError, shown
from runner.inputs.types import CellType, Misfit, convert
from runner.worker.delimited import has_plain_ends, may_have_hexadecimal, read

_BLANK_LINE = re.compile(rb"(?:\A|(?<=\n))\r?(?:\n|\Z)")


# What to write under read_delimited for a column and a type.
OVERRIDE = "infer_column_types: {column_type_overrides: [{columns: '%s', column_type: %s}]}"


@dataclass(frozen=True, kw_only=True)
class Dialect:
    delimiter: bytes  # one character, UTF-8
    multi_line: bool = False
    empty_as_string: bool = False


def parse(data: bytes, names: Sequence[str], wanted: Mapping[str, CellType], dialect: Dialect) -> pa.Table:
    """The wanted columns of the rows; `names` are those of the fields in the data, in order.

    Raises a BadInputError whose `line` is 1-based in the data, and whose `file` is empty.
    """
    if not data[:64].strip(b"\r\n") and not data.strip(b"\r\n"):
        return _table({}, wanted, 0)
    width = _width(data, dialect)
    if width <= len(names) and len(dialect.delimiter) == 1 and has_plain_ends(data):
        present = [name for name in names[:width] if name in wanted]
        hexadecimal = any(wanted[name].kind == "int" for name in present) and may_have_hexadecimal(data)
        plain = {name: wanted[name].arrow if wanted[name].is_plain else pa.string() for name in present}
        for types in ([] if hexadecimal else [plain]) + [dict.fromkeys(present, pa.string())]:
            table = _by_arrow(data, names[:width], types, dialect)
            if table is not None:
                return _converted(table, data, wanted, dialect)
    return _with_care(data, names, wanted, dialect)


def _width(data: bytes, dialect: Dialect) -> int:
    """The number of fields of the first row."""
    head = data[: 1 << 16] if len(data) > 1 << 16 else data
    try:
        first = next(split(head, dialect.delimiter, multi_line=dialect.multi_line), None)
    except UnclosedQuoteError:
        return 1 << 30
    return len(first.fields) if first else 0


def _by_arrow(data: bytes, names: Sequence[str], types: Mapping[str, pa.DataType], dialect: Dialect) -> pa.Table | None:
    """None where a row has another number of fields, a value does not convert, or quotes reach over lines that they should not."""
    quotes = data.find(b'"') >= 0
    if quotes and _may_be_open(data, dialect):
        return None
    table = read(data, names, types, dialect.delimiter.decode(), quotes=quotes, empty_as_string=dialect.empty_as_string)
    if table is None:
        return None
    if quotes and not dialect.multi_line and not _has_rows(data, table.num_rows):
        return None
    return table


def _may_be_open(data: bytes, dialect: Dialect) -> bool:
    """Whether a quoted field could be unclosed at the end of the data, which Arrow would take for its end."""
    if dialect.multi_line:
        return data.count(b'"') % 2 == 1
    end = len(data)
    while end and data[end - 1] in b"\r\n":
        end -= 1
    return data.count(b'"', data.rfind(b"\n", 0, end) + 1, end) % 2 == 1


def _has_rows(data: bytes, rows: int) -> bool:
    """Whether so many lines are not blank."""
    lines = data.count(b"\n") + (not data.endswith(b"\n"))
    return rows == lines or rows == lines - sum(1 for match in _BLANK_LINE.finditer(data) if match[0])


def _converted(table: pa.Table, data: bytes, wanted: Mapping[str, CellType], dialect: Dialect) -> pa.Table:
    columns: dict[str, pa.Array] = {}
    for name, kind in wanted.items():
        if name not in table.column_names:
            continue
        column = table.column(name)
        if column.type != kind.arrow:
            column = _convert(column, name, kind, data, dialect)
        columns[name] = column
    return _table(columns, wanted, table.num_rows)


def _convert(column: pa.ChunkedArray, name: str, kind: CellType, data: bytes, dialect: Dialect) -> pa.Array:
    texts = column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
    if isinstance(texts, pa.ChunkedArray):
        texts = pa.concat_arrays(texts.chunks)
    try:
        return convert(texts, kind)
    except Misfit as misfit:
        raise _misfit(misfit, name, kind, data, dialect) from None


def _misfit(misfit: Misfit, name: str, kind: CellType, data: bytes, dialect: Dialect) -> BadInputError:
    records = split(data, dialect.delimiter, multi_line=dialect.multi_line)
    line = next((record.line for at, record in enumerate(records) if at == misfit.index), 0)
    todo = f"mend the value, or write another type for the column: {OVERRIDE % (name, 'string')}"
    if kind.true_values or kind.formats:
        todo = "mend the value, or change the `column_type` that is written for the column"
    return BadInputError(problem=f"column '{name}': {shown(misfit.text)} is not {misfit.words}", file="", line=line, todo=todo)


def _table(columns: Mapping[str, pa.Array], wanted: Mapping[str, CellType], rows: int) -> pa.Table:
    """All wanted columns, with nulls for those that the data has not."""
    arrays = [columns[name] if name in columns else pa.nulls(rows, kind.arrow) for name, kind in wanted.items()]
    if not arrays:
        return pa.table({"": pa.nulls(rows)})  # nothing but the number of rows is wanted
    return pa.table(arrays, names=list(wanted))


def _with_care(data: bytes, names: Sequence[str], wanted: Mapping[str, CellType], dialect: Dialect) -> pa.Table:
    """By our own rules, row by row."""
    records = []
    try:
        for record in split(data, dialect.delimiter, multi_line=dialect.multi_line, empty_as_string=dialect.empty_as_string):
            if len(record.fields) > len(names):
                _check_length(record, len(names))
            records.append(record)
    except UnclosedQuoteError as error:
        raise BadInputError(
            problem="the quote that begins in this line is never closed", file="", line=error.line, todo="close it, or double it"
        ) from None
    columns = {}
    for at, name in enumerate(names):
        if name in wanted:
            texts = _utf8([record.fields[at] if at < len(record.fields) else None for record in records], records, name)
            columns[name] = _convert(texts, name, wanted[name], data, dialect)
    return _table(columns, wanted, len(records))


def _check_length(record: Record, width: int) -> None:
    """Empty fields too many do no harm; others would be lost."""
    if any(field for field in record.fields[width:]):
        raise BadInputError(
            problem=f"the row has {len(record.fields)} fields, and the table {width} columns",
            file="",
            line=record.line,
            todo="mend the row; quote a field that has the delimiter in it",
        )


def _utf8(fields: list[bytes | None], records: Sequence[Record], name: str) -> pa.Array:
    try:
        return pa.array(fields, pa.binary()).cast(pa.string())
    except pa.ArrowInvalid:
        for field, record in zip(fields, records, strict=True):
            try:
                (field or b"").decode()
            except UnicodeDecodeError as error:
                raise BadInputError(
                    problem=f"column '{name}': {field!r} is not UTF-8 text ({error.reason})",
                    file="",
                    line=record.line,
                    todo="set `encoding` of read_delimited, e.g. to windows1252, or save the file as UTF-8",
                ) from None
        raise
