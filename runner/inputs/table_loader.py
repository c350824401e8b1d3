"""Mini-batches of a table → one Arrow IPC file in memory for a worker to map, or typed CSV for a worker without pyarrow."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.csv

from runner.errors import UserError
from runner.inputs.pieces import PieceReader, Record
from runner.inputs.spill import Spill
from runner.inputs.tabular import BadInputError
from runner.inputs.transform import text_of
from runner.model.batch import ErrorRecord, Loaded
from runner.model.ports import Room, Transport
from runner.storage.problems import StorageRefused

NULL = "\\N"  # a missing text in CSV, where an empty field is an empty text: the worker's batches.py has the same


@dataclass(frozen=True, kw_only=True)
class TableLoader:
    """A `Loader`; called from several threads at once."""

    reader: PieceReader
    schema: pa.Schema
    spill: Spill | None = None
    room: Room = field(default_factory=Room)

    def weight(self, line: bytes) -> int:  # noqa: ARG002 - rows are known when they are read
        return 0

    def end(self, scratch: Path) -> None:
        pass

    def free(self, scratch: Sequence[str]) -> None:
        for path in scratch:
            Path(path).unlink(missing_ok=True)

    def load(self, first: int, lines: Sequence[bytes], scratch: Path, transport: Transport) -> Loaded:
        """One IPC file with a record batch for each mini-batch that can be read; the others are in `failed`."""
        if transport == "csv":
            return self._load_csv(first, lines, scratch)
        direct = self._leave_to_worker(lines) if transport == "direct" else None
        return direct or self._load_arrow(first, lines, scratch)

    def _leave_to_worker(self, lines: Sequence[bytes]) -> Loaded | None:
        """What is wanted as it lies in its file: nothing is read here. None where a single mini-batch is not."""
        told = []
        for line in lines:
            where = self.reader.direct(json.loads(line), self.schema)
            if where is None:
                return None
            told.append(json.dumps(where, separators=(",", ":")).encode("ascii"))
        return Loaded(lines=told)

    def _load_arrow(self, first: int, lines: Sequence[bytes], scratch: Path) -> Loaded:
        path = scratch / f"table-{first}-{os.urandom(4).hex()}.arrow"
        failed: dict[int, ErrorRecord] = {}
        told: list[bytes] = []
        written = 0
        try:
            with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_file(sink, self.schema) as writer:
                for batch in self._batches(lines, failed):
                    if batch is None:
                        told.append(b"")
                        continue
                    writer.write_batch(batch)
                    told.append(_told(lines[len(told)], batch, {"table": str(path), "batch": written}))
                    written += 1
        except BaseException:
            path.unlink(missing_ok=True)
            raise
        if not written:
            path.unlink()
            return Loaded(lines=told, failed=failed)
        return Loaded(lines=told, failed=failed, scratch=(str(path),), bytes=path.stat().st_size)

    def _load_csv(self, first: int, lines: Sequence[bytes], scratch: Path) -> Loaded:
        failed: dict[int, ErrorRecord] = {}
        told: list[bytes] = []
        paths: list[str] = []
        size = 0
        for batch in self._batches(lines, failed):
            if batch is None:
                told.append(b"")
                continue
            path = scratch / f"table-{first + len(told)}-{os.urandom(4).hex()}.csv"
            texts = pa.Table.from_batches([batch.from_arrays([_as_text(column) for column in batch.columns], names=batch.schema.names)])
            pa.csv.write_csv(texts, str(path), pa.csv.WriteOptions(quoting_style="needed"))
            dtypes = {name: _dtype(column) for name, column in zip(batch.schema.names, batch.columns, strict=True)}
            told.append(_told(lines[len(told)], batch, {"csv": str(path), "dtypes": dtypes}))
            paths.append(str(path))
            size += path.stat().st_size
        return Loaded(lines=told, failed=failed, scratch=tuple(paths), bytes=size)

    def _batches(self, lines: Sequence[bytes], failed: dict[int, ErrorRecord]) -> Iterator[pa.RecordBatch | None]:
        """One for each line; None, and an entry in `failed`, where it cannot be read."""
        records: list[Record] = [json.loads(line) for line in lines]
        self.reader.expect([each for record in records for each in record.get("of", [record]) if "f" in each])
        for at, record in enumerate(records):
            try:
                yield one_batch(self._table(record), self.schema)
            except BadInputError as bad:
                failed[at] = bad.record()
                yield None
            except StorageRefused:  # so would all that follow
                raise
            except UserError as error:
                failed[at] = ErrorRecord(kind="input", type="InputError", message=error.describe(), item=", ".join(dataset(record)))
                yield None

    def _table(self, record: Record) -> pa.Table:
        if "runs" in record:
            assert self.spill is not None
            return self.spill.read(record["runs"])
        if "of" in record:
            return pa.concat_tables([self.reader.read(each) for each in record["of"]])
        return self.reader.read(record)


def one_batch(table: pa.Table, schema: pa.Schema) -> pa.RecordBatch:
    """The whole table as one record batch of exactly the schema."""
    try:
        batches = table.combine_chunks().to_batches()
        if len(batches) > 1:  # only where a column is too large for one array
            raise pa.ArrowCapacityError("a text column of more than 2 GiB")
    except pa.ArrowCapacityError as error:
        raise UserError(f"the mini-batch is too large: {error}", todo="choose a smaller mini_batch_size") from None
    if not batches:
        return pa.RecordBatch.from_arrays([pa.array([], field.type) for field in schema], schema=schema)
    return pa.RecordBatch.from_arrays(batches[0].columns, schema=schema)


def dataset(record: Record) -> list[str]:
    """The files that a mini-batch comes from, as far as its line names them."""
    return list(dict.fromkeys(each["f"] for each in record.get("of", [record]) if "f" in each))


def _told(line: bytes, batch: pa.RecordBatch, where: dict[str, Any]) -> bytes:
    record = json.loads(line)
    told = {**where, "rows": batch.num_rows, "keys": record.get("keys"), "dataset": [text_of(path) for path in dataset(record)]}
    return json.dumps(told, separators=(",", ":")).encode("ascii")


def _dtype(column: pa.Array) -> str:
    """What pandas makes of the Arrow column, by name."""
    kind = column.type
    if pa.types.is_integer(kind) or pa.types.is_floating(kind):
        return str(kind.to_pandas_dtype().__name__) if pa.types.is_floating(kind) or not column.null_count else "float64"
    if pa.types.is_boolean(kind):
        return "boolean" if column.null_count else "bool"
    if pa.types.is_timestamp(kind) and kind.tz is None:
        return f"datetime64[{kind.unit}]"
    return "object"


def _as_text(column: pa.Array) -> pa.Array:
    """What stands in the CSV: numbers, truth values and moments as they are, everything else as text."""
    kind = column.type
    if pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_boolean(kind):
        return column
    if pa.types.is_timestamp(kind) and kind.tz is None:
        return column.cast(pa.string())
    try:
        texts = column.cast(pa.string())
    except (pa.ArrowNotImplementedError, pa.ArrowInvalid):
        texts = pa.array([None if value is None else str(value) for value in column.to_pylist()], pa.string())
    return texts.fill_null(NULL)
