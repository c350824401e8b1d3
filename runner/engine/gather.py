"""Finished mini-batches on their way to the disk: pieces in any order become few, long, contiguous runs."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from runner.model.batch import Tally


@dataclass(kw_only=True, eq=False)
class Piece:
    """A contiguous run of finished mini-batches with their rows, all succeeded or all failed for good."""

    first: int
    last: int
    tally: Tally
    rows: list[bytes] = field(default_factory=list)

    @property
    def bytes(self) -> int:
        return sum(map(len, self.rows))

    def touches(self, other: Piece) -> bool:
        """Whether `other` follows and may be joined (see Segment: a failed one that keeps rows stands alone)."""
        if other.first != self.last + 1 or bool(self.tally.failed) != bool(other.tally.failed):
            return False
        return not self.tally.failed or not (self.rows or other.rows)

    def join(self, other: Piece) -> None:
        self.last = other.last
        self.tally += other.tally
        self.rows += other.rows


def merge(pieces: Iterable[Piece]) -> list[Piece]:
    """The pieces in order of their mini-batches, neighbours joined."""
    merged: list[Piece] = []
    for piece in sorted(pieces, key=lambda one: one.first):
        if merged and merged[-1].touches(piece):
            merged[-1].join(piece)
        else:
            merged.append(piece)
    return merged
