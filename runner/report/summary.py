"""What a job has done so far, gathered from its events in bounded memory, whatever the number of mini-batches."""

from __future__ import annotations

import heapq
from dataclasses import dataclass, field

from runner.model.batch import ErrorRecord, Progress
from runner.model.events import (
    AttemptFailed,
    BatchesFinished,
    Event,
    InitFailed,
    InstanceStarted,
    JobEnded,
    Message,
    Progressed,
    StatusChanged,
    WorkerReady,
)

_SLOWEST = 5
_GROUPS = 50  # kinds of error that are told apart
_WARNINGS = 50


@dataclass(kw_only=True)
class ErrorGroup:
    """Mini-batches that failed for good with the same error."""

    error: ErrorRecord  # the first of them
    index: int
    log: str
    count: int = 0


@dataclass(kw_only=True)
class Summary:
    """An observer. `slowest`: (nanoseconds, mini-batch, node, process), the slowest first."""

    started: float | None = None  # seconds since the epoch
    running: float | None = None
    ended: float | None = None
    status: str = ""
    reason: str = ""  # why a step has not run, or not in this run: whose results it has
    progress: Progress = field(default_factory=Progress)
    finished_here: int = 0  # mini-batches of this run, without those of an earlier one
    nodes: int = 0
    workers: int = 0
    hosts: dict[str, str] = field(default_factory=dict)  # of instances
    init_seconds: float = 0.0  # the longest init()
    slowest: list[tuple[int, int, str, str]] = field(default_factory=list)
    failures: dict[tuple[str, str, str, int], ErrorGroup] = field(default_factory=dict)
    other_failures: int = 0
    init_failure: ErrorRecord | None = None
    warnings: list[str] = field(default_factory=list)
    more_warnings: int = 0
    end: JobEnded | None = None
    _floor: int = -1

    def __call__(self, event: Event) -> None:
        if isinstance(event, BatchesFinished):
            self._finished(event)
        elif isinstance(event, Progressed):
            self.progress = event.progress
        elif isinstance(event, AttemptFailed):
            if event.final:
                self._failed(event)
        elif isinstance(event, (StatusChanged, JobEnded)):
            self._status(event)
        elif isinstance(event, Message):
            self._message(event)
        elif isinstance(event, InstanceStarted):
            self.nodes += 1
            self.workers += event.workers
            self.hosts[event.node] = event.host
        elif isinstance(event, WorkerReady):
            self.init_seconds = max(self.init_seconds, event.seconds)
        elif isinstance(event, InitFailed):
            self.init_failure = self.init_failure or event.error

    def _finished(self, event: BatchesFinished) -> None:
        self.finished_here += len(event.rows)
        floor = self._floor
        slow = [(ns, index, event.node, event.process) for index, _items, _returned, ns in event.rows if ns > floor]
        if slow:
            self.slowest = heapq.nlargest(_SLOWEST, self.slowest + slow)
            if len(self.slowest) == _SLOWEST:
                self._floor = self.slowest[-1][0]

    def _failed(self, event: AttemptFailed) -> None:
        error = event.error
        key = (error.kind, error.type, error.file, error.line)
        group = self.failures.get(key)
        if group is None:
            if len(self.failures) >= _GROUPS:
                self.other_failures += 1
                return
            group = self.failures[key] = ErrorGroup(error=error, index=event.index, log=error.log)
        group.count += 1

    def _status(self, event: StatusChanged | JobEnded) -> None:
        self.status = event.status
        if isinstance(event, StatusChanged):
            self.reason = event.reason if event.status in ("NotRun", "Completed") else ""
        self.started = self.started or event.at
        if event.status == "Running":
            self.running = self.running or event.at
        if isinstance(event, JobEnded):
            self.ended, self.end = event.at, event

    def _message(self, event: Message) -> None:
        if event.level == "WARNING":
            if len(self.warnings) < _WARNINGS:
                self.warnings.append(event.text)
            else:
                self.more_warnings += 1
