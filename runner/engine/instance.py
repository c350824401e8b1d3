"""One instance: a keeper, its workers, and the loop that feeds them, enforces time-outs and takes in results."""

from __future__ import annotations

import signal
import socket
import struct
from collections.abc import Callable
from functools import partial
from typing import Any

from runner.engine import policy
from runner.engine.crew import SHUTDOWN_SECONDS
from runner.engine.feeder import GATHER_SECONDS, RECALL_AFTER
from runner.engine.gateway import Gateway, InstanceLost
from runner.engine.parts import KEEPER_SECONDS, WHOLE_ENDS, assemble
from runner.engine.settings import InstanceSettings
from runner.engine.workers import Frame, Worker
from runner.errors import UserError
from runner.model.batch import ErrorRecord, Lease, Loaded, Recall, Stop
from runner.model.events import InitFailed, InstanceEnded, InstanceStarted, Message, Observer, WorkerEnded, WorkerReady, WorkerStarted
from runner.model.ports import Clock, Launcher, Loader, Transport
from runner.model.ports import Instance as Keeper
from runner.storage.stores import Stores
from runner.worker.protocol import message

KILLED = (-signal.SIGKILL, 128 + signal.SIGKILL)  # as a process's parent and as an engine tell it
DIRECT_FROM = 14  # pyarrow's major version from which on workers read files themselves: as ours does, types included
KEEPER_TOLD_EVERY = 1.0  # seconds
GREETING_LOOK = 0.25  # seconds between two looks at a keeper that has not said hello yet


class Instance:
    """`run` blocks until the coordinator says stop. Everything happens in its thread but disk, coordinator and loading."""

    def __init__(
        self,
        settings: InstanceSettings,
        *,
        gateway: Gateway,
        launcher: Launcher,
        loader: Loader | None,
        publish: Observer,
        clock: Clock,
        may_run: Callable[[], float] | None = None,
        stores: Stores | None = None,
    ) -> None:
        """`stores`: those that the outputs lie in.

        `may_run`: how many seconds from now workers may go on, should nothing more be heard of the coordinator; None: for ever.
        """
        self.settings, self._gateway, self._launcher, self._publish, self._clock = settings, gateway, launcher, publish, clock
        self._may_run, self._told_keeper = may_run, float("-inf")
        self._node = settings.worker.node
        self._processes = settings.worker.processes
        self._stop: Stop | None = None
        self._ended_at: float | None = None
        self._init_failures = 0
        self._ever_ready = False
        self._keeper: Keeper | None = None
        self._parts = parts = assemble(
            settings, gateway=gateway, loader=loader, publish=publish, clock=clock, stores=stores or Stores(), owner=self
        )  # fmt: skip
        self._switchboard, self._crew, self._backlog = parts.switchboard, parts.crew, parts.backlog
        self._courier, self._results, self._feeder = parts.courier, parts.results, parts.feeder

    def run(self) -> None:
        """Returns when all is handed in. Errors: InstanceLost, after which the coordinator has taken back what was here."""
        lost = False
        self._courier.start()
        try:
            try:
                self._courier.prepare()
            except (OSError, UserError) as error:
                self._gateway.fail("output", f"what the job had written before cannot be brought back: {error}")
                return
            try:
                self._keeper = self._launcher.start(self._parts.request)
            except UserError as error:
                self._gateway.fail("launch", str(error))
                return
            self._publish(InstanceStarted(at=self._clock.wall(), node=self._node, workers=self._processes, host=socket.gethostname()))
            for lane in range(self._processes):
                self._crew.start(lane)
            self._courier.ask(self._processes, idle=True)
            while not self._over():
                self._turn()
                if not self._switchboard.has_keeper and self._keeper.wait(0) is not None:  # no end of file tells of it yet
                    self.keeper_gone()
        except InstanceLost:
            lost = True
            raise
        finally:
            self._parts.end(self._stop, self._keeper, lost=lost)
            self._publish(InstanceEnded(at=self._clock.wall(), node=self._node, reason="lost" if lost else ""))

    @property
    def stopped(self) -> str:
        """Why it has ended: the coordinator's word, or nothing."""
        return self._stop.reason if self._stop else ""

    def fence(self) -> None:
        """Everything must end at once: the coordinator gives the work to others. Called from any thread."""
        self._switchboard.post(partial(self.answered, Stop(reason="fenced")))

    def send_away(self) -> None:
        """Workers are killed at once, what is finished is handed in and the rest given back. Called from any thread."""
        self._switchboard.post(partial(self.answered, Stop(reason="lost")))

    # The loop

    def _turn(self) -> None:
        self._switchboard.turn(self._seconds())
        self._tell_keeper_how_long()
        self._feeder.look_after()
        if self._stop is None:
            self._feeder.dispatch()
            self._feeder.rebalance()
            self._report()

    def warn(self, text: str) -> None:
        self._publish(Message(at=self._clock.wall(), level="WARNING", text=text, source=self._node))

    def _tell_keeper_how_long(self) -> None:
        """So that workers also end when this process is stopped, and cannot end them."""
        now = self._clock.now()
        if self._may_run is not None and now >= self._told_keeper + KEEPER_TOLD_EVERY:
            self._told_keeper = now
            self._switchboard.tell_keeper(message({"t": "until", "seconds": self._may_run()}))

    def _seconds(self) -> float:
        """Until the next time-out."""
        now = self._clock.now()
        times = [worker.check_at for worker in self._crew.workers.values() if not worker.killed]
        times.append(self._results.oldest_finished + GATHER_SECONDS)
        times.append(self._backlog.oldest_loading + self.settings.task_overhead_timeout)
        if self._ended_at is not None:
            times.append(self._ended_at + SHUTDOWN_SECONDS)
        if self._feeder.may_recall():
            times.append(now + RECALL_AFTER)
        if not self._switchboard.has_keeper:
            times.append(now + GREETING_LOOK)
        if self._may_run is not None:
            times.append(self._told_keeper + KEEPER_TOLD_EVERY)
        return max(0.0, min(now + 60, *times) - now)

    def _over(self) -> bool:
        if self._stop is None:
            return False
        if self._stop.reason not in WHOLE_ENDS or not self._crew.workers:
            return True
        assert self._ended_at is not None
        return self._clock.now() > self._ended_at + SHUTDOWN_SECONDS

    def _report(self) -> None:
        """Tells the courier what is wanted and how things stand."""
        workers = self._crew.ready()
        running = tuple(worker.frames[0].next for worker in workers if worker.frames)
        self._courier.alive(ready=len(workers), running=running, attempts=self._results.take_attempts())
        seconds = self._results.seconds_each
        target = policy.lease_size(seconds_each=seconds, workers=self._processes, pace=self._courier.pace)
        want = target if self._backlog.count * 2 <= target else 0
        self._courier.ask(want, idle=not running and self._backlog.count == 0)

    # What arrives: the switchboard calls

    def greeted(self, connection: socket.socket, hello: dict[str, Any], more: bytes) -> None:
        """A worker has connected; `more` is what came right after its greeting."""
        worker = self._crew.workers.get(int(str(hello["worker"])))
        if worker is None:
            connection.close()
            return
        worker.socket, worker.pid = connection, peer(connection)
        self._switchboard.watch(worker)
        self._publish(WorkerStarted(at=self._clock.wall(), node=self._node, process=worker.process, pid=worker.pid))
        if self.settings.worker.kind == "table":
            if not hello.get("pandas"):
                has = f"the script's Python {hello.get('python')} has no pandas"
                text = f"the input is a table, and {has}; mend the environment in the job file"
                self._gateway.fail("environment", text)
            self._backlog.transport = _transport(hello.get("pyarrow"))
        worker.buffer += more
        self.heard(worker)

    def heard(self, worker: Worker) -> None:
        """A worker has sent something."""
        for header in self._results.take_in(worker):
            kind = header["t"]
            if kind == "ready":
                worker.state, self._ever_ready = "ready", True
                seconds = float(str(header["seconds"]))
                self._results.attempt_ended()
                self._publish(WorkerReady(at=self._clock.wall(), node=self._node, process=worker.process, seconds=seconds))
            elif kind == "init_failed":
                self._crew.kill(worker, "init_failed")
                self._init_failed(worker, self._results.error_of(worker, header))

    def keeper_gone(self) -> None:
        if self._stop is None:
            busy = any(worker.frames for worker in self._crew.workers.values())
            status = self._keeper.wait(KEEPER_SECONDS) if self._keeper else None
            how = " (it was killed: perhaps for want of memory)" if status in KILLED else ""
            raise InstanceLost(f"{self._node}: the keeper of the workers has died{how}; see {self.settings.request.log}", busy=busy)
        self._ended_at = float("-inf")  # nobody is left who could say goodbye

    def keeper_said(self, header: dict[str, Any]) -> None:
        if header["t"] == "exited" and (worker := self._crew.workers.get(header["worker"])):
            short = header.get("oom") and not worker.killed  # one that we kill may end just when the kernel has killed another process
            limit = int(header.get("limit") or 0) if short else None
            self._worker_ended(worker, int(header["status"]), str(header.get("stacks") or ""), limit)

    def _worker_ended(self, worker: Worker, status: int, stacks: str, memory_limit: int | None) -> None:
        self._switchboard.drain(worker)
        starting = worker.state == "starting"
        how = self._results.worker_ended(worker, status, stacks, memory_limit=memory_limit)
        if starting and worker.killed not in ("init_failed", "spare") and self._stop is None:
            self._init_failed(worker, self._results.init_error(worker, how, stacks, self.settings.first_task_creation_timeout))
        self._crew.ended(worker)
        self._publish(WorkerEnded(at=self._clock.wall(), node=self._node, process=worker.process, how=how))
        if self._stop is None and worker.lane not in self._crew.vacant:
            self._crew.start(worker.lane)

    def _init_failed(self, worker: Worker, error: ErrorRecord) -> None:
        self._init_failures += 1
        self._results.attempt_ended()
        self._publish(InitFailed(at=self._clock.wall(), node=self._node, process=worker.process, error=error))
        self._gateway.init_failed(self._courier.epoch, error)
        hung = error.kind == "timeout" and not self._ever_ready
        if self._stop is None and (hung or policy.init_hopeless(failures=self._init_failures, processes=self._processes)):
            self._gateway.leave(self._courier.epoch, gave_up=f"init() has failed {times(self._init_failures)} on {self._node}")
            self.answered(Stop(reason="init"))

    def loaded(self, frame: Frame, loaded: Loaded | BaseException) -> None:
        self._switchboard.post(partial(self._arrived, frame, loaded))

    def _arrived(self, frame: Frame, loaded: Loaded | BaseException) -> None:
        if isinstance(loaded, (UserError, OSError)):
            self._backlog.not_loaded(frame)
            text = loaded.describe() if isinstance(loaded, UserError) else f"the input cannot be read: {loaded.strerror or loaded}"
            self._gateway.fail("input", text)
            return
        if isinstance(loaded, BaseException):
            raise loaded
        for index, error in self._backlog.arrived(frame, loaded):
            self._results.input_failed(index, error)

    def answered(self, answer: Lease | Recall | Stop | None) -> None:
        if answer is None:
            return
        if isinstance(answer, Lease):
            self._backlog.add(answer)
            self._courier.received()
        elif isinstance(answer, Recall):
            self._courier.give_back(self._backlog.give_back())
        elif self._stop is None:
            self._stop, self._ended_at = answer, self._clock.now()
            if answer.reason in WHOLE_ENDS:
                self._say_goodbye()

    def _say_goodbye(self) -> None:
        for worker in list(self._crew.workers.values()):
            if worker.state == "ready":
                self._crew.dismiss(worker, self._clock.now())
                self._switchboard.watch(worker)
            elif worker.state != "ending":
                self._crew.kill(worker, "stop")


def _transport(pyarrow: object) -> Transport:
    """What a worker with this version of pyarrow, or without it, can read."""
    if not pyarrow:
        return "csv"
    major = str(pyarrow).partition(".")[0]
    return "direct" if major.isdigit() and int(major) >= DIRECT_FROM else "arrow"


def peer(connection: socket.socket) -> int:
    """The process at the other end, as it is numbered here: in a container it has another number for itself. 0 where it cannot be seen."""
    pid, _, _ = struct.unpack("3i", connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i")))
    return int(pid)


def times(count: int) -> str:
    return "once" if count == 1 else f"{count} times"
