"""The logs of a job in Azure's layout, written by an observer of its events. All times in them are UTC."""

from __future__ import annotations

import csv
import io
import logging
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from runner.model.batch import ErrorRecord
from runner.model.cadence import Cadence
from runner.model.events import (
    AttemptFailed,
    BatchesFinished,
    Event,
    InitFailed,
    InstanceEnded,
    InstanceStarted,
    JobEnded,
    Message,
    Progressed,
    StatusChanged,
    WorkerEnded,
    WorkerReady,
    WorkerStarted,
)
from runner.model.moments import utc
from runner.report.files import LOG_CAP, TextFiles, stamp
from runner.report.latest_rows import keep_latest_rows
from runner.report.page import advice, duration, rate, render, where
from runner.report.summary import Summary

COLUMNS = ("mini_batch", "status", "items", "returned", "attempts", "run_seconds", "node", "process", "finished_at", "error")
_JOB_ERRORS = 100  # errors that are written out in job_error.txt


class LogTree:
    """Writes all files of the log folder except those of the workers and `sys/perf`. One for a job, or for a step of a pipeline.

    `level` is the job's `logging_level`; `outputs` (name → path) are named in `job_result.txt`; of a `command` no mini-batches are told.
    Call `close()` after the last event.
    """

    def __init__(
        self,
        logs: Path,
        *,
        name: str,
        outputs: Mapping[str, str] | None = None,
        level: str = "INFO",
        cap: int = LOG_CAP,
        command: bool = False,
    ) -> None:
        self.logs, self.name, self.summary = logs, name, Summary()
        self._outputs, self._command = dict(outputs or {}), command
        self.steps: dict[str, Summary] = {}  # of a pipeline: shown on its page in the place of mini-batches
        self._level = logging.getLevelName(level)
        self._files = TextFiles(cap)
        self._lock = threading.Lock()
        self._began = time.time()
        self._overview = _overview()
        self._errors = 0
        self._retried: dict[int, int] = {}
        self._error_file = logs / f"job_error.{stamp(self._began)}.txt"
        self._overview_file = logs / f"job_progress_overview.{stamp(self._began)}.txt"
        self._csv = logs / "sys" / "job_report" / "processed_mini-batches.csv"
        self._begin()

    def __call__(self, event: Event) -> None:
        with self._lock:
            self.summary(event)
            if isinstance(event, BatchesFinished):
                self._finished(event)
            else:
                handler = _HANDLERS.get(type(event))
                if handler is not None:
                    handler(self, event)

    def close(self) -> None:
        """Writes what is left."""
        self._files.close()

    @property
    def result(self) -> Path:
        """`job_result.txt`, there once the job has ended."""
        return self.logs / "job_result.txt"

    def _begin(self) -> None:
        for folder in ("sys/error", "sys/job_report", "sys/node", "sys/perf", "user/stdout", "user/stderr", "user/entry_script_log"):
            (self.logs / folder).mkdir(parents=True, exist_ok=True)
        link = self.logs / "perf"
        if not link.is_symlink():
            link.symlink_to("sys/perf")
        self._resumed = self._csv.exists()  # a resumed job goes on in it
        if not self._resumed and not self._command:
            self._files.add(self._csv, ",".join(COLUMNS) + "\n", capped=False)

    def _line(self, file: Path, at: float, level: str, text: str) -> None:
        if logging.getLevelName(level) >= self._level:
            self._files.add(file, f"{utc(at)} {level:<7} {text}\n")

    def _master(self, at: float, level: str, text: str) -> None:
        self._line(self.logs / "sys" / "master_role.txt", at, level, text)

    def _node(self, node: str) -> Path:
        return self.logs / "sys" / "node" / node / "_main.txt"

    def _process(self, node: str, process: str) -> Path:
        return self.logs / "sys" / "node" / node / f"{process}.txt"

    def _finished(self, event: BatchesFinished) -> None:
        """There may be 100,000 rows a second: one string operation for each."""
        if self._command:
            return
        retried = self._retried
        tail = f"{event.node},{event.process},{utc(event.at)},\n"
        if retried:
            rows = [
                f"{index},Succeeded,{items},{returned},{retried.pop(index, 0) + 1},{ns / 1e9:.6f},{tail}"
                for index, items, returned, ns in event.rows
            ]
        else:
            rows = [f"{index},Succeeded,{items},{returned},1,{ns / 1e9:.6f},{tail}" for index, items, returned, ns in event.rows]
        self._files.add(self._csv, "".join(rows), capped=False)
        if self._level <= logging.DEBUG:
            first, last = event.rows[0][0], event.rows[-1][0]
            text = f"{len(event.rows)} mini-batches succeeded, from {first} to {last}"
            self._line(self._process(event.node, event.process), event.at, "DEBUG", text)

    def _attempt_failed(self, event: AttemptFailed) -> None:
        what = "" if self._command else f"mini-batch {event.index}, attempt {event.attempt} of {event.attempts} "
        text = f"{what}failed after {event.seconds:.3f} s: {where(event.error)}"
        level = "ERROR" if event.final else "WARNING"
        self._line(self._process(event.node, event.process), event.at, level, text)
        if event.final:
            self._retried.pop(event.index, None)
            if not self._command:
                self._csv_failure(event)
            self._master(event.at, level, text)
        else:
            self._retried[event.index] = event.attempt
        self._error(event.at, event.node, event.process, text, event.error, loud=event.final)

    def _csv_failure(self, event: AttemptFailed) -> None:
        row = io.StringIO()
        error = event.error
        items = "", "0"
        seconds = f"{event.seconds:.6f}"
        csv.writer(row, lineterminator="\n").writerow(
            (event.index, "Failed", *items, event.attempt, seconds, event.node, event.process, utc(event.at), error.type or error.kind)
        )
        self._files.add(self._csv, row.getvalue(), capped=False)

    def _error(self, at: float, node: str, process: str, text: str, error: ErrorRecord, *, loud: bool) -> None:
        item = f"item: {error.item}\n" if error.item else ""
        log = f"log: {error.log}\n" if error.log else ""
        hint = "".join(f"{line.strip()}\n" for line in advice(error))
        entry = f"{utc(at)} {node} {process}: {text}\n{item}{hint}{log}{error.traceback.rstrip()}\n\n"
        self._files.add(self.logs / "sys" / "error" / node / f"{process}.txt", entry)
        if loud:
            self._errors += 1
            if self._errors <= _JOB_ERRORS:
                self._files.add(self._error_file, entry)
            elif self._errors == _JOB_ERRORS + 1:
                self._files.add(self._error_file, "Further errors are in sys/error/ only.\n")

    def _init_failed(self, event: InitFailed) -> None:
        text = f"init() failed: {where(event.error)}"
        self._line(self._process(event.node, event.process), event.at, "ERROR", text)
        self._master(event.at, "ERROR", f"{event.node} {event.process}: {text}")
        self._error(event.at, event.node, event.process, text, event.error, loud=True)

    def _status(self, event: StatusChanged) -> None:
        self._master(event.at, "INFO", f"{event.status}" + (f": {event.reason}" if event.reason else ""))

    def _message(self, event: Message) -> None:
        file = self._node(event.source) if event.source.startswith("node_") else self.logs / "sys" / "master_role.txt"
        prefix = "" if event.source == "master" or event.source.startswith("node_") else f"{event.source}: "
        self._line(file, event.at, event.level, prefix + event.text)

    def _progressed(self, event: Progressed) -> None:
        progress = event.progress
        if self._command or not self._overview.due(event.at, progress):
            return
        total = f"{progress.total}" if progress.listed else f"{progress.total} so far"
        seconds = event.at - (self.summary.running or self._began)
        self._files.add(
            self._overview_file,
            f"{utc(event.at)} {progress.succeeded + progress.failed} of {total} mini-batches processed, {progress.failed} failed, "
            f"{progress.retries} further attempts, {progress.items} items, {progress.items_failed} items failed, "
            f"{progress.running} of {progress.workers} workers busy, {rate(self.summary.finished_here, seconds)} mini-batches/s\n",
        )

    def _instance_started(self, event: InstanceStarted) -> None:
        text = f"started with {event.workers} worker processes" + (f" on {event.host}" if event.host else "")
        self._line(self._node(event.node), event.at, "INFO", text)
        self._master(event.at, "INFO", f"{event.node} {text}")

    def _instance_ended(self, event: InstanceEnded) -> None:
        text = "ended" + (f": {event.reason}" if event.reason else "")
        self._line(self._node(event.node), event.at, "INFO", text)
        self._master(event.at, "INFO", f"{event.node} {text}")

    def _worker_started(self, event: WorkerStarted) -> None:
        self._worker_line(event, f"started, pid {event.pid}")

    def _worker_ready(self, event: WorkerReady) -> None:
        self._worker_line(event, f"init() took {event.seconds:.3f} s")

    def _worker_ended(self, event: WorkerEnded) -> None:
        self._worker_line(event, f"ended: {event.how}")

    def _worker_line(self, event: WorkerStarted | WorkerReady | WorkerEnded, text: str) -> None:
        self._line(self._process(event.node, event.process), event.at, "INFO", text)
        self._line(self._node(event.node), event.at, "INFO", f"{event.process} {text}")

    def _ended(self, event: JobEnded) -> None:
        self._overview = _overview()  # the last line is written whatever was told before
        self._progressed(Progressed(at=event.at, progress=self.summary.progress))
        took = duration(event.at - (self.summary.started or self._began))
        first = event.message.split("\n", 1)[0]
        text = f"{event.status} after {took}" + (f": {first}" if first else "")
        self._master(event.at, "ERROR" if event.status == "Failed" else "INFO", text)
        if event.status == "Failed":
            self._files.add(self._error_file, f"{utc(event.at)} the job has failed\n{event.message}\n")
        self._files.flush()
        if self._resumed:
            self._files.guarded(lambda: keep_latest_rows(self._csv))
        page = render(self.name, self.summary, outputs=self._outputs, logs=self.logs, steps=self.steps, command=self._command)
        self._files.replace(self.result, page)


def _overview() -> Cadence:
    """Every second at first, once a minute in the end."""
    return Cadence(pause=1.0, growth=1.3, longest=60.0)


_HANDLERS: dict[type[Event], Callable[[LogTree, Any], None]] = {
    AttemptFailed: LogTree._attempt_failed,
    InitFailed: LogTree._init_failed,
    InstanceEnded: LogTree._instance_ended,
    InstanceStarted: LogTree._instance_started,
    JobEnded: LogTree._ended,
    Message: LogTree._message,
    Progressed: LogTree._progressed,
    StatusChanged: LogTree._status,
    WorkerEnded: LogTree._worker_ended,
    WorkerReady: LogTree._worker_ready,
    WorkerStarted: LogTree._worker_started,
}
