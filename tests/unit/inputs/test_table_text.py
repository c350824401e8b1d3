"""Delimited text, in a folder and in blob storage: slices lose and double no row, whatever the size; broken rows are named."""

from __future__ import annotations

import bz2
import gzip
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from runner.errors import Place, UserError
from runner.inputs import textfile
from runner.inputs.bytes_of import Bytes
from runner.inputs.delimited import DelimitedTable, open_delimited, unique_names
from runner.inputs.files import FileEntry
from runner.inputs.mltable_steps import Delimited
from runner.inputs.records import split
from runner.inputs.tabular import BadInputError
from tests.mirror import Mirror, mirrored

OPENED: list[Mirror] = []  # where the files of the running test lie


@pytest.fixture(autouse=True, params=["folder", pytest.param("blobs", marks=pytest.mark.needs("azurite"))])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Mirror]:
    with mirrored(tmp_path, request.getfixturevalue("azurite") if request.param == "blobs" else None) as mirror:
        OPENED[:] = [mirror]
        yield mirror


def opened(path: Path, **options: Any) -> tuple[DelimitedTable, FileEntry]:
    (place,) = OPENED
    file = place.entry(path)
    return open_delimited(Delimited(place=Place(), **options), lambda: iter([file]), place.opener), file


def source(file: FileEntry) -> Bytes:
    return OPENED[0].opener.open(file)


def rows(table: DelimitedTable, file: FileEntry, size: int | None) -> list[dict[str, Any]]:
    found = []
    for piece in table.slices(source(file), size):
        read = table.read(source(file), piece.position, None).to_pylist()
        assert read, "an empty slice"
        found += read
    return found


@pytest.mark.parametrize("multi_line", [False, True])
def test_slices_of_any_size_have_the_same_rows(tmp_path: Path, multi_line: bool) -> None:
    chance = random.Random(7)
    words = ["", "x", "yy", '""', '"a,b"', '"q""q"', 'in"ch', "é", '"é"', "7"] + (['"two\nlines"', '"a\r\n\n"'] if multi_line else [])
    text = "a,b,c\n" + "".join(",".join(chance.choice(words) for _ in range(3)) + chance.choice(["\n", "\r\n", "\n\n"]) for _ in range(150))
    path = tmp_path / "a.csv"
    path.write_bytes(text.encode())
    table, file = opened(path, multi_line=multi_line, infer=False)
    expected = [
        dict(zip("abc", [None if field is None else field.decode() for field in record.fields], strict=True))
        for record in list(split(text.encode(), b",", multi_line=multi_line))[1:]
    ]
    assert expected
    for size in (1, 2, 3, 7, 16, 50, 333, 1000, 10**6, None):
        assert rows(table, file, size) == expected, size


@pytest.mark.parametrize("multi_line", [False, True])
def test_a_record_that_begins_at_a_boundary_belongs_to_the_earlier_slice(tmp_path: Path, multi_line: bool) -> None:
    path = tmp_path / "a.csv"
    path.write_text("a\n" + "".join(f"{number:03}\n" for number in range(10)))  # records begin at 2, 6, 10, …
    table, file = opened(path, multi_line=multi_line)
    assert [piece.position for piece in table.slices(source(file), 10)] == [(2, 14), (14, 22), (22, 34), (34, 42)]


def test_records_larger_than_the_blocks_that_are_scanned(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(textfile, "SCAN_BLOCK", 16)
    path = tmp_path / "a.csv"
    path.write_text("a,b\n" + "".join(f'"{number}\n{"x" * (37 * number)}",5\n' for number in range(9)))
    table, file = opened(path, multi_line=True)
    assert [len(row["a"]) for row in rows(table, file, 64)] == [2 + 37 * number for number in range(9)]
    assert len(list(table.slices(source(file), 64))) == 7


def test_header_and_blank_lines_make_no_slice(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("\n\na,b\n\n\n\n\n\n1,2\n\n\n\n\n")
    table, file = opened(path)
    assert rows(table, file, 3) == [{"a": True, "b": 2}]


@pytest.mark.parametrize(("suffix", "pack"), [(".gz", gzip.compress), (".bz2", bz2.compress)])
def test_compressed_files_are_one_slice(tmp_path: Path, suffix: str, pack: Any) -> None:
    path = tmp_path / f"a.csv{suffix}"
    path.write_bytes(pack(b"a,b\n" + b"5,x\n" * 1000))
    table, file = opened(path)
    pieces = list(table.slices(source(file), 100))
    assert len(pieces) == 1
    assert table.read(source(file), pieces[0].position, None).to_pylist() == [{"a": 5, "b": "x"}] * 1000
    path.write_bytes(pack(b"a,b\n"))
    assert list(table.slices(source(OPENED[0].entry(path)), 100)) == []


def test_zstd(tmp_path: Path) -> None:
    import pyarrow as pa

    path = tmp_path / "a.csv.zst"
    path.write_bytes(pa.compress(b"a\n5\n6\n", codec="zstd", asbytes=True))
    table, file = opened(path)
    assert rows(table, file, 1) == [{"a": 5}, {"a": 6}]


@pytest.mark.parametrize("encoding", ["latin-1", "cp1252", "utf-16", "utf-8"])
def test_encodings(tmp_path: Path, encoding: str) -> None:
    path = tmp_path / "a.csv"
    path.write_bytes("nämé,b\né,5\nü,6\n".encode(encoding))
    table, file = opened(path, encoding=encoding)
    assert rows(table, file, 4) == [{"nämé": "é", "b": 5}, {"nämé": "ü", "b": 6}]


BREAKS = {
    "late word": ("x", "b", "column 'b': 'x' is not a whole number"),
    "hexadecimal": ("0x10", "b", "'0x10' is not a whole number"),
    "too large": ("9" * 30, "b", "is not a whole number"),
    "decimal": ("5.5", "b", "column_type: string"),
    "blank": (" ", "b", "' ' is not a whole number"),
    "long row": ("5,6,7", "", "the row has 5 fields, and the table 3 columns"),
}


@pytest.mark.parametrize("case", BREAKS)
def test_a_broken_row_is_named_with_its_line(tmp_path: Path, case: str) -> None:
    value, _, message = BREAKS[case]
    path = tmp_path / "a.csv"
    path.write_text("a,b,c\n" + "1,7,t\n" * 300 + "\n" + f"1,{value},t\n" + "1,8,t\n" * 10)
    table, file = opened(path)
    failures = []
    good = 0
    for piece in table.slices(source(file), 300):
        try:
            good += table.read(source(file), piece.position, None).num_rows
        except BadInputError as bad:
            failures.append(bad)
    assert good >= 250
    (failure,) = failures
    assert f"{OPENED[0].name(path)}:303: " in failure.message
    assert message in failure.message


def test_bytes_that_are_no_text_are_named(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_bytes(b"a,b\n" + b"x,5\n" * 300 + b"\xff\xfe,5\n")
    table, file = opened(path)
    with pytest.raises(BadInputError, match="not UTF-8") as error:
        rows(table, file, None)
    assert error.value.line == 302


def test_an_unclosed_quote_is_named(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("a,b\n" + "x,5\n" * 300 + '"x,5\ny,6\n')
    table, file = opened(path, multi_line=True)
    with pytest.raises(BadInputError, match="never closed") as error:
        rows(table, file, 100)
    assert error.value.line == 302


LATER = '"","","",""\n 9,.5, 1,2-Jan-20\n'


def test_later_values_that_fit_are_taken(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("i,f,b,d\n" + "7,1.5,t,2020-01-02\n" * 200 + "+8,inf,FALSE,2020-01-02T03:04:05+01:00\n,,,\n" + LATER)
    table, file = opened(path)
    found = rows(table, file, None)[200:]
    assert [row["i"] for row in found] == [8, None, None, 9]
    assert [row["b"] for row in found] == [False, None, None, True]
    assert str(found[0]["d"]) == "2020-01-02 02:04:05"
    assert str(found[3]["d"]).startswith("2020-01-02")


def test_only_wanted_columns_are_read(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("a,b,c\n5,x,1.5\n6,y,\n")
    table, file = opened(path)
    (piece,) = table.slices(source(file), None)
    assert table.read(source(file), piece.position, frozenset("ca")).to_pydict() == {"a": [5, 6], "c": [1.5, None]}
    assert table.read(source(file), piece.position, frozenset()).num_rows == 2


def test_names_of_headers() -> None:
    assert unique_names([" a ", "", "a", "a_1"]) == ["a", "Column2", "a_1", "a_1_2"]


def test_tables_that_cannot_be_opened(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("")
    with pytest.raises(UserError, match="all of its files are empty"):
        opened(path)
    path.write_bytes(b"n\xe4me,b\n5,6\n")
    with pytest.raises(UserError, match=r"a\.csv:1.*the header is not UTF-8"):
        opened(path)
    path = tmp_path / "a.csv.gz"
    path.write_bytes(b"no gzip")
    with pytest.raises(UserError, match="cannot be decompressed"):
        opened(path)


def test_messages_about_binary_data_stay_on_one_line():
    error = BadInputError(problem="column 'a\n\x1b[2J': no number", file="a\r.csv", line=3, todo="mend it")
    assert error.message == "a\\r.csv:3: column 'a\\n\\x1b[2J': no number\n  next: mend it"
    assert "\x1b" not in str(error.user_error())
