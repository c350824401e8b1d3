"""Filters of tables: what they keep, and what is wrong with others."""

from __future__ import annotations

import datetime as dt

import pyarrow as pa
import pytest

from runner.errors import Place, UserError
from runner.inputs.filters import compile_filter

TABLE = pa.table({
    "i": [1, 2, 3],
    "f": [1.5, 2.5, 3.0],
    "s": ["a", "b", "a b"],
    "b": [True, False, True],
    "d": pa.array([dt.datetime(2020, 1, day) for day in (1, 2, 3)], pa.timestamp("ns")),
    "n": [None, 5, 6],
    "l": [[1], [2], [3]],
})  # fmt: skip


def kept(text: str) -> list[int]:
    compiled = compile_filter(text, TABLE.schema, place=None, warn=lambda _: None)
    return compiled.apply(TABLE).column("i").to_pylist()  # type: ignore[no-any-return]


@pytest.mark.parametrize(
    ("text", "rows"),
    [
        ('col("i") > 1', [2, 3]), ("i > 1 and f < 3", [2]), ("not i > 1", [1]), ("not (n == 5)", [3]), ("i % 2 == 1", [1, 3]),
        ("-3 % 2 == i", [1]),
        ("i // 2 == 1", [2, 3]), ("7 // f == 2", [2, 3]), ("f % 1 == 0.5", [1, 2]), ("i ** 2 == 9", [3]),
        ("-i ** 2 == -4", [2]), ("2 + 3 * i == 8", [2]),
        ("(2 + 3) * i == 10", [2]), ("i / 2 == 1.5", [3]), ("d >= datetime(2020, 1, 2)", [2, 3]), ("s.startswith('a')", [1, 3]),
        ("not s.startswith('a') or b", [1, 2, 3]), ('s + "!" == "b!"', [2]), ("b != True", [2]), ("True", [1, 2, 3]),
        ("False or i == 1", [1]),
        ("zz == 1", []), ("not zz == 1", []), ("zz + 1 > 0 or i == 1", [1]), (r's == "a\u0020b"', [3]),
        ("+i == 1.0", [1]), ("1e0 == i", [1]),
    ],
)  # fmt: skip
def test_rows_that_are_kept(text: str, rows: list[int]) -> None:
    assert kept(text) == rows


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("1 < i < 3", "cannot be chained"), ("i == True", "a number is compared with true or false"), ("d > '2020'", "write datetime(2024"),
        ("i", "a number stands where"), ("i & 1", "write `and`"), ("i = 1", "write `==`"), ("i in (1)", 'write x == "a" or'),
        ("foo(1)", "no function 'foo'"), ("s.endswith('a')", "only .startswith"), ('"a', "unexpected '\"'"),
        ("datetime(2020, 13, 1) == d", "no date"),
        ("(i == 1", "')' is missing"), ("", "unexpected the end"), ("s * 2 == 4", "is for numbers"), ("b > False", "have no order"),
        ("l == 1", "cannot look into"), ("i == 1 2", "unexpected '2'"), ("i == __import__('os')", "there is no function"),
        ("(" * 5000, "too deeply"),
        ("s == 1", "text is compared with a number"), ("i.startswith('x')", "is for text"), ("s and b", "text stands where"),
    ],
)  # fmt: skip
def test_mistakes_are_named(text: str, message: str) -> None:
    with pytest.raises(UserError) as error:
        compile_filter(text, TABLE.schema, place=Place(file="MLTable", line=7), warn=lambda _: None)
    assert message in str(error.value)
    assert str(error.value).startswith("MLTable:7: filter ")


def test_an_unknown_column_is_warned_of() -> None:
    warnings: list[str] = []
    compile_filter("price > 1", pa.schema([("prices", pa.int64())]), place=None, warn=warnings.append)
    assert "did you mean 'prices'?" in warnings[0]


def test_divisions_by_zero_are_errors() -> None:
    for text in ("i / 0 == 1", "i // 0 == 1", "i % 0 == 1"):
        with pytest.raises(pa.ArrowInvalid, match="divide by zero"):
            kept(text)
