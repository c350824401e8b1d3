"""Sums of what the owners of jobs count: each of their lines has totals since its process began, and may be lost, late, or come twice."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

TOTALS = (
    *("succeeded", "failed", "retries", "items", "syncs"),
    *("exchanges", "waited", "worked"),
)
LEVELS = ("ready", "busy", "longest_wait", "longest_work")


@dataclass
class _Life:
    """Of one owner's process, and one step."""

    job: str
    number: int = 0  # of the last line
    highest: dict[str, float] = field(default_factory=dict)
    levels: dict[str, float] = field(default_factory=dict)


class Tallies:
    def __init__(self) -> None:
        self.totals = dict.fromkeys(TOTALS, 0.0)
        self._lives: dict[str, _Life] = {}

    def add(self, job: str, words: Mapping[str, object]) -> None:
        """A line. Errors: KeyError, TypeError, ValueError for what is none: it comes from a process of the job's user."""
        key, number = f"{job} {words['life']!s:.32}", int(words["number"])  # type: ignore[call-overload]
        totals, levels = _numbers(words["totals"], TOTALS), _numbers(words["levels"], LEVELS)
        life = self._lives.get(key)
        if life is None:
            # A first line that is not its first: a scheduler before us has counted the earlier ones.
            life = self._lives[key] = _Life(job, highest={} if number == 1 else dict(totals))
        if number <= life.number:
            return
        life.number, life.levels = number, levels
        for name, value in totals.items():
            before = life.highest.get(name, 0.0)
            self.totals[name] += max(0.0, value - before)
            life.highest[name] = max(value, before)

    def level(self, name: str) -> float:
        """The sum over all owners; of longest times the longest."""
        values = [life.levels.get(name, 0.0) for life in self._lives.values()]
        return max(values, default=0.0) if name.startswith("longest") else sum(values)

    def forget(self, job: str) -> None:
        """It has ended."""
        for key in [key for key, life in self._lives.items() if life.job == job]:
            del self._lives[key]


def _numbers(given: object, names: tuple[str, ...]) -> dict[str, float]:
    if not isinstance(given, Mapping):
        raise TypeError(given)
    found = {name: float(given.get(name, 0)) for name in names}
    if not all(0 <= value < 1e18 for value in found.values()):
        raise ValueError(given)
    return found
