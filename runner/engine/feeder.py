"""Gives work to idle workers, takes it back from behind long mini-batches, and ends what takes too long."""

from __future__ import annotations

from collections.abc import Callable

from runner.engine import policy
from runner.engine.backlog import Backlog
from runner.engine.courier import Courier
from runner.engine.crew import Crew
from runner.engine.results import Results
from runner.engine.settings import InstanceSettings
from runner.engine.switchboard import Switchboard
from runner.engine.workers import Frame, Worker
from runner.model.batch import ErrorRecord
from runner.model.ports import Clock

RECALL_AFTER = 0.02  # seconds that a mini-batch runs before those that wait behind it are taken back, when others idle
PENDING_LIMIT = 64 << 20  # bytes of rows waiting for the disk beyond which nothing new is started
GATHER_SECONDS = 0.25  # that finished mini-batches wait for the rest of their frame
PREFETCH_SECONDS = 0.005  # mini-batches cheaper than this wait in the worker, dearer ones in the instance


class Feeder:
    """Used by the loop thread only."""

    def __init__(
        self,
        settings: InstanceSettings,
        *,
        crew: Crew,
        backlog: Backlog,
        courier: Courier,
        results: Results,
        switchboard: Switchboard,
        clock: Clock,
        calm_since: Callable[[], float] = lambda: float("-inf"),
    ) -> None:
        """`calm_since`: when the storage that loading may wait for last began to answer; inf: it does not now."""
        self._calm_since = calm_since
        self._settings, self._crew, self._backlog, self._courier = settings, crew, backlog, courier
        self._results, self._switchboard, self._clock = results, switchboard, clock
        self._processes = settings.worker.processes

    def dispatch(self) -> None:
        ready = self._crew.ready()
        if self._courier.pending_bytes > PENDING_LIMIT or not self._has_room(ready):
            return
        seconds = self._results.seconds_each
        size = policy.frame_size(seconds_each=seconds, bytes_each=self._backlog.bytes_each, frame_bytes=self._backlog.room.frame)
        size = max(1, min(size, self._backlog.count // (2 * self._processes)))
        self._backlog.load_ahead(size, frames=self._processes + 1)
        for depth in range(2 if seconds < PREFETCH_SECONDS else 1):
            for worker in ready:
                if len(worker.frames) == depth and not worker.recalled and not worker.killed and (frame := self._backlog.take(size)):
                    self._send(worker, frame)

    def _has_room(self, ready: list[Worker]) -> bool:
        """After one has run out of memory: whether there are as few workers as the next mini-batch wants. Others are let go."""
        beside = self._backlog.beside
        if beside is not None:
            return self._crew.shrink(beside + 1, self._clock.now())
        if self._crew.vacant and not self._backlog.has_heavy and not any(one.frames and one.frames[0].beside is not None for one in ready):
            self._crew.refill()
        return True

    def _send(self, worker: Worker, frame: Frame) -> None:
        now = self._clock.now()
        frame.seq, frame.began = worker.seq, now
        worker.seq += frame.count
        if not worker.frames:
            worker.check_at = now + min(self._settings.timeout, self._settings.task_overhead_timeout)
        worker.frames.append(frame)
        header: dict[str, object] = {"t": "work", "first": frame.first, "count": frame.count, "seq": frame.seq}
        if frame.attempt > 1:
            header["attempt"] = frame.attempt
        worker.send(header, b"\n".join(frame.lines))
        self._switchboard.watch(worker)

    def rebalance(self) -> None:
        """Workers idle and nothing is left to give: take back what waits behind a long mini-batch."""
        if self._backlog.count or not self._idle():
            return
        for worker in self._crew.ready():
            started = worker.slot.started / 1e9
            if worker.unstarted and not worker.recalled and self._clock.now() - started >= RECALL_AFTER:
                self._recall(worker)

    def _recall(self, worker: Worker) -> None:
        """Leaves it what it has started."""
        limit = worker.hold(worker.slot.running)
        for frame in reversed(list(worker.frames)):
            if rest := frame.rest(keep=limit - frame.seq):
                self._backlog.put_back(rest)
                worker.recalled = worker.seq
                if frame.done >= frame.count:
                    self._results.leaves(worker, frame)
        if not worker.recalled:
            worker.let_go()

    def _idle(self) -> bool:
        return any(not worker.frames for worker in self._crew.ready())

    def may_recall(self) -> bool:
        """Whether workers idle while others have something waiting."""
        return self._backlog.count == 0 and self._idle() and any(worker.unstarted for worker in self._crew.workers.values())

    # Time-outs

    def look_after(self) -> None:
        now = self._clock.now()
        for worker in list(self._crew.workers.values()):
            if worker.killed:
                continue
            if worker.state == "ending":
                if now >= worker.check_at:
                    self._crew.kill(worker, "stop")
            elif worker.state in ("preparing", "starting"):
                worker.check_at = worker.started + self._settings.first_task_creation_timeout
                if now >= worker.check_at:
                    self._crew.kill(worker, "init", dump=True)
            elif not worker.frames:
                worker.check_at = float("inf")
            elif now >= worker.check_at:
                self._check(worker, now)
        self._results.gather_before(now - GATHER_SECONDS)
        limit = self._settings.task_overhead_timeout
        patient = now - self._calm_since() < limit  # a wait for a storage is limited by its own patience
        for index in () if patient else self._backlog.give_up_loading(now - limit):
            text = f"reading the mini-batch took longer than {limit:g} s (task_overhead_timeout)"
            self._results.input_failed(index, ErrorRecord(kind="timeout", message=text))

    def _check(self, worker: Worker, now: float) -> None:
        frame = worker.frames[0]
        if worker.running() < 0:  # between two mini-batches: reading a table, or not yet awake
            worker.check_at = max(frame.began, self._results.last_result(worker)) + self._settings.task_overhead_timeout
            why = "overhead"
        else:
            worker.check_at = worker.slot.started / 1e9 + self._settings.timeout
            why = "timeout"
        if now >= worker.check_at:
            self._end(worker, why)

    def _end(self, worker: Worker, why: str) -> None:
        stuck, limit = worker.running(), worker.slot.limit
        worker.hold(0)
        if worker.running() == stuck:
            self._crew.kill(worker, why, dump=True)
        else:  # it went on at this very moment, and is spared
            worker.slot.limit = limit
