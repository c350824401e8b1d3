"""Carries between an instance and the coordinator: finished work one way, leases the other way.

A thread of its own, because both the disk and the coordinator may take their time while workers must not wait.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Protocol

from runner.engine.gather import Piece, merge
from runner.model.batch import ErrorRecord, Lease, Recall, Report, Stop, Tally, Wait
from runner.model.ports import Clock
from runner.outputs.outlet import Durable, Outlet

FLUSH_SECONDS = 1.0  # the longest that rows wait
REPORT_SECONDS = 0.25  # between two reports of mere progress
WAITING_SECONDS = 5.0  # between two reports that a storage does not answer
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
    None when rows have left the memory. `outlet(prefix, changed)` makes what takes the rows; `waiting`: a storage does not answer.
    """

    def __init__(
        self,
        *,
        exchange: Exchange,
        name: str,
        workers: int,
        outlet: Callable[[str, Callable[[], None]], Outlet],
        prefix: str,
        clock: Clock,
        deliver: Callable[[Lease | Recall | Stop | None], None],
        waiting: Callable[[], bool] = lambda: False,
    ) -> None:
        self._exchange, self._clock, self._deliver, self._storage_waits = exchange, clock, deliver, waiting
        self._changed = threading.Condition()
        self._pieces: list[Piece] = []
        self._gathered_bytes = 0  # of the pieces
        self._pending_bytes = 0  # and of what the outlet has
        self._came = False  # something from the outlet
        self._oldest = float("inf")  # when the first of the pieces came
        self._finished = Tally()
        self._durable = Tally()
        self._failures: list[tuple[int, ErrorRecord]] = []
        self._returned: list[tuple[int, int]] = []
        self._header: tuple[int, str] | None = None
        self._ready = self._attempts = 0
        self._running: tuple[int, ...] = ()
        self._want = 0
        self._patiently = self._whole = True
        self._waiting = self._nudged = self._idle = self._dirty = self._ended = self._stopped = False
        self._reported = 0.0
        self._lease_on_its_way = self._fenced = False
        self._written = 0  # bytes of rows that the job has
        self.pace = 0.0  # seconds between two exchanges, as the coordinator would have it
        self._thread = threading.Thread(target=self._run, name=f"courier-{name}", daemon=True)
        self.error: BaseException | None = None
        self.epoch = exchange.join(name, workers=workers, wake=self.nudge)
        self._outlet = outlet(f"{prefix}-{self.epoch}", self._outlet_changed)

    def start(self) -> None:
        self._thread.start()

    def prepare(self) -> None:
        """Of the outlet: before any worker starts. Errors: OSError, UserError."""
        self._outlet.prepare()

    # Called by the loop thread

    def finish(self, piece: Piece, *, attempts: int) -> None:
        """A run of mini-batches is done."""
        with self._changed:
            if not self._pieces:
                self._oldest = self._clock.now()
            self._pieces.append(piece)
            self._gathered_bytes += piece.bytes
            self._pending_bytes += piece.bytes
            self._finished += piece.tally
            self._attempts += attempts
            self._dirty = True
            if len(self._pieces) == 1 or self._gathered_bytes >= self._outlet.flush_bytes:
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
        """Rows that are in memory because no disk and no storage has taken them yet."""
        return self._pending_bytes

    def nudge(self) -> None:
        """The coordinator has something; called from any thread."""
        with self._changed:
            self._nudged, self._waiting = True, False
            self._changed.notify()

    def end(self, *, patiently: bool = True, whole: bool = False) -> None:
        """Hands in what there is and ends; returns when that is done. See Outlet: `finish`, and with `whole` `put_together`."""
        with self._changed:
            self._ended, self._patiently, self._whole = True, patiently, whole
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
        self._outlet.write(merge(pieces))
        if last:
            self._outlet.finish(patiently=self._patiently)
        self._hand_in(self._outlet.take(), returned, want)
        if last and self._whole and not self._fenced:
            self._outlet.put_together()
            if durable := self._outlet.take():
                self._hand_in(durable, [], 0)
        if (error := self._outlet.error) and self.error is None:
            self.error = error
            self._deliver(Stop(reason="output"))  # the loop ends the instance; what is finished until then is still handed in
        return not last

    def _hand_in(self, durable: Durable, returned: list[tuple[int, int]], want: int) -> None:
        for segment in durable.segments:
            self._durable += segment.tally
        with self._changed:
            failures, self._failures = self._failures, []  # now, with the counts that they are in: the verdict names the first
            report = Report(
                segments=durable.segments,
                blocks=durable.blocks,
                volatile=self._finished - self._durable,
                returned=tuple(returned),
                failures=tuple(failures),
                header=self._header,
                ready=self._ready,
                running=self._running,
                attempts=self._attempts,
                waiting=self._storage_waits(),
            )
        answer = self._exchange.exchange(self.epoch, report, want)
        with self._changed:
            self._pending_bytes -= sum(segment.length for segment in durable.segments)
            if isinstance(answer, (Lease, Wait)):
                self.pace, self._written = answer.pace, answer.written
            if isinstance(answer, Wait):
                self._waiting = want > 0 and not self._nudged
            elif isinstance(answer, Lease):
                self._want, self._lease_on_its_way = 0, True
        self._fenced = answer == Stop(reason="fenced")
        if not self._fenced:
            self._outlet.acknowledged(durable.segments, self._written)
        if durable.segments and isinstance(answer, Wait):
            self._deliver(None)
        if not isinstance(answer, Wait) and not self._stopped:
            self._stopped = isinstance(answer, Stop)
            self._deliver(answer)

    def _outlet_changed(self) -> None:
        with self._changed:
            self._came = True
            self._changed.notify()

    def _seconds_until_due(self) -> float:
        now = self._clock.now()
        if self._stopped and not self._ended:
            return 3600
        if self._ended or self._nudged or self._came or (self._want > 0 and not self._waiting):
            return 0
        if self._gathered_bytes >= self._outlet.flush_bytes:
            return 0
        if self._idle and self._pieces:
            return 0
        due = self._oldest + flush_seconds(self.pace) if self._pieces else now + 10
        if self._dirty:
            due = min(due, self._reported + report_seconds(self.pace))
        if self._storage_waits():
            due = min(due, self._reported + WAITING_SECONDS)
        return min(due - now, 10)

    def _collect(self) -> tuple[list[Piece], list[tuple[int, int]], int]:
        now = self._clock.now()
        full = self._gathered_bytes >= self._outlet.flush_bytes
        flush = self._ended or self._idle or full or now >= self._oldest + FLUSH_SECONDS
        pieces: list[Piece] = []
        if flush:
            pieces, self._pieces, self._oldest, self._gathered_bytes = self._pieces, [], float("inf"), 0
        returned, self._returned = self._returned, []
        self._nudged = self._dirty = self._came = False
        self._reported = now
        return pieces, returned, self._want
