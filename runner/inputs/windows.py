"""Ranges of blobs that were fetched before somebody reads them."""

from __future__ import annotations

import threading
from bisect import bisect_right, insort
from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import Future
from typing import NamedTuple

from runner.inputs.files import FileEntry

PART = 8 << 20  # bytes of a request for what is read on
LARGEST = 16 << 20  # bytes of a request for a range that was named
HELD = 64 << 20  # bytes that were fetched ahead and lie in memory
RUNS = 64  # places where somebody may go on reading that are remembered


class Window(NamedTuple):
    """A range of a blob, here or on its way."""

    start: int
    end: int
    data: Future[bytes]
    step: int = 0  # bytes to fetch for who reads on; 0 where nobody is known to

    @property
    def has_failed(self) -> bool:
        """Perhaps long ago, when nobody was waiting for it."""
        return self.data.done() and self.data.exception() is not None

    def part(self, start: int, end: int) -> bytes:
        """What of the range lies in it."""
        return self.data.result()[max(start - self.start, 0) : end - self.start]


Fetch = Callable[[int, int], "Future[bytes]"]


class ReadAhead:
    """Windows of blobs, in memory until there are too many of them. Whoever reads on where somebody has stopped finds that it is there.

    What is read ahead doubles while somebody reads on, up to PART; and grows further, up to MOST of them, while readers have to wait.
    """

    MOST = 3

    def __init__(self, limit: int = HELD) -> None:
        self._limit, self._held = limit, 0
        self._lock = threading.Lock()
        self._windows: OrderedDict[tuple[FileEntry, int], Window] = OrderedDict()  # least recently used first
        self._starts: dict[FileEntry, list[int]] = {}
        self._runs: OrderedDict[tuple[FileEntry, int], int] = OrderedDict()  # where it was read up to → bytes to fetch there
        self._depth = 1

    def read(self, file: FileEntry, fetch: Fetch, start: int, end: int) -> bytes:
        with self._lock:
            windows = self._cover(file, fetch, start, end)
        if not all(window.data.done() for window in windows):
            self._depth = min(self._depth + 1, self.MOST)
        try:
            parts = [window.part(start, end) for window in windows]
        except BaseException:
            with self._lock:
                self._forget(file)
            raise
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def holding(self, file: FileEntry, start: int, end: int) -> Window | None:
        """The window that has all of a range."""
        with self._lock:
            window = self._at(file, start)
            return window if window and end <= window.end else None

    def want(self, file: FileEntry, fetch: Fetch, start: int, end: int) -> None:
        with self._lock:
            self._fill(file, fetch, start, end, keep_behind=start, most=LARGEST)
            self._shrink()

    def _cover(self, file: FileEntry, fetch: Fetch, start: int, end: int) -> list[Window]:
        """What the range lies in; what is missing is asked for, and what may follow."""
        step = self._runs.pop((file, start), 0)
        if not step and (inside := self._at(file, start)):
            step = inside.step  # somebody else of those who read on here was faster
        goal = end
        if step:
            step = min(max(2 * step, end - start), PART)
            goal = min(file.size, end + self._depth * step)
        self._runs[file, end] = step or end - start
        while len(self._runs) > RUNS:
            self._runs.popitem(last=False)
        windows = self._fill(file, fetch, start, end, keep_behind=end, least=step)
        at = windows[-1].end
        if at < goal:
            self._fill(file, fetch, at, goal, keep_behind=end, least=step)
        self._shrink()
        return windows

    def _fill(
        self, file: FileEntry, fetch: Fetch, start: int, end: int, *, keep_behind: int, least: int = 0, most: int = 0
    ) -> list[Window]:
        """Windows from start to end. The last may go on up to `least` bytes; those that nobody reads on in are not kept."""
        found: list[Window] = []
        at = start
        while at < end:
            window = self._at(file, at)
            if window is not None and window.has_failed:
                self._drop(file, window.start)
                window = None
            if window is None:
                following = self._next_start(file, at)
                last = min(following, file.size, at + (most or PART), max(end, at + least))
                window = Window(at, last, fetch(at, last), least)
                if last > keep_behind:
                    self._keep(file, window)
            else:
                self._windows.move_to_end((file, window.start))
            found.append(window)
            at = window.end
        return found

    def _at(self, file: FileEntry, offset: int) -> Window | None:
        starts = self._starts.get(file, [])
        at = bisect_right(starts, offset)
        window = self._windows[file, starts[at - 1]] if at else None
        return window if window and offset < window.end else None

    def _next_start(self, file: FileEntry, offset: int) -> int:
        starts = self._starts.get(file, [])
        at = bisect_right(starts, offset)
        return starts[at] if at < len(starts) else file.size

    def _keep(self, file: FileEntry, window: Window) -> None:
        self._windows[file, window.start] = window
        insort(self._starts.setdefault(file, []), window.start)
        self._held += window.end - window.start

    def _shrink(self) -> None:
        while self._held > self._limit:
            self._drop(*next(iter(self._windows)))

    def _drop(self, file: FileEntry, start: int) -> None:
        window = self._windows.pop((file, start))
        self._held -= window.end - window.start
        starts = self._starts[file]
        starts.remove(start)
        if not starts:
            del self._starts[file]

    def _forget(self, file: FileEntry) -> None:
        """What failed once is asked for again."""
        for start in list(self._starts.get(file, ())):
            self._drop(file, start)
