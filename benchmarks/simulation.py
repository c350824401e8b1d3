"""A large cluster on a fake clock: the real coordinator, to which what each call really takes is charged, and simulated instances.

    python -m benchmarks.simulation [--instances N] [--batches N] [--durations constant random stragglers]

What a call computes keeps all others waiting, as the interpreter's lock does. Its sync does not: calls that come while the disk works are
synced together afterwards, as many at a time as the server has callers. Instances ask, flush and report as `Instance` and `Courier` do.
Everything that goes over the network is made and read as frames; reading and making them is charged to the coordinator, too.
"""

from __future__ import annotations

import argparse
import heapq
import os
import random
import sys
import tempfile
import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from runner.engine import courier, policy
from runner.engine.coordinator import Coordinator
from runner.engine.journal import Journal
from runner.engine.manifest import Manifest
from runner.engine.remote.server import CALLERS
from runner.engine.remote.wire import answer_from_frame, answer_to_frame, report_from_header, report_to_header
from runner.engine.results import SMOOTHING, UNKNOWN
from runner.engine.session import CoordinatorSettings
from runner.model.batch import Chunk, Lease, Recall, Report, Segment, Stop, Tally, Wait
from runner.worker.protocol import Reader, message

LINE = b'{"files":[["image-0000000.png",1024,1690000000000000000]]}'
CHUNK = 4096
LISTED_PER_SECOND = 200_000  # see listing.py
ROWS = 20  # bytes that come back of a mini-batch
Then = Callable[[Lease | Wait | Recall | Stop], None]
Call = tuple[float, int, bytes, Then]  # when it was made, epoch, frame, what to do with the answer
DURATIONS: dict[str, Callable[[random.Random], float]] = {
    "constant": lambda _chance: 0.1,
    "random": lambda chance: 0.05 + 0.1 * chance.random(),
    "stragglers": lambda chance: 10.0 if chance.random() < 0.01 else 0.1,
}


@dataclass(frozen=True, kw_only=True)
class Setting:
    instances: int = 100
    workers: int = 8
    batches: int = 200_000
    durations: str = "constant"
    round_trip: float = 0.002
    handling: float = 0.0001  # seconds of the server's threads per exchange, besides frames and coordinator
    cost: float | None = None  # seconds charged for each call; None: what it takes


@dataclass
class Clock:
    time: float = 0.0

    def now(self) -> float:
        return self.time

    def wall(self) -> float:
        return self.time


@dataclass(frozen=True, kw_only=True)
class Outcome:
    seconds: float  # simulated
    last_start: float  # when nothing was left to be started
    busy: float  # part of the time up to then that workers worked
    load: float  # cores that the coordinator needed, from the first to the last exchange
    exchanges: int
    peak: int  # exchanges in the busiest second
    peak_before_end: int  # likewise, leases near the end left out
    longest: float  # seconds that an exchange took, waiting included
    done: int


class Simulation:
    """Events in the order of their time; each is a call."""

    def __init__(self, folder: Path, setting: Setting) -> None:
        self.setting, self.clock = setting, Clock()
        self.coordinator = Coordinator(
            settings=CoordinatorSettings(), manifest=Manifest(folder / "manifest"), journal=Journal(folder / "journal"), clock=self.clock
        )
        self.chance = random.Random(7)
        self._events: list[tuple[float, int, Callable[[], None]]] = []
        self._calls: deque[Call] = deque()  # the first is being worked at, or about to be
        self._number = 0
        self._sync, self._disk = os.fsync, 0.0
        self._disk_free_at = self._next_sync_ends = 0.0
        self._callers: list[float] = []  # when those that are at work will have finished, a heap
        self._free_at = self._charged = self._longest = 0.0
        self._per_second: dict[int, int] = {}
        self.duration = partial(DURATIONS[setting.durations], self.chance)

    def at(self, when: float, call: Callable[[], None]) -> None:
        self._number += 1
        heapq.heappush(self._events, (when, self._number, call))

    def _fsync(self, file: int) -> None:
        began, cpu = time.perf_counter(), time.thread_time()
        self._sync(file)
        self._disk += time.perf_counter() - began - (time.thread_time() - cpu)

    def run(self) -> Outcome:
        """What else runs on the machine is not charged: CPU time is, and the time of each sync of the disk."""
        os.fsync = self._fsync
        try:
            return self._run()
        finally:
            os.fsync = self._sync

    def _run(self) -> Outcome:
        self.at(0.0, partial(self._list, 0))
        crew = [Instance(self, f"node_{number}") for number in range(self.setting.instances)]
        for one in crew:
            self.at(0.0, one.join)
        while self._events:
            self.clock.time, _, call = heapq.heappop(self._events)
            call()
        return self._outcome(crew)

    def charged(self, call: Callable[[], object]) -> float:
        """Something that the coordinator does now, or as soon as it has done what came before. Returns when it is done, syncs included."""
        began, disk = time.thread_time(), self._disk
        call()
        spent = time.thread_time() - began
        cost = self.setting.cost if self.setting.cost is not None else spent
        self._charged += cost
        self._free_at = max(self._free_at, self.clock.time) + cost
        return self._synced(self._disk - disk) if self._disk > disk else self._free_at

    def _synced(self, seconds: float) -> float:
        """When what has been computed now is durable, if one sync takes so long."""
        now = self._free_at
        if self._next_sync_ends and now >= self._disk_free_at:  # the sync that others waited for has begun
            self._disk_free_at, self._next_sync_ends = self._next_sync_ends, 0.0
        if now >= self._disk_free_at:
            self._disk_free_at = now + seconds
            return self._disk_free_at
        self._next_sync_ends = self._next_sync_ends or self._disk_free_at + seconds
        return self._next_sync_ends

    def exchange(self, epoch: int, report: Report, want: int, then: Then) -> None:
        """`then` gets the answer when it is there."""
        frame = message({"t": "exchange", "n": 1, "want": want, **report_to_header(report)})
        self.at(self.clock.time + self.setting.round_trip / 2, partial(self._arrived, (self.clock.time, epoch, frame, then)))

    def _arrived(self, call: Call) -> None:
        self._calls.append(call)
        if len(self._calls) == 1:
            self.at(max(self.clock.time, self._free_at), self._take_next)

    def _take_next(self) -> None:
        while self._callers and self._callers[0] <= self.clock.time:
            heapq.heappop(self._callers)
        begins = max(self._free_at, self._callers[0] if len(self._callers) >= CALLERS else 0.0)
        if begins > self.clock.time:  # something else came in between
            self.at(begins, self._take_next)
            return
        sent, epoch, frame, then = self._calls[0]
        answer: list[bytes] = []
        done = self.charged(lambda: answer.append(self._serve(epoch, frame))) + self.setting.handling
        heapq.heappush(self._callers, done)
        self._free_at += self.setting.handling
        self._charged += self.setting.handling
        self._per_second[int(self.clock.time)] = self._per_second.get(int(self.clock.time), 0) + 1
        arrives = done + self.setting.round_trip / 2
        self._longest = max(self._longest, arrives - sent)
        header, payload = _read(answer[0])
        self.at(arrives, partial(then, answer_from_frame(header, payload)))
        self._calls.popleft()
        if self._calls:
            self.at(self._free_at, self._take_next)

    def _serve(self, epoch: int, frame: bytes) -> bytes:
        header, _ = _read(frame)
        header, payload = answer_to_frame(self.coordinator.exchange(epoch, report_from_header(header), int(header["want"])))
        return message({"t": "answer", "n": 1, **header}, payload)

    def _list(self, first: int) -> None:
        count = min(CHUNK, self.setting.batches - first)
        if count:
            self.charged(partial(self.coordinator.feed, Chunk(lines=[LINE] * count, items=count, bytes=1024 * count)))
            self.at(self.clock.time + count / LISTED_PER_SECOND, partial(self._list, first + count))
        else:
            self.charged(self.coordinator.feed_done)

    def _outcome(self, crew: list[Instance]) -> Outcome:
        last = max(one.last_start for one in crew)
        end = max(one.last_end for one in crew)
        after = sum(one.worked_after(last) for one in crew)
        worked = sum(one.worked for one in crew) - after
        quiet = int(last - 6 * max(policy.LEASE_SECONDS, self.setting.instances / policy.EXCHANGES_PER_SECOND))
        return Outcome(
            seconds=end,
            last_start=last,
            busy=worked / last / (self.setting.instances * self.setting.workers),
            load=self._charged / end,
            exchanges=sum(self._per_second.values()),
            peak=max(self._per_second.values()),
            peak_before_end=max((count for second, count in self._per_second.items() if 2 <= second < quiet), default=0),
            longest=self._longest,
            done=self.coordinator.progress().succeeded,
        )


@dataclass(eq=False)
class Instance:
    """When each mini-batch of a lease starts and ends is settled when the lease comes; a recall undoes what has not started."""

    simulation: Simulation
    name: str
    epoch: int = 0
    free: list[float] = field(default_factory=list)  # when each worker will be, a heap
    planned: deque[tuple[float, float, int]] = field(default_factory=deque)  # start, end, mini-batch, in the order of starts
    begun: list[tuple[float, float, int]] = field(default_factory=list)
    finished: list[int] = field(default_factory=list)
    oldest: float = float("inf")
    attempts: int = 0
    offset: int = 0
    each: float = UNKNOWN
    pace: float = 0.0
    reported: float = 0.0
    returned: tuple[tuple[int, int], ...] = ()
    out: bool = False
    waiting: bool = False
    nudged: bool = False
    stopped: bool = False
    looks_at: float = float("inf")
    worked: float = 0.0
    last_start: float = 0.0
    last_end: float = 0.0

    def join(self) -> None:
        self.free = [0.0] * self.simulation.setting.workers
        self.simulation.charged(self._joined)
        self._look()

    def _joined(self) -> None:
        self.epoch = self.simulation.coordinator.join(self.name, workers=self.simulation.setting.workers, wake=self.wake)

    def wake(self) -> None:
        self.simulation.at(self.simulation.clock.time + self.simulation.setting.round_trip / 2, self._woken)

    def _woken(self) -> None:
        self.nudged, self.waiting = True, False
        self._look()

    # What is due when

    def _target(self) -> int:
        return policy.lease_size(seconds_each=self.each, workers=self.simulation.setting.workers, pace=self.pace)

    def _look(self) -> None:
        """Exchanges if that is due, and else looks again when it will be."""
        if self.out or self.stopped:
            return
        now = self.simulation.clock.time
        self._advance(now)
        due = self._due(now)
        if due <= now + 1e-9:
            self._send(now)
        elif due < self.looks_at or self.looks_at <= now:
            self.looks_at = due
            self.simulation.at(due, self._look)

    def _due(self, now: float) -> float:
        if self.nudged:
            return now
        due = float("inf")
        if not self.waiting:
            over = len(self.planned) - self._target() // 2
            if over <= 0:
                return now
            due = self.planned[over - 1][0]
        if not self.planned and not self.begun and self.finished:
            return now  # idle
        changes = max((end for _, end, _ in self.begun), default=due) if not self.planned else self.planned[-1][1]
        if self.finished:
            due = min(due, self.oldest + courier.flush_seconds(self.pace), self.reported + courier.report_seconds(self.pace))
        elif self.begun:
            due = min(due, max(min(end for _, end, _ in self.begun), self.reported + courier.report_seconds(self.pace)))
        return min(due, changes) if self.waiting else due

    def _advance(self, now: float) -> None:
        planned = self.planned
        while planned and planned[0][0] <= now:
            self.begun.append(planned.popleft())
        ended = [one for one in self.begun if one[1] <= now]
        if ended:
            self.begun = [one for one in self.begun if one[1] > now]
            self.oldest = min(self.oldest, min(end for _, end, _ in ended))
            self.finished += [index for _, _, index in ended]
            self.attempts += len(ended)
            for start, end, _ in ended:
                self.each = end - start if self.each == UNKNOWN else (1 - SMOOTHING) * self.each + SMOOTHING * (end - start)

    # The exchange

    def _send(self, now: float) -> None:
        idle = not self.begun and not self.planned
        segments: tuple[Segment, ...] = ()
        if self.finished and (idle or now >= self.oldest + courier.FLUSH_SECONDS):
            segments = tuple(self._segments())
            self.finished, self.oldest = [], float("inf")
        want = self._target() if len(self.planned) * 2 <= self._target() else 0
        count = len(self.finished)
        report = Report(
            segments=segments,
            volatile=Tally(succeeded=count, items=count),
            returned=self.returned,
            ready=self.simulation.setting.workers,
            running=tuple(index for _, _, index in self.begun),
            attempts=self.attempts,
        )
        self.returned, self.nudged, self.out, self.reported = (), False, True, now
        self.simulation.exchange(self.epoch, report, want, partial(self._answered, want))

    def _segments(self) -> Iterator[Segment]:
        self.finished.sort()
        start = 0
        for at in range(1, len(self.finished) + 1):
            if at == len(self.finished) or self.finished[at] != self.finished[at - 1] + 1:
                count, size = at - start, ROWS * (at - start)
                tally = Tally(succeeded=count, items=count, returned=count)
                first, last = self.finished[start], self.finished[at - 1]
                yield Segment(first=first, last=last, tally=tally, part=f"0001-{self.name}-1", offset=self.offset, length=size, crc=1 << 31)
                self.offset, start = self.offset + size, at

    def _answered(self, want: int, answer: Lease | Wait | Recall | Stop) -> None:
        self.out = False
        self._advance(self.simulation.clock.time)
        if isinstance(answer, Lease | Wait):
            self.pace = answer.pace
        if isinstance(answer, Lease):
            self._plan(answer)
        elif isinstance(answer, Wait):
            self.waiting = want > 0 and not self.nudged
        elif isinstance(answer, Recall):
            self._give_back()
        else:
            self.stopped = True
        self._look()

    def _plan(self, lease: Lease) -> None:
        now, duration, free, put = self.simulation.clock.time, self.simulation.duration, self.free, self.planned.append
        for index in range(lease.first, lease.first + lease.count):
            start = max(now, free[0])
            end = start + duration()
            heapq.heapreplace(free, end)
            put((start, end, index))
            self.worked += end - start
        self.last_start, self.last_end = start, max(self.last_end, *free)

    def _give_back(self) -> None:
        now = self.simulation.clock.time
        back = _ranges(index for _, _, index in self.planned)
        self.worked -= sum(end - start for start, end, _ in self.planned)
        self.planned.clear()
        ends = [end for _, end, _ in self.begun]
        self.free = [*ends, *[now] * (self.simulation.setting.workers - len(ends))]
        heapq.heapify(self.free)
        self.last_end = max([now if self.attempts else 0.0, *ends])
        self.last_start = max((start for start, _, _ in self.begun), default=min(self.last_start, now))
        self.returned, self.nudged = back, True

    def worked_after(self, moment: float) -> float:
        return sum(max(0.0, end - moment) for end in self.free)


def _ranges(indices: Iterator[int]) -> tuple[tuple[int, int], ...]:
    ranges: list[tuple[int, int]] = []
    for index in sorted(indices):
        if ranges and ranges[-1][1] == index - 1:
            ranges[-1] = (ranges[-1][0], index)
        else:
            ranges.append((index, index))
    return tuple(ranges)


def _read(frame: bytes) -> tuple[dict[str, object], bytes]:
    reader = Reader()
    reader.feed(frame)
    header, payload = next(iter(reader))
    assert isinstance(header, dict)
    return header, payload


def simulate(setting: Setting) -> Outcome:
    with tempfile.TemporaryDirectory() as folder:
        return Simulation(Path(folder), setting).run()


def main(words: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--instances", type=int, default=100)
    parser.add_argument("--batches", type=int, default=200_000)
    parser.add_argument("--durations", nargs="+", choices=list(DURATIONS), default=list(DURATIONS))
    given = parser.parse_args(words or [])
    print(f"\n{given.instances:,} simulated instances with 8 workers, {given.batches:,} mini-batches")
    for durations in given.durations:
        began = time.perf_counter()
        found = simulate(Setting(instances=given.instances, batches=given.batches, durations=durations))
        took = time.perf_counter() - began
        print(
            f"  {durations:12} {found.seconds:6.1f} s: workers {found.busy:7.2%} busy, coordinator {found.load:5.2f} cores, "
            f"{found.exchanges / found.seconds:6,.0f} exchanges/s ({found.peak_before_end:,} at most, {found.peak:,} near the end), "
            f"the longest {found.longest:.3f} s, {found.done:,} done (simulated in {took:.0f} s)",
            flush=True,
        )


if __name__ == "__main__":
    main(sys.argv[1:])
