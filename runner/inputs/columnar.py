"""Parquet files: columns united by name over all files; row groups put together or cut until they come near the wanted size."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from runner.errors import Place, UserError
from runner.inputs.bytes_of import Bytes, Range
from runner.inputs.cache import Cache
from runner.inputs.files import FileEntry
from runner.inputs.mltable_steps import Parquet
from runner.inputs.opener import Opener
from runner.inputs.row_groups import RowGroups
from runner.inputs.stale import again_if_stale
from runner.inputs.tabular import BadInputError, Slice, is_utf8
from runner.storage.problems import StorageUnavailable

_FOOTERS = 64  # metadata kept
_TAIL = 64 * 1024  # bytes of the end of a file that Arrow looks for the footer in
_HOLE = 256 * 1024  # bytes between wanted columns that are fetched along with them, rather than by a request of their own
_NEXT = 24 << 20  # bytes of row groups that are fetched while the one before is read
_AT_ONCE = 16 << 20  # bytes of columns that are fetched in one request


@dataclass(frozen=True, kw_only=True)
class ParquetTable:
    """The opened table; a `Format`. Threads may share it."""

    schema: pa.Schema
    _footers: Cache = field(default_factory=lambda: Cache(_FOOTERS), compare=False)
    _groups: RowGroups = field(default_factory=RowGroups, compare=False)

    def prepare(self, source: Bytes) -> None:
        prepare(source)

    def slices(self, source: Bytes, size: int | None) -> Iterator[Slice]:
        """Position: first and behind the last row group; for a part of one group also first and behind the last row in it."""
        file = source.file
        try:
            footer = self._footer(source)
        except BadInputError as bad:
            raise bad.user_error() from None
        groups = [(footer.row_group(number).num_rows, footer.row_group(number).total_byte_size) for number in range(footer.num_row_groups)]
        held = sum(weight for _, weight in groups) or 1
        # Sizes in a footer are before compression; what counts is the share of the file.
        yield from cut_groups([(rows, weight * file.size // held) for rows, weight in groups], size)

    def expect(self, source: Bytes, positions: Sequence[Sequence[int]]) -> None:
        """What is to be fetched depends on the columns: `read` knows them."""

    def read(self, source: Bytes, position: Sequence[int], columns: frozenset[str] | None) -> pa.Table:
        file = source.file.path
        footer = self._footer(source)
        wanted = [name for name in self.schema.names if columns is None or name in columns]
        present = set(footer.schema.to_arrow_schema().names)
        selected = [name for name in wanted if name in present]
        first, behind, *rows = position

        def read(groups: range) -> pa.Table:
            table = _read_groups(source, footer, groups, selected)
            try:
                return self._fit(table, wanted)
            except pa.ArrowInvalid as error:
                raise BadInputError(problem=f"does not fit the types of the whole table: {error}", file=file) from None

        def decode(group: int) -> pa.Table:
            self._want_next(source, footer, group + 1, selected)
            return read(range(group, group + 1))

        if not rows:
            return read(range(first, behind))
        return self._groups.slice((source.file, tuple(wanted)), first, *rows, count=footer.num_row_groups, decode=decode)

    def direct(self, source: Bytes, position: Sequence[int], schema: pa.Schema) -> dict[str, Any] | None:
        """Whole row groups of a file that has just the table's columns and types."""
        file = source.file.path
        if len(position) != 2 or not is_utf8(file):
            return None
        try:
            footer = self._footer(source)
        except BadInputError:
            return None
        if not footer.schema.to_arrow_schema().remove_metadata().equals(schema.remove_metadata()):
            return None
        rows = sum(footer.row_group(number).num_rows for number in range(*position))
        return {"parquet": file, "groups": list(position), "rows": rows, "keys": None, "dataset": [file]}

    def _want_next(self, source: Bytes, footer: Any, group: int, columns: Sequence[str]) -> None:
        """Who reads slices of a row group will read those of the next ones."""
        held = 0
        for number in range(group, footer.num_row_groups):
            for start, end in _ranges(footer, range(number, number + 1), columns):
                held += end - start
                if held > _NEXT:
                    return
                source.want(start, end)

    def _footer(self, source: Bytes) -> Any:
        return self._footers.get(source.file, lambda: (_footer(source), 1))

    def _fit(self, table: pa.Table, wanted: Sequence[str]) -> pa.Table:
        """With the types of the whole table, and nulls for columns that this file has not."""
        if not wanted:
            return table
        arrays = []
        for name in wanted:
            kind = self.schema.field(name).type
            if name not in table.column_names:
                arrays.append(pa.chunked_array([pa.nulls(table.num_rows, kind)]))
            else:
                column = table.column(name)
                arrays.append(column if column.type == kind else column.cast(kind))
        return pa.table(arrays, names=list(wanted))


def cut_groups(groups: Sequence[tuple[int, int]], size: int | None) -> Iterator[Slice]:
    """Slices of row groups given as (rows, bytes): neighbours together while that brings them nearer to the size, large ones cut evenly."""
    first = rows = held = 0
    for number, (count, weight) in enumerate(groups):
        if size is not None and rows and abs(held + weight - size) > abs(held - size):
            yield Slice((first, number), held, rows)
            first, rows, held = number, 0, 0
        parts = 1 if size is None or rows or not count else min(count, max(1, (2 * weight + size) // (2 * size)))
        if parts > 1:
            for part in range(parts):
                start, end = count * part // parts, count * (part + 1) // parts
                yield Slice((number, number + 1, start, end), weight // parts, end - start)
            first, rows, held = number + 1, 0, 0
        else:
            rows, held = rows + count, held + weight
    if rows:
        yield Slice((first, len(groups)), held, rows)


def open_parquet(_reader: Parquet, files: Callable[[], Iterator[FileEntry]], opener: Opener) -> ParquetTable:
    """Unites the columns of all files by name. Raises a UserError that names a file which is no Parquet or disagrees with the others."""
    schema: pa.Schema | None = None
    seen: set[pa.Schema] = set()
    for source in opener.ahead(files(), prepare):
        path = source.file.path
        try:
            own = _plain(_footer(source).schema.to_arrow_schema())
        except BadInputError as bad:
            raise bad.user_error() from None
        if len(set(own.names)) < len(own.names):
            raise UserError("two columns have the same name", place=Place(file=path), todo="rename one of them")
        if own in seen:
            continue
        seen.add(own)
        schema = own if schema is None else _unite(schema, own, path)
    assert schema is not None  # a table without files is an error earlier
    return ParquetTable(schema=schema)


def _plain(schema: pa.Schema) -> pa.Schema:
    """Without metadata (pandas' index would come back), and dictionaries as the values that they stand for."""
    return pa.schema([(each.name, each.type.value_type if pa.types.is_dictionary(each.type) else each.type) for each in schema])


def _unite(known: pa.Schema, own: pa.Schema, path: str) -> pa.Schema:
    try:
        return pa.unify_schemas([known, own], promote_options="permissive")
    except (pa.ArrowTypeError, pa.ArrowInvalid):
        for each in own:
            if each.name in known.names and not _agree(known.field(each.name), each):
                other = known.field(each.name).type
                raise UserError(
                    f"the column '{each.name}' is {each.type} here and {other} in earlier files",
                    place=Place(file=path),
                    todo="write the files with one type",
                ) from None
        raise


def _agree(one: pa.Field, other: pa.Field) -> bool:
    try:
        pa.unify_schemas([pa.schema([one]), pa.schema([other])], promote_options="permissive")
    except (pa.ArrowTypeError, pa.ArrowInvalid):
        return False
    return True


def prepare(source: Bytes) -> None:
    """The footer will be read."""
    source.want(source.file.size - _TAIL, source.file.size)


def _footer(source: Bytes) -> Any:
    def read() -> Any:
        with source.arrow() as file:
            return pq.read_metadata(file)

    try:
        return again_if_stale(read)
    except StorageUnavailable:
        raise
    except (pa.ArrowInvalid, OSError) as error:
        problem = f"is no readable Parquet file: {error}"
        raise BadInputError(problem=problem, file=source.file.path, todo="leave it out of `paths`") from None


def _read_groups(source: Bytes, footer: Any, groups: range, columns: Sequence[str]) -> pa.Table:
    def read() -> pa.Table:
        with source.arrow(_ranges(footer, groups, columns)) as file, pq.ParquetFile(file, metadata=footer) as opened:
            return opened.read_row_groups(list(groups), columns=list(columns), use_threads=False)

    try:
        table = again_if_stale(read)
    except StorageUnavailable:
        raise
    except (pa.ArrowInvalid, OSError) as error:
        problem = f"row groups {groups.start} to {groups.stop - 1} cannot be read: {error}"
        raise BadInputError(problem=problem, file=source.file.path) from None
    return table.replace_schema_metadata(None)


def _ranges(footer: Any, groups: range, columns: Sequence[str]) -> Iterator[Range]:
    """Where the wanted columns lie; neighbours together up to a size."""
    wanted = set(columns)
    start = end = 0
    for first, behind in _chunks(footer, groups, wanted):
        if end and 0 <= first - end <= _HOLE and behind - start <= _AT_ONCE:
            end = behind
            continue
        if end:
            yield start, end
        start, end = first, behind
    if end:
        yield start, end


def _chunks(footer: Any, groups: range, wanted: set[str]) -> Iterator[Range]:
    """The column chunks, in the order in which they are read."""
    for number in groups:
        group = footer.row_group(number)
        for at in range(group.num_columns):
            column = group.column(at)
            if column.path_in_schema.partition(".")[0] in wanted:
                start = column.data_page_offset
                if column.dictionary_page_offset is not None:
                    start = min(start, column.dictionary_page_offset)
                yield start, start + column.total_compressed_size
