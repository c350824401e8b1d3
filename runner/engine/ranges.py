"""A set of integers kept as disjoint ranges: a few bytes per range, whatever its length."""

from __future__ import annotations

from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Iterator


class RangeSet:
    """Half-open ranges [start, end), sorted, disjoint and not touching one another."""

    def __init__(self) -> None:
        self._starts = array("Q")
        self._ends = array("Q")
        self.count = 0  # how many integers are in the set

    def __bool__(self) -> bool:
        return self.count > 0

    def __iter__(self) -> Iterator[tuple[int, int]]:
        return zip(self._starts, self._ends, strict=True)

    def add(self, start: int, end: int) -> None:
        """Unites the set with [start, end)."""
        if start >= end:
            return
        low, high = bisect_left(self._ends, start), bisect_right(self._starts, end)
        if low < high:
            start, end = min(start, self._starts[low]), max(end, self._ends[high - 1])
        self._replace(low, high, [(start, end)])

    def remove(self, start: int, end: int) -> None:
        """Takes [start, end) out; what of it is not in the set is passed over."""
        low, high = bisect_right(self._ends, start), bisect_left(self._starts, end)
        if start >= end or low >= high:
            return
        rest = [(self._starts[low], start), (end, self._ends[high - 1])]
        self._replace(low, high, [(a, b) for a, b in rest if a < b])

    def cut(self, start: int, end: int) -> list[tuple[int, int]]:
        """Removes [start, end) and returns what of it was in the set."""
        low, high = bisect_right(self._ends, start), bisect_left(self._starts, end)
        found = [(max(a, start), min(b, end)) for a, b in zip(self._starts[low:high], self._ends[low:high], strict=True)]
        self.remove(start, end)
        return found

    def contains(self, start: int, end: int) -> bool:
        """Whether all of [start, end) is in the set."""
        at = bisect_right(self._starts, start) - 1
        return at >= 0 and end <= self._ends[at]

    def take(self, count: int) -> tuple[int, int] | None:
        """Removes and returns up to `count` integers from the lowest range."""
        if not self._starts:
            return None
        start = self._starts[0]
        end = min(self._ends[0], start + count)
        self.remove(start, end)
        return start, end

    def take_back_half(self) -> tuple[int, int] | None:
        """Removes and returns the upper half of the last range (all of it when it is one integer)."""
        if not self._starts:
            return None
        start, end = self._starts[-1], self._ends[-1]
        middle = start + (end - start) // 2
        self.remove(middle, end)
        return middle, end

    def _replace(self, low: int, high: int, ranges: list[tuple[int, int]]) -> None:
        before = sum(self._ends[low:high]) - sum(self._starts[low:high])
        self._starts[low:high] = array("Q", [a for a, _ in ranges])
        self._ends[low:high] = array("Q", [b for _, b in ranges])
        self.count += sum(b - a for a, b in ranges) - before
