"""What becomes of mini-batches: results taken in, attempts counted, pieces handed to the courier."""

from __future__ import annotations

import json
import signal
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from runner.engine import policy
from runner.engine.backlog import Backlog
from runner.engine.courier import Courier
from runner.engine.crew import Crew
from runner.engine.gather import Piece
from runner.engine.settings import InstanceSettings
from runner.engine.workers import Frame, Worker
from runner.model.batch import ErrorRecord, Tally
from runner.model.events import AttemptFailed, BatchesFinished, Message, Observer
from runner.model.ports import Clock
from runner.worker.protocol import PREFIX, RESULT, RESULT_KIND, RESULT_PREFIX_SIZE, item_of

SMOOTHING = 0.3  # weight of the newest frame in the mean time of a mini-batch
UNKNOWN = 1.0  # seconds assumed for a mini-batch before the first has ended


class Results:
    """Used by the loop thread only."""

    def __init__(
        self, settings: InstanceSettings, *, courier: Courier, backlog: Backlog, crew: Crew, publish: Observer, clock: Clock
    ) -> None:
        self._settings, self._courier, self._backlog, self._crew = settings, courier, backlog, crew
        self._publish, self._clock = publish, clock
        self._node = settings.worker.node
        self._attempts = 0
        self._deaths: Counter[int] = Counter()  # of workers that had this mini-batch before them and had not started it
        self._last: dict[int, float] = {}  # worker number → when its last result came
        self.seconds_each = UNKNOWN

    def take_in(self, worker: Worker) -> Iterator[dict[str, Any]]:
        """Works off what a worker has sent; yields the messages that are not about mini-batches."""
        buffer = worker.buffer
        at, end = 0, len(buffer)
        threshold = self._settings.error_threshold
        frame = worker.frames[0] if worker.frames else None
        view = memoryview(buffer)
        while end - at >= max(PREFIX.size, worker.need):
            kind, header_size, payload_size = PREFIX.unpack_from(buffer, at)
            stop = at + PREFIX.size + header_size + payload_size
            if stop > end:
                worker.need = stop - at
                break
            worker.need = 0
            if kind == RESULT_KIND:
                index, items, returned, nanoseconds = RESULT.unpack_from(buffer, at + PREFIX.size)
                rows = bytes(view[at + RESULT_PREFIX_SIZE : stop]) if payload_size else b""
                if frame is None or index != frame.first + frame.done or index == worker.doomed:
                    pass  # the late result of an attempt that was given up
                elif threshold >= 0 and policy.too_few(items=items, returned=returned, error_threshold=threshold):
                    self._too_few(worker, frame, (index, items, returned, nanoseconds), rows)
                else:
                    frame.results.append((index, items, returned, nanoseconds))
                    frame.done += 1
                    if rows:
                        frame.rows.append(rows)
            else:
                header = json.loads(buffer[at + PREFIX.size : at + PREFIX.size + header_size])
                if not self._message(worker, header):
                    yield header
                frame = worker.frames[0] if worker.frames else None  # it may have said that it does not do the one before
            if frame is not None and frame.done >= frame.count:
                self._frame_done(worker, frame)
                frame = worker.frames[0] if worker.frames else None
            at = stop
        view.release()
        del buffer[:at]

    def input_failed(self, index: int, error: ErrorRecord) -> None:
        """A mini-batch that could not be read: it gets no further attempt."""
        self._failed_for_good(index, Tally(failed=1), error)
        self._say_failed("", index, 1, 0.0, error, final=True)

    def worker_ended(self, worker: Worker, status: int, stacks: str, *, memory_limit: int | None = None) -> str:
        """Sorts out what a dead worker had: finished counts, running loses an attempt, unstarted loses nothing. Returns how it ended.

        `memory_limit`: it was killed for want of memory, at so many bytes (0: not known).
        """
        how = _how(worker, status) if memory_limit is None else f"out of memory{_limit(memory_limit)}"
        running = worker.doomed if worker.doomed >= 0 else worker.running()
        seconds = max(0.0, self._clock.now() - worker.slot.started / 1e9)
        rests: list[Frame | None] = []
        for frame in list(worker.frames):
            self._gather(worker, frame)
            if frame.done < frame.count and (frame.next == running or (not rests and self._died_of(worker, frame, memory_limit))):
                what = "it ran this mini-batch" if frame.next == running else "this mini-batch was handed to it"
                limit = memory_limit
                error = self._death(worker, status, how, stacks, what) if limit is None else self._out_of_memory(worker, limit)
                self._attempt_failed(worker, frame, seconds, error, items=worker.slot.items if frame.next == running else 0)
            rests.append(frame.rest())
            self._release(frame)
        worker.frames.clear()
        for rest in reversed(rests):
            self._backlog.put_back(rest)
        self._last.pop(worker.number, None)
        return how

    def _died_of(self, worker: Worker, frame: Frame, memory_limit: int | None) -> bool:
        """Whether a mini-batch that had not started is to blame: it took too long to be handed over, or too much memory, or workers
        have died over it again and again. Its reader may crash; but a worker may also be killed from outside while it waits."""
        if worker.killed or memory_limit is not None:
            return worker.killed == "overhead" or memory_limit is not None
        self._deaths[frame.next] += 1
        return self._deaths[frame.next] > policy.LOSSES_FORGIVEN

    def init_error(self, worker: Worker, how: str, stacks: str, timeout: float) -> ErrorRecord:
        """Of a worker that ended before init() had returned."""
        if worker.killed == "init":
            return self._stuck(worker, f"init() has not returned within {timeout:g} s (first_task_creation_timeout)", stacks)
        return self._crew.exit_error(worker, kind="init", message=f"the process ended in init(): {how}")

    def gather_all(self) -> None:
        """Hands over everything that is finished."""
        for worker in self._crew.workers.values():
            for frame in worker.frames:
                self._gather(worker, frame)

    def gather_before(self, moment: float) -> None:
        """Hands over what is finished of frames sent before then: it does not wait for a long mini-batch behind it in its frame."""
        for worker in self._crew.workers.values():
            if worker.frames and worker.frames[0].results and worker.frames[0].began <= moment:
                self._gather(worker, worker.frames[0])

    @property
    def oldest_finished(self) -> float:
        """When the oldest frame was sent that has something to hand over."""
        frames = (worker.frames[0] for worker in self._crew.workers.values() if worker.frames)
        return min((frame.began for frame in frames if frame.results), default=float("inf"))

    def attempt_ended(self) -> None:
        self._attempts += 1

    def take_attempts(self) -> int:
        attempts, self._attempts = self._attempts, 0
        return attempts

    def last_result(self, worker: Worker) -> float:
        return self._last.get(worker.number, 0.0)

    def leaves(self, worker: Worker, frame: Frame) -> None:
        """A frame is no longer with its worker: what is finished of it is handed over."""
        self._gather(worker, frame)
        worker.frames.remove(frame)
        self._release(frame)

    def _release(self, frame: Frame) -> None:
        if frame.scratch is not None:
            self._backlog.released(frame.scratch.release())

    def error_of(self, worker: Worker, header: dict[str, Any]) -> ErrorRecord:
        """The error in a message of a worker: untrusted, so only the known fields, as text and numbers."""
        error = header.get("error") or {}
        line = error.get("line")
        texts = {key: str(error.get(key) or "") for key in ("kind", "type", "message", "traceback", "file", "item")}
        texts["traceback"] = self._crew.shown(worker, texts["traceback"])
        texts["item"] = self._name_of(texts["item"])
        return ErrorRecord(line=line if isinstance(line, int) else 0, log=worker.stderr, **texts)

    # Inside

    def _name_of(self, item: str) -> str:
        """Of a file that was fetched for the script, where it lies in truth."""
        for local, name in self._settings.names.items():
            if item == local or item.startswith(f"{local}/"):
                return name + item[len(local) :]
        return item

    def _message(self, worker: Worker, header: dict[str, Any]) -> bool:
        kind = header["t"]
        if kind == "failed":
            frame = worker.frames[0] if worker.frames else None
            if frame is not None and header["index"] == frame.next and header["index"] != worker.doomed:
                error = self.error_of(worker, header)
                self._attempt_failed(worker, frame, header["ns"] / 1e9, error, items=header["items"])
        elif kind == "not_plain":
            self._not_plain(worker, header["index"])
        elif kind == "unstarted":
            self._unstarted(worker, first=header["seq"], count=header["count"])
        elif kind == "header":
            self._courier.header(header["index"], str(header["text"]))
        elif kind == "warning":
            self._publish(
                Message(at=self._clock.wall(), level="WARNING", text=str(header["text"]), source=f"{self._node}/{worker.process}")
            )
        return kind in ("failed", "not_plain", "unstarted", "header", "warning", "bye")

    def _frame_done(self, worker: Worker, frame: Frame) -> None:
        now = self._clock.now()
        each = (now - max(frame.began, self.last_result(worker))) / max(1, frame.count)
        self.seconds_each = each if self.seconds_each == UNKNOWN else (1 - SMOOTHING) * self.seconds_each + SMOOTHING * each
        self._last[worker.number] = now
        self.leaves(worker, frame)
        worker.check_at = now + self._settings.timeout

    def _gather(self, worker: Worker, frame: Frame) -> None:
        if found := frame.gather():
            piece, results = found
            self._courier.finish(piece, attempts=len(results))
            self._publish(BatchesFinished(at=self._clock.wall(), node=self._node, process=worker.process, rows=results))

    def _too_few(self, worker: Worker, frame: Frame, result: tuple[int, int, int, int], rows: bytes) -> None:
        _, items, returned, nanoseconds = result
        kind = "file" if self._settings.worker.kind == "files" else "row"
        text = f"run() returned {returned} element{'s' * (returned != 1)} for {items} {kind}{'s' * (items != 1)}"
        error = ErrorRecord(kind="short", message=text, log=worker.stderr)
        self._attempt_failed(worker, frame, nanoseconds / 1e9, error, items=items, returned=returned, rows=rows)

    def _attempt_failed(
        self, worker: Worker, frame: Frame, seconds: float, error: ErrorRecord, *, items: int, returned: int = 0, rows: bytes = b""
    ) -> None:
        """The next mini-batch of the frame has failed once more."""
        index = frame.next
        self._gather(worker, frame)
        # With others beside it a worker that runs out of memory is not to blame: that costs no attempt, and there are fewer the next time.
        crowded = error.kind == "out_of_memory" and bool(others := self._crew.others(worker))
        beside = policy.fewer_beside(others) if crowded else frame.beside
        spent = not policy.may_retry(failed_attempts=frame.attempt, max_retries=self._settings.max_retries)
        final = error.kind == "input" or (spent and not crowded)
        if crowded:
            error = replace(error, message=f"{error.message}; this costs no attempt: it is tried again with at most {beside} beside it")
        if final:
            given = items or self._items(frame, index)
            tally = Tally(failed=1, items=given, items_failed=max(0, given - returned), returned=returned, retries=frame.attempt - 1)
            self._failed_for_good(index, tally, error, rows)
        else:
            self._attempts += 1
            self._backlog.again(frame, index, attempt=frame.attempt + (not crowded), beside=beside)
        self._say_failed(worker.process, index, frame.attempt, seconds, error, final=final)
        frame.done += 1
        frame.cut = frame.done

    def _failed_for_good(self, index: int, tally: Tally, error: ErrorRecord, rows: bytes = b"") -> None:
        self._courier.failed(index, error)
        self._courier.finish(Piece(first=index, last=index, tally=tally, rows=[rows] if rows else []), attempts=1)

    def _say_failed(self, process: str, index: int, attempt: int, seconds: float, error: ErrorRecord, *, final: bool) -> None:
        attempts = self._settings.max_retries + 1
        self._publish(
            AttemptFailed(
                at=self._clock.wall(), node=self._node, process=process, index=index, attempt=attempt, attempts=attempts, final=final,
                seconds=seconds, error=error,
            )
        )  # fmt: skip

    def _not_plain(self, worker: Worker, index: int) -> None:
        """The worker leaves it to the loader to read the next mini-batch of its frame."""
        frame = worker.frames[0] if worker.frames else None
        if frame is not None and frame.next == index and index != worker.doomed:
            self._gather(worker, frame)
            self._backlog.not_plain(frame, index)
            frame.done += 1
            frame.cut = frame.done

    def _unstarted(self, worker: Worker, *, first: int, count: int) -> None:
        """The worker has reached the limit of its slot, at this sequence number, and skips so many."""
        frame = worker.frames[0] if worker.frames else None
        if frame is not None and frame.seq + frame.done == first:  # also what was left to it, as it seemed to have started it
            rest = frame.rest()
            self.leaves(worker, frame)
            self._backlog.put_back(rest)
        if worker.recalled and first + count >= worker.recalled and not worker.killed:
            worker.let_go()

    def _death(self, worker: Worker, status: int, how: str, stacks: str, what: str) -> ErrorRecord:
        settings = self._settings
        if worker.killed == "timeout":
            limit = f"run() took longer than {settings.timeout:g} s (retry_settings.timeout)"
            if settings.worker.command:
                text = f"the command took longer than {settings.timeout:g} s (limits.timeout)"
                return self._crew.exit_error(worker, kind="command", message=text)
            return self._stuck(worker, limit, stacks, self._item(worker))
        if worker.killed == "overhead":
            limit = f"handing over the mini-batch took longer than {settings.task_overhead_timeout:g} s (task_overhead_timeout)"
            return self._stuck(worker, limit, stacks, self._item(worker))
        kind = "killed" if status < 0 else "exit"
        if settings.worker.command:
            return self._crew.exit_error(worker, kind="command", message=f"the process that ran the command has ended: {how}")
        return self._crew.exit_error(worker, kind=kind, message=f"the worker process ended while {what}: {how}", item=self._item(worker))

    def _out_of_memory(self, worker: Worker, limit: int) -> ErrorRecord:
        if self._settings.worker.command:
            return self._crew.exit_error(worker, kind="command", message=f"the command ran out of memory{_limit(limit)}")
        others = self._crew.others(worker)
        beside = f"with {others} other worker{'s' * (others != 1)} beside it" if others else "though no other worker was beside it"
        text = f"the worker ran out of memory{_limit(limit)} while it ran this mini-batch, {beside}"
        return self._crew.exit_error(worker, kind="out_of_memory", message=text, item=self._item(worker))

    def _stuck(self, worker: Worker, limit: str, stacks: str, item: str = "") -> ErrorRecord:
        file, line = self._crew.stuck_at(worker, stacks)
        text = limit + (f"; it was at {file}:{line}" if file else "")
        stacks = self._crew.shown(worker, stacks)
        return ErrorRecord(kind="timeout", message=text, traceback=stacks, file=file, line=line, item=item, log=worker.stderr)

    def _item(self, worker: Worker) -> str:
        frame = worker.frames[0]
        return item_of(frame.manifest_line(frame.next))[1]

    def _items(self, frame: Frame, index: int) -> int:
        return item_of(frame.lines[index - frame.first])[0]


def _limit(size: int) -> str:
    return f" (limit {size / (1 << 20):,.0f} MB)" if size else ""


def _how(worker: Worker, status: int) -> str:
    reasons = {"timeout": "killed after a time-out", "overhead": "killed after a time-out", "init": "killed after a time-out of init()"}
    if worker.killed in reasons:
        return reasons[worker.killed]
    if worker.state == "ending" and status == 0:
        return "done"
    if status >= 0:
        return f"exit status {status}"
    try:
        return f"signal {signal.Signals(-status).name}"
    except ValueError:
        return f"signal {-status}"
