"""The mini-batches an instance has that no worker has: leased, being loaded, or ready to go."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from concurrent.futures import Executor
from itertools import pairwise
from pathlib import Path

from runner.engine.workers import Frame, Scratch
from runner.model.batch import ErrorRecord, Lease, Loaded
from runner.model.ports import Loader, Room, Transport

MANY_NOT_PLAIN = 4, 32  # more than so many, and than one of so many: mini-batches are no longer left to workers to read


class Backlog:
    """Used by the loop thread only. With a loader, `load_ahead` keeps frames ready; `loaded` is called in the loader's threads."""

    def __init__(
        self,
        *,
        loader: Loader | None,
        pool: Executor,
        scratch: Path,
        loaded: Callable[[Frame, Loaded | BaseException], None],
        now: Callable[[], float],
        transport: Transport | None = None,
    ) -> None:
        """`transport`: None where a worker will say what it can read."""
        self.room = loader.room if loader else Room()
        self._loader, self._pool, self._scratch, self._loaded, self._now = loader, pool, scratch, loaded, now
        self._queue: deque[Frame] = deque()
        self._ready: deque[Frame] = deque()
        self._loading: dict[int, Frame] = {}
        self._held = 0  # bytes of what is loaded, with a worker or not
        self._read, self._not_plain = 0, 0  # mini-batches: that were made ready, and that workers then could not read
        self.count = 0
        self.bytes_each = 0.0
        self.transport = transport

    def add(self, lease: Lease) -> None:
        self._push(self._queue.append, Frame(first=lease.first, lines=lease.lines.split(b"\n")))

    def put_back(self, frame: Frame | None, *, loaded: bool = True) -> None:
        """Unstarted again; goes before everything else. `loaded`: it is still as a worker wants it."""
        if frame is None:
            return
        if self._loader is None or not loaded:
            self._push(self._queue.appendleft, frame)
        else:
            self._push(self._ready.appendleft, frame)

    def take(self, size: int) -> Frame | None:
        """Up to `size` mini-batches for a worker."""
        if self._loader is not None:
            frame = self._ready.popleft() if self._ready else None
        else:
            frame = self._cut(size)
        if frame:
            self.count -= frame.count
        return frame

    def give_back(self) -> list[tuple[int, int]]:
        """Takes out all that waits here without having been tried; as (first, last)."""
        back = [frame for frame in self._queue if frame.attempt == 1 and frame.beside is None]
        self._queue = deque(frame for frame in self._queue if frame.attempt > 1 or frame.beside is not None)
        self.count -= sum(frame.count - frame.done for frame in back)
        return [(frame.next, frame.first + frame.count - 1) for frame in back]

    def load_ahead(self, size: int, *, frames: int) -> None:
        """Starts loading until `frames` frames of up to `size` mini-batches are ready or on their way."""
        if self._loader is None or self.transport is None:
            return
        frames = max(frames, self.room.loads)
        while self._queue and len(self._ready) + len(self._loading) < frames:
            weights = self._weights(size)
            if not self._may_load(sum(weights)):
                return
            frame = self._cut(len(weights))
            assert frame is not None
            few, share = MANY_NOT_PLAIN
            frame.careful = frame.careful or self._not_plain > few + self._read // share
            frame.weight = sum(weights)
            self._loading[frame.first] = frame
            self._pool.submit(self._load, frame)

    def _weights(self, size: int) -> list[int]:
        """Of the next mini-batches that go into one frame, as far as they are known beforehand."""
        assert self._loader is not None
        front, weights = self._queue[0], list[int]()
        for line in front.lines[front.done : front.done + size]:
            weight = self._loader.weight(line)
            if weights and sum(weights) + weight > self.room.frame:
                break
            weights.append(weight)
        return weights

    def _may_load(self, weight: int) -> bool:
        if not self.room.on_disk:
            return self._held < self.room.ahead or not self._ready
        ahead = sum(frame.weight for frame in (*self._ready, *self._loading.values()))
        return not ahead or ahead + weight <= self.room.ahead

    def arrived(self, frame: Frame, loaded: Loaded) -> list[tuple[int, ErrorRecord]]:
        """A frame is loaded; returns the mini-batches that could not be read."""
        assert self._loader is not None
        scratch = Scratch(files=loaded.scratch, bytes=loaded.bytes, free=self._loader.free)
        if self._loading.pop(frame.first, None) is not frame:  # it came too late
            scratch.release()
            return []
        good = len(frame.lines) - len(loaded.failed)
        self._read += good
        if good:
            self._held += loaded.bytes
            self.bytes_each = loaded.bytes / good
        for start, end in _runs(len(frame.lines), loaded.failed):
            scratch.users += 1
            ready = frame.part(start, end)
            ready.lines, ready.sources, ready.scratch = loaded.lines[start:end], ready.lines, scratch
            ready.weight = loaded.bytes * ready.count // good
            self._ready.append(ready)
        if not good:
            scratch.release()
        self.count -= len(loaded.failed)
        return [(frame.first + at, error) for at, error in sorted(loaded.failed.items())]

    def give_up_loading(self, before: float) -> list[int]:
        """The mini-batches of frames whose loading began before that moment and has not ended; what still comes of them is ignored."""
        if self.room.on_disk:
            return []
        late = [frame for frame in self._loading.values() if 0 < frame.began < before]
        for frame in late:
            del self._loading[frame.first]
            self.count -= frame.count
        return [index for frame in late for index in range(frame.first, frame.first + frame.count)]

    def not_loaded(self, frame: Frame) -> None:
        """The loading of a frame has failed as a whole."""
        self._loading.pop(frame.first, None)
        self.count -= frame.count

    @property
    def is_loading(self) -> bool:
        return bool(self._loading)

    @property
    def oldest_loading(self) -> float:
        """When the loading began that has lasted longest, of what must not last too long."""
        if self.room.on_disk:
            return float("inf")
        return min((frame.began for frame in self._loading.values() if frame.began), default=float("inf"))

    def released(self, size: int) -> None:
        """Bytes of scratch files that are gone."""
        self._held -= size

    def again(self, frame: Frame, index: int, *, attempt: int, beside: int | None = None) -> None:
        """A mini-batch whose attempt has failed is tried again, before others: with the same files, where they lie on a disk."""
        if self.room.on_disk and frame.scratch:
            at = index - frame.first
            loaded = frame.part(at, at + 1)
            loaded.attempt, loaded.beside = attempt, beside
            self._push(self._ready.appendleft, loaded)
            return
        line = frame.manifest_line(index)
        self._push(self._queue.appendleft, Frame(first=index, lines=[line], attempt=attempt, beside=beside, careful=frame.careful))

    def not_plain(self, frame: Frame, index: int) -> None:
        """A mini-batch that was left to a worker to read has to go through the loader, before others."""
        self._not_plain += 1
        lines = [frame.manifest_line(index)]
        self._push(self._queue.appendleft, Frame(first=index, lines=lines, attempt=frame.attempt, beside=frame.beside, careful=True))

    @property
    def beside(self) -> int | None:
        """How many other workers there may be while the next mini-batch runs."""
        waiting = self._ready if self._loader is not None else self._queue
        return waiting[0].beside if waiting else None

    @property
    def has_heavy(self) -> bool:
        """Whether a mini-batch waits that wants few workers beside it."""
        return any(frame.beside is not None for frame in (*self._queue, *self._ready, *self._loading.values()))

    def _cut(self, size: int) -> Frame | None:
        # A long lease is cut from its front by a moving mark: `done` here counts what was handed on.
        if not self._queue:
            return None
        front = self._queue[0]
        start, end = front.done, min(front.done + size, len(front.lines))
        if end == len(front.lines):
            self._queue.popleft()
        front.done = end
        return front.part(start, end)

    def _push(self, put: Callable[[Frame], None], frame: Frame) -> None:
        put(frame)
        self.count += frame.count - frame.done

    def _load(self, frame: Frame) -> None:
        assert self._loader is not None
        assert self.transport is not None
        frame.began = self._now()
        transport: Transport = "arrow" if frame.careful and self.transport == "direct" else self.transport
        try:
            result: Loaded | BaseException = self._loader.load(frame.first, frame.lines, self._scratch, transport)
        except BaseException as error:  # told to the loop, which ends the instance
            result = error
        self._loaded(frame, result)


def _runs(count: int, holes: dict[int, ErrorRecord]) -> list[tuple[int, int]]:
    """The half-open ranges of 0 … count − 1 between the holes."""
    edges = [-1, *sorted(holes), count]
    return [(a + 1, b) for a, b in pairwise(edges) if a + 1 < b]
