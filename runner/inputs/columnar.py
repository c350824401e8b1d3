"""Parquet files: columns united by name over all files; row groups put together or cut until they come near the wanted size."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from runner.errors import Place, UserError
from runner.inputs.files import FileEntry
from runner.inputs.mltable_steps import Parquet
from runner.inputs.tabular import BadInputError, Slice, is_utf8

CACHE_BYTES = 256 << 20  # of row groups that are cut into several slices
_FOOTERS = 64  # metadata kept


class _Cache:
    """Least recently used things by key, up to a weight; each is made once, however many threads ask for it."""

    def __init__(self, limit: int) -> None:
        self._limit, self._weight = limit, 0
        self._entries: OrderedDict[Any, tuple[Any, int]] = OrderedDict()
        self._lock = threading.Lock()
        self._making: dict[Any, threading.Lock] = {}

    def get(self, key: Any, make: Callable[[], tuple[Any, int]]) -> Any:
        with self._lock:
            making = self._making.setdefault(key, threading.Lock())
        with making:
            with self._lock:
                if key in self._entries:
                    self._entries.move_to_end(key)
                    return self._entries[key][0]
            value, weight = make()
            with self._lock:
                self._entries[key] = value, weight
                self._weight += weight
                while self._weight > self._limit and len(self._entries) > 1:
                    dropped, (_, freed) = self._entries.popitem(last=False)
                    self._weight -= freed
                    self._making.pop(dropped, None)
            return value


@dataclass(frozen=True, kw_only=True)
class ParquetTable:
    """The opened table; a `Format`. Threads may share it."""

    schema: pa.Schema
    _footers: _Cache = field(default_factory=lambda: _Cache(_FOOTERS), compare=False)
    _groups: _Cache = field(default_factory=lambda: _Cache(CACHE_BYTES), compare=False)

    def slices(self, file: FileEntry, size: int | None) -> Iterator[Slice]:
        """Position: first and behind the last row group; for a part of one group also first and behind the last row in it."""
        try:
            footer = _footer(file.path)
        except BadInputError as bad:
            raise bad.user_error() from None
        groups = [(footer.row_group(number).num_rows, footer.row_group(number).total_byte_size) for number in range(footer.num_row_groups)]
        held = sum(weight for _, weight in groups) or 1
        # Sizes in a footer are before compression; what counts is the share of the file.
        yield from cut_groups([(rows, weight * file.size // held) for rows, weight in groups], size)

    def read(self, file: str, position: Sequence[int], columns: frozenset[str] | None) -> pa.Table:
        stamp = _stamp(file)
        footer = self._footers.get(stamp, lambda: (_footer(file), 1))
        wanted = [name for name in self.schema.names if columns is None or name in columns]
        present = set(footer.schema.to_arrow_schema().names)
        selected = [name for name in wanted if name in present]
        first, behind = position[:2]

        def read(threads: bool) -> pa.Table:
            table = _read_groups(file, footer, range(first, behind), selected, threads=threads)
            try:
                return self._fit(table, wanted)
            except pa.ArrowInvalid as error:
                raise BadInputError(problem=f"does not fit the types of the whole table: {error}", file=file) from None

        if len(position) == 2:
            return read(False)

        def make() -> tuple[pa.Table, int]:
            # Whoever else loads at the moment most likely waits for this very row group: the cores are free.
            table = read(True).combine_chunks()
            return table, table.nbytes

        table = self._groups.get((stamp, first, tuple(wanted)), make)
        return table.slice(position[2], position[3] - position[2])

    def direct(self, file: str, position: Sequence[int], schema: pa.Schema) -> dict[str, Any] | None:
        """Whole row groups of a file that has just the table's columns and types."""
        if len(position) != 2 or not is_utf8(file):
            return None
        try:
            footer = self._footers.get(_stamp(file), lambda: (_footer(file), 1))
        except BadInputError:
            return None
        if not footer.schema.to_arrow_schema().remove_metadata().equals(schema.remove_metadata()):
            return None
        rows = sum(footer.row_group(number).num_rows for number in range(*position))
        return {"parquet": file, "groups": list(position), "rows": rows, "keys": None, "dataset": [file]}

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


def open_parquet(_reader: Parquet, files: Callable[[], Iterator[FileEntry]]) -> ParquetTable:
    """Unites the columns of all files by name. Raises a UserError that names a file which is no Parquet or disagrees with the others."""
    schema: pa.Schema | None = None
    seen: set[pa.Schema] = set()
    for file in files():
        try:
            own = _plain(_footer(file.path).schema.to_arrow_schema())
        except BadInputError as bad:
            raise bad.user_error() from None
        if len(set(own.names)) < len(own.names):
            raise UserError("two columns have the same name", place=Place(file=file.path), todo="rename one of them")
        if own in seen:
            continue
        seen.add(own)
        schema = own if schema is None else _unite(schema, own, file.path)
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


def _stamp(path: str) -> tuple[str, int]:
    try:
        return path, Path(path).stat().st_mtime_ns
    except OSError as error:
        raise BadInputError(problem=f"cannot be read: {error.strerror}", file=path) from None


def _footer(path: str) -> Any:
    try:
        with _open(path) as file:
            return pq.read_metadata(file)
    except (pa.ArrowInvalid, OSError) as error:
        raise BadInputError(problem=f"is no readable Parquet file: {error}", file=path, todo="leave it out of `paths`") from None


def _open(path: str) -> Any:
    """Arrow wants names to be UTF-8; files with others it reads through Python."""
    return pa.OSFile(path) if is_utf8(path) else pa.PythonFile(Path(path).open("rb"))


def _read_groups(path: str, footer: Any, groups: range, columns: Sequence[str], *, threads: bool) -> pa.Table:
    try:
        with _open(path) as file, pq.ParquetFile(file, metadata=footer) as opened:
            table = opened.read_row_groups(list(groups), columns=list(columns), use_threads=threads)
    except (pa.ArrowInvalid, OSError) as error:
        raise BadInputError(problem=f"row groups {groups.start} to {groups.stop - 1} cannot be read: {error}", file=path) from None
    return table.replace_schema_metadata(None)
