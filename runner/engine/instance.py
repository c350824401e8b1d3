"""One instance: a keeper, its workers, and the loop that feeds them, enforces time-outs and takes in results."""

from __future__ import annotations

import contextlib
import os
import queue
import selectors
import shutil
import socket
import tempfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Protocol

from runner.engine import policy
from runner.engine.backlog import FRAME_BYTES, Backlog
from runner.engine.courier import Courier, Exchange
from runner.engine.crew import Crew, WorkerSettings
from runner.engine.results import Results
from runner.engine.workers import Frame, Worker
from runner.model.batch import ErrorRecord, Lease, Loaded, Recall, Stop
from runner.model.events import InitFailed, InstanceEnded, InstanceStarted, Observer, WorkerEnded, WorkerReady, WorkerStarted
from runner.model.ports import Clock, InstanceRequest, Launcher, Loader
from runner.outputs.rows import PartWriter
from runner.worker.protocol import SOCKET_NAME, Reader, Slot, message

RECALL_AFTER = 0.02  # seconds that a mini-batch runs before those that wait behind it are taken back, when others idle
PENDING_LIMIT = 64 << 20  # bytes of rows waiting for the disk beyond which nothing new is started
SHUTDOWN_SECONDS = 30.0
KEEPER_SECONDS = 10.0
PREFETCH_SECONDS = 0.005  # mini-batches cheaper than this wait in the worker, dearer ones in the instance


class Gateway(Exchange, Protocol):
    """What an instance needs of the coordinator."""

    def join(self, name: str, *, workers: int, wake: Callable[[], None]) -> int: ...
    def leave(self, epoch: int, *, gave_up: str = "", lost: bool = False) -> None: ...
    def init_failed(self, epoch: int, error: ErrorRecord) -> None: ...
    def fail(self, code: str, message: str) -> None: ...


@dataclass(frozen=True, kw_only=True)
class InstanceSettings:
    """`worker` is what workers are told; the rest is how they are supervised. Seconds throughout."""

    worker: WorkerSettings
    request: InstanceRequest  # its `sockets` are filled in when the instance starts
    parts: Path
    epoch: int  # of the job: part of the names of parts
    max_retries: int = 2
    timeout: float = 60
    error_threshold: int = -1
    task_overhead_timeout: float = 600
    first_task_creation_timeout: float = 600
    synced: tuple[str, ...] = ()  # folders that scripts write to: durable before their mini-batches count as done


class InstanceLost(Exception):  # noqa: N818 - it is not an error of anybody's
    """The keeper has died, and all workers with it; another instance may take the place."""


class Instance:
    """`run` blocks until the coordinator says stop. Everything happens in its thread but disk, coordinator and loading."""

    def __init__(
        self, settings: InstanceSettings, *, gateway: Gateway, launcher: Launcher, loader: Loader | None, publish: Observer, clock: Clock
    ) -> None:
        self.settings, self._gateway, self._launcher, self._publish, self._clock = settings, gateway, launcher, publish, clock
        self._node = settings.worker.node
        self._processes = settings.worker.processes
        self._inbox: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()
        self._wake_read, self._wake_write = os.pipe()
        os.set_blocking(self._wake_read, False)
        os.set_blocking(self._wake_write, False)
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._wake_read, selectors.EVENT_READ, self._woken)
        self._pool = ThreadPoolExecutor(max_workers=max(2, self._processes), thread_name_prefix=self._node)
        self._sockets = Path(tempfile.mkdtemp(prefix="runner-", dir=_memory_folder()))
        self._keeper: socket.socket | None = None
        self._keeper_reader = Reader()
        self._keeper_outbox: list[bytes] = []
        self._stop: Stop | None = None
        self._ended_at: float | None = None
        self._attempts = 0
        self._init_failures = 0
        self._ever_ready = False
        self._began = clock.now()
        self._crew = Crew(
            settings.worker,
            sockets=self._sockets,
            pool=self._pool,
            post=self._post,
            tell_keeper=self._tell_keeper,
            now=clock.now,
        )
        self._backlog = Backlog(loader=loader, pool=self._pool, scratch=self._sockets, loaded=self._loaded)
        self._epoch = gateway.join(self._node, workers=self._processes, wake=self._wake_courier)
        parts = PartWriter(settings.parts, f"{settings.epoch:04d}-{self._node}-{self._epoch}")
        self._courier = Courier(
            exchange=gateway,
            epoch=self._epoch,
            parts=parts,
            clock=clock,
            deliver=lambda answer: self._post(partial(self._answer, answer)),
            synced=settings.synced,
        )
        self._results = Results(settings, courier=self._courier, backlog=self._backlog, crew=self._crew, publish=publish, clock=clock)

    def run(self) -> None:
        """Returns when all is handed in. Errors: InstanceLost, after which the coordinator has taken back what was here."""
        listener = self._listen()
        process = self._launcher.start(self._request())
        self._publish(InstanceStarted(at=self._clock.wall(), node=self._node, workers=self._processes, host=socket.gethostname()))
        reason, lost = "", False
        self._courier.start()
        try:
            for lane in range(self._processes):
                self._crew.start(lane)
            self._courier.ask(self._processes, idle=True)
            while not self._over():
                self._turn()
        except InstanceLost:
            lost = True
            raise
        finally:
            self._end(listener, process.kill, lost)
            process.wait(KEEPER_SECONDS)
            self._publish(InstanceEnded(at=self._clock.wall(), node=self._node, reason=reason))

    # The loop

    def _turn(self) -> None:
        for key, mask in self._selector.select(self._seconds()):
            key.data(mask)
        while not self._inbox.empty():
            self._inbox.get()()
        self._look_after_workers()
        if self._stop is None:
            self._dispatch()
            self._rebalance()
            self._report()

    def _seconds(self) -> float:
        """Until the next time-out."""
        now = self._clock.now()
        times = [worker.check_at for worker in self._crew.workers.values() if not worker.killed]
        if self._ended_at is not None:
            times.append(self._ended_at + SHUTDOWN_SECONDS)
        if self._backlog.count == 0 and self._idle() and any(worker.unstarted for worker in self._crew.workers.values()):
            times.append(now + RECALL_AFTER)
        return max(0.0, min(times, default=now + 60) - now)

    def _over(self) -> bool:
        if self._stop is None:
            return False
        if self._stop.reason != "completed" or not self._crew.workers:
            return True
        assert self._ended_at is not None
        return self._clock.now() > self._ended_at + SHUTDOWN_SECONDS

    def _dispatch(self) -> None:
        ready = self._crew.ready()
        if self._courier.pending_bytes > PENDING_LIMIT:
            return
        seconds = self._results.seconds_each
        size = policy.frame_size(seconds_each=seconds, bytes_each=self._backlog.bytes_each, frame_bytes=FRAME_BYTES)
        size = max(1, min(size, self._backlog.count // (2 * self._processes)))
        self._backlog.load_ahead(size, frames=self._processes + 1)
        for depth in range(2 if seconds < PREFETCH_SECONDS else 1):
            for worker in ready:
                if len(worker.frames) == depth and not worker.recalled and not worker.killed and (frame := self._backlog.take(size)):
                    self._send(worker, frame)

    def _send(self, worker: Worker, frame: Frame) -> None:
        now = self._clock.now()
        frame.seq, frame.began = worker.seq, now
        worker.seq += frame.count
        if not worker.frames:
            worker.check_at = now + min(self.settings.timeout, self.settings.task_overhead_timeout)
        worker.frames.append(frame)
        header: dict[str, object] = {"t": "work", "first": frame.first, "count": frame.count, "seq": frame.seq}
        if frame.attempt > 1:
            header["attempt"] = frame.attempt
        worker.send(header, b"\n".join(frame.lines))
        self._watch(worker)

    def _rebalance(self) -> None:
        """Workers idle and nothing is left to give: take back what waits behind a long mini-batch."""
        if self._backlog.count or not self._idle():
            return
        for worker in self._crew.ready():
            started = worker.slot.started / 1e9
            if worker.unstarted and not worker.recalled and self._clock.now() - started >= RECALL_AFTER:
                self._recall(worker)

    def _recall(self, worker: Worker) -> None:
        slot = worker.slot
        slot.limit = slot.running  # the sequence number after the running one
        limit = slot.running  # it may have started another one in the meantime
        for frame in list(worker.frames):
            keep = min(max(limit - frame.seq, frame.done), frame.count)
            if keep < frame.count:
                taken = Frame(first=frame.first + keep, lines=frame.lines[keep : frame.count], attempt=frame.attempt, scratch=frame.scratch)
                taken.sources = frame.sources[keep : frame.count] if frame.sources else ()
                if frame.scratch:
                    frame.scratch.users += 1
                frame.count = keep
                worker.recalled += 1
                self._backlog.put_back(taken)
                if frame.done >= keep:
                    worker.frames.remove(frame)
                    self._results.release(frame)
        if not worker.recalled:
            slot.limit = Slot.NO_LIMIT

    def _idle(self) -> bool:
        return any(not worker.frames for worker in self._crew.ready())

    def _report(self) -> None:
        """Tells the courier what is wanted and how things stand."""
        workers = self._crew.ready()
        running = tuple(worker.frames[0].next for worker in workers if worker.frames)
        self._courier.alive(ready=len(workers), running=running, attempts=self._results.take_attempts())
        seconds = self._results.seconds_each
        target = policy.lease_size(seconds_each=seconds, workers=self._processes, instances=1)
        want = target if self._backlog.count * 2 <= target else 0
        self._courier.ask(want, idle=not running and self._backlog.count == 0)

    # Time-outs

    def _look_after_workers(self) -> None:
        now = self._clock.now()
        for worker in list(self._crew.workers.values()):
            if worker.killed:
                continue
            if worker.state == "starting":
                worker.check_at = worker.started + self.settings.first_task_creation_timeout
                if now >= worker.check_at:
                    self._crew.kill(worker, "init", dump=True)
            elif not worker.frames:
                worker.check_at = float("inf")
            elif now >= worker.check_at:
                self._check(worker, now)

    def _check(self, worker: Worker, now: float) -> None:
        frame = worker.frames[0]
        if worker.running() < 0:  # between two mini-batches: reading a table, or not yet awake
            worker.check_at = max(frame.began, self._results.last_result(worker)) + self.settings.task_overhead_timeout
            why = "overhead"
        else:
            worker.check_at = worker.slot.started / 1e9 + self.settings.timeout
            why = "timeout"
        if now >= worker.check_at:
            self._crew.kill(worker, why, dump=True)

    # What arrives

    def _listen(self) -> socket.socket:
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        listener.bind(str(self._sockets / SOCKET_NAME))
        listener.listen(self._processes + 8)
        listener.setblocking(False)
        self._selector.register(listener, selectors.EVENT_READ, lambda _mask: self._accept(listener))
        return listener

    def _accept(self, listener: socket.socket) -> None:
        with contextlib.suppress(BlockingIOError):
            connection, _ = listener.accept()
            connection.setblocking(False)
            reader = Reader()
            self._selector.register(connection, selectors.EVENT_READ, lambda _mask: self._greeted(connection, reader))

    def _greeted(self, connection: socket.socket, reader: Reader) -> None:
        """The first message of a connection tells whose it is."""
        data = connection.recv(65536)
        reader.feed(data)
        for header, _ in reader:
            assert isinstance(header, dict)
            self._selector.unregister(connection)
            if header["t"] == "keeper":
                self._keeper = connection
                self._selector.register(connection, selectors.EVENT_READ, self._keeper_speaks)
                for text in self._keeper_outbox:
                    self._tell_keeper(text)
                self._keeper_outbox.clear()
            else:
                self._hello(connection, header)
            return
        if not data:
            self._selector.unregister(connection)
            connection.close()

    def _hello(self, connection: socket.socket, header: dict[str, object]) -> None:
        worker = self._crew.workers.get(int(str(header["worker"])))
        if worker is None:
            connection.close()
            return
        worker.socket, worker.pid = connection, int(str(header["pid"]))
        self._watch(worker)
        self._publish(WorkerStarted(at=self._clock.wall(), node=self._node, process=worker.process, pid=worker.pid))
        if self.settings.worker.kind == "table":
            if not header.get("pandas"):
                text = (
                    f"the input is a table, and the script's Python {header.get('python')} has no pandas; add it to the job's environment"
                )
                self._gateway.fail("environment", text)
            self._backlog.transport = "arrow" if header.get("pyarrow") else "csv"

    def _watch(self, worker: Worker) -> None:
        assert worker.socket is not None
        wanted = selectors.EVENT_READ | (selectors.EVENT_WRITE if worker.outbox else 0)
        try:
            key = self._selector.get_key(worker.socket)
        except KeyError:
            self._selector.register(worker.socket, wanted, partial(self._worker_speaks, worker))
            return
        if key.events != wanted:
            self._selector.modify(worker.socket, wanted, key.data)

    def _worker_speaks(self, worker: Worker, mask: int) -> None:
        if mask & selectors.EVENT_WRITE:
            worker.flush()
            self._watch(worker)
        if mask & selectors.EVENT_READ and worker.socket is not None:
            if worker.receive():
                self._hear(worker)
            else:
                self._selector.unregister(worker.socket)  # the keeper will say how it ended

    def _hear(self, worker: Worker) -> None:
        for header in self._results.take_in(worker):
            kind = header["t"]
            if kind == "ready":
                worker.state, self._ever_ready = "ready", True
                seconds = float(str(header["seconds"]))
                self._results.attempt_ended()
                self._publish(WorkerReady(at=self._clock.wall(), node=self._node, process=worker.process, seconds=seconds))
            elif kind == "init_failed":
                worker.killed = worker.killed or "init_failed"
                self._init_failed(worker, self._results.error_of(header, log=worker.stderr))

    def _keeper_speaks(self, _mask: int) -> None:
        assert self._keeper is not None
        try:
            data = self._keeper.recv(65536)
        except (BlockingIOError, ConnectionResetError):
            data = b""
        if not data:
            self._selector.unregister(self._keeper)
            if self._stop is None:
                raise InstanceLost(f"{self._node}: the keeper of the workers has died")
            return
        self._keeper_reader.feed(data)
        for header, _ in self._keeper_reader:
            if isinstance(header, dict) and header["t"] == "exited" and (worker := self._crew.workers.get(header["worker"])):
                self._worker_ended(worker, int(header["status"]), str(header.get("stacks") or ""))

    def _worker_ended(self, worker: Worker, status: int, stacks: str) -> None:
        if worker.socket is not None:
            while (before := len(worker.buffer)) >= 0 and worker.receive() and len(worker.buffer) > before:
                self._hear(worker)
            with contextlib.suppress(KeyError):
                self._selector.unregister(worker.socket)
        starting = worker.state == "starting"
        how = self._results.worker_ended(worker, status, stacks)
        if starting and worker.killed != "init_failed" and self._stop is None:
            self._init_failed(worker, self._results.init_error(worker, how, stacks, self.settings.first_task_creation_timeout))
        self._crew.ended(worker)
        self._publish(WorkerEnded(at=self._clock.wall(), node=self._node, process=worker.process, how=how))
        if self._stop is None:
            self._crew.start(worker.lane)

    def _init_failed(self, worker: Worker, error: ErrorRecord) -> None:
        self._init_failures += 1
        self._results.attempt_ended()
        self._publish(InitFailed(at=self._clock.wall(), node=self._node, process=worker.process, error=error))
        self._gateway.init_failed(self._epoch, error)
        hung = error.kind == "timeout" and not self._ever_ready
        if self._stop is None and (hung or policy.init_hopeless(failures=self._init_failures, processes=self._processes)):
            self._gateway.leave(self._epoch, gave_up=f"init() has failed {self._init_failures} times on {self._node}")
            self._answer(Stop(reason="init"))

    def _loaded(self, frame: Frame, loaded: Loaded | BaseException) -> None:
        self._post(partial(self._arrived, frame, loaded))

    def _arrived(self, frame: Frame, loaded: Loaded | BaseException) -> None:
        if isinstance(loaded, BaseException):
            raise loaded
        for index, error in self._backlog.arrived(frame, loaded):
            self._results.input_failed(index, error)

    def _answer(self, answer: Lease | Recall | Stop) -> None:
        if isinstance(answer, Lease):
            self._backlog.add(answer)
        elif isinstance(answer, Recall):
            self._courier.give_back(self._backlog.give_back())
        elif self._stop is None:
            self._stop, self._ended_at = answer, self._clock.now()
            if answer.reason == "completed":
                self._say_goodbye()

    def _say_goodbye(self) -> None:
        for worker in list(self._crew.workers.values()):
            if worker.state == "ready":
                worker.state = "ending"
                worker.check_at = float("inf")
                worker.send({"t": "bye"})
                self._watch(worker)
            else:
                self._crew.kill(worker, "stop")

    # Plumbing

    def _post(self, call: Callable[[], None]) -> None:
        """Has the loop make a call; from any thread."""
        self._inbox.put(call)
        with contextlib.suppress(BlockingIOError, OSError):
            os.write(self._wake_write, b"!")

    def _woken(self, _mask: int) -> None:
        with contextlib.suppress(BlockingIOError):
            os.read(self._wake_read, 4096)

    def _wake_courier(self) -> None:
        self._courier.nudge()

    def _tell_keeper(self, text: bytes) -> None:
        if self._keeper is None:
            self._keeper_outbox.append(text)
            return
        self._keeper.setblocking(True)
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):  # its end of file tells
            self._keeper.sendall(text)
        self._keeper.setblocking(False)

    def _request(self) -> InstanceRequest:
        return replace(self.settings.request, sockets=str(self._sockets))

    def _end(self, listener: socket.socket, kill: Callable[[], None], lost: bool) -> None:
        self._results.gather_all()
        if self._keeper is not None:
            self._tell_keeper(message({"t": "end"}))
        self._courier.end()
        self._gateway.leave(self._epoch, lost=lost)
        if self._keeper is None:
            kill()
        for key in list(self._selector.get_map().values()):
            if isinstance(key.fileobj, socket.socket):
                key.fileobj.close()
        listener.close()
        self._selector.close()
        self._pool.shutdown(wait=True)
        os.close(self._wake_read)
        os.close(self._wake_write)
        self._crew.close()
        shutil.rmtree(self._sockets, ignore_errors=True)
        if self._courier.error and not isinstance(self._courier.error, OSError):
            raise self._courier.error


def _memory_folder() -> str | None:
    """Where sockets and tables for workers lie: in memory, where there is room for it."""
    folder = "/dev/shm"  # noqa: S108
    try:
        usage = os.statvfs(folder)
    except OSError:
        return None
    return folder if os.access(folder, os.W_OK) and usage.f_bavail * usage.f_frsize > (512 << 20) else None
