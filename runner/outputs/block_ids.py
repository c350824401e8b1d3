"""Names of staged blocks, and how a segment says that its rows lie in some of them."""

from __future__ import annotations

import secrets
import threading

from runner.model.batch import Segment

_PREFIX = "block:"
_DIGITS = 12  # with the 32 of the token 44: all blocks of a blob have ids of the same length (BlobContainer.check_writable)


class BlockIds:
    """Of one run of an instance, or of one publication: a random beginning, so that no other's is ever mistaken for one of these."""

    def __init__(self) -> None:
        self._token = secrets.token_hex(16)
        self._lock = threading.Lock()
        self._next = 0

    def many(self, count: int) -> list[str]:
        with self._lock:
            first, self._next = self._next, self._next + count
        return _ids(self._token, first, count)


def part_of(ids: list[str]) -> str:
    """`Segment.part` for rows in these blocks, which follow one another."""
    return f"{_PREFIX}{ids[0]}" + (f"*{len(ids)}" if len(ids) > 1 else "")


def blocks_of(segment: Segment) -> list[str]:
    """The blocks that its rows lie in; none when they lie in a part."""
    if not segment.part.startswith(_PREFIX):
        return []
    first, _, count = segment.part.removeprefix(_PREFIX).partition("*")
    return _ids(first[:-_DIGITS], int(first[-_DIGITS:]), int(count or 1))


def _ids(token: str, first: int, count: int) -> list[str]:
    return [f"{token}{number:0{_DIGITS}d}" for number in range(first, first + count)]
