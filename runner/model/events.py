"""What happens in a job, as typed records for observers (terminal, log tree, report). The engine knows no observer.

Observers are called in the thread that publishes, must be quick, and must not raise. `at` is seconds since the epoch.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from runner.model.batch import ErrorRecord, Progress


@dataclass(frozen=True, kw_only=True)
class Event:
    at: float
    step: str = ""  # the step of a pipeline that it is about; empty: the job itself


@dataclass(frozen=True, kw_only=True)
class StatusChanged(Event):
    """Queued, Preparing, Running, Finalizing, Completed, Failed, Canceled, NotRun; `reason` says why, where that is of use."""

    status: str
    reason: str = ""
    reused_from: str = ""  # of a step that has not run: the job whose results it has


STORAGE = "storage"  # the source of messages that tell of a storage that does not answer, and when it does again


@dataclass(frozen=True, kw_only=True)
class Message(Event):
    """A line for people: level WARNING, INFO or DEBUG. `source` names the part of the system, e.g. `inputs`, `node_0`."""

    level: str
    text: str
    source: str = "master"
    over: bool = False  # of STORAGE: it answers again


@dataclass(frozen=True, kw_only=True)
class Progressed(Event):
    """At most a few times a second while the job runs, and once at its end."""

    progress: Progress


@dataclass(frozen=True, kw_only=True)
class InstanceStarted(Event):
    node: str  # node_0, node_1, …
    workers: int
    host: str = ""


@dataclass(frozen=True, kw_only=True)
class InstanceEnded(Event):
    node: str
    reason: str = ""


@dataclass(frozen=True, kw_only=True)
class WorkerStarted(Event):
    node: str
    process: str  # process000, process001, …; a replacement gets a new name
    pid: int


@dataclass(frozen=True, kw_only=True)
class WorkerReady(Event):
    """init() has returned."""

    node: str
    process: str
    seconds: float  # spent in init()


@dataclass(frozen=True, kw_only=True)
class WorkerEnded(Event):
    """`how`: `done`, `exit status 3`, `signal SIGSEGV`, `killed after a time-out`, …"""

    node: str
    process: str
    how: str


@dataclass(frozen=True, kw_only=True)
class InitFailed(Event):
    node: str
    process: str
    error: ErrorRecord


@dataclass(frozen=True, kw_only=True)
class AttemptFailed(Event):
    """One attempt of a mini-batch has failed; `final` when there is no further one."""

    node: str
    process: str
    index: int
    attempt: int  # 1 is the first
    attempts: int  # how many there may be
    final: bool
    seconds: float
    error: ErrorRecord


@dataclass(frozen=True, kw_only=True)
class BatchesFinished(Event):
    """Mini-batches that succeeded in one worker since the last such event.

    Columns rather than records, because there may be a hundred thousand a second: each row is
    (index, items, returned, run nanoseconds).
    """

    node: str
    process: str
    rows: list[tuple[int, int, int, int]]


@dataclass(frozen=True, kw_only=True)
class JobEnded(Event):
    """`code`: completed, threshold, init, progress, input, output, cancelled, internal. `message` begins with the one line that says
    which mini-batch, which item, the user's exception with file and line, where the log is, how to go on."""

    status: str
    code: str
    message: str
    error: ErrorRecord | None = None


Observer = Callable[[Event], None]
