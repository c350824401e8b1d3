"""Carries between an instance and the coordinator: finished work one way, leases the other way.

A thread of its own, because both the disk and the coordinator may take their time while workers must not wait.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from runner.engine.gather import Piece, write
from runner.model.batch import ErrorRecord, Lease, Recall, Report, Stop, Tally, Wait
from runner.model.ports import Clock
from runner.outputs.folders import sync_filesystem
from runner.outputs.rows import PartWriter

FLUSH_BYTES = 8 << 20  # rows that make a flush due at once
FLUSH_SECONDS = 1.0  # the longest that rows wait
REPORT_SECONDS = 0.25  # between two reports of mere progress
FAILURES_PER_REPORT = 20


def flush_seconds(pace: float) -> float:
    """The longest that rows wait. With very many instances a little longer than a lease lasts, so that one exchange does for both."""
    return max(FLUSH_SECONDS, 1.5 * pace)


def report_seconds(pace: float) -> float:
    """Between two reports of mere progress; likewise."""
    return max(REPORT_SECONDS, 1.5 * pace)


class Exchange(Protocol):
    """What a courier needs of the coordinator."""

    def join(self, name: str, *, workers: int, wake: Callable[[], None]) -> int: ...
    def exchange(self, epoch: int, report: Report, want: int) -> Lease | Wait | Recall | Stop: ...


class Courier:
    """The loop thread calls all methods but `nudge`. `deliver` is called in the courier's thread, with each answer that matters, and with
    None when rows have left the memory.
    """

    def __init__(
        self,
        *,
        exchange: Exchange,
        name: str,
        workers: int,
        parts: Path,
        prefix: str,
        clock: Clock,
        deliver: Callable[[Lease | Recall | Stop | None], None],
        synced: tuple[str, ...] = (),
    ) -> None:
        self._exchange, self._clock, self._deliver, self._synced = exchange, clock, deliver, synced
        self._changed = threading.Condition()
        self._pieces: list[Piece] = []
        self._pending_bytes = 0
        self._oldest = float("inf")  # when the first of the pieces came
        self._finished = Tally()
        self._durable = Tally()
        self._failures: list[tuple[int, ErrorRecord]] = []
        self._returned: list[tuple[int, int]] = []
        self._header: tuple[int, str] | None = None
        self._ready = self._attempts = 0
        self._running: tuple[int, ...] = ()
        self._want = 0
        self._waiting = self._nudged = self._idle = self._dirty = self._ended = self._stopped = False
        self._reported = 0.0
        self._lease_on_its_way = False
        self.pace = 0.0  # seconds between two exchanges, as the coordinator would have it
        self._thread = threading.Thread(target=self._run, name=f"courier-{name}", daemon=True)
        self.error: BaseException | None = None
        self.epoch = exchange.join(name, workers=workers, wake=self.nudge)
        self._parts = PartWriter(parts, f"{prefix}-{self.epoch}")

    def start(self) -> None:
        self._thread.start()

    # Called by the loop thread

    def finish(self, piece: Piece, *, attempts: int) -> None:
        """A run of mini-batches is done."""
        with self._changed:
            if not self._pieces:
                self._oldest = self._clock.now()
            self._pieces.append(piece)
            self._pending_bytes += piece.bytes
            self._finished += piece.tally
            self._attempts += attempts
            self._dirty = True
            if len(self._pieces) == 1 or self._pending_bytes >= FLUSH_BYTES:
                self._changed.notify()

    def failed(self, index: int, error: ErrorRecord) -> None:
        with self._changed:
            if len(self._failures) < FAILURES_PER_REPORT:
                self._failures.append((index, error))

    def give_back(self, ranges: list[tuple[int, int]]) -> None:
        with self._changed:
            self._returned += ranges
            self._nudged = True
            self._changed.notify()

    def header(self, index: int, text: str) -> None:
        with self._changed:
            if self._header is None or index < self._header[0]:
                self._header = (index, text)

    def alive(self, *, ready: int, running: tuple[int, ...], attempts: int = 0) -> None:
        """The state of the workers; `attempts` are further ended attempts and init()s that are not told of by `finish`."""
        with self._changed:
            changed = ready != self._ready or bool(attempts)
            self._ready, self._running = ready, running
            self._attempts += attempts
            if changed and not self._dirty:
                self._dirty = True
                self._changed.notify()

    def ask(self, want: int, *, idle: bool) -> None:
        """How many further mini-batches are wanted; `idle`: nothing runs here, so do not let finished rows wait."""
        with self._changed:
            want = 0 if self._lease_on_its_way else want
            becomes_due = (want > 0 and not self._waiting) or (idle and bool(self._pieces))
            self._want, self._idle = want, idle
            if becomes_due:
                self._changed.notify()

    def received(self) -> None:
        """The lease that was delivered is in the backlog."""
        with self._changed:
            self._lease_on_its_way = False

    @property
    def pending_bytes(self) -> int:
        """Rows that are in memory because the disk has not taken them yet."""
        return self._pending_bytes

    def nudge(self) -> None:
        """The coordinator has something; called from any thread."""
        with self._changed:
            self._nudged, self._waiting = True, False
            self._changed.notify()

    def end(self) -> None:
        """Hands in what there is and ends; returns when that is done."""
        with self._changed:
            self._ended = True
            self._changed.notify()
        self._thread.join()

    # The thread

    def _run(self) -> None:
        try:
            while self._round():
                pass
        except BaseException as error:  # handed to the loop, which ends the instance
            self.error = error
            self._deliver(Stop(reason="output" if isinstance(error, OSError) else "internal"))

    def _round(self) -> bool:
        with self._changed:
            while (seconds := self._seconds_until_due()) > 0:
                self._changed.wait(seconds)
            last = self._ended
            pieces, returned, want = self._collect()
        if pieces:
            for folder in self._synced:
                sync_filesystem(Path(folder))
        segments = write(pieces, self._parts)
        for segment in segments:
            self._durable += segment.tally
        with self._changed:
            failures, self._failures = self._failures, []  # now, with the counts that they are in: the verdict names the first
            report = Report(
                segments=segments,
                volatile=self._finished - self._durable,
                returned=tuple(returned),
                failures=tuple(failures),
                header=self._header,
                ready=self._ready,
                running=self._running,
                attempts=self._attempts,
            )
        answer = self._exchange.exchange(self.epoch, report, want)
        with self._changed:
            self._pending_bytes -= sum(piece.bytes for piece in pieces)
            if isinstance(answer, (Lease, Wait)):
                self.pace = answer.pace
            if isinstance(answer, Wait):
                self._waiting = want > 0 and not self._nudged
            elif isinstance(answer, Lease):
                self._want, self._lease_on_its_way = 0, True
        if pieces and isinstance(answer, Wait):
            self._deliver(None)
        if not isinstance(answer, Wait) and not self._stopped:
            self._stopped = isinstance(answer, Stop)
            self._deliver(answer)
        return not last

    def _seconds_until_due(self) -> float:
        now = self._clock.now()
        if self._stopped and not self._ended:
            return 3600
        if self._ended or self._nudged or (self._want > 0 and not self._waiting) or self._pending_bytes >= FLUSH_BYTES:
            return 0
        if self._idle and self._pieces:
            return 0
        due = self._oldest + flush_seconds(self.pace) if self._pieces else now + 10
        if self._dirty:
            due = min(due, self._reported + report_seconds(self.pace))
        return min(due - now, 10)

    def _collect(self) -> tuple[list[Piece], list[tuple[int, int]], int]:
        now = self._clock.now()
        flush = self._ended or self._idle or self._pending_bytes >= FLUSH_BYTES or now >= self._oldest + FLUSH_SECONDS
        pieces: list[Piece] = []
        if flush:
            pieces, self._pieces, self._oldest = self._pieces, [], float("inf")
        returned, self._returned = self._returned, []
        self._nudged = self._dirty = False
        self._reported = now
        return pieces, returned, self._want
