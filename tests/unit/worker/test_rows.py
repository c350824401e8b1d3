"""What run() returned, as rows."""

from __future__ import annotations

import collections

import numpy as np
import pandas as pd
import pytest

from runner.worker.rows import ReturnTypeError, Rows

SPACE = {"sep": " ", "header": False, "index": False}


@pytest.fixture
def warnings() -> list[str]:
    return []


@pytest.fixture
def rows(warnings) -> Rows:
    return Rows(True, SPACE, warnings.append)


Point = collections.namedtuple("Point", "x y")


@pytest.mark.parametrize(
    ("result", "count", "text"),
    [
        ([], 0, ""),
        (["a", 1, None, 0.1], 4, "a\n1\nNone\n0.1\n"),
        (("ü",), 1, "ü\n"),
        (Point(1, 2), 2, "1\n2\n"),
        ([[1, 2], {"a": 1}], 2, "[1, 2]\n{'a': 1}\n"),
        (iter("ab"), 2, "a\nb\n"),
        ((n for n in range(2)), 2, "0\n1\n"),
        (map(str, [1]), 1, "1\n"),
        (np.array([0.1, 2.0]), 2, "0.1\n2.0\n"),
        (np.array([[1, 2], [3, 4]]), 2, "[1 2]\n[3 4]\n"),
        (np.zeros((0, 3)), 0, ""),
        (np.arange(2000).reshape(1, -1), 1, "[" + " ".join(f"{n:4d}" for n in range(2000)) + "]\n"),
        (pd.Series(["x", "y"], index=[7, 3]), 2, "x\ny\n"),
        (pd.Series([1, 2], dtype="int8"), 2, "1\n2\n"),
        (pd.DataFrame({"a": [1, 2], "b": ["x y", 'q"']}), 2, '1 "x y"\n2 "q"""\n'),
        (pd.DataFrame({"a": []}), 0, ""),
    ],
)
def test_what_may_come_back(rows, warnings, result, count, text):
    assert rows.convert(result) == (count, text.encode())
    assert warnings == []


@pytest.mark.parametrize(
    ("result", "name"),
    [
        (None, "None"),
        ("text", "str"),
        (b"x", "bytes"),
        ({}, "dict"),
        ({1}, "set"),
        (3, "int"),
        (np.float64(1), "numpy.float64"),
        (np.array(1), "numpy.ndarray"),
        (range(3), "range"),
    ],
)
def test_what_may_not(rows, result, name):
    with pytest.raises(ReturnTypeError, match=f"run\\(\\) returned {name}; allowed: a pandas DataFrame"):
        rows.convert(result)


def test_only_counted(warnings):
    class Shy:
        def __str__(self):
            raise AssertionError("nobody needs the text")

    rows = Rows(False, SPACE, warnings.append)
    assert rows.convert([Shy(), Shy()]) == (2, b"")
    assert rows.convert(pd.DataFrame({"a": [1]})) == (1, b"")


def test_line_breaks_are_warned_of_once(rows, warnings):
    assert rows.convert(["a\nb", "c"]) == (2, b"a\nb\nc\n")
    assert rows.convert(["a\rb"]) == (1, b"a\rb\n")
    assert len(warnings) == 1


def test_undecodable_bytes_come_out_as_they_were(rows):
    assert rows.convert([b"f\xff\xfe".decode("utf-8", "surrogateescape")]) == (1, b"f\xff\xfe\n")
    with pytest.raises(ReturnTypeError, match="UTF-8"):
        rows.convert(["\ud800"])


def test_header_with_settings(warnings):
    rows = Rows(True, {"sep": ",", "header": False, "index": False, "columns": ["b"]}, warnings.append)
    frame = pd.DataFrame({"a": [1], "b": [2]})
    assert rows.header(frame) == "b\n"
    assert rows.convert(frame) == (1, b"2\n")
    assert rows.header(["no", "frame"]) == ""


@pytest.mark.parametrize(("version", "name"), [("1.1.5", "line_terminator"), ("1.5.0", "lineterminator"), ("3.1.1", "lineterminator")])
def test_spelling_of_the_line_end(monkeypatch, warnings, version, name):
    seen = {}

    class Frame:
        def __len__(self):
            return 1

        def to_csv(self, **arguments):
            seen.update(arguments)
            return "1\n"

    monkeypatch.setattr(pd, "DataFrame", Frame)
    monkeypatch.setattr(pd, "__version__", version)
    Rows(True, SPACE, warnings.append).convert(Frame())
    assert seen == {**SPACE, name: "\n"}
