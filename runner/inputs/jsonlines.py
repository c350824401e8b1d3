"""JSON lines: one object to a line. Keys and types come from the head of the table; what doesn't fit them fails its mini-batch."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa
import pyarrow.json

from runner.errors import UserError
from runner.inputs.bytes_of import Bytes
from runner.inputs.cells import INT64
from runner.inputs.files import FileEntry
from runner.inputs.mltable_steps import SAMPLE_ROWS, JsonLines
from runner.inputs.opener import Opener
from runner.inputs.tabular import BadInputError, Slice, shown
from runner.inputs.textfile import AROUND_CUT, WHOLE, LineCounts, cut_lines, expect, is_whole, read_head, read_slice

HEAD = 256 * 1024

_WORDS = {bool: "true or false", int: "a whole number", float: "a number", str: "text", dict: "an object", list: "an array"}


@dataclass(frozen=True, kw_only=True)
class JsonLinesTable:
    """The opened table; a `Format`."""

    reader: JsonLines
    schema: pa.Schema
    _lines: LineCounts = field(default_factory=LineCounts, compare=False)

    def prepare(self, source: Bytes) -> None:
        source.want(0, AROUND_CUT)

    def slices(self, source: Bytes, size: int | None) -> Iterator[Slice]:
        file = source.file
        if file.size == 0:
            return
        if is_whole(file.path, self.reader.encoding):
            if read_head(source, self.reader.encoding, HEAD)[0].strip():
                yield Slice(WHOLE, file.size)
            return
        yield from cut_lines(source, 0, file.size if size is None else size)

    def expect(self, source: Bytes, positions: Sequence[Sequence[int]]) -> None:
        expect(source, positions)

    def direct(self, source: Bytes, position: Sequence[int], schema: pa.Schema) -> None:
        """Text is read here only: its types are decided by rules of our own."""

    def read(self, source: Bytes, position: Sequence[int], columns: frozenset[str] | None) -> pa.Table:
        start, end = position
        data = read_slice(source, self.reader.encoding, start, end)
        try:
            table = self._fast(data)
            if table is None:
                table = _with_care(data, self.schema, drop=self.reader.drop_invalid)
        except BadInputError as bad:
            bad.file = source.file.path
            if end >= 0:
                self._lines.place(bad, source, start)
            raise
        return table if columns is None else table.select([name for name in self.schema.names if name in columns])

    def _fast(self, data: bytes) -> pa.Table | None:
        """Arrow's reader; None where a line does not fit."""
        try:
            table = pa.json.read_json(
                pa.BufferReader(data),
                read_options=pa.json.ReadOptions(use_threads=False, block_size=min(max(len(data) + 1, 1024), 1 << 30)),
                parse_options=pa.json.ParseOptions(explicit_schema=self.schema, unexpected_field_behavior="error"),
            )
        except pa.ArrowInvalid:
            return None
        return table.select(self.schema.names) if table.schema.equals(self.schema) else None


def open_json_lines(reader: JsonLines, files: Callable[[], Iterator[FileEntry]], opener: Opener) -> JsonLinesTable:
    """Decides keys and types by the first lines. Broken ones are passed over, since they fail their mini-batches only.

    Raises a UserError where there is no other.
    """
    rows: list[dict[str, Any]] = []
    broken: list[BadInputError] = []
    for file in files():
        if len(rows) >= SAMPLE_ROWS:
            break
        if file.size:
            rows += _sample(opener.open(file), reader, SAMPLE_ROWS - len(rows), broken)
    keys = list(dict.fromkeys(key for row in rows for key in row))
    if not keys and broken:
        raise broken[0].user_error()
    if not keys:
        raise UserError("the table has no columns: its first lines have no keys", place=reader.place, todo="check `paths`")
    return JsonLinesTable(reader=reader, schema=pa.schema([(key, _type_of(key, [row.get(key) for row in rows])) for key in keys]))


def _sample(source: Bytes, reader: JsonLines, count: int, broken: list[BadInputError]) -> list[dict[str, Any]]:
    """So many rows of the file; what is wrong with others is added to `broken`."""
    try:
        with source:
            lines = _head_lines(source, reader, count)
    except BadInputError as bad:
        broken.append(bad)
        return []
    rows: list[dict[str, Any]] = []
    for number, line in enumerate(lines, 1):
        if len(rows) < count and line.strip():
            try:
                rows.append(_object(line, number))
            except BadInputError as bad:
                bad.file = source.file.path
                broken += [] if reader.drop_invalid else [bad]
    return rows


def _head_lines(source: Bytes, reader: JsonLines, count: int) -> list[bytes]:
    """The first lines of the file, `count` of which are not blank."""
    size = HEAD
    while True:
        data, complete = read_head(source, reader.encoding, size)
        lines = data.split(b"\n")
        if not complete:
            lines.pop()
        if complete or sum(1 for line in lines if line.strip()) >= count:
            return lines
        size *= 8


def _type_of(key: str, values: Sequence[Any]) -> pa.DataType:
    """The type of the first value; whole numbers and others together are decimal numbers."""
    present = [value for value in values if value is not None]
    if not present:
        return pa.string()
    first = present[0]
    if isinstance(first, bool):
        return pa.bool_()
    if isinstance(first, str):
        return pa.string()
    if isinstance(first, (int, float)):
        whole = all(isinstance(value, int) and value in INT64 for value in present if isinstance(value, (int, float)))
        return pa.int64() if whole else pa.float64()
    try:
        return pa.array([value for value in present if isinstance(value, type(first))]).type
    except (pa.ArrowInvalid, pa.ArrowTypeError) as error:
        raise UserError(
            f"the values of the key '{key}' have no common type: {error}", todo="make them alike, or leave the key out"
        ) from None


def _object(line: bytes, number: int) -> dict[str, Any]:
    try:
        value = json.loads(line)
    except ValueError as error:
        raise BadInputError(
            problem=f"is not JSON: {error}", file="", line=number, todo="mend the line, or set `invalid_lines: drop`"
        ) from None
    if not isinstance(value, dict):
        raise BadInputError(
            problem=f"is {_word(value)}, not an object ({{…}})", file="", line=number, todo="mend the line, or set `invalid_lines: drop`"
        )
    return value


def _word(value: Any) -> str:
    return "null" if value is None else _WORDS[type(value)]


def _with_care(data: bytes, schema: pa.Schema, *, drop: bool) -> pa.Table:
    columns: dict[str, list[Any]] = {name: [] for name in schema.names}
    checks = {field.name: _fits(field.type) for field in schema}
    for number, line in enumerate(data.split(b"\n"), 1):
        if not line.strip():
            continue
        try:
            row = _object(line, number)
        except BadInputError:
            if drop:
                continue
            raise
        for key, value in row.items():
            if value is not None:
                _check(key, value, checks, schema, number)
        for name, values in columns.items():
            values.append(row.get(name))
    return pa.table([pa.array(columns[field.name], field.type) for field in schema], schema=schema)


def _check(key: str, value: Any, checks: dict[str, Callable[[Any], bool]], schema: pa.Schema, line: int) -> None:
    if key not in checks:
        raise BadInputError(
            problem=f"the key '{key}' does not occur in the first {SAMPLE_ROWS} lines of the table, by which its columns are decided",
            file="",
            line=line,
            todo="let it occur there, with a value or with null",
        )
    if not checks[key](value):
        raise BadInputError(
            problem=f"column '{key}': {shown(json.dumps(value))} is {_word(value)}, and the column's type is {schema.field(key).type}",
            file="",
            line=line,
            todo="mend the value, or let one of this type occur in the first lines",
        )


def _fits(kind: pa.DataType) -> Callable[[Any], bool]:
    if pa.types.is_boolean(kind):
        return lambda value: isinstance(value, bool)
    if pa.types.is_int64(kind):
        return lambda value: isinstance(value, int) and not isinstance(value, bool) and value in INT64
    if pa.types.is_floating(kind):
        return lambda value: isinstance(value, float) or (isinstance(value, int) and not isinstance(value, bool) and abs(value) < 1e300)
    if pa.types.is_string(kind):
        return lambda value: isinstance(value, str)
    return lambda value: _is_nested(value, kind)


def _is_nested(value: Any, kind: pa.DataType) -> bool:
    try:
        pa.array([value], kind)
    except (pa.ArrowInvalid, pa.ArrowTypeError):
        return False
    return isinstance(value, (dict, list))
