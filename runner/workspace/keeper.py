"""Keeps the record of a running job up to date: an observer of its events, used by its owner process alone."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace

from runner.model.batch import Progress
from runner.model.cadence import Cadence
from runner.model.events import STORAGE, Event, JobEnded, Message, Progressed, StatusChanged
from runner.model.moments import utc
from runner.model.paths import JobPaths
from runner.workspace.records import FINAL, JobRecord, progress_to_json, write_json

_EVERY = 1.0  # seconds between two writes of progress.json


class RecordKeeper:
    """Status changes are written to `job.json` at once, counts to `progress.json` about once a second.

    The final status of the job itself is left to `finish()`, which the owner calls when all else has been put away: a job that
    shows as ended has ended.
    """

    def __init__(self, paths: JobPaths, record: JobRecord, *, owned: Callable[[], AbstractContextManager[None]] = nullcontext) -> None:
        """`owned`: entered for each change of the record, so that only the job's owner makes any."""
        self._paths, self.record, self._owned = paths, record, owned
        self._lock = threading.Lock()
        self._counts = Cadence(pause=_EVERY)
        self.ended: JobEnded | None = None
        self.has_run = False

    def __call__(self, event: Event) -> None:
        with self._lock:
            if isinstance(event, StatusChanged):
                self._status(event)
            elif isinstance(event, Progressed):
                self._progressed(event)
            elif isinstance(event, JobEnded):
                self._ended(event)
            elif isinstance(event, Message) and event.source == STORAGE:
                self._waits("" if event.over else event.text)

    def finish(self, status: str, *, progress: Progress | None, error: dict[str, str], incomplete: bool) -> JobRecord:
        """Writes the record for the last time."""
        with self._lock:
            self.record = replace(
                self.record,
                status=status,
                reason="",
                ended_at=utc(time.time()),
                progress=progress or self.record.progress,
                error=error or None,
                incomplete=incomplete,
            )
            self.write()
            self._paths.progress.unlink(missing_ok=True)
            return self.record

    def write(self) -> None:
        """Writes the record as it is now. Errors: OSError."""
        with self._owned():
            write_json(self._paths.record, self.record.to_json())

    def _status(self, event: StatusChanged) -> None:
        if event.status == "Running":
            self.has_run = True
        if not event.step:
            if event.status in FINAL:
                return
            self.record = _with_status(self.record, event.status, event.at)
        else:
            job = self.record.jobs.get(event.step)
            if job is None:
                return
            reason = event.reason if event.status == "NotRun" else ""
            job = replace(job, reused_from=event.reused_from or job.reused_from, reason=reason)
            self._put(event.step, _with_status(job, event.status, event.at))
        self._write_if_possible()

    def _waits(self, reason: str) -> None:
        """Why nothing goes on, as long as that is so."""
        self.record = replace(self.record, reason=reason)
        self._write_if_possible()

    def _ended(self, event: JobEnded) -> None:
        if not event.step:
            self.ended = event
            return
        job = self.record.jobs.get(event.step)
        if job is not None:
            log = event.error.log if event.error else job.logs
            error = None if event.status == "Completed" else {"message": event.message, "code": event.code, "log": log or job.logs}
            self._put(event.step, replace(_with_status(job, event.status, event.at), error=error))
            self._write_if_possible()

    def _write_if_possible(self) -> None:
        with contextlib.suppress(OSError):  # it is written again at the end
            self.write()

    def _progressed(self, event: Progressed) -> None:
        if not event.step:
            self.record = replace(self.record, progress=event.progress)
        elif event.step in self.record.jobs:
            self._put(event.step, replace(self.record.jobs[event.step], progress=event.progress))
            self.record = replace(self.record, progress=_sum(job.progress for job in self.record.jobs.values()))
        counts = {"": self.record.progress} | {name: job.progress for name, job in self.record.jobs.items()}
        if self._counts.due(time.monotonic(), counts):
            with contextlib.suppress(OSError):  # a full disk costs a line of show, not the job
                write_json(self._paths.progress, {name: progress_to_json(one) for name, one in counts.items()}, durable=False)

    def _put(self, step: str, job: JobRecord) -> None:
        self.record = replace(self.record, jobs={**self.record.jobs, step: job})


def _with_status(record: JobRecord, status: str, at: float) -> JobRecord:
    started = record.started_at or (utc(at) if status == "Running" else None)
    again = record.status == status and record.ended_at is not None  # of a step that had ended before the job went on
    ended = record.ended_at if again else utc(at) if status in FINAL else None
    return replace(record, status=status, started_at=started, ended_at=ended)


def _sum(counts: Iterable[Progress]) -> Progress:
    total = Progress(listed=True)
    for one in counts:
        names = ("total", "succeeded", "failed", "retries", "items", "items_failed")
        total = replace(total, **{name: getattr(total, name) + getattr(one, name) for name in names})
    return total
