"""Row groups of Parquet files that are cut into several mini-batches: each is decoded once, ahead of those who read its slices."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from concurrent.futures import ThreadPoolExecutor

import pyarrow as pa

from runner.inputs.cache import Cache

CACHE_BYTES = 256 << 20  # of row groups of which slices are still to come
AHEAD = 2  # that are decoded meanwhile, where there is room for them
FILES = 64  # of which is remembered how far they were read


class Decoded:
    """A row group that is handed out in slices. Threads may share it."""

    def __init__(self, table: pa.Table) -> None:
        self.table = table
        self._lock = threading.Lock()
        self._left: int = table.num_rows

    def hand_out(self, start: int, end: int) -> tuple[pa.Table, bool]:
        """Those rows, and whether all have been handed out."""
        with self._lock:
            self._left -= end - start
            return self.table.slice(start, end - start), self._left <= 0


class RowGroups:
    """Threads may share it."""

    def __init__(self) -> None:
        self._cache = Cache(CACHE_BYTES)
        self._pool = ThreadPoolExecutor(AHEAD, "decode")
        self._lock = threading.Lock()
        self._reached: OrderedDict[Hashable, int] = OrderedDict()  # file and columns → the last row group that was asked for

    @property
    def held(self) -> int:
        """Bytes of those that are kept."""
        return self._cache.weight

    def slice(self, what: Hashable, group: int, start: int, end: int, *, count: int, decode: Callable[[int], pa.Table]) -> pa.Table:
        """Rows of a row group of `what`, which has `count`. Errors: those of `decode(group)`."""
        begun = self._begins(what, group)
        decoded = self._get(what, group, decode)
        if begun and (AHEAD + 2) * decoded.table.nbytes <= CACHE_BYTES:
            for number in range(group + 1, min(group + 1 + AHEAD, count)):
                self._pool.submit(self._ahead, what, number, decode)
        table, done = decoded.hand_out(start, end)
        if done:
            self._cache.drop((what, group))
        return table

    def _begins(self, what: Hashable, group: int) -> bool:
        """Whether nobody has come so far before."""
        with self._lock:
            before = self._reached.pop(what, -1)
            self._reached[what] = max(before, group)
            while len(self._reached) > FILES:
                self._reached.popitem(last=False)
            return group > before

    def _get(self, what: Hashable, group: int, decode: Callable[[int], pa.Table]) -> Decoded:
        def make() -> tuple[Decoded, int]:
            decoded = Decoded(decode(group).combine_chunks())
            return decoded, decoded.table.nbytes

        found: Decoded = self._cache.get((what, group), make)
        return found

    def _ahead(self, what: Hashable, group: int, decode: Callable[[int], pa.Table]) -> None:
        """Who needs it meets with the error, if there is one."""

        def decode_still(number: int) -> pa.Table:
            if self._has_come(what, number):  # and perhaps gone
                raise LookupError
            return decode(number)

        if not self._has_come(what, group):
            self._get(what, group, decode_still)

    def _has_come(self, what: Hashable, group: int) -> bool:
        with self._lock:
            return group <= self._reached.get(what, group)
