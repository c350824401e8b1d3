"""Tables: what `run` gets of delimited text, Parquet and JSON lines, how they are split, and what broken rows do."""

from __future__ import annotations

import gzip
import json
import signal
import textwrap
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.acceptance.jobs import Lab, Outcome

# One row per mini-batch: its number, keys, types of columns, and rows.
SHOW = """
import json

def run(mini_batch, mini_batch_context):
    assert list(mini_batch.index) == list(range(len(mini_batch)))
    assert mini_batch_context.dataset.to_pandas_dataframe().equals(mini_batch)
    return [json.dumps({
        "index": mini_batch_context.minibatch_index,
        "keys": mini_batch_context.partition_key_value,
        "types": {name: str(kind) for name, kind in mini_batch.dtypes.items()},
        "rows": json.loads(mini_batch.to_json(orient="values", date_format="iso")),
    })]
"""
ECHO = "def run(mini_batch):\n    return mini_batch\n"
DELIMITED = "paths:\n  - pattern: ./*.csv\ntransformations:\n  - read_delimited: {}\n"
PARQUET = "paths:\n  - pattern: ./*.parquet\ntransformations:\n  - read_parquet: {}\n"
JSON_LINES = "paths:\n  - pattern: ./*.jsonl\ntransformations:\n  - read_json_lines: {}\n"


pytestmark = pytest.mark.image("pandas")


@pytest.fixture
def lab(tmp_path: Path, anywhere: Callable[[Path], Lab]) -> Lab:
    lab = anywhere(tmp_path)
    lab.script(SHOW)
    (tmp_path / "input").mkdir()
    return lab


def run(lab: Lab, table: str, *, name: str = "job", **keys: Any) -> Outcome:
    (lab.folder / "input" / "MLTable").write_text(textwrap.dedent(table))
    lab.job(**{"inputs": {"data": {"type": "mltable", "path": "input"}}, "mini_batch_size": "1mb", **keys})
    return lab.score(name=name)


def zipped(text: str) -> str:
    """For files that are written with surrogates."""
    return gzip.compress(text.encode()).decode("utf-8", "surrogateescape")


def show(lab: Lab, table: str, **keys: Any) -> list[dict[str, Any]]:
    """Runs the job and gives its mini-batches."""
    done = run(lab, table, **keys)
    assert done.status == 0, done.stderr
    return [json.loads(line) for line in lab.rows.read_text().splitlines()]


def values(batches: list[dict[str, Any]]) -> list[list[Any]]:
    return [row for batch in batches for row in batch["rows"]]


def test_the_three_formats_give_the_same_frames(lab: Lab) -> None:
    """Numbers, truth values, texts, moments and missing values; rows of two files, in their order."""
    folder = lab.folder / "input"
    rows = [[1, 1.5, True, "a b", "2024-01-02T03:04:05.000"], [2, None, False, 'q"x', "2024-02-03T00:00:00.000"]]
    (folder / "a.csv").write_text("n,x,flag,text,when\n1,1.5,true,a b,2024-01-02 03:04:05\n")
    (folder / "b.csv").write_text('n,x,flag,text,when\n2,,false,"q""x",2024-02-03\n')
    for number, name in enumerate(("a", "b")):
        n, x, flag, text, when = rows[number]
        (folder / f"{name}.jsonl").write_text(json.dumps({"n": n, "x": x, "flag": flag, "text": text, "when": when[:10]}) + "\n")
        moment = pa.array([when], pa.string()).cast(pa.timestamp("us"))
        columns = {"n": pa.array([n]), "x": pa.array([x], pa.float64()), "flag": pa.array([flag]), "text": pa.array([text]), "when": moment}
        pq.write_table(pa.table(columns), folder / f"{name}.parquet")
    for name, table in (("csv", DELIMITED), ("parquet", PARQUET)):
        batches = show(lab, table, name=name)
        assert values(batches) == rows
        assert [list(batch["types"].values())[:3] for batch in batches] == [["int64", "float64", "bool"]] * len(batches)
        assert all(batch["types"]["when"].startswith("datetime64") for batch in batches)
    batches = show(lab, JSON_LINES, name="json")
    assert values(batches) == [[*row[:4], row[4][:10]] for row in rows]  # dates stay texts in JSON


@pytest.mark.on_cluster
@pytest.mark.in_blob
def test_text_is_cut_by_bytes_never_across_files(lab: Lab) -> None:
    """Types are the same in all mini-batches, though most see no fraction and no missing value."""
    folder = lab.folder / "input"
    rows = [[number, 0.5 if number == 3 else number] for number in range(4000)]
    for name, part in (("a.csv", rows[:3000]), ("b.csv", rows[3000:])):
        (folder / name).write_text("n,x\n" + "".join(f"{n},{x}\n" for n, x in part))
    batches = show(lab, DELIMITED, mini_batch_size="4kb", max_concurrency_per_instance=2)
    assert values(batches) == rows
    sizes = [(folder / name).stat().st_size for name in ("a.csv", "b.csv")]
    assert len(batches) == sum(-(-size // 4096) for size in sizes)
    assert {json.dumps(batch["types"]) for batch in batches} == {'{"n": "int64", "x": "float64"}'}
    assert 3000 in [batch["rows"][0][0] for batch in batches]  # b.csv begins one
    plan = lab.run("job", "validate", "-f", "job.yml", "--local", "-o", "json").job["steps"][0]
    assert plan["mini_batches"] == len(batches)
    assert plan["unit"] == "rows"
    assert plan["bytes"] >= sum(sizes) - 8
    assert plan["largest"] <= 4096 + 16


def test_fields_of_several_lines_are_not_cut(lab: Lab) -> None:
    folder = lab.folder / "input"
    rows = [[number, f'line one, "{number}"\nline two\n\nline four'] for number in range(400)]
    text = "n,text\n" + "".join('{},"{}"\n'.format(n, t.replace('"', '""')) for n, t in rows)
    (folder / "a.csv").write_text(text)
    multi = DELIMITED.replace("{}", "{support_multi_line: true}")
    batches = show(lab, multi, mini_batch_size="1kb")
    assert values(batches) == rows
    assert len(batches) >= len(text) // 1024 - 1


def test_a_file_of_many_row_groups_gives_many_mini_batches(lab: Lab) -> None:
    folder = lab.folder / "input"
    pq.write_table(pa.table({"n": pa.array(range(50_000), pa.int64())}), folder / "a.parquet", row_group_size=5000, compression="none")
    lab.script("def run(b):\n    return [f\"{b['n'].iloc[0]} {b['n'].iloc[-1]} {len(b)}\"]\n")

    def spans(size: str) -> list[list[int]]:
        done = run(lab, PARQUET, name=f"job-{size}", mini_batch_size=size)
        assert done.status == 0, done.stderr
        return [[int(word) for word in line.split()] for line in lab.rows.read_text().splitlines()]

    for size, least, most in (("90kb", 4, 6), ("10kb", 30, 60)):
        found = spans(size)
        assert least <= len(found) <= most, size
        assert [first for first, _, _ in found] == [0, *[last + 1 for _, last, _ in found[:-1]]]
        assert found[-1][1] == 49_999


@pytest.mark.on_cluster
@pytest.mark.in_blob
def test_rows_are_grouped_by_keys(lab: Lab) -> None:
    """Of columns: values in the types of the column, sorted; of paths: texts."""
    folder = lab.folder / "input"
    (folder / "a.csv").write_text("shop,item,n\n10,b,1\n9,a,2\n10,b,3\n9,b,4\n")
    (folder / "b.csv").write_text("shop,item,n\n9,a,5\n10,a,6\n")
    batches = show(lab, DELIMITED, partition_keys=["shop", "item"], mini_batch_size=None)
    assert [(batch["keys"], batch["rows"]) for batch in batches] == [
        ({"shop": 9, "item": "a"}, [[9, "a", 2], [9, "a", 5]]),
        ({"shop": 9, "item": "b"}, [[9, "b", 4]]),
        ({"shop": 10, "item": "a"}, [[10, "a", 6]]),
        ({"shop": 10, "item": "b"}, [[10, "b", 1], [10, "b", 3]]),
    ]
    lab.job(inputs={"data": {"type": "mltable", "path": "input"}}, partition_keys=["shops"])
    wrong = lab.run("job", "validate", "-f", "job.yml", "--local")
    assert wrong.status == 2
    assert "shop, item, n" in wrong.stderr
    for name in ("10/x", "10/y", "9/x"):
        (folder / name).mkdir(parents=True)
        (folder / name / "part.csv").write_text("n\n1\n2\n")
    by_path = (
        DELIMITED.replace("./*.csv", "./**/part.csv")
        + "  - extract_columns_from_partition_format:\n      partition_format: '{shop}/{brand}/part.csv'\n"
    )
    batches = show(lab, by_path, name="paths", partition_keys=["shop"], mini_batch_size=None)
    assert [(batch["keys"], len(batch["rows"])) for batch in batches] == [({"shop": "10"}, 4), ({"shop": "9"}, 2)]


def test_transformations(lab: Lab) -> None:
    folder = lab.folder / "input"
    (folder / "2024").mkdir()
    (folder / "2024" / "a.csv").write_text("id;code;x;note\n" + "".join(f"{n};00{n};{n}.5;{'yes' if n % 2 else 'no'}\n" for n in range(10)))
    table = """
        paths:
          - pattern: ./**/*.csv
        transformations:
          - read_delimited:
              delimiter: ";"
              infer_column_types:
                column_type_overrides:
                  - {columns: code, column_type: string}
          - extract_columns_from_partition_format:
              partition_format: "{year}/{name}.csv"
          - filter: 'col("x") > 2 and col("note") == "yes"'
          - skip: 1
          - take: 2
          - convert_column_types:
              - {columns: id, column_type: float}
          - drop_columns: [name, note]
    """
    batches = show(lab, table)
    assert [dict(zip(batch["types"], row, strict=True)) for batch in batches for row in batch["rows"]] == [
        {"year": "2024", "id": n, "code": f"00{n}", "x": n + 0.5} for n in (5, 7)
    ]
    assert [batch["types"]["id"] for batch in batches] == ["float64"] * len(batches)


def test_headers_encodings_and_compression(lab: Lab) -> None:
    folder = lab.folder / "input"
    (folder / "a.csv").write_bytes("\ufeffname\nÄrger\n".encode())
    with gzip.open(folder / "b.csv.gz", "wt") as file:
        file.write("name\nzipped\n")
    assert values(show(lab, DELIMITED.replace("*.csv", "*.csv*"), name="utf8")) == [["Ärger"], ["zipped"]]
    (folder / "a.csv").write_bytes("7\tÄrger\n".encode("latin-1"))
    latin = DELIMITED.replace("{}", '{encoding: latin1, header: no_header, delimiter: "\\t"}')
    batches = show(lab, latin, name="latin")
    assert list(batches[0]["types"]) == ["Column1", "Column2"]
    assert values(batches) == [[7, "Ärger"]]


@pytest.mark.parametrize(
    ("table", "files", "says"),
    [
        pytest.param(
            DELIMITED,
            {"a.csv": "n,x\n" + "3,2\n" * 300, "b.csv": "n,x\n3,4\n5,abc\n7,8\n", "c.csv": "n,x\n1,2\n"},
            ("b.csv:3", "column 'x': 'abc'", "column_type_overrides"),
            id="a-value-that-does-not-fit",
        ),
        pytest.param(
            DELIMITED.replace("{}", "{support_multi_line: true}"),
            {"a.csv": "n,x\n1,2\n", "b.csv": 'n,x\n3,4\n5,"open\n', "c.csv": "n,x\n1,2\n"},
            ("b.csv:3", "never closed"),
            id="a-quote-that-is-not-closed",
        ),
        pytest.param(
            DELIMITED,
            {"a.csv": "n,x\n1,a\n", "b.csv": "n,x\n3,b\n5,\udcff\udcfe\n", "c.csv": "n,x\n1,c\n"},
            ("b.csv:3", "column 'x'", "is not UTF-8 text"),
            id="bytes-that-are-no-utf8",
        ),
        pytest.param(
            JSON_LINES,
            {"a.jsonl": '{"n": 1}\n', "b.jsonl": '{"n": 2}\n{"n": \n', "c.jsonl": '{"n": 3}\n'},
            ("b.jsonl:2", "is not JSON"),
            id="a-broken-line-of-json",
        ),
        pytest.param(
            DELIMITED.replace("{}", "{encoding: utf16}"),
            {"a.csv": "\udcff\udcfen\0\n\x001\0\n\0", "b.csv": "odd", "c.csv": "\udcff\udcfen\0\n\x002\0\n\0"},
            ("b.csv", "utf-16"),
            id="a-file-in-another-encoding",
        ),
        pytest.param(
            DELIMITED.replace("*.csv", "*.csv.gz"),
            {"a.csv.gz": zipped("n\n1\n"), "b.csv.gz": "not gzip", "c.csv.gz": zipped("n\n1\n")},
            ("b.csv.gz", "decompressed"),
            id="a-file-that-is-not-compressed",
        ),
        pytest.param(
            PARQUET,
            {"a.parquet": "", "c.parquet": ""},
            ("b.parquet",),
            id="a-file-that-is-no-parquet",
        ),
    ],
)
def test_a_broken_row_fails_its_mini_batch_only(lab: Lab, table: str, files: dict[str, str], says: tuple[str, ...]) -> None:
    folder = lab.folder / "input"
    for name, text in files.items():
        (folder / name).write_bytes(text.encode("utf-8", "surrogateescape"))
    if table == PARQUET:
        for name in ("a", "b", "c"):
            pq.write_table(pa.table({"n": [1]}), folder / f"{name}.parquet")
        data = bytearray((folder / "b.parquet").read_bytes())
        data[4:20] = b"\xff" * 16  # the page, not the footer
        (folder / "b.parquet").write_bytes(data)
    lab.script("def run(b):\n    return [len(b)]\n")
    done = run(lab, table, mini_batch_size="1mb")
    assert done.status == 0, done.stderr
    assert done.counts == (3, 2, 1)
    assert done.job["progress"]["mini_batches"]["retries"] == 0  # the input's errors are not tried again
    errors = "".join(path.read_text() for path in lab.logs().glob("job_error.*"))
    for part in says:
        assert part in errors, errors
    assert "Traceback" not in errors


@pytest.mark.parametrize("odd_rows", [[700], range(0, 1000, 40)], ids=["one-slice", "most-slices"])
def test_slices_that_are_not_plain_lose_no_row_and_no_attempt(lab: Lab, odd_rows: Sequence[int]) -> None:
    """Quotes, dates that are written otherwise, and a value that does not fit; among others, whose workers read them themselves."""
    odd = {n: (f'"a,{n}"', "3-Jan-2024", n % 3) for n in odd_rows}
    rows = [(n, *odd.get(n, (f"text {n}", "2024-01-02", n % 3))) for n in range(1000)]
    text = "n,text,when,x\n" + "".join(",".join(map(str, row)) + "\n" for row in rows)
    (lab.folder / "input" / "a.csv").write_text(text)
    (lab.folder / "input" / "b.csv").write_text("n,text,when,x\n1000,b,2024-01-02,1\noops,b,2024-01-02,1\n")
    lab.script('def run(b):\n    return [f"{n} {text} {when:%d} {x}" for n, text, when, x in b.itertuples(index=False)]\n')
    done = run(lab, DELIMITED, mini_batch_size="1kb", max_concurrency_per_instance=2, retry_settings={"max_retries": 0})
    assert done.status == 0, done.stderr
    total = -(-len(text) // 1024) + 1
    assert done.counts == (total, total - 1, 1)
    assert done.job["progress"]["mini_batches"]["retries"] == 0
    assert done.job["progress"]["items"]["total"] == 1000
    expected = [f"{n} {text.strip(chr(34))} {'03' if 'Jan' in when else '02'} {x}" for n, text, when, x in rows]
    assert lab.rows.read_text().splitlines() == expected
    errors = "".join(path.read_text() for path in lab.logs().glob("job_error.*"))
    assert "b.csv:3" in errors
    assert "column 'n': 'oops' is not a whole number" in errors


@pytest.mark.parametrize("end", ["raise ValueError(b)", "os._exit(7)", "time.sleep(100)"])
def test_rows_of_mini_batches_that_failed_are_counted(lab: Lab, end: str) -> None:
    (lab.folder / "input" / "a.csv").write_text("n\n" + "5\n" * 900)
    (lab.folder / "input" / "b.csv").write_text("n\n" + "7\n" * 77)
    lab.script(f"import os, time\ndef run(b):\n    if b.n[0] == 7:\n        {end}\n    return b.n\n")
    done = run(lab, DELIMITED, retry_settings={"max_retries": 1, "timeout": 2})
    assert done.counts == (2, 1, 1), done.stderr
    assert done.job["progress"]["items"]["failed"] == 77
    assert done.job["progress"]["items"]["total"] == 977


def test_settings_that_no_table_takes(lab: Lab) -> None:
    folder = lab.folder / "input"
    (folder / "a.csv").write_text("n\n1\n")
    for text, says in (
        (DELIMITED + "error_mode: x\n", "error_mode"),
        (DELIMITED.replace("{}", "{delimeter: x}"), "delimiter"),
        (DELIMITED + "  - filter: 'col(\"n\") + '\n", "filter"),
        (DELIMITED.replace("./*.csv", "./*.tsv"), "tsv"),
    ):
        (folder / "MLTable").write_text(text)
        lab.job(inputs={"data": {"type": "mltable", "path": "input"}}, mini_batch_size="1mb")
        done = lab.run("job", "validate", "-f", "job.yml", "--local")
        assert done.status == 2, text
        assert says in done.stderr
        assert "Traceback" not in done.stderr


def test_the_same_bytes_with_1_2_and_8_workers(lab: Lab) -> None:
    folder = lab.folder / "input"
    (folder / "a.csv").write_text("n,text\n" + "".join(f"{n},row {n}\n" for n in range(3000)))
    lab.script(ECHO)
    found = set()
    for workers in (1, 2, 8):
        done = run(lab, DELIMITED, name=f"w{workers}", mini_batch_size="2kb", max_concurrency_per_instance=workers)
        assert done.status == 0, done.stderr
        assert done.job["progress"]["items"]["total"] == 3000
        found.add(lab.rows.read_bytes())
    assert found == {"".join(f'{n} "row {n}"\n' for n in range(3000)).encode()}


SLOW = """
import time
from ledger import note

def run(mini_batch):
    note(str(mini_batch["n"].iloc[0]) if len(mini_batch) else "nothing left")
    time.sleep(0.1)
    return mini_batch
"""


@pytest.mark.on_this_machine("on a cluster no command owns the job")
@pytest.mark.parametrize(
    ("steps", "keys"),
    [
        pytest.param("  - take: 900\n  - filter: 'col(\"n\") % 3 == 0'\n", {"mini_batch_size": "500"}, id="rows-that-are-counted"),
        pytest.param("", {"mini_batch_size": None, "partition_keys": ["k"]}, id="groups-by-keys"),
    ],
)
def test_a_killed_job_goes_on_where_it_was(lab: Lab, steps: str, keys: dict[str, Any]) -> None:
    folder = lab.folder / "input"
    for file in range(2):
        rows = "".join(f'{500 * file + row},{row % 20},"text, {row}"\r\n' for row in range(500))
        (folder / f"{file}.csv").write_text("n,k,text\r\n" + rows, newline="")
    lab.script(SLOW)
    whole = run(lab, DELIMITED + steps, name="whole", max_concurrency_per_instance=2, **keys)
    assert whole.status == 0, whole.stderr
    expected = lab.rows.read_bytes()
    lab.rows.unlink()
    lab.ledger_file.unlink()
    killed = lab.score(name="cut", RUNNER_FAILPOINT="journal.synced:3")
    assert killed.status == -signal.SIGKILL
    before = len(lab.ledger)
    done = lab.run("job", "resume", "-n", "cut", "--stream", "-o", "json")
    assert done.status == 0, done.stderr
    assert lab.rows.read_bytes() == expected
    assert done.counts == whole.counts
    assert done.job["progress"]["items"] == whole.job["progress"]["items"]
    assert len(lab.ledger) - before < whole.counts[0]
