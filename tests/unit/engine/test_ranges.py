from __future__ import annotations

import random

from runner.engine.ranges import RangeSet


def test_behaves_as_a_set_of_integers() -> None:
    chance = random.Random(7)
    ranges, model = RangeSet(), set[int]()
    for _ in range(3000):
        start = chance.randrange(200)
        end = start + chance.randrange(12)
        if chance.random() < 0.5:
            ranges.add(start, end)
            model |= set(range(start, end))
        elif chance.random() < 0.3:
            cut = ranges.cut(start, end)
            assert [number for a, b in cut for number in range(a, b)] == sorted(model & set(range(start, end)))
            model -= set(range(start, end))
        else:
            ranges.remove(start, end)
            model -= set(range(start, end))
        found = [number for a, b in ranges for number in range(a, b)]
        assert found == sorted(model)
        assert ranges.count == len(model)
        low = chance.randrange(200)
        assert ranges.contains(low, low + 3) == {low, low + 1, low + 2}.issubset(model)


def test_neighbours_become_one_range() -> None:
    ranges = RangeSet()
    ranges.add(5, 10)
    ranges.add(0, 5)
    ranges.add(10, 11)
    assert list(ranges) == [(0, 11)]


def test_takes_the_lowest_and_splits_the_last() -> None:
    ranges = RangeSet()
    ranges.add(0, 10)
    ranges.add(20, 30)
    assert ranges.take(4) == (0, 4)
    assert ranges.take_back_half() == (25, 30)
    assert list(ranges) == [(4, 10), (20, 25)]


def test_a_single_one_is_taken_whole() -> None:
    ranges = RangeSet()
    ranges.add(3, 4)
    assert ranges.take_back_half() == (3, 4)
    assert ranges.take_back_half() is None
    assert ranges.take(5) is None
