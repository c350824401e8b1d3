"""The worker processes of one instance: started through its keeper, replaced when they end, killed when they must be."""

from __future__ import annotations

import mmap
import os
import re
import shutil
from collections.abc import Callable
from concurrent.futures import Executor
from pathlib import Path

from runner.engine.settings import WorkerSettings
from runner.engine.workcopy import copy_code, keep_written, let_in
from runner.engine.workers import Worker
from runner.model.batch import ErrorRecord
from runner.worker.protocol import Slot, message

SHUTDOWN_SECONDS = 30.0
KILL_GRACE = 1.0  # seconds between SIGTERM and SIGKILL
TAIL_LINES = 30


class Crew:
    """Used by the loop thread only; `post` hands a call from a pool thread to it, `tell_keeper` sends bytes to the keeper."""

    def __init__(
        self,
        settings: WorkerSettings,
        *,
        sockets: Path,
        pool: Executor,
        post: Callable[[Callable[[], None]], None],
        tell_keeper: Callable[[bytes], None],
        now: Callable[[], float],
        fail: Callable[[str], None],
    ) -> None:
        self._settings, self._pool, self._post, self._tell, self._now = settings, pool, post, tell_keeper, now
        self._fail = fail
        self._sockets = sockets
        self._numbers = 0
        self.workers: dict[int, Worker] = {}
        self.vacant: set[int] = set()  # places that are to stay empty for a while
        pages = sockets / "slots"
        pages.write_bytes(bytes(Slot.SIZE * settings.processes))
        pages.chmod(0o666)  # the workers may be another user's; nobody else gets as far as this folder
        with open(pages, "r+b") as file:
            self._memory = mmap.mmap(file.fileno(), Slot.SIZE * settings.processes)
        self._slots = [Slot(self._memory, lane) for lane in range(settings.processes)]

    def start(self, lane: int) -> None:
        """A new worker for a place of the instance; its code is copied first, beside what else goes on."""
        number, settings = self._numbers, self._settings
        self._numbers += 1
        process = f"process{number:03d}"
        slot = self._slots[lane]
        slot.clear()
        stdout, stderr, log = (str(path) for path in log_files(settings.logs, settings.node, process))
        copy = settings.copies / settings.node / process
        worker = Worker(
            number=number, process=process, lane=lane, slot=slot, copy=copy, stdout=stdout, stderr=stderr, log=log, started=self._now()
        )
        self.workers[number] = worker
        self._pool.submit(self._prepare, worker)

    def kill(self, worker: Worker, why: str, *, dump: bool = False) -> None:
        """Ends a worker and what it has started; `dump` writes its stacks first. The keeper says when it is done."""
        if worker.killed:
            return
        worker.killed = why
        if worker.state == "preparing":  # there is no process yet
            self.ended(worker)
            return
        worker.doomed = worker.running()
        worker.hold(0)
        grace = 0 if why == "stop" else KILL_GRACE  # at the end of a job one that is just starting has nothing to lose
        self._tell(message({"t": "kill", "worker": worker.number, "grace": grace, "dump": dump}))

    def ended(self, worker: Worker) -> None:
        """Its process is gone: tidies up behind it."""
        preparing, worker.state = worker.state == "preparing", "gone"
        del self.workers[worker.number]
        if worker.socket:
            worker.socket.close()
        if preparing:  # its code is still being copied: what does that tidies up
            return
        files = self._settings.logs / "user" / "files" / self._settings.node / worker.process
        self._pool.submit(_tidy, self._settings.code, worker.copy, files)

    def close(self) -> None:
        for slot in self._slots:
            slot.release()
        self._memory.close()

    def ready(self) -> list[Worker]:
        return [worker for worker in self.workers.values() if worker.state == "ready" and not worker.killed]

    def others(self, worker: Worker) -> int:
        """Living workers beside this one."""
        return sum(one is not worker and one.state != "preparing" for one in self.workers.values())

    def shrink(self, limit: int, now: float) -> bool:
        """Lets idle workers go, in order, until no more than `limit` are left; False while there are more. Their places stay empty."""
        living = [worker for worker in self.workers.values() if not worker.killed and worker.state != "ending"]
        idle = [worker for worker in living if not worker.busy]
        for worker in idle[: max(0, len(living) - limit)]:
            self.vacant.add(worker.lane)
            if worker.state == "ready":
                self.dismiss(worker, now)
            else:
                self.kill(worker, "spare")
        return len(self.workers) <= limit

    def refill(self) -> None:
        """Starts workers in the places that `shrink` has emptied."""
        lanes = self.vacant - {worker.lane for worker in self.workers.values()}
        self.vacant -= lanes
        for lane in lanes:
            self.start(lane)

    def dismiss(self, worker: Worker, now: float) -> None:
        """Asks a worker to call shutdown() and go."""
        worker.state, worker.check_at = "ending", now + SHUTDOWN_SECONDS
        worker.send({"t": "bye"})

    def shown(self, worker: Worker, text: str) -> str:
        """A traceback or dump of stacks as the user wants to see it: their files where they lie, and no frames of ours."""
        text = text.replace(f"{worker.copy}{os.sep}", f"{self._settings.source}{os.sep}")
        if "most recent call first" not in text:
            return text
        ours = (f'  File "{self._settings.agent}', '  File "<frozen runpy>"')
        return "\n".join(line for line in text.split("\n") if not line.startswith(ours))

    def stuck_at(self, worker: Worker, stacks: str) -> tuple[str, int]:
        """The innermost line of the user's code in a dump of stacks."""
        block = next((one for one in stacks.split("\n\n") if str(worker.copy) in one), "")
        for name, line in re.findall(r'File "([^"]+)", line (\d+)', block):
            if name.startswith(str(worker.copy)):
                return os.path.relpath(name, worker.copy), int(line)
        return "", 0

    def exit_error(self, worker: Worker, *, kind: str, message: str, item: str = "") -> ErrorRecord:
        """The error of a worker that ended, with the end of what it wrote to stderr."""
        return ErrorRecord(kind=kind, message=message, traceback=self.shown(worker, _tail(worker.stderr)), log=worker.stderr, item=item)

    def _prepare(self, worker: Worker) -> None:
        try:
            for path in (worker.stdout, worker.stderr, worker.log):
                Path(path).parent.mkdir(parents=True, exist_ok=True)
            copy_code(self._settings.code, worker.copy)
            if self._settings.foreign:
                let_in(worker.copy, *(Path(path).parent for path in (worker.stdout, worker.stderr, worker.log)))
        except OSError as error:
            failure = error
            self._post(lambda: self._could_not_copy(worker, failure))
            return
        text = message({"t": "start", "worker": worker.number, "config": self._config(worker)})
        self._post(lambda: self._launch(worker, text))

    def _launch(self, worker: Worker, text: bytes) -> None:
        if worker.state == "preparing":
            worker.state = "starting"
            self._tell(text)
        else:  # nobody wants it any more
            self._pool.submit(shutil.rmtree, worker.copy, ignore_errors=True)

    def _could_not_copy(self, worker: Worker, error: OSError) -> None:
        if worker.state == "preparing":
            causes = error.args[0] if isinstance(error, shutil.Error) else [(worker.copy, worker.copy, error)]
            self._fail(f"the code could not be copied for a worker: {causes[0][2]}")

    def _config(self, worker: Worker) -> dict[str, object]:
        settings = self._settings
        environment: dict[str, str | None] = dict(settings.environment)
        if settings.gpus:
            environment["CUDA_VISIBLE_DEVICES"] = settings.gpus[worker.lane] if worker.lane < len(settings.gpus) else None
        profile = settings.logs / "sys" / "node" / settings.node / f"{worker.process}.profile"
        return {
            "job": settings.job,
            "node": settings.node,
            "process": worker.process,
            "worker": worker.number,
            "kind": settings.kind,
            "root": settings.root,
            "code": str(worker.copy),
            "entry_script": settings.entry_script,
            "command": settings.command,
            "arguments": list(settings.arguments),
            "environment": environment,
            "append_rows": settings.append_rows,
            "to_csv": dict(settings.to_csv),
            "header": settings.header,
            "logging_level": settings.logging_level,
            "stdout": worker.stdout,
            "stderr": worker.stderr,
            "log": worker.log,
            "log_cap": settings.log_cap,
            "log_dir": str(settings.logs / "user"),
            "output_dir": settings.output_dir,
            "working_dir": str(worker.copy),
            "profile": str(profile) if settings.profile else None,
            "stacks": str(self._sockets / f"stacks-{worker.number}"),
            "slot": worker.lane,
        }


def log_files(logs: Path, node: str, process: str) -> tuple[Path, Path, Path]:
    """stdout, stderr and the entry script's log of a process, in Azure's layout."""
    user = logs / "user"
    return (
        user / "stdout" / node / f"{process}.stdout.txt",
        user / "stderr" / node / f"{process}.stderr.txt",
        user / "entry_script_log" / node / f"{process}.log.txt",
    )


def _tidy(code: Path, copy: Path, files: Path) -> None:
    try:
        keep_written(code, copy, files)
    finally:
        shutil.rmtree(copy, ignore_errors=True)


def _tail(path: str) -> str:
    try:
        with open(path, "rb") as file:
            file.seek(max(0, os.fstat(file.fileno()).st_size - 8192))
            lines = file.read().decode("utf-8", "replace").splitlines()
    except OSError:
        return ""
    return "\n".join(lines[-TAIL_LINES:])
