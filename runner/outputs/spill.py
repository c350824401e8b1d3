"""Rows that came in small pieces and wait in parts until they make a block together."""

from __future__ import annotations

from dataclasses import dataclass

from runner.model.batch import Segment


@dataclass(kw_only=True, eq=False)
class Neighbours:
    """Mini-batches that follow one another; `segments` are those of them that have rows, in order."""

    first: int
    last: int
    segments: list[Segment]
    length: int


class Spill:
    """What of an instance lies in parts, as neighbours. A few bytes per segment."""

    def __init__(self) -> None:
        self._by_first: dict[int, Neighbours] = {}
        self._by_last: dict[int, Neighbours] = {}

    def add(self, segment: Segment) -> Neighbours:
        """A further segment; returns all that it is a neighbour of. Segments without rows connect others."""
        joined = self._by_last.pop(segment.first - 1, None)
        if joined is None:
            joined = Neighbours(first=segment.first, last=segment.last, segments=[], length=0)
        else:
            del self._by_first[joined.first]
            joined.last = segment.last
        if segment.length:
            joined.segments.append(segment)
            joined.length += segment.length
        after = self._by_first.pop(segment.last + 1, None)
        if after is not None:
            del self._by_last[after.last]
            joined.last, joined.length = after.last, joined.length + after.length
            joined.segments += after.segments
        self._by_first[joined.first] = self._by_last[joined.last] = joined
        return joined

    def remove(self, one: Neighbours) -> None:
        del self._by_first[one.first], self._by_last[one.last]

    def take_all(self) -> list[Neighbours]:
        """All that have rows."""
        found = [one for one in self._by_first.values() if one.length]
        self._by_first, self._by_last = {}, {}
        return found
