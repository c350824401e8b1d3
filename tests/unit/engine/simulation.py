"""Instances on a fake clock around a real coordinator: what is measured elsewhere is charged here."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from runner.engine.coordinator import Coordinator
from runner.engine.journal import Journal
from runner.engine.manifest import Manifest
from runner.engine.session import CoordinatorSettings
from runner.model.batch import Chunk, Lease, Recall, Report, Segment, Stop, Tally


@dataclass
class FakeClock:
    time: float = 0.0

    def now(self) -> float:
        return self.time

    def wall(self) -> float:
        return self.time


def coordinator(
    folder: Path, clock: FakeClock, *, calm_since: Callable[[], float] = lambda: float("-inf"), **settings: object
) -> Coordinator:
    return Coordinator(
        settings=CoordinatorSettings(**settings),  # type: ignore[arg-type]
        manifest=Manifest(folder / "manifest"),
        journal=Journal(folder / "journal"),
        clock=clock,
        calm_since=calm_since,
    )


def line(index: int) -> bytes:
    return b'{"files":[["%d",1,1]]}' % index


def feed(target: Coordinator, first: int, count: int) -> None:
    target.feed(Chunk(lines=[line(i) for i in range(first, first + count)], items=count, bytes=count))


@dataclass
class FakeInstance:
    """Executes its leases at once when it is stepped; remembers what it was given."""

    coordinator: Coordinator
    name: str
    chance: random.Random
    want: int = 10
    epoch: int = 0
    holds: list[tuple[int, int]] = field(default_factory=list)
    seen: list[int] = field(default_factory=list)
    woken: bool = True
    stopped: str = ""
    volatile: Tally = field(default_factory=Tally)

    def join(self) -> FakeInstance:
        self.epoch = self.coordinator.join(self.name, workers=2, wake=self.wake)
        return self

    def wake(self) -> None:
        self.woken = True

    def step(self) -> None:
        """Finishes some of what it holds and asks for more."""
        segments, rest = [], []
        for first, end in self.holds:
            cut = self.chance.randint(first, end)
            if cut > first:
                segments.append(Segment(first=first, last=cut - 1, tally=Tally(succeeded=cut - first, items=cut - first)))
                self.seen.extend(range(first, cut))
            if cut < end:
                rest.append((cut, end))
        self.holds = rest
        answer = self.coordinator.exchange(self.epoch, Report(segments=tuple(segments)), self.want)
        if isinstance(answer, Lease):
            lines = answer.lines.split(b"\n")
            assert lines == [line(i) for i in range(answer.first, answer.first + answer.count)]
            self.holds.append((answer.first, answer.first + answer.count))
        elif isinstance(answer, Recall):
            back = tuple((first, end - 1) for first, end in self.holds)
            self.holds = []
            self.coordinator.exchange(self.epoch, Report(returned=back), 0)
        elif isinstance(answer, Stop):
            self.stopped = answer.reason
