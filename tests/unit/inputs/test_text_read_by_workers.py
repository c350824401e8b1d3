"""Slices of delimited text that a worker reads itself: the very frame that the loader makes, or back to the loader."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pytest

from runner.errors import Place
from runner.inputs.bytes_of import LocalBytes
from runner.inputs.delimited import DelimitedTable
from runner.inputs.files import status_of
from runner.inputs.mltable_steps import Delimited
from runner.inputs.opener import Opener
from runner.inputs.pieces import PieceReader
from runner.inputs.table_loader import TableLoader
from runner.inputs.transform import compile_pipeline
from runner.inputs.types import CellType, Kind
from runner.model.batch import Loaded
from runner.worker.batches import TableBatches
from runner.worker.delimited import NotPlainError

KINDS: tuple[Kind, ...] = ("int", "float", "string", "boolean", "datetime")
PLAIN = {"int": "5", "float": "2.5", "string": "word", "boolean": "true", "datetime": "2024-01-02"}
HOSTILE = (
    "", " ", " 1", "1 ", "\t1", "+1", "-1", "007", "-0", "00", "1e3", "1E-3", "1.", ".5", "1.0", "inf", "-inf", "Infinity", "nan", "NaN",
    "nan(1)", "NULL", "NA", "null", "N/A", "\\N", "0x10", "0X1F", "1_000", "1e400", "1e-400", "0.1000000000000000055511151231257827",
    "9223372036854775807", "-9223372036854775808", "9223372036854775808", "123456789012345678901234567890",
    "0", "1", "t", "T", "f", "tRuE", "FALSE", "yes", "true ", "2",
    "2024-01-02 03:04:05", "2024-01-02T03:04:05", "2024-01-02 03:04:05.123456789", "2024-01-02 03:04", "2024-01-02T03:04:05Z",
    "2024-01-02T03:04:05+02:00", "2024-02-30", "2024/01/02", "1/13/2024", "2-Jan-2024", "1600-01-01", "2024-1-2", "20240102", "2024-01-02 ",
    '""', '"5"', '"true"', '"x', 'x"y', '"a,b"', '"a""b"', '"a"b', '"', '"two\nlines"', "'1'",
    "\r", "x\ry", "\x00", "5\x00", "é", "\ufeff5", "٣", "a\u2028b", "\x0c", "\\", "#", "5,6", "5,", ",", "\n", "\r\n", "\n\n",
)  # fmt: skip
HOSTILE_BYTES = [*(text.encode() for text in HOSTILE), b"\xff\xfe", b"caf\xe9", b"\xef\xbb\xbf5", b"\xed\xa0\x80"]


@pytest.fixture
def scratch(tmp_path: Path) -> Path:
    (tmp_path / "scratch").mkdir()
    return tmp_path / "scratch"


def compared(path: Path, kinds: list[Kind], scratch: Path, sizes: list[int | None], **options: Any) -> Iterator[bool]:
    """Whether the worker read a slice itself, for each slice of each size; the rest is asserted."""
    names = tuple("abcdefgh"[: len(kinds)])
    reader = Delimited(place=Place(), **options)
    types = tuple(CellType(kind=kind) for kind in kinds)
    table = DelimitedTable(reader=reader, names=names, types=types, first_file=str(path))
    pipeline = compile_pipeline(table.schema, path_column=None, steps=(), folder=path.parent, warn=print, place=Place())
    loader = TableLoader(reader=PieceReader(format=table, pipeline=pipeline, opener=Opener()), schema=pipeline.schema)
    file = status_of(str(path))
    identity = {"f": file.path, "z": file.size, "m": file.version}
    for size in sizes:
        for piece in table.slices(LocalBytes(file), size):
            line = json.dumps({**identity, "p": piece.position}).encode()
            yield same(loader.load(0, [line], scratch, "arrow"), loader.load(0, [line], scratch, "direct"))


def same(by_loader: Loaded, by_worker: Loaded) -> bool:
    if by_worker.failed or by_worker.scratch:  # nothing was left to the worker
        assert by_worker.failed == by_loader.failed
        return False
    line = json.loads(by_worker.lines[0])
    assert "delimited" in line
    try:
        frame, rows = TableBatches().load(line)
    except NotPlainError:
        return False
    assert not by_loader.failed, "the worker has read what the loader refuses"
    told = json.loads(by_loader.lines[0])
    expected, count = TableBatches().load(told)
    assert rows == count == told["rows"]
    assert {**line, "keys": told["keys"], "dataset": told["dataset"]} == line
    pd.testing.assert_frame_equal(frame, expected, check_exact=True)
    assert repr(frame.to_dict("list")) == repr(expected.to_dict("list"))  # -0.0, kinds of missing values
    assert type(frame.index) is type(expected.index)
    return True


@pytest.mark.parametrize("kind", KINDS)
def test_hostile_values(tmp_path: Path, scratch: Path, kind: Kind) -> None:
    path = tmp_path / "a.csv"
    plain = PLAIN[kind].encode()
    by_worker = set()
    for value in HOSTILE_BYTES:
        files: list[tuple[list[Kind], bytes]] = [
            (["int", kind], b"1,%b\n2,%b\n3,%b\n" % (plain, value, plain)),
            ([kind, kind], b"%b,%b\n" % (plain, value)),
            ([kind, "string"], b"%b,x" % value),
        ]
        for kinds, rows in files:
            path.write_bytes(b"a,b\n" + rows)
            for header in ("all_files_same_headers", "no_header"):
                by_worker |= {value for own in compared(path, kinds, scratch, [None, 6], header=header) if own}
    assert len(by_worker) > 5
    assert b"" in by_worker


def test_plain_values_stay_with_the_worker(tmp_path: Path, scratch: Path) -> None:
    path = tmp_path / "a.csv"
    rows = "".join(f"{n},{n / 7},w{n % 3},{n % 2},2024-01-02 03:04:{n % 60:02}\r\n" for n in range(500)) + "\n,,,,\n7,1e3,é,F,2024-01-02"
    for text in (rows, rows.replace("\r\n", "\n"), rows + "\n\n\r\n"):
        path.write_text("a,b,c,d,e\n" + text, newline="")
        assert all(compared(path, list(KINDS), scratch, [None, 100, 1000, 4096]))
        assert all(compared(path, list(KINDS), scratch, [None, 100, 1000], empty_as_string=True))
    path.write_text(rows.replace(",", ";"), newline="")
    assert all(compared(path, list(KINDS), scratch, [None, 100, 1000], header="no_header", delimiter=";"))
    path.write_text("a\n" + "".join(f"{n}\n\n" for n in range(100)))
    assert all(compared(path, ["int"], scratch, [None, 7]))


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("mark", ["", "\ufeff"])
def test_slices_at_every_byte(tmp_path: Path, scratch: Path, end: str, mark: str) -> None:
    path = tmp_path / "a.csv"
    lines = ["a,b,c", "1,x,", "", "22,yy,0.5", '3,"q,""r",1e3', "4,é,nan", "5", "6,z,7,", "-7,,.5", "oops,u,1", "8,last,9"]
    text = mark + end.join(lines)
    sizes: list[int | None] = [None, *range(1, len(text.encode()) + 2)]
    for ending in ("", end):
        path.write_bytes((text + ending).encode())
        for header in ("all_files_same_headers", "no_header"):
            for multi_line in (False, True):
                own = list(compared(path, ["int", "string", "float"], scratch, sizes, header=header, multi_line=multi_line))
                assert any(own) == (end != "\r" and not multi_line)
    path.write_bytes(text.encode("utf-16"))
    assert not any(compared(path, ["int", "string", "float"], scratch, [None], encoding="utf-16"))


def test_rows_thrown_together(tmp_path: Path, scratch: Path) -> None:
    path = tmp_path / "a.csv"
    chance = random.Random(11)
    count = own = 0
    for _ in range(250):
        kinds = chance.choices(KINDS, k=chance.randint(1, 4))
        odd = chance.choice([0.0, 0.0, 0.1])

        def cell(kind: Kind, odd: float = odd) -> bytes:
            return chance.choice(HOSTILE_BYTES) if chance.random() < odd else chance.choice([PLAIN[kind], ""]).encode()

        ends = chance.choice([[b"\n"], [b"\r\n"], [b"\n", b"\r\n", b"\n\n"]])
        rows = [b",".join(cell(kind) for kind in kinds) + chance.choice(ends) for _ in range(chance.randint(1, 12))]
        path.write_bytes(b",".join(b"abcd"[at : at + 1] for at in range(len(kinds))) + b"\n" + b"".join(rows))
        found = list(compared(path, kinds, scratch, [None, 5, 11, 40], empty_as_string=chance.random() < 0.3))
        count, own = count + len(found), own + sum(found)
    assert count / 4 < own < count


def test_a_file_that_has_changed_goes_back_to_the_loader(tmp_path: Path) -> None:
    line = {"names": ["a"], "types": ["int64"], "delimiter": ",", "empty_as_string": False}
    path = tmp_path / "a.csv"
    path.write_text("1\n2\n")
    assert TableBatches().load({"delimited": str(path), "range": [0, 4], **line})[1] == 2
    for gone, start, end in ((path, 0, 6), (tmp_path / "gone.csv", 0, 4), (tmp_path, 0, 4)):
        with pytest.raises(NotPlainError, match=str(gone)):
            TableBatches().load({"delimited": str(gone), "range": [start, end], **line})


def test_dates_are_not_left_to_a_pyarrow_that_turns_old_ones_into_new_ones(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.csv"
    path.write_text("2024-01-02\n")
    line = {"delimited": str(path), "range": [0, 11], "names": ["a"], "delimiter": ",", "empty_as_string": False}
    monkeypatch.setattr(pa, "__version__", "22.0.0")
    assert TableBatches().load({**line, "types": ["string"]})[1] == 1
    with pytest.raises(NotPlainError, match="22"):
        TableBatches().load({**line, "types": ["timestamp[ns]"]})
    monkeypatch.setattr(pa, "__version__", "23.0.0.dev7")
    assert TableBatches().load({**line, "types": ["timestamp[ns]"]})[0].a[0] == pd.Timestamp("2024-01-02")
