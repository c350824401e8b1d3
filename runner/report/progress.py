"""How a job gets on, for people: a bar on a terminal, plain lines elsewhere; warnings as they come. Everything goes to stderr."""

from __future__ import annotations

import sys
import threading
import time
from typing import TYPE_CHECKING, Protocol, TextIO

from runner.errors import printable
from runner.model.batch import Progress
from runner.model.cadence import Cadence
from runner.model.events import AttemptFailed, Event, InitFailed, InstanceStarted, JobEnded, Message, Progressed, StatusChanged
from runner.report.page import duration, elsewhere, rate, where

if TYPE_CHECKING:
    from rich.progress import Progress as Bar
    from rich.progress import TaskID

_FAILURES_SHOWN = 5  # failed attempts that are printed; then only counted
_INSTANCES_SHOWN = 8  # whose machines are printed
_NARROW = 80  # columns: below, there is no room for a bar
_BESIDE = 68  # columns that status and counts mostly take
_ENDED = ("Completed", "Failed", "Canceled", "NotRun")
_FIRST_PAUSE, _LONGEST_PAUSE, _GROWTH = 2.0, 60.0, 1.3  # seconds between plain lines


class ProgressView(Protocol):
    """An observer that is closed at the end."""

    def __call__(self, event: Event) -> None: ...
    def close(self) -> None: ...


def progress_view(stream: TextIO | None = None) -> ProgressView:
    """The bar if the stream (default: stderr) is a terminal, otherwise plain lines."""
    stream = stream or sys.stderr
    return TerminalProgress(stream) if stream.isatty() else PlainProgress(stream)


class Speed:
    """What a run does per second, and how long it will take; what an earlier run had finished does not count."""

    def __init__(self) -> None:
        self._first: tuple[float, Progress] | None = None
        self._last: tuple[float, Progress] | None = None

    def update(self, at: float, progress: Progress) -> None:
        self._last = (at, progress)
        self._first = self._first or self._last

    def started(self, at: float) -> None:
        """The moment at which the job began to run."""
        if self._first is None:
            self._first = (at, Progress())

    @property
    def running(self) -> bool:
        """Whether anything has been measured."""
        return self._first is not None and self._first is not self._last

    @property
    def items(self) -> float:
        """Items per second."""
        return self._per_second(lambda progress: progress.items)

    @property
    def remaining(self) -> float | None:
        """Seconds until all mini-batches are done; None while that cannot be told."""
        if self._last is None or not self._last[1].listed:
            return None
        speed = self._per_second(_done)
        return (self._last[1].total - _done(self._last[1])) / speed if speed > 0 else None

    def _per_second(self, count: object) -> float:
        if self._first is None or self._last is None or not callable(count):
            return 0.0
        seconds = self._last[0] - self._first[0]
        return float(count(self._last[1]) - count(self._first[1])) / seconds if seconds > 0 else 0.0


def _done(progress: Progress) -> int:
    return progress.succeeded + progress.failed


class _View:
    """What both views print in the same way."""

    def __init__(self) -> None:
        self._speeds: dict[str, Speed] = {}  # by step: they run side by side
        self._failures = 0
        self._instances = 0
        self._statuses: dict[str, tuple[str, str]] = {}  # by step: a status is shown once for each of its reasons
        self._lock = threading.Lock()

    def __call__(self, event: Event) -> None:
        with self._lock:
            prefix = f"{event.step}: " if event.step else ""
            if isinstance(event, StatusChanged):
                if event.status == "Running":
                    self._speed(event.step).started(event.at)
                if self._statuses.get(event.step) != (event.status, event.reason):
                    self._status(prefix, event.status, event.reason)
                self._statuses[event.step] = (event.status, event.reason)
            elif isinstance(event, Message):
                if event.level == "WARNING":
                    self._say(f"{prefix}Warning: {event.text}")
            elif isinstance(event, AttemptFailed):
                self._attempt_failed(event, prefix)
            elif isinstance(event, InstanceStarted):
                self._instance_started(event, prefix)
            elif isinstance(event, InitFailed):
                self._say(f"{prefix}{event.node} {event.process}: init() failed: {where(event.error)}; log: {event.error.log}")
            elif isinstance(event, Progressed):
                self._speed(event.step).update(event.at, event.progress)
                self._progressed(event, prefix)
            elif isinstance(event, JobEnded):
                self._ended(event, prefix)
                if event.step and event.status == "Failed":  # others may go on for long: the page at the end comes late
                    self._say(f"{prefix}{event.message.splitlines()[0] if event.message else event.status}")

    def _speed(self, step: str) -> Speed:
        return self._speeds.setdefault(step, Speed())

    def _instance_started(self, event: InstanceStarted, prefix: str) -> None:
        """Of those on other machines it is said where they are."""
        if not elsewhere(event.host):
            return
        self._instances += 1
        if self._instances <= _INSTANCES_SHOWN:
            processes = "1 process" if event.workers == 1 else f"{event.workers} processes"
            self._say(f"{prefix}{event.node} runs on {event.host} with {processes}")
        elif self._instances == _INSTANCES_SHOWN + 1:
            self._say("where further instances run stands in the job's logs: sys/master_role.txt")

    def _attempt_failed(self, event: AttemptFailed, prefix: str) -> None:
        if event.error.kind == "command":  # the end of the step says it all
            return
        self._failures += 1
        if self._failures <= _FAILURES_SHOWN:
            item = f", item {event.error.item}" if event.error.item else ""
            attempt = f"attempt {event.attempt} of {event.attempts} failed"
            which = f"mini-batch {event.index}{item}: {'failed for good' if event.error.kind == 'input' else attempt}"
            log = f"; log: {event.error.log}" if event.error.log else ""
            self._say(f"{prefix}{which}: {where(event.error)}{log}")
        elif self._failures == _FAILURES_SHOWN + 1:
            self._say("further failed attempts are only counted here; all of them are in the job's logs")

    def _status(self, prefix: str, status: str, reason: str) -> None:
        raise NotImplementedError

    def _say(self, text: str) -> None:
        raise NotImplementedError

    def _progressed(self, event: Progressed, prefix: str) -> None:
        raise NotImplementedError

    def _ended(self, event: JobEnded, prefix: str) -> None:
        raise NotImplementedError


def _lines(now: float) -> Cadence:
    """Of plain counts; the first line does not come at once."""
    return Cadence(pause=_FIRST_PAUSE, growth=_GROWTH, longest=_LONGEST_PAUSE, next=now + _FIRST_PAUSE, told=Progress())


class PlainProgress(_View):
    """Lines: changes of status at once, counts when they have changed, in ever longer pauses."""

    def __init__(self, stream: TextIO) -> None:
        super().__init__()
        self._stream = stream
        self._cadences: dict[str, Cadence] = {}  # by step

    def close(self) -> None:
        """Nothing is left to be done."""

    def _status(self, prefix: str, status: str, reason: str) -> None:
        now = time.monotonic()
        self._cadences.setdefault(prefix, _lines(now)).next = now + _FIRST_PAUSE
        self._say(prefix + status + (f": {reason}" if reason else ""))

    def _progressed(self, event: Progressed, prefix: str) -> None:
        now = time.monotonic()
        if self._cadences.setdefault(prefix, _lines(now)).due(now, event.progress):
            self._say(prefix + counts(event.progress, self._speed(event.step)))

    def _ended(self, event: JobEnded, prefix: str) -> None:
        pass  # the page at the end says it all

    def _say(self, text: str) -> None:
        try:
            print(f"{time.strftime('%H:%M:%S')} {printable(text)}", file=self._stream, flush=True)
        except (OSError, ValueError):
            pass  # nobody reads any more; the job goes on


def _rate(speed: Speed) -> list[str]:
    """Nothing for a step that has not run, but has the results of another job."""
    return [f"{rate(speed.items, 1)} items/s"] if speed.running else []


def short_counts(progress: Progress, speed: Speed) -> str:
    """`12/100, 1 failed, 10.0 s left, 34.5 items/s`: what matters first, because a narrow terminal cuts off the end."""
    parts = [f"{_done(progress):,}/{progress.total:,}{'' if progress.listed else '…'}"]
    if progress.failed:
        parts.append(f"{progress.failed:,} failed")
    if speed.remaining is not None and _done(progress) < progress.total:
        parts.append(f"{duration(speed.remaining)} left")
    return ", ".join([*parts, *_rate(speed)])


def counts(progress: Progress, speed: Speed) -> str:
    """`12 of 100 mini-batches (12 %), 1 failed, 34.5 items/s, 10 s left`."""
    total = f"{progress.total:,}" if progress.listed else f"{progress.total:,} so far (listing…)"
    share = f" ({100 * _done(progress) // progress.total} %)" if progress.listed and progress.total else ""
    parts = [f"{_done(progress):,} of {total} mini-batches{share}"]
    if progress.failed:
        parts.append(f"{progress.failed:,} failed")
    if progress.retries:
        parts.append(f"{progress.retries:,} retries")
    parts += _rate(speed)
    if speed.remaining is not None and _done(progress) < progress.total:
        parts.append(f"{duration(speed.remaining)} left")
    return ", ".join(parts)


class TerminalProgress(_View):
    """A bar for the job, or one for each step of a pipeline; lines are printed above it. On a narrow terminal the counts only."""

    def __init__(self, stream: TextIO) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn
        from rich.table import Column

        super().__init__()
        console = Console(file=stream, highlight=False)
        self._narrow = console.width < _NARROW
        one_line = Column(no_wrap=True, overflow="ellipsis")
        text = TextColumn("{task.fields[counts]}", markup=False, table_column=one_line)
        status = TextColumn("{task.description}", markup=False)
        columns = (SpinnerColumn(), text) if self._narrow else (SpinnerColumn(), status, BarColumn(min(40, console.width - _BESIDE)), text)
        self._bar: Bar = Progress(*columns, console=console, transient=True, refresh_per_second=8)
        self._tasks: dict[str, TaskID] = {}
        self._counts: dict[str, str] = {}
        self._bar.start()

    def close(self) -> None:
        """Takes the bar away; what was printed above it stays."""
        self._bar.stop()

    def _status(self, prefix: str, status: str, reason: str) -> None:
        self._show(prefix, status)
        if status in _ENDED:
            self._stop(prefix)
        if reason:
            self._say(f"{prefix}{status}: {reason}")

    def _say(self, text: str) -> None:
        self._bar.console.print(printable(text), markup=False, soft_wrap=True)

    def _progressed(self, event: Progressed, prefix: str) -> None:
        progress = event.progress
        self._counts[prefix] = (short_counts if self._narrow else counts)(progress, self._speed(event.step))
        self._show(prefix)
        self._bar.update(self._tasks[prefix], total=progress.total if progress.listed else None, completed=_done(progress))

    def _ended(self, event: JobEnded, prefix: str) -> None:
        if prefix in self._tasks:
            self._show(prefix, event.status)
            self._stop(prefix)

    def _show(self, prefix: str, status: str = "") -> None:
        """The line of the job or step, with a new status unless that is empty. On a narrow terminal it has one text, counts first."""
        if prefix not in self._tasks:
            self._tasks[prefix] = self._bar.add_task(prefix + "Running", total=None, counts="")
        task = self._tasks[prefix]
        if status:
            self._bar.update(task, description=prefix + status)
        said = self._counts.get(prefix, "")
        description = self._bar.tasks[self._bar.task_ids.index(task)].description
        self._bar.update(task, counts=", ".join(filter(None, (said, description))) if self._narrow else said)

    def _stop(self, prefix: str) -> None:
        """A bar whose end nobody knows goes to and fro; that of something that has ended does not."""
        task = self._bar.tasks[self._bar.task_ids.index(self._tasks[prefix])]
        if task.total is None:
            self._bar.update(task.id, total=max(1, task.completed), completed=max(1, task.completed))
