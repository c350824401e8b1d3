"""Tables as a source, in a folder and in blob storage: which mini-batches there are, what workers get, how a later run goes on."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from runner.errors import UserError
from runner.inputs import columnar, row_groups, spill
from runner.inputs.columnar import cut_groups
from runner.inputs.source import open_source
from runner.inputs.tabular import Slice
from runner.model.batch import Loaded
from runner.model.job import JobInput, Step
from runner.model.ports import Source
from tests.mirror import Mirror, mirrored

DELIMITED = "read_delimited: {delimiter: ','}"


OPENED: list[Mirror] = []  # where the files of the running test lie


@pytest.fixture(params=["folder", pytest.param("blobs", marks=pytest.mark.needs("azurite"))])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Mirror]:
    with mirrored(tmp_path / "table", request.getfixturevalue("azurite") if request.param == "blobs" else None) as mirror:
        OPENED[:] = [mirror]
        yield mirror


@pytest.fixture
def table(tmp_path: Path, place: Mirror) -> Callable[..., Path]:
    """Writes files and an MLTable file; gives the folder."""

    def make(files: dict[str, str | pa.Table], *steps: str, paths: str = "pattern: ./**/*.*") -> Path:
        folder = tmp_path / "table"
        for name, data in files.items():
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            if isinstance(data, str):
                path.write_text(data)
            else:
                pq.write_table(data, path, row_group_size=100)
        lines = "".join(f"- {step}\n" for step in steps)
        (folder / "MLTable").write_text(f"paths: [{{{paths}}}]\ntransformations:\n{lines}")
        return folder

    return make


def opened(folder: Path, *, size: int | None = None, keys: Sequence[str] = (), warnings: list[str] | None = None) -> Source:
    scratch = folder.parent / "scratch"
    scratch.mkdir(exist_ok=True)
    (place,) = OPENED
    place.sync()
    given = {"t": JobInput(type="mltable", path=place.name(folder))}
    step = Step(name="job", inputs=given, input_data="t", mini_batch_size=size, partition_keys=tuple(keys))
    return open_source(step, stores=place.stores, scratch=scratch, warn=(warnings if warnings is not None else []).append)


def lines_of(source: Source, known: Sequence[bytes] = ()) -> list[bytes]:
    return [line for chunk in source.chunks(iter(known)) for line in chunk.lines]


def load(source: Source, lines: Sequence[bytes], folder: Path, transport: Any = "arrow") -> Loaded:
    assert source.loader is not None
    OPENED[0].sync()
    return source.loader.load(0, lines, folder.parent / "scratch", transport)


def batches(loaded: Loaded) -> list[tuple[dict[str, Any], pa.RecordBatch]]:
    """What a worker is told, and the record batch that it maps."""
    told = [json.loads(line) for line in loaded.lines if line]
    reader = pa.ipc.open_file(told[0]["table"])
    return [(each, reader.get_batch(each["batch"])) for each in told]


def values(source: Source, folder: Path, column: str) -> list[list[Any]]:
    return [batch.column(column).to_pylist() for _, batch in batches(load(source, lines_of(source), folder))]


NUMBERS = "a,b\n" + "".join(f"{number},x{number}\n" for number in range(100))


def test_mini_batches_never_cross_files_and_share_a_schema(table: Callable[..., Path]) -> None:
    folder = table({"1.csv": NUMBERS, "2.csv": "a,b\n7,\n"}, DELIMITED)
    source = opened(folder, size=200)
    loaded = load(source, lines_of(source), folder)
    seen = batches(loaded)
    assert len(seen) > 3
    assert [told["rows"] for told, _ in seen] == [batch.num_rows for _, batch in seen]
    assert all(batch.schema == seen[0][1].schema for _, batch in seen)
    assert seen[-1][0]["dataset"] == [OPENED[0].name(folder / "2.csv")]
    assert seen[0][0]["keys"] is None
    assert sum(told["rows"] for told, _ in seen) == 101
    assert loaded.scratch == (seen[0][0]["table"],)
    assert loaded.bytes == os.path.getsize(loaded.scratch[0])
    assert source.summary.kind == "table"


def test_a_filter_may_leave_empty_mini_batches_with_the_same_columns(table: Callable[..., Path]) -> None:
    folder = table({"1.csv": NUMBERS}, DELIMITED, "filter: a > 98")
    source = opened(folder, size=200)
    seen = batches(load(source, lines_of(source), folder))
    assert [batch.num_rows for _, batch in seen][-1] == 1
    assert seen[0][1].num_rows == 0
    assert seen[0][1].schema == seen[-1][1].schema


def test_a_broken_row_fails_its_mini_batch_only(table: Callable[..., Path]) -> None:
    folder = table({"1.csv": NUMBERS + "1,x\n" * 150 + "oops,x\n" + "2,y\n" * 100}, DELIMITED)
    source = opened(folder, size=100)
    lines = lines_of(source)
    loaded = load(source, lines, folder)
    ((at, error),) = loaded.failed.items()
    assert loaded.lines[at] == b""
    assert error.kind == "input"
    assert error.message.startswith(f"{OPENED[0].name(folder / '1.csv')}:252: column 'a': 'oops' is not a whole number")
    assert "column_type_overrides" in error.message
    assert len([line for line in loaded.lines if line]) == len(lines) - 1


def test_all_mini_batches_broken_leave_no_file(table: Callable[..., Path]) -> None:
    folder = table({"1.csv": "a\n" + "1\n" * 200_000}, DELIMITED)
    source = opened(folder, size=100_000)
    *_, last = lines_of(source)  # of blobs the beginning has been read, and is in memory as it was
    (folder / "1.csv").write_text("a\n" + "2\n" * 200_000)
    loaded = load(source, [last], folder)
    assert "has changed since it was listed" in loaded.failed[0].message
    assert loaded.scratch == ()
    assert not list((folder.parent / "scratch").iterdir())


@pytest.mark.parametrize(
    ("steps", "expected"),
    [
        (["take: 5"], [0, 1, 2, 3, 4]),
        (["skip: 97"], [97, 98, 99]),
        (["skip: 30", "take: 3"], [30, 31, 32]),
        (["filter: a % 10 == 3", "skip: 2", "take: 4"], [23, 33, 43, 53]),
        (["take: 50", "filter: a > 45", "take: 2"], [46, 47]),
        (["take: 0"], []),
    ],
)  # fmt: skip
def test_rows_are_counted_over_all_slices(table: Callable[..., Path], steps: list[str], expected: list[int]) -> None:
    folder = table({"1.csv": NUMBERS}, DELIMITED, *steps)
    source = opened(folder, size=50)
    lines = lines_of(source)
    found = [value for each in (values(source, folder, "a") if lines else []) for value in each]
    assert found == expected
    # A later run goes on where the first one was.
    for count in range(len(lines)):
        assert lines_of(opened(folder, size=50), lines[:count]) == lines[count:]


def test_a_sample_is_repeatable(table: Callable[..., Path]) -> None:
    folder = table({"1.csv": NUMBERS}, DELIMITED, "take_random_sample: {probability: 0.5, seed: 3}")
    first, second = (values(opened(folder, size=50), folder, "a") for _ in range(2))
    assert first == second
    assert 25 < sum(map(len, first)) < 75


def test_a_resumed_listing(table: Callable[..., Path]) -> None:
    folder = table({f"{number}.csv": NUMBERS for number in (1, 3, 5)}, DELIMITED)
    lines = lines_of(opened(folder, size=300))
    assert len(lines) > 5
    for count in range(len(lines) + 1):
        assert lines_of(opened(folder, size=300), lines[:count]) == lines[count:]
    (folder / "2.csv").write_text(NUMBERS)
    (folder / "6.csv").write_text("a,b\n1,2\n")
    warnings: list[str] = []
    rest = lines_of(opened(folder, size=300, warnings=warnings), lines)
    assert [json.loads(line)["f"] for line in rest] == [OPENED[0].name(folder / "6.csv")]
    assert "2.csv" in warnings[0]
    (folder / "3.csv").write_text("a,b\n1,2\n")
    with pytest.raises(UserError, match=r"3\.csv' has changed"):
        lines_of(opened(folder, size=300), lines)
    (folder / "3.csv").unlink()
    with pytest.raises(UserError, match=r"3\.csv' is gone"):
        lines_of(opened(folder, size=300), lines)


SHOP = {f"s={shop}/b={brand}/{name}.csv": f"a\n{shop}\n9\n" for shop in (2, 10, 1) for brand in "yx" for name in "pq"}
FORMAT = "extract_columns_from_partition_format: {partition_format: '/s={s}/b={b}/{name}.csv'}"


def test_files_that_are_split_by_the_keys_are_used_as_they_lie(table: Callable[..., Path]) -> None:
    folder = table(SHOP, DELIMITED, FORMAT, "drop_columns: [name, b]", paths="pattern: ./**/*.csv")
    source = opened(folder, keys=["b", "s"])
    lines = lines_of(source)
    seen = batches(load(source, lines, folder))
    assert [told["keys"] for told, _ in seen] == [{"b": brand, "s": shop} for brand in "xy" for shop in ("1", "10", "2")]
    assert seen[1][1].to_pydict() == {"a": [10, 9, 10, 9], "s": ["10"] * 4}
    assert len(seen[0][0]["dataset"]) == 2
    for count in range(len(lines)):
        assert lines_of(opened(folder, keys=["b", "s"]), lines[:count]) == lines[count:]
    merged = opened(folder, keys=["b"])
    assert [told["keys"] for told, _ in batches(load(merged, lines_of(merged), folder))] == [{"b": "x"}, {"b": "y"}]


def test_rows_are_grouped_in_bounded_memory(table: Callable[..., Path], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spill, "RUN_BYTES", 2000)
    monkeypatch.setattr(spill.Spill.fill, "__kwdefaults__", {"run_bytes": 2000})
    rows = "".join(f"{number % 7},{['x', 'y', ''][number % 3]},{number}\n" for number in range(1000))
    folder = table({"1.csv": "k,w,n\n" + rows, "2.csv": "k,w,n\n,z,5000\n"}, DELIMITED)
    source = opened(folder, size=500, keys=["w", "k"])
    lines = lines_of(source)
    assert len(list((folder.parent / "scratch" / "groups").glob("*.arrow"))) > 5
    seen = batches(load(source, lines, folder))
    keys = [tuple(told["keys"].values()) for told, _ in seen]
    assert keys[:2] == [("x", 0), ("x", 1)]
    assert keys[13:] == [("y", 6), ("z", None), *((None, number) for number in range(7))]
    for told, batch in seen:
        if told["keys"]["w"] == "x":
            assert batch.column("n").to_pylist() == [n for n in range(1000) if n % 3 == 0 and n % 7 == told["keys"]["k"]]
    assert sum(told["rows"] for told, _ in seen) == 1001
    assert lines_of(opened(folder, size=500, keys=["w", "k"]), lines[:3]) == lines[3:]
    (folder / "3.csv").write_text("k,w,n\n1,x,1\n")
    with pytest.raises(UserError, match="input has changed"):
        lines_of(opened(folder, size=500, keys=["w", "k"]), lines[:3])


def test_groups_by_numbers_moments_and_placeholders(table: Callable[..., Path]) -> None:
    files = {"s=1/a.csv": "d,x\n2020-01-03,1.5\n2020-01-02,nan\n2020-01-02,\n", "s=0/a.csv": "d,x\n2020-01-02,1.5\n"}
    form = "extract_columns_from_partition_format: {partition_format: '/s={s}/'}"
    folder = table(files, DELIMITED, form, paths="pattern: ./**/*.csv")
    source = opened(folder, keys=["d", "s"])
    keys = [told["keys"] for told, _ in batches(load(source, lines_of(source), folder))]
    assert keys == [{"d": "2020-01-02T00:00:00", "s": "0"}, {"d": "2020-01-02T00:00:00", "s": "1"}, {"d": "2020-01-03T00:00:00", "s": "1"}]
    source = opened(folder, keys=["x"])
    assert [told["keys"] for told, _ in batches(load(source, lines_of(source), folder))] == [{"x": 1.5}, {"x": None}]


def test_unknown_keys_are_named(table: Callable[..., Path]) -> None:
    folder = table({"1.csv": NUMBERS}, DELIMITED)
    with pytest.raises(UserError, match="`partition_keys`: names 'c'") as error:
        opened(folder, keys=["c"])
    assert error.value.allowed == "a, b"


def test_a_broken_row_fails_the_grouping(table: Callable[..., Path]) -> None:
    folder = table({"1.csv": "a\n" + "7\n" * 300 + "x\n"}, DELIMITED)
    with pytest.raises(UserError, match=r"1\.csv:302"):
        lines_of(opened(folder, keys=["a"]))


def test_parquet_row_groups_are_joined_and_cut(table: Callable[..., Path]) -> None:
    data = pa.table({"a": list(range(1000)), "s": [f"{number:020}" for number in range(1000)]})
    folder = table({"1.parquet": data}, "read_parquet")
    whole = os.path.getsize(folder / "1.parquet")
    for size, least, most in ((whole, 1, 1), (whole // 3, 3, 4), (whole // 10, 9, 11), (whole // 40, 38, 42), (1, 1000, 1000)):
        source = opened(folder, size=size)
        found = values(source, folder, "a")
        assert least <= len(found) <= most
        assert [value for each in found for value in each] == list(range(1000))


@pytest.mark.parametrize("room", [row_groups.CACHE_BYTES, 60_000])  # bytes: all of it; no more than two row groups
def test_a_row_group_that_is_cut_is_decoded_once_and_let_go(table: Callable[..., Path], room: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(row_groups, "CACHE_BYTES", room)
    decoded: list[range] = []
    read_groups = columnar._read_groups

    def counted(source: Any, footer: Any, groups: range, columns: Any) -> pa.Table:
        decoded.append(groups)
        return read_groups(source, footer, groups, columns)

    monkeypatch.setattr(columnar, "_read_groups", counted)
    folder = table({"1.parquet": pa.table({"a": list(range(10_000))})}, "read_parquet")
    pq.write_table(pa.table({"a": list(range(10_000))}), folder / "1.parquet", row_group_size=2500)
    source = opened(folder, size=os.path.getsize(folder / "1.parquet") // 20)
    assert [value for each in values(source, folder, "a") for value in each] == list(range(10_000))
    assert sorted(each.start for each in decoded) == [0, 1, 2, 3]
    assert source.loader.reader.format._groups.held == 0


def test_cut_groups() -> None:
    assert list(cut_groups([(10, 45)] * 5, 100)) == [Slice((0, 2), 90, 20), Slice((2, 4), 90, 20), Slice((4, 5), 45, 10)]
    assert list(cut_groups([(10, 40), (10, 220), (10, 10)], 100)) == [
        Slice((0, 1), 40, 10), Slice((1, 2, 0, 5), 110, 5), Slice((1, 2, 5, 10), 110, 5), Slice((2, 3), 10, 10)
    ]  # fmt: skip
    assert list(cut_groups([(0, 0), (3, 10)], None)) == [Slice((0, 2), 10, 3)]
    assert list(cut_groups([(0, 0)], 10)) == []


def test_parquet_takes_and_counts_without_reading(table: Callable[..., Path]) -> None:
    folder = table({"1.parquet": pa.table({"a": list(range(1000))})}, "read_parquet", "skip: 250", "take: 300")
    source = opened(folder, size=1)
    (chunk, *_) = source.chunks(iter(()))
    assert chunk.items == 1
    assert [value for each in values(source, folder, "a") for value in each] == list(range(250, 550))


def test_a_file_that_is_no_parquet(table: Callable[..., Path]) -> None:
    folder = table({"1.parquet": "no"}, "read_parquet")
    with pytest.raises(UserError, match="no readable Parquet file"):
        opened(folder)


def test_json_lines_by_size(table: Callable[..., Path]) -> None:
    folder = table({"1.jsonl": "".join(f'{{"a":{number},"b":{{"c":[{number}]}}}}\n' for number in range(100))}, "read_json_lines")
    found = values(opened(folder, size=100), folder, "b")
    assert len(found) > 10
    assert [value["c"][0] for each in found for value in each] == list(range(100))


def test_typed_csv_for_workers_without_pyarrow(table: Callable[..., Path]) -> None:
    pd = pytest.importorskip("pandas")
    text = 'i,n,b,s,d,f\n7,,t,"",2020-01-02,1.5\n8,9,f,"a,""b",2020-01-03,\n9,,t,,,2.5\n'
    folder = table({"1.csv": text}, DELIMITED)
    source = opened(folder)
    loaded = load(source, lines_of(source), folder, "csv")
    (told,) = map(json.loads, loaded.lines)
    assert told["dtypes"] == {"i": "int64", "n": "float64", "b": "bool", "s": "object", "d": "datetime64[ns]", "f": "float64"}
    missing = {"n": [""], "f": [""], "s": ["\\N"]}  # as the worker's batches.py reads it
    frame = pd.read_csv(told["csv"], keep_default_na=False, dtype={"s": "object", "b": "bool"}, na_values=missing)
    assert frame["i"].tolist() == [7, 8, 9]
    assert frame["s"].isna().tolist() == [False, False, True]
    assert told["rows"] == 3
    assert list(loaded.scratch) == [told["csv"]]
