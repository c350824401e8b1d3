"""What the coordinator keeps: its settings, its instances, its verdict."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from runner.engine.policy import Limits
from runner.engine.ranges import RangeSet
from runner.model.batch import ErrorRecord, Report


@dataclass(frozen=True, kw_only=True)
class CoordinatorSettings:
    """Seconds throughout. `session` is how long an instance may be silent before its work is given to others; None: for ever.

    `awaited`: instances of an earlier coordinator of this job that may be at work: nothing is given out before each of them has said
    what it has, or has been silent for a session.
    """

    limits: Limits = field(default_factory=Limits)
    max_retries: int = 2
    progress_update_timeout: float = 600
    session: float | None = None
    awaited: frozenset[str] = frozenset()


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """How the job ended. `code`: completed, threshold, init, progress, input, output, cancelled, superseded."""

    status: str
    code: str = "completed"
    message: str = ""
    failures: tuple[tuple[int, ErrorRecord], ...] = ()


@dataclass(kw_only=True, eq=False)
class Session:
    """An instance as the coordinator knows it: what it has, and what it last said."""

    name: str
    workers: int
    wake: Callable[[], None]
    expires: float
    territory: RangeSet = field(default_factory=RangeSet)
    outstanding: RangeSet = field(default_factory=RangeSet)
    report: Report = field(default_factory=Report)
    recall: bool = False
    init_failures: int = 0
    begun: bool = False  # it has asked for work
    leaving: str = ""  # it is to go, and why: retired (when it has finished what runs) or lost (at once)

    @property
    def spare(self) -> int:
        """Mini-batches that it could hand back, as far as its last report tells."""
        finished = self.report.volatile.succeeded + self.report.volatile.failed
        return self.outstanding.count - finished - len(self.report.running)
