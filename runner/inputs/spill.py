"""Rows grouped by key columns before scoring, with bounded memory: sorted runs in scratch files, merged when they are listed.

The input is read once. Whenever the rows in memory reach RUN_BYTES they are sorted by the keys (input order within a key) and
written as a run: an Arrow file, and beside it one line of JSON for each key with its range of rows. Merging these lists gives
the groups in order without holding them in memory; a group is read from its ranges.
"""

from __future__ import annotations

import contextlib
import heapq
import json
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal
from itertools import groupby
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.compute as pc

RUN_BYTES = 64 << 20
BATCH_ROWS = 1 << 14  # rows of each record batch of a run, so that a range can be found by division
_PREFIX = "\x01key "  # of hidden columns; not a name that a table has

Range = tuple[int, int, int]  # run, first row, behind the last row


class Group(NamedTuple):
    values: list[Any]  # of the keys, as JSON has them; moments as ISO 8601
    ranges: list[Range]
    rows: int
    bytes: int


class _Entry(NamedTuple):
    order: list[Any]
    values: list[Any]
    range: Range
    bytes: int


@dataclass(frozen=True, kw_only=True)
class Spill:
    """The runs in a folder. `add` and `close` once, from one thread; the rest from any."""

    folder: Path

    def is_complete(self, fingerprint: str) -> bool:
        """Whether the folder has all runs of an input of this fingerprint."""
        try:
            return (self.folder / "complete").read_text() == fingerprint
        except OSError:
            return False

    def fill(self, tables: Iterator[tuple[pa.Table, dict[str, pa.Array]]], fingerprint: str, *, run_bytes: int = RUN_BYTES) -> None:
        """Writes all runs. Each table comes with the arrays of its keys."""
        shutil.rmtree(self.folder, ignore_errors=True)
        self.folder.mkdir(parents=True)
        held: list[pa.Table] = []
        size = runs = 0
        for table, keys in tables:
            for name, values in keys.items():
                table = table.append_column(_PREFIX + name, _sortable(values))
            held.append(table)
            size += table.nbytes
            if size >= run_bytes:
                self._write(runs, held)
                held, size, runs = [], 0, runs + 1
        if any(table.num_rows for table in held):
            self._write(runs, held)
        (self.folder / "complete").write_text(fingerprint)

    def _write(self, run: int, tables: list[pa.Table]) -> None:
        table = pa.concat_tables(tables)
        names = [name for name in table.column_names if name.startswith(_PREFIX)]
        # Arrow's sort is stable: rows of one key stay in the order of the input.
        table = table.take(pc.sort_indices(table, sort_keys=[(name, "ascending") for name in names]))
        keys = table.select(names).combine_chunks()
        table = table.drop_columns(names)
        with pa.OSFile(str(self.folder / f"{run}.arrow"), "wb") as sink, pa.ipc.new_file(sink, table.schema) as writer:
            for start in range(0, table.num_rows, BATCH_ROWS):
                writer.write_batch(_single(table.slice(start, BATCH_ROWS)))
        each = table.nbytes / max(1, table.num_rows)
        with (self.folder / f"{run}.keys").open("w") as file:
            for start, end in _ranges(keys):
                row = [keys.column(at)[start] for at in range(keys.num_columns)]
                values = [json_value(value) for value in row]
                order = [_order(value) for value in row]
                file.write(json.dumps([order, values, start, end, round((end - start) * each)]) + "\n")

    def groups(self) -> Iterator[Group]:
        """In the order of the keys, nulls last."""
        with contextlib.ExitStack() as stack:
            runs = sorted(int(path.stem) for path in self.folder.glob("*.keys"))
            lists = [self._entries(run, stack) for run in runs]
            merged = heapq.merge(*lists, key=lambda entry: (entry.order, entry.range))
            for _, entries in groupby(merged, key=lambda entry: entry.order):
                same = list(entries)
                ranges = [entry.range for entry in same]
                yield Group(same[0].values, ranges, sum(end - start for _, start, end in ranges), sum(entry.bytes for entry in same))

    def _entries(self, run: int, stack: contextlib.ExitStack) -> Iterator[_Entry]:
        file = stack.enter_context((self.folder / f"{run}.keys").open())
        for line in file:
            order, values, start, end, size = json.loads(line)
            yield _Entry(order, values, (run, start, end), size)

    def read(self, ranges: Sequence[Sequence[int]]) -> pa.Table:
        """The rows of a group."""
        found = []
        for run, start, end in ranges:
            with pa.memory_map(str(self.folder / f"{run}.arrow")) as source:
                reader = pa.ipc.open_file(source)
                for number in range(start // BATCH_ROWS, -(-end // BATCH_ROWS)):
                    batch = reader.get_batch(number)
                    base = number * BATCH_ROWS
                    first, behind = max(start - base, 0), min(end - base, batch.num_rows)
                    found.append(pa.Table.from_batches([batch.slice(first, behind - first)]))
        return pa.concat_tables(found)


def _single(table: pa.Table) -> pa.RecordBatch:
    return table.combine_chunks().to_batches()[0]


def _sortable(values: pa.Array) -> pa.Array:
    """Not-a-number counts as null; large texts and dictionaries as plain ones."""
    if pa.types.is_floating(values.type):
        return pc.if_else(pc.is_nan(values), pa.scalar(None, values.type), values)
    return values


def _ranges(keys: pa.Table) -> Iterator[tuple[int, int]]:
    """Runs of rows with equal keys."""
    ends: set[int] = set()
    for column in keys.columns:
        combined = column.combine_chunks()
        array = pa.concat_arrays(combined.chunks) if isinstance(combined, pa.ChunkedArray) else combined
        ends.update(pc.run_end_encode(array).run_ends.to_pylist())
    start = 0
    for end in sorted(ends):
        yield start, end
        start = end


def _order(value: pa.Scalar) -> list[Any]:
    """What sorts like Arrow does, also as JSON: nulls last, moments by their number."""
    if not value.is_valid:
        return [1]
    if pa.types.is_timestamp(value.type):
        return [0, value.value]
    plain = value.as_py()
    if isinstance(plain, Decimal):
        return [0, float(plain)]
    return [0, plain.hex() if isinstance(plain, bytes) else plain if isinstance(plain, (bool, int, float, str)) else str(plain)]


def json_value(value: pa.Scalar) -> Any:
    """A key as the manifest and `partition_key_value` have it."""
    if not value.is_valid:
        return None
    if pa.types.is_timestamp(value.type):
        text = str(value.cast(pa.timestamp(value.type.unit)).cast(pa.string()).as_py()).replace(" ", "T", 1)
        return text.rstrip("0").rstrip(".") if "." in text else text
    plain = value.as_py()
    return plain if isinstance(plain, (bool, int, float, str)) else str(plain)
