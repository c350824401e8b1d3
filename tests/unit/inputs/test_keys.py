"""Partition formats. Expected values that say (mltable) were seen in runs of mltable 1.7.0."""

from __future__ import annotations

from datetime import datetime

import pytest

from runner.errors import InputError, Place, UserError
from runner.inputs.keys import PartitionFormat, key_text, pick


@pytest.mark.parametrize(
    ("text", "path", "want"),
    [
        ("/{a}/{b}/{f}.{e}", "/tmp/x/C/D/g.h.csv", {"a": "C", "b": "D", "f": "g.h", "e": "csv"}),  # (mltable)
        ("{a}/{b}/{f}.csv", "/tmp/x/A/B/f.csv", {"a": "A", "b": "B", "f": "f"}),  # (mltable)
        ("/store={s}/brand={b}", "/tmp/store=1/brand=2/f.csv", {"s": "1", "b": "2"}),  # (mltable)
        ("/store={s}/brand={b}", "/tmp/y/store=1/brand=2/deep/f.csv", {"s": "1", "b": "2"}),  # (mltable)
        ("s{s}-{b}.csv", "/tmp/s1-2-3.csv", {"s": "1-2", "b": "3"}),  # (mltable)
        ("{a}/{b}/*.csv", "/tmp/x/A/B/f.csv", {"a": "A", "b": "B"}),  # (mltable)
        ("/{a}{b}/f.csv", "/tmp/qwe/f.csv", {"a": "qw", "b": "e"}),  # (mltable)
        ("/{a b}/f.csv", "/tmp/q w/f.csv", {"a b": "q w"}),  # (mltable)
        ("/{d:yyyy/MM/dd}/f.csv", "/tmp/2024/01/02/f.csv", {"d": datetime(2024, 1, 2)}),  # (mltable)
        ("/{d:yyyy/MM/dd/HH/mm/ss}.csv", "/2024/01/02/03/04/05.csv", {"d": datetime(2024, 1, 2, 3, 4, 5)}),  # (mltable)
        ("/{d:yyyyMMdd}.csv", "/t/20240102.csv", {"d": datetime(2024, 1, 2)}),  # (mltable)
        ("/{d:yyyy}/{f}.csv", "/t/2024/f.csv", {"d": datetime(2024, 1, 1), "f": "f"}),  # (mltable)
        ("/{d:yyyy/dd/MM}/f.csv", "/2024/30/01/f.csv", {"d": datetime(2024, 1, 30)}),  # mltable: no date
        ("{a}/{b}", "/tmp/x/A/f.csv", {"a": "A", "b": "f.csv"}),  # mltable: tmp, x
        ("/{a}/f.csv", "/t/line\nbreak/f.csv", {"a": "line\nbreak"}),
        ("/a.b/{c}.csv", "/a.b/x.csv", {"c": "x"}),
    ],
)
def test_match(text: str, path: str, want: dict[str, object]) -> None:
    assert PartitionFormat.parse(text).match(path) == want


@pytest.mark.parametrize(
    ("text", "path"),
    [
        ("/{a}/f.csv", "/tmp/x/g.csv"),
        ("/a.b/{c}.csv", "/axb/x.csv"),
        ("/A/{c}.csv", "/a/x.csv"),
        ("/{d:yyyy/MM/dd}/f.csv", "/2024/1/2/f.csv"),
        ("/{d:yyyy/MM/dd}/f.csv", "/2024/13/02/f.csv"),
        ("/{a}/f.csv", "//f.csv"),
    ],
)
def test_no_match_names_the_path(text: str, path: str) -> None:
    with pytest.raises(InputError, match="partition format") as caught:
        PartitionFormat.parse(text).match(path)
    assert path in str(caught.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "has no placeholder"),
        ("/x/f.csv", "has no placeholder"),
        ("/{a", "without its partner"),
        ("/a}/f", "without its partner"),
        ("/{}/f", "has no name"),
        ("/{:yyyy}/f", "has no name"),
        ("/{a}/{a}", "twice"),
        ("/{d:foo}", "not a date"),
        ("/{d:MM/dd}", "not a date"),
        ("/{d:yyyy-yyyy}", "not a date"),
        ("/{d:}", "not a date"),
    ],
)
def test_bad_formats(text: str, message: str) -> None:
    with pytest.raises(UserError, match=message) as caught:
        PartitionFormat.parse(text, place=Place(file="MLTable", line=7))
    assert "MLTable:7" in str(caught.value)


def test_names_in_order_and_texts_of_keys() -> None:
    form = PartitionFormat.parse("/{b}/{a}/{d:yyyy/MM}.csv")
    assert form.names == ("b", "a", "d")
    assert pick(form.match("/x/y/2024/05.csv"), ("d", "b")) == ("2024-05-01T00:00:00", "x")
    assert key_text(7) == "7"
