"""Delimited text: headers, types and slices, decided once for all files of the table.

Arrow's CSV reader does the work where it and mltable agree on the rows of a slice; where they don't (a lone carriage return, rows
of different lengths, a newline in quotes without `support_multi_line`), or where a value doesn't fit, the slice is read again with
care (`delimited_text.py`), which gives the same values or says which one is wrong.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice
from typing import Any

import pyarrow as pa

from runner.errors import Place, UserError, did_you_mean
from runner.inputs.bytes_of import Bytes
from runner.inputs.cache import Cache
from runner.inputs.delimited_text import Dialect, parse
from runner.inputs.files import FileEntry
from runner.inputs.mltable_steps import Delimited
from runner.inputs.opener import Opener
from runner.inputs.records import Record, UnclosedQuoteError, split
from runner.inputs.tabular import BadInputError, Slice, is_utf8, schema_of
from runner.inputs.textfile import WHOLE, LineCounts, cut_lines, cut_records, expect, is_whole, read_head, read_slice
from runner.inputs.types import CellType, infer

HEAD = 8 * 1024  # bytes of a file that are read first for its header; more where that isn't enough
SAMPLE = 128 * 1024  # the same for the table's sample

Files = Callable[[], Iterator[FileEntry]]


def unique_names(names: Sequence[str]) -> list[str]:
    """Column names as mltable makes them of a header: trimmed, `ColumnN` for empty ones, repeated ones numbered through."""
    seen: list[str] = []
    counter = 0
    for position, written in enumerate(names, 1):
        name = written.strip() or f"Column{position}"
        while name in seen:
            counter += 1
            name = f"{name}_{counter}"
        seen.append(name)
    return seen


@dataclass(frozen=True, kw_only=True)
class DelimitedTable:
    """The opened table; a `Format`."""

    reader: Delimited
    names: tuple[str, ...]
    types: tuple[CellType, ...]
    first_file: str  # the first that isn't empty
    _lines: LineCounts = field(default_factory=LineCounts, compare=False)

    @property
    def schema(self) -> pa.Schema:
        return schema_of(self.names, [kind.arrow for kind in self.types])

    def prepare(self, source: Bytes) -> None:
        source.want(0, HEAD + 1)

    def slices(self, source: Bytes, size: int | None) -> Iterator[Slice]:
        file = source.file
        if file.size == 0:
            return
        head = _head(source, self.reader)
        header = _has_header(self.reader, file.path, self.first_file)
        if is_whole(file.path, self.reader.encoding):
            if head.rows(header):
                yield Slice(WHOLE, file.size)
            return
        start = head.data_start if header else 0
        if size is None:
            size = file.size
        if self.reader.multi_line:
            yield from cut_records(source, start, size, self.reader.delimiter.encode(self.reader.encoding))
        else:
            yield from cut_lines(source, start, size)

    def direct(self, source: Bytes, position: Sequence[int], schema: pa.Schema) -> dict[str, Any] | None:
        """A range of a file whose text and types Arrow's reader may know: a worker that finds more in it gives it back."""
        file = source.file.path
        start, end = position
        reader = self.reader
        if end < 0 or not is_utf8(file) or reader.encoding != "utf-8" or len(reader.delimiter.encode()) > 1:
            return None
        if reader.multi_line or reader.header == "all_files_different_headers":
            return None
        if not all(kind.is_plain and not kind.order for kind in self.types):
            return None
        return {
            "delimited": file,
            "range": [start, end],
            "names": schema.names,
            "types": [str(kind) for kind in schema.types],
            "delimiter": reader.delimiter,
            "empty_as_string": reader.empty_as_string,
            "keys": None,
            "dataset": [file],
        }

    def expect(self, source: Bytes, positions: Sequence[Sequence[int]]) -> None:
        expect(source, positions)

    def read(self, source: Bytes, position: Sequence[int], columns: frozenset[str] | None) -> pa.Table:
        file = source.file.path
        start, end = position
        data = read_slice(source, self.reader.encoding, start, end)
        whole = end < 0
        if whole and _has_header(self.reader, file, self.first_file):
            lines = 0
            header, unclosed = _first_records(data, self.reader, 1)
            if unclosed:
                raise _unclosed(file, unclosed)
            if header:
                lines, data = data.count(b"\n", 0, header[0].end), data[header[0].end :]
        else:
            lines = 0
        names = self._names_of(source)
        types = dict(zip(self.names, self.types, strict=True))
        wanted = [name for name in self.names if columns is None or name in columns]
        try:
            return parse(data, names, {name: types[name] for name in wanted}, _dialect(self.reader))
        except BadInputError as bad:
            bad.file, bad.line = file, bad.line + lines
            if not whole:
                self._lines.place(bad, source, start)
            raise

    def _names_of(self, source: Bytes) -> list[str]:
        """The names of the file's columns, by position; a longer row of it has no place in the table."""
        if self.reader.header != "all_files_different_headers":
            return list(self.names)
        own = _head(source, self.reader).names
        return own + [name for at in range(len(own), len(self.names)) if (name := f"Column{at + 1}") in self.names and name not in own]


def _dialect(reader: Delimited) -> Dialect:
    return Dialect(delimiter=reader.delimiter.encode(), multi_line=reader.multi_line, empty_as_string=reader.empty_as_string)


def _has_header(reader: Delimited, path: str, first: str) -> bool:
    return reader.header != "no_header" and (reader.header != "from_first_file" or path == first)


@dataclass(frozen=True, kw_only=True)
class _Head:
    """The beginning of a file."""

    path: str
    records: tuple[Record, ...]
    complete: bool  # nothing comes after them
    data_start: int  # byte offset behind the header, where the file can be read from the middle

    @property
    def names(self) -> list[str]:
        """Raises a BadInputError for a header that is no text."""
        if not self.records:
            return []
        try:
            return unique_names([(field or b"").decode() for field in self.records[0].fields])
        except UnicodeDecodeError as error:
            todo = "set `encoding` of read_delimited, e.g. to windows1252, or save the file as UTF-8"
            problem = f"the header is not UTF-8 text ({error.reason})"
            raise BadInputError(problem=problem, file=self.path, line=self.records[0].line, todo=todo) from None

    def rows(self, header: bool) -> tuple[Record, ...]:
        return self.records[1:] if header else self.records


_HEADS = Cache(256)  # a table's first files are looked at twice; those whose columns are their own, for each slice


def _head(source: Bytes, reader: Delimited, rows: int = 2) -> _Head:
    """The first `rows` records of the file, or all there are."""
    found: _Head = _HEADS.get((source.file, reader, rows), lambda: (_read_head(source, reader, rows), 1))
    return found


def _read_head(source: Bytes, reader: Delimited, rows: int) -> _Head:
    path, size = source.file.path, HEAD if rows <= 2 else SAMPLE
    while True:
        data, complete = read_head(source, reader.encoding, size)
        found, unclosed = _first_records(data, reader, rows + 1)
        if not complete and found and found[-1].end == len(data):
            found.pop()  # it may go on
        if complete and unclosed and not found:
            raise _unclosed(path, unclosed)
        if complete or len(found) >= rows:
            return _Head(path=path, records=tuple(found[:rows]), complete=complete, data_start=_data_start(source, reader, size))
        size *= 8


def _first_records(data: bytes, reader: Delimited, count: int) -> tuple[list[Record], int]:
    """So many records, or those before a quote that is never closed, and the line of that quote (0: there is none)."""
    found: list[Record] = []
    try:
        found.extend(islice(split(data, reader.delimiter.encode(), multi_line=reader.multi_line), count))
    except UnclosedQuoteError as error:
        return found, error.line
    return found, 0


def _unclosed(path: str, line: int) -> BadInputError:
    return BadInputError(problem="the quote that begins in this line is never closed", file=path, line=line, todo="close it")


def _data_start(source: Bytes, reader: Delimited, size: int) -> int:
    """Where the bytes behind the header begin: in the raw bytes, whose line breaks, quotes and ASCII characters are those of UTF-8."""
    if is_whole(source.file.path, reader.encoding):
        return 0
    raw = source.pread(size, 0)
    bom = 3 if raw.startswith(b"\xef\xbb\xbf") and reader.encoding == "utf-8" else 0
    first = next(split(raw[bom:], reader.delimiter.encode(reader.encoding), multi_line=reader.multi_line), None)
    return bom + first.end if first else len(raw)


def open_delimited(reader: Delimited, files: Files, opener: Opener) -> DelimitedTable:
    """Decides names and types from headers and the first rows.

    Files and rows that are broken are passed over, since they fail their mini-batches only. Raises a UserError where nothing can be read.
    """
    sample = _Sample(reader)
    broken: list[BadInputError] = []
    for source in opener.ahead(files(), sample.prepare):
        if sample.is_full and not sample.by_name:
            break
        if source.file.size:
            try:
                sample.add(source)
            except BadInputError as bad:
                broken.append(bad)
    if not sample.names and broken:
        raise broken[0].user_error()
    if not sample.names:
        raise UserError("the table has no rows and no header: all of its files are empty", place=reader.place, todo="check `paths`")
    types = _types(reader, sample.names, sample.columns)
    return DelimitedTable(reader=reader, names=tuple(sample.names), types=tuple(types), first_file=sample.first)


class _Sample:
    """The names of the columns, and the texts of the table's first rows."""

    def __init__(self, reader: Delimited) -> None:
        self._reader = reader
        self._count = 0
        self.by_name = reader.header == "all_files_different_headers"
        self.first = ""  # file that has anything in it
        self.names: list[str] = []
        self.columns: dict[str, list[str | None]] = {}

    @property
    def is_full(self) -> bool:
        return self._count >= self._reader.sample_rows

    def prepare(self, source: Bytes) -> None:
        if not self.is_full:
            source.want(0, SAMPLE + 1)
        elif self.by_name:
            source.want(0, HEAD + 1)

    def add(self, source: Bytes) -> None:
        """The header of the file, and as many of its rows as are still wanted."""
        path, wanted = source.file.path, self._reader.sample_rows - self._count
        head = _head(source, self._reader, wanted + 2 if wanted > 0 else 2)
        if not head.records:
            return
        header = _has_header(self._reader, path, self.first or path)
        if not self.first:
            self.first = path
            self.names = head.names if header else []
        rows = head.rows(header)[: max(0, wanted)]
        own = _widened(head.names if self.by_name else self.names, rows)
        self.names = [*self.names, *(name for name in own if name not in self.names)] if self.by_name else own
        self._gather(own, rows)

    def _gather(self, names: Sequence[str], rows: Sequence[Record]) -> None:
        for at, name in enumerate(names):
            known = self.columns.setdefault(name, [])
            known += [None] * (self._count - len(known))
            for row in rows:
                field = row.fields[at] if at < len(row.fields) else None
                if field is None and self._reader.empty_as_string and at < len(row.fields):
                    field = b""
                known.append(None if field is None else field.decode(errors="replace"))
        self._count += len(rows)


def _widened(names: list[str], rows: Sequence[Record]) -> list[str]:
    """With a `ColumnN` for each further field that a row has."""
    width = max((len(row.fields) for row in rows), default=0)
    return unique_names(names + [f"Column{at + 1}" for at in range(len(names), width)])


def _types(reader: Delimited, names: Sequence[str], columns: dict[str, list[str | None]]) -> list[CellType]:
    types = {name: infer(columns.get(name, ())) if reader.infer else CellType() for name in names}
    for override in reader.overrides:
        for name in override.columns.names:
            if name not in types:
                raise UserError(
                    f"`column_type_overrides` names the column '{name}', which the table does not have",
                    place=_inside(override.place),
                    allowed=", ".join(names),
                    todo=did_you_mean(name, names),
                )
        types.update(dict.fromkeys(override.columns.pick(names), CellType.of(override.type)))
    return [types[name] for name in names]


def _inside(place: Place) -> Place:
    return replace(place, field=f"{place.field}.columns" if place.field else None)
