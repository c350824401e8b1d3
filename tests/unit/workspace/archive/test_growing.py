"""How new bytes become blocks."""

from __future__ import annotations

import pytest

from runner.workspace.archive.growing import JOINED, LARGEST, MANY, group


def test_the_first_bytes_are_one_block() -> None:
    assert group([], 10) == (0, [10])


def test_what_is_large_is_cut() -> None:
    assert group([], 2 * LARGEST + 5) == (0, [LARGEST, LARGEST, 5])


def test_small_blocks_are_joined_with_what_comes_behind_them() -> None:
    assert group([LARGEST, 300, 100, 60], 50) == (1, [510])
    assert group([LARGEST, 1000, 100, 60], 10) == (4, [10])


def test_what_is_large_enough_stays() -> None:
    assert group([JOINED, JOINED], LARGEST) == (2, [LARGEST])


@pytest.mark.parametrize("added", [1, 100, 5_000, 300_000, 5_000_000])
def test_blocks_stay_few_and_little_is_sent_again(added: int) -> None:
    sizes: list[int] = []
    sent = 0
    for _ in range(60_000):
        kept, new = group(sizes, added)
        sizes[kept:] = new
        sent += sum(new)
    total = 60_000 * added
    assert sum(sizes) == total
    assert len(sizes) <= min(50_000, total / JOINED * 2 + 22)
    assert sent <= 16 * total


def test_a_very_large_file_has_larger_blocks() -> None:
    kept, new = group([JOINED] * 2 * MANY, JOINED)
    assert kept == 0
    assert max(new) == 4 * LARGEST
    assert sum(new) == (2 * MANY + 1) * JOINED
