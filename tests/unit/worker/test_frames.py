"""DataFrames out of Arrow tables: the same as pyarrow makes, and writable."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from runner.worker.frames import COPY_ON_WRITE_FROM, MOST_COLUMNS, to_frame

ROWS = 1000


def read(folder: Path, columns: dict[str, object]) -> pa.Table:
    """As a worker does: in memory that belongs to nobody else."""
    pq.write_table(pa.table(columns), folder / "t.parquet", row_group_size=ROWS // 2)
    return pq.ParquetFile(folder / "t.parquet").read_row_groups([0, 1], use_threads=False)


def everything() -> dict[str, object]:
    numbers = list(range(ROWS))
    kinds = [pa.int8(), pa.uint16(), pa.int32(), pa.int64(), pa.uint64(), pa.float16(), pa.float32(), pa.float64()]
    columns: dict[str, object] = {str(kind): pa.array([number % 100 for number in numbers], kind) for kind in kinds}
    with_nulls = [None if number % 7 == 0 else number for number in numbers]
    columns["text"] = pa.array([f"wörd {number % 5}" for number in numbers])
    columns["text with nulls"] = pa.array([None if number % 3 else "" for number in numbers], pa.string())
    columns["int with nulls"] = pa.array(with_nulls, pa.int64())
    columns["float with nulls"] = pa.array(with_nulls, pa.float64())
    columns["not numbers"] = pa.array([float("nan"), float("inf")] * (ROWS // 2))
    columns["bool"] = pa.array([number % 2 == 0 for number in numbers])
    for unit in ("s", "ms", "us", "ns"):
        columns[f"moment in {unit}"] = pa.array(numbers, pa.timestamp(unit))
    columns["moment with nulls"] = pa.array(with_nulls, pa.timestamp("us"))
    columns["zoned"] = pa.array(numbers, pa.timestamp("ns", "Europe/Berlin"))
    columns["day"] = pa.array(numbers, pa.date32())
    columns["amount"] = pa.array(numbers, pa.int64()).cast(pa.decimal128(22, 2))
    columns["list"] = pa.array([[number] for number in numbers])
    columns["dictionary"] = pa.array(["a", "b"] * (ROWS // 2)).dictionary_encode()
    columns[""] = pa.array(numbers)
    columns["nothing"] = pa.nulls(ROWS)
    return columns


def test_the_same_frame(tmp_path):
    table = read(tmp_path, everything())
    pd.testing.assert_frame_equal(to_frame(table), table.to_pandas(ignore_metadata=True), check_exact=True)


@pytest.mark.parametrize("name", everything())
def test_the_same_frame_of_each_column_alone(tmp_path, name):
    table = read(tmp_path, {name: everything()[name]})
    pd.testing.assert_frame_equal(to_frame(table), table.to_pandas(ignore_metadata=True), check_exact=True)


def test_a_part_of_a_table_and_no_rows_and_no_columns(tmp_path):
    table = read(tmp_path, everything())
    for each in (table.slice(3, 10), table.slice(3, 0), table.select([]), pa.concat_tables([table, table])):
        pd.testing.assert_frame_equal(to_frame(each), each.to_pandas(ignore_metadata=True), check_exact=True)


def test_numbers_are_not_copied_and_can_be_written_to(tmp_path):
    moments = pa.array([0] * ROWS, pa.timestamp("us"))
    table = read(tmp_path, {"a": list(range(ROWS)), "b": [0.5] * ROWS, "text": ["x"] * ROWS, "at": moments})
    frame = to_frame(table)
    if int(pd.__version__.partition(".")[0]) >= COPY_ON_WRITE_FROM:
        assert frame["b"].to_numpy().ctypes.data == table.column("b").chunk(0).buffers()[1].address
    del table
    frame.loc[3, "a"] = -1
    frame["b"] += 1
    frame.iloc[0, 2] = "changed"
    frame.loc[1, "at"] += pd.Timedelta(days=1)
    assert (frame.loc[3, "a"], frame.loc[7, "b"], frame.loc[0, "text"]) == (-1, 1.5, "changed")
    assert frame["at"].dt.day.tolist()[:3] == [1, 2, 1]


def test_memory_that_is_a_file_is_copied(tmp_path):
    path = tmp_path / "t.arrow"
    table = pa.table({"a": [1, 2], "b": [0.5, 1.5]})
    with pa.OSFile(str(path), "wb") as file, pa.ipc.new_file(file, table.schema) as writer:
        writer.write_table(table)
    frame = to_frame(pa.ipc.open_file(pa.memory_map(str(path))).read_all())
    frame.loc[0, "a"] = 7
    assert frame["a"].tolist() == [7, 2]
    assert pa.ipc.open_file(pa.memory_map(str(path))).read_all().column("a").to_pylist() == [1, 2]


def test_wide_tables_are_not_broken_into_blocks(tmp_path):
    table = read(tmp_path, {f"c{number}": [0.5] * ROWS for number in range(MOST_COLUMNS + 1)})
    assert len(to_frame(table)._mgr.blocks) == 1
