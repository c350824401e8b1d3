"""Mini-batches that nobody works at, and which of them are handed out next.

Each instance has a territory, a contiguous range from which its leases are cut, so that its runs stay long; half of the largest is
taken when another runs dry. What lost instances had goes first of all.
"""

from __future__ import annotations

from collections.abc import Collection

from runner.engine.ranges import RangeSet
from runner.engine.session import Session


class Supply:
    """Used under the coordinator's lock. All counts are at hand: nothing here grows with the number of instances but the rare search
    for the largest territory.
    """

    def __init__(self) -> None:
        self._free = RangeSet()
        self._urgent = RangeSet()
        self._divided = 0  # mini-batches in territories

    @property
    def left(self) -> int:
        return self._free.count + self._urgent.count + self._divided

    def add(self, first: int, end: int, *, urgent: bool = False) -> None:
        (self._urgent if urgent else self._free).add(first, end)

    def cut(self, first: int, end: int) -> list[tuple[int, int]]:
        """Takes out what of a range nobody has; returns it. Not for what lies in territories: before any is given."""
        return self._free.cut(first, end)

    def take(self, session: Session, count: int, others: Collection[Session]) -> tuple[int, int] | None:
        """Up to `count` for an instance; `others` are all instances, this one included."""
        if self._urgent:
            return self._urgent.take(count)
        territory = session.territory
        if not territory and self._free:
            ahead = max(count, self._free.count // (2 * len(others)))
            if taken := self._free.take(ahead):
                territory.add(*taken)
                self._divided += taken[1] - taken[0]
        if not territory and self._divided:
            richest = max(others, key=lambda one: one.territory.count)
            if half := richest.territory.take_back_half():
                territory.add(*half)
        piece = territory.take(count)
        self._divided -= piece[1] - piece[0] if piece else 0
        return piece

    def give_up(self, session: Session) -> None:
        """The instance gets nothing more: its territory is anybody's."""
        self._divided -= session.territory.count
        for start, end in session.territory:
            self._free.add(start, end)
        session.territory = RangeSet()
