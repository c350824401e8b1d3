"""The process that owns a job: it holds the job's lock, runs it, keeps its record and logs, and answers at its control socket.

It is the process of the command itself (`--stream`), or one in the background that has got the held locks from it.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
import traceback
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, ExitStack, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path

from runner.engine.sole_file import Superseded
from runner.errors import SetupError, UserError
from runner.interrupts import cancelled_by_signals
from runner.model.batch import Progress
from runner.model.events import Event, JobEnded, Message, Observer
from runner.model.job import Job, ParallelStep, PipelineJob
from runner.model.moments import utc
from runner.model.paths import JobPaths
from runner.pipeline.options import Cancellation, RunOptions, RunResult, options_for
from runner.report.logs import LogTree
from runner.report.progress import TerminalProgress
from runner.report.resources import ResourceMonitor
from runner.storage.addresses import is_address
from runner.workspace.access import drop_access, read_access
from runner.workspace.config import Workspace, find_workspace
from runner.workspace.control import ControlServer
from runner.workspace.jobs import JobStore
from runner.workspace.keeper import RecordKeeper
from runner.workspace.locks import FileLock, OutputLocks
from runner.workspace.records import CANCELED, FAILED, REFUSED, JobRecord

Run = Callable[[Observer, Cancellation], RunResult]
_BACKGROUND: list[subprocess.Popen[bytes]] = []  # kept, because a Popen complains when it is thrown away before its process has ended


@dataclass(frozen=True, kw_only=True)
class Held:
    """A job whose lock, and whose outputs' locks, this process holds."""

    name: str
    lock: FileLock
    outputs: OutputLocks

    def release(self) -> None:
        """Gives everything back, the job last."""
        self.outputs.release()
        self.lock.release()

    def hand_over(self) -> None:
        """Closes this process's copies, after a child has taken the locks."""
        self.outputs.hand_over()
        self.lock.hand_over()

    @property
    def handles(self) -> tuple[int, ...]:
        return (self.lock.handle, *(lock.handle for lock in self.outputs.locks))

    def to_json(self) -> dict[str, object]:
        outputs = [[str(lock.path), lock.handle] for lock in self.outputs.locks]
        return {"name": self.name, "lock": [str(self.lock.path), self.lock.handle], "outputs": outputs}

    @staticmethod
    def from_json(data: dict[str, list[list[object]]]) -> Held:
        def lock(entry: Sequence[object]) -> FileLock:
            return FileLock(path=Path(str(entry[0])), handle=int(str(entry[1])))

        return Held(name=str(data["name"]), lock=lock(data["lock"]), outputs=OutputLocks([lock(entry) for entry in data["outputs"]]))


class Reports:
    """The log trees and resource monitors of a job and of its steps; an observer that hands each event to those of its step.

    `monitored`: the workers run on this machine. On a cluster each node has a monitor of its own.
    """

    def __init__(self, job: Job, paths: JobPaths, *, monitored: bool) -> None:
        self._job, self._paths, self._monitored = job, paths, monitored
        self._steps: dict[str, tuple[LogTree, ResourceMonitor | None]] = {}
        self._of("")

    def __call__(self, event: Event) -> None:
        tree, monitor = self._of(event.step)
        tree(event)
        if monitor is not None:
            monitor(event)

    def close(self) -> None:
        for tree, monitor in self._steps.values():
            if monitor is not None:
                monitor.close()
            tree.close()

    def _of(self, name: str) -> tuple[LogTree, ResourceMonitor | None]:
        if name not in self._steps:
            self._steps[name] = self._make(name)
            if name:
                self._steps[""][0].steps[name] = self._steps[name][0].summary
        return self._steps[name]

    def _make(self, name: str) -> tuple[LogTree, ResourceMonitor | None]:
        job = self._job.steps[name] if isinstance(self._job, PipelineJob) and name else self._job
        paths = self._paths.step(name) if name else self._paths
        outputs = {key: port.path for key, port in job.outputs.items()}
        level = job.logging_level if isinstance(job, ParallelStep) else "INFO"
        tree = LogTree(paths.logs, name=job.name, outputs=outputs, level=level)
        if not isinstance(job, ParallelStep) or not self._monitored:
            return tree, None
        disks = {"job": paths.root, "logs": paths.logs} | {key: Path(path).parent for key, path in outputs.items() if not is_address(path)}
        return tree, ResourceMonitor(paths.logs, interval=job.arguments.resource_monitor_interval, disks=disks)


class Owner:
    """Runs one job to its end; `watch` sees its events as well. The caller's locks are released at the end."""

    def __init__(
        self,
        workspace: Workspace,
        job: Job,
        held: Held,
        *,
        watch: Observer | None = None,
        owned: Callable[[], AbstractContextManager[None]] = nullcontext,
        monitored: bool = True,
    ) -> None:
        """`owned`: entered for each change of the job's record; `monitored`: see Reports."""
        self._monitored = monitored
        self._job, self._held = job, held
        self._paths = workspace.job_paths(held.name)
        self._store = JobStore(workspace)
        self._cancel = Cancellation()
        self._keeper = RecordKeeper(self._paths, self._beginning(), owned=owned)
        self._watch = watch
        self.refused: UserError | None = None  # what run raised before anything ran: the request was wrong

    def run(self, run: Run, *, ready: Callable[[], None] = lambda: None) -> JobRecord:
        """`ready` is called once the job can be followed and cancelled. Returns the final record; bugs are raised after it is written."""
        with ExitStack() as stack:
            stack.callback(self._held.release)
            observers: list[Observer] = [self._keeper, *([self._watch] if self._watch else [])]
            control = ControlServer(self._paths.control, self._cancel.request)
            try:
                control.start()
            except OSError as error:  # a file system without sockets: nobody can follow or cancel from elsewhere
                print(f"no control socket: {error}", file=sys.stderr)
            else:
                observers.append(control)
                stack.callback(control.close)
            stack.callback(self._paths.cancel.unlink, missing_ok=True)
            self._keeper.write()
            ready()
            if self._paths.cancel.exists():
                self._cancel.request()
            reports = Reports(self._job, self._paths, monitored=self._monitored)
            observers.insert(1, reports)

            def observe(event: Event) -> None:
                for observer in observers:
                    observer(event)

            try:
                with cancelled_by_signals(self._cancel, give_up=self._give_up):
                    result = self._guarded(run, observe)
            finally:
                reports.close()
            told = {"log": str(self._paths.logs), **result.error} if result.error else {}
            return self._finish(result.status, progress=result.progress, error=told, incomplete=result.incomplete)

    def _finish(self, status: str, *, progress: Progress | None, error: dict[str, str], incomplete: bool) -> JobRecord:
        drop_access(self._paths)  # not where another process has taken the job over: it needs that
        return self._keeper.finish(status, progress=progress, error=error, incomplete=incomplete)

    @property
    def record(self) -> JobRecord:
        return self._keeper.record

    def cancel(self) -> None:
        self._cancel.request()

    def _beginning(self) -> JobRecord:
        record = self._store.get(self._held.name)
        return replace(record, status="Preparing", reason="", ended_at=None, error=None)

    def _guarded(self, run: Run, observe: Observer) -> RunResult:
        try:
            result = run(observe, self._cancel)
        except UserError as error:
            if self._cancel.requested:
                return self._ended(observe, CANCELED, "cancelled", f"cancelled: {error.problem}")
            if not self._keeper.has_run and not isinstance(error, SetupError):
                self.refused = error
            result = self._failure(observe, REFUSED if self.refused else "input", error.describe())
        except Superseded:  # the record is another's
            raise
        except BaseException as error:
            self._finish_after_bug(observe, error)
            raise
        if self._keeper.ended is None:
            message = result.error.get("message", "")
            observe(JobEnded(at=time.time(), status=result.status, code=result.error.get("code", "completed"), message=message))
        return result

    def _failure(self, observe: Observer, code: str, message: str) -> RunResult:
        return self._ended(observe, FAILED, code, message)

    def _ended(self, observe: Observer, status: str, code: str, message: str) -> RunResult:
        if self._keeper.ended is None:
            observe(JobEnded(at=time.time(), status=status, code=code, message=message))
        error = {"message": message, "code": code, "log": str(self._paths.logs)}
        return RunResult(status=status, progress=self._keeper.record.progress, error=error)

    def _finish_after_bug(self, observe: Observer, error: BaseException) -> None:
        what = f"{type(error).__name__}: {error}"
        message = f"a bug in the runner, or a full disk: {what}; go on with: runner job resume -n {self._held.name}"
        result = self._failure(observe, "internal", message)
        self._finish(FAILED, progress=result.progress, error=result.error, incomplete=False)

    def _give_up(self) -> None:
        """At a second signal: what there is stays as it is, workers end with this process."""
        message = f"stopped at once by a second signal; go on with: runner job resume -n {self._held.name}"
        error = {"message": message, "code": "cancelled", "log": str(self._paths.logs)}
        self._finish(CANCELED, progress=None, error=error, incomplete=False)
        if isinstance(self._watch, TerminalProgress):
            self._watch.close()  # gives the terminal its cursor back
        os._exit(130)


def run_of(job: Job, workspace: Workspace, record: JobRecord, *, resume: bool, retry_failed: bool) -> Run:
    """The pipeline package's run of this job, with the options that it was created with."""
    from runner.pipeline.run import run_job

    paths = workspace.job_paths(record.name)
    options = options_for(workspace, local=record.local, python=record.python, resume=resume, retry_failed=retry_failed)
    return lambda observe, cancel: run_job(job, paths, with_stores(options, paths, observe, cancel), observe, cancel)


def with_stores(options: RunOptions, paths: JobPaths, observe: Observer, cancel: Cancellation) -> RunOptions:
    """What opens the containers that the job uses: a wait for a storage is told of, and ends when the job is cancelled."""
    stores = read_access(paths, say=lambda text: observe(Message(at=time.time(), level="WARNING", text=text)))
    cancel.on_request(stores.stop_waiting)
    return replace(options, stores=stores)


def start_in_background(workspace: Workspace, held: Held, *, resume: bool, retry_failed: bool) -> None:
    """Hands the job to a new process; returns when that has taken over. Raises `UserError` if it could not start."""
    paths = workspace.job_paths(held.name)
    listening, telling = os.pipe()
    request = held.to_json() | {"root": str(workspace.root), "ready": telling, "resume": resume, "retry_failed": retry_failed}
    try:
        with open(paths.owner_log, "ab") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", "runner.owner", json.dumps(request)],
                pass_fds=(*held.handles, telling),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd="/",  # so that no module of the user's hides one of ours
                start_new_session=True,
            )
        _BACKGROUND.append(process)
        os.close(telling)
        with open(listening, "rb") as pipe:
            taken = pipe.read()
    finally:
        held.hand_over()
    if not taken:
        drop_access(paths)
        last = paths.owner_log.read_text(errors="replace").strip().rpartition("\n")[2]
        raise UserError(f"the background process of job {held.name} could not start: {last}", todo=f"see {paths.owner_log}")


def main() -> int:
    """The background process: `python -m runner.owner REQUEST`."""
    from runner.spec.stored import load

    request = json.loads(sys.argv[1])
    held, ready = Held.from_json(request), request["ready"]
    workspace = find_workspace(request["root"])
    for handle in (*held.handles, ready):
        os.set_inheritable(handle, False)
    job = load(json.loads(workspace.job_paths(held.name).spec.read_text(encoding="utf-8")))
    owner = Owner(workspace, job, held)
    record = JobStore(workspace).get(held.name)

    def tell() -> None:
        os.write(ready, b"1")
        os.close(ready)

    print(f"{utc(time.time())} owner of {held.name}, pid {os.getpid()}", flush=True)
    try:
        owner.run(run_of(job, workspace, record, resume=request["resume"], retry_failed=request["retry_failed"]), ready=tell)
    except Exception:
        traceback.print_exc()
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
