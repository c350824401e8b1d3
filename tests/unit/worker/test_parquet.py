"""Row groups as a worker reads them: what pyarrow reads by default, values and types."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from runner.worker import parquet
from runner.worker.parquet import RowGroups

ROWS = 2000
WORDS = ["red", "grün", "", None]


def texts(kind: str = "string") -> pa.Array:
    return pa.array([WORDS[number % 4] for number in range(ROWS)], kind)


def different() -> pa.Array:
    return pa.array([f"a text of its own {number}" for number in range(ROWS)])


TABLES = {
    "repeating": pa.table({"text": texts(), "number": list(range(ROWS)), "": texts()}),
    "different": pa.table({"text": different()}),
    "repeating at first": pa.table({"text": pa.concat_arrays([texts(), different(), texts()])}),
    "different at first": pa.table({"text": pa.concat_arrays([different(), texts()])}),
    "all missing": pa.table({"text": pa.nulls(ROWS, pa.string())}),
    "large": pa.table({"text": texts("large_string"), "bytes": texts().cast(pa.binary())}),
    "nested": pa.table({"one": pa.array([{"text": "a", "other": "b"}] * ROWS), "text": texts(), "many": pa.array([["a"]] * ROWS)}),
    "no rows": pa.table({"text": pa.array([], pa.string())}),
}


@pytest.mark.parametrize("options", [{}, {"use_dictionary": False}, {"dictionary_pagesize_limit": 100, "data_page_size": 100}], ids=str)
@pytest.mark.parametrize("name", TABLES)
def test_the_same_values_and_types(tmp_path, name, options):
    path = written(tmp_path, TABLES[name], options)
    groups = pq.ParquetFile(path).num_row_groups
    for first, behind in [(0, groups), (0, 1), (groups - 1, groups)]:
        if first < behind <= groups:
            expected = pq.ParquetFile(path).read_row_groups(list(range(first, behind)))
            got = RowGroups(path).read([first, behind])
            got.validate(full=True)
            assert got.schema.equals(expected.schema)
            assert got.equals(expected)


def test_texts_that_repeat_are_read_by_their_dictionary(tmp_path):
    assert RowGroups(written(tmp_path, TABLES["repeating"], {}))._texts == ["text", ""]
    assert RowGroups(written(tmp_path, TABLES["different"], {}))._texts == []
    assert RowGroups(written(tmp_path, TABLES["nested"], {}))._texts == []


def test_what_goes_wrong_with_dictionaries_is_read_without(tmp_path, monkeypatch):
    def too_large(_table: pa.Table, _names: list[str]) -> pa.Table:
        raise pa.ArrowCapacityError("2 GiB")

    monkeypatch.setattr(parquet, "_looked_up", too_large)
    assert RowGroups(written(tmp_path, TABLES["repeating"], {})).read([0, 2]).equals(TABLES["repeating"])


def written(folder: Path, table: pa.Table, options: dict[str, Any]) -> str:
    pq.write_table(table, folder / "t.parquet", row_group_size=ROWS // 2, **options)
    return str(folder / "t.parquet")
