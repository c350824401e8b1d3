"""Sums of what the owners of jobs count. Their lines may be lost, late, or come twice; so each has totals.

Those of a step's progress go on with the step, whoever owns it; others begin with each process of an owner.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

PROGRESS = ("succeeded", "failed", "retries", "items")
TOTALS = ("syncs", "exchanges", "waited", "worked")
LEVELS = ("ready", "busy", "longest_wait", "longest_work")


SILENT_SECONDS = 20.0  # after which an owner's levels do not count any more: it has died, and another one speaks for the job
FORGOTTEN_SECONDS = 600.0
MOST = 10_000  # owners that are remembered


@dataclass
class _Step:
    """How far the progress of a step has been counted."""

    heard: float
    reached: dict[str, float]


@dataclass
class _Life:
    """Of one owner's process, and one step."""

    heard: float
    number: int = 0  # of the last line
    highest: dict[str, float] = field(default_factory=dict)
    levels: dict[str, float] = field(default_factory=dict)


class Tallies:
    """`now`: of any clock, the same each time."""

    def __init__(self) -> None:
        self.totals = dict.fromkeys((*PROGRESS, *TOTALS), 0.0)
        self._steps: dict[tuple[str, str], _Step] = {}
        self._lives: dict[str, _Life] = {}

    def add(self, job: str, words: Mapping[str, Any], now: float) -> None:
        """A line. Errors: KeyError, TypeError, ValueError for what is none: it comes from a process of the job's user."""
        key, number = f"{job} {words['life']!s:.32}", int(words["number"])
        totals, levels = _numbers(words["totals"], TOTALS), _numbers(words["levels"], LEVELS)
        first, progress = _numbers(words["first"], PROGRESS), _numbers(words["progress"], PROGRESS)
        life = self._lives.get(key)
        if life is None:
            # A first line that is not its first: a scheduler before us has counted the earlier ones.
            life = self._lives[key] = _Life(now, highest={} if number == 1 else dict(totals))
            self._make_room(now)
        if number <= life.number:
            return
        life.heard, life.number, life.levels = now, number, levels
        self._count(totals, life.highest)
        step = self._steps.setdefault((job, str(words["step"])), _Step(now, first if number == 1 else dict(progress)))
        step.heard = now
        self._count(progress, step.reached)

    def forget(self, job: str) -> None:
        """It has ended; when it runs again, its progress may begin lower."""
        for key in [key for key in self._steps if key[0] == job]:
            del self._steps[key]

    def _count(self, values: Mapping[str, float], reached: dict[str, float]) -> None:
        for name, value in values.items():
            before = reached.get(name, 0.0)
            self.totals[name] += max(0.0, value - before)
            reached[name] = max(value, before)

    def level(self, name: str, now: float) -> float:
        """The sum over all owners; of longest times the longest."""
        values = [life.levels.get(name, 0.0) for life in self._lives.values() if now - life.heard <= SILENT_SECONDS]
        return max(values, default=0.0) if name.startswith("longest") else sum(values)

    def _make_room(self, now: float) -> None:
        for key, life in list(self._lives.items()):
            if now - life.heard > FORGOTTEN_SECONDS or (len(self._lives) > MOST and life.number):
                del self._lives[key]
        for step, known in list(self._steps.items()):
            if now - known.heard > FORGOTTEN_SECONDS:
                del self._steps[step]


def _numbers(given: object, names: tuple[str, ...]) -> dict[str, float]:
    if not isinstance(given, Mapping):
        raise TypeError(given)
    found = {name: float(given.get(name, 0)) for name in names}
    if not all(0 <= value < 1e18 for value in found.values()):
        raise ValueError(given)
    return found
