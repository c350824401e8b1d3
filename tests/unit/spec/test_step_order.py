"""The order of a pipeline's steps."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from runner.errors import UserError
from runner.spec.step_order import in_order
from runner.spec.yaml_source import parse_yaml


def test_in_the_order_of_the_file_as_far_as_possible() -> None:
    assert in_order({"d": ("b",), "a": (), "c": ("a",), "b": ()}, {}) == ["a", "c", "b", "d"]


def test_as_early_as_possible() -> None:
    assert in_order({"x": ("z",), "y": (), "z": (), "w": ()}, {}) == ["y", "z", "x", "w"]


def test_a_circle_behind_other_steps() -> None:
    nodes = parse_yaml("{a: {}, b: {}, c: {}, d: {}}", file="p.yml", base=Path()).entries
    with pytest.raises(UserError, match="b → c → b"):
        in_order({"a": (), "b": ("a", "c"), "c": ("b",), "d": ("c",)}, nodes)


def test_ten_thousand_steps_that_are_written_last_first() -> None:
    begun = time.monotonic()
    order = in_order({f"s{number}": (f"s{number + 1}",) * (number < 9_999) for number in range(10_000)}, {})
    assert order[0] == "s9999"
    assert order[-1] == "s0"
    assert time.monotonic() - begun < 2  # one look through all for each took minutes
