"""The process that owns a job: it holds the job's lock, runs it, keeps its record and logs, and answers at its control socket.

It is the process of the command itself (`--stream`), or one in the background that has got the held locks from it.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import time
import traceback
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, ExitStack, nullcontext
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from runner.engine.sole_file import Superseded
from runner.errors import SetupError, UserError
from runner.interrupts import cancelled_by_signals
from runner.model.batch import Progress
from runner.model.events import STORAGE, Event, JobEnded, Message, Observer
from runner.model.job import Job
from runner.model.moments import utc
from runner.model.paths import JobPaths
from runner.pipeline.options import Cancellation, RunOptions, RunResult, options_for
from runner.report.progress import TerminalProgress
from runner.report.reports import Reports
from runner.storage.problems import StorageUnavailable
from runner.workspace.access import drop_access, read_access
from runner.workspace.config import Workspace, find_workspace
from runner.workspace.control import ControlServer
from runner.workspace.elsewhere import TakenOver
from runner.workspace.jobs import JobStore
from runner.workspace.keeper import RecordKeeper
from runner.workspace.locks import FileLock, OutputLocks
from runner.workspace.records import CANCELED, FAILED, REFUSED, JobRecord

Confirm = Callable[[], None]  # see RunOptions.confirm
Run = Callable[[Observer, Cancellation, Confirm], RunResult]
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
        self._workspace, self._paths = workspace, workspace.job_paths(held.name)
        self._store = JobStore(workspace)
        self._cancel = Cancellation()
        self._archiver = self._store.elsewhere.archiver(held.name, cancel=self._cancel.request, lost=self._cancel.request, say=self._say)
        self._keeper = RecordKeeper(self._paths, self._beginning(), owned=self._archiver.owned if self._archiver else owned)
        self._watch = watch
        self._observers: list[Observer] = [self._keeper, *([watch] if watch else []), *([self._archiver] if self._archiver else [])]
        self.refused: UserError | None = None  # what run raised before anything ran: the request was wrong

    def run(self, run: Run, *, ready: Callable[[], None] = lambda: None) -> JobRecord:
        """`ready` is called once the job can be followed and cancelled. Returns the final record; bugs are raised after it is written."""
        with ExitStack() as stack:
            stack.callback(self._held.release)
            observers = self._observers
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
            if self._archiver is not None:
                self._archiver.start()
            ready()
            if self._paths.cancel.exists():
                self._cancel.request()
            reports = Reports(self._job, self._paths, monitored=self._monitored)
            observers.insert(1, reports)

            try:
                with cancelled_by_signals(self._cancel, give_up=self._give_up):
                    try:
                        result = self._guarded(run, self._observe)
                    finally:
                        reports.close()
                    self._settle()
                told = {"log": str(self._paths.logs), **result.error} if result.error else {}
                record = self._finish(result.status, progress=result.progress, error=told, incomplete=result.incomplete)
                self._put_away()
            except Superseded:
                raise self._superseded() from None
            return record

    def _observe(self, event: Event) -> None:
        for observer in self._observers:
            observer(event)

    def _say(self, text: str) -> None:
        self._observe(Message(at=time.time(), level="WARNING", text=text))

    def _settle(self) -> None:
        """All but the record is in the archive when it is said that the job has ended."""
        if self._archiver is not None:
            self._cancel.on_request(self._archiver.hurry)
            self._archiver.settle()

    def _put_away(self) -> None:
        if self._archiver is not None and not self._archiver.finish():
            store = self._workspace.settings.default_datastore
            todo = f"runner job resume {self._held.name} (it brings that up to date)"
            print(f"Warning: the datastore '{store}' has not got all of job {self._held.name}; next: {todo}", file=sys.stderr)

    def _superseded(self) -> BaseException:
        if self._archiver is None:
            return Superseded()
        name = self._held.name
        drop_access(self._paths)
        return TakenOver(f"job {name} was taken over by another machine, and goes on there", todo=f"runner job stream {name}")

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
            result = run(observe, self._cancel, self._archiver.confirm if self._archiver else lambda: None)
        except UserError as error:
            if self._cancel.requested:
                return self._ended(observe, CANCELED, "cancelled", f"cancelled: {error.problem}")
            if not self._keeper.has_run and not isinstance(error, SetupError):
                self.refused = error
            result = self._failure(observe, REFUSED if self.refused else "input", error.describe())
        except StorageUnavailable as error:
            if self._cancel.requested:
                return self._ended(observe, CANCELED, "cancelled", f"cancelled: {error.strerror}")
            result = self._failure(observe, "input", f"{error.strerror}; go on with: runner job resume -n {self._held.name}")
        except Superseded:  # the record is another's
            raise
        except BaseException as error:
            self._finish_after_bug(observe, error)
            with contextlib.suppress(Superseded):
                self._settle()
                self._put_away()
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

    def run(observe: Observer, cancel: Cancellation, confirm: Confirm) -> RunResult:
        return run_job(job, paths, with_stores(replace(options, confirm=confirm), paths, observe, cancel), observe, cancel)

    return run


def with_stores(options: RunOptions, paths: JobPaths, observe: Observer, cancel: Cancellation) -> RunOptions:
    """What opens the containers that the job uses: a wait for a storage is told of, and ends when the job is cancelled."""

    def tell(text: str, *, over: bool = False) -> None:
        observe(Message(at=time.time(), level="WARNING", text=text, source=STORAGE, over=over))

    stores = read_access(paths, say=tell, over=partial(tell, over=True))
    cancel.on_request(stores.stop_waiting)
    return replace(options, stores=stores)


def start_in_background(workspace: Workspace, held: Held, *, resume: bool, retry_failed: bool) -> None:
    """Hands the job to a new process; returns when that has taken over. Raises `UserError` if it could not start.

    The environment that a process is started with can be read in /proc: variables that have secrets go through a pipe.
    """
    paths = workspace.job_paths(held.name)
    listening, telling = os.pipe()
    withheld = workspace.settings.secret_variables
    environment = {name: value for name, value in os.environ.items() if name not in withheld}
    request = held.to_json() | {"root": str(workspace.root), "ready": telling, "resume": resume, "retry_failed": retry_failed}
    try:
        with open(paths.owner_log, "ab") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", "runner.owner", json.dumps(request)],
                pass_fds=(*held.handles, telling),
                env=environment,
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
                cwd="/",  # so that no module of the user's hides one of ours
                start_new_session=True,
            )
        _BACKGROUND.append(process)
        os.close(telling)
        _tell_secrets(process, {name: os.environ[name] for name in withheld if name in os.environ})
        with open(listening, "rb") as pipe:
            taken = pipe.read()
    finally:
        held.hand_over()
    if not taken:
        drop_access(paths)
        last = paths.owner_log.read_text(errors="replace").strip().rpartition("\n")[2]
        raise UserError(f"the background process of job {held.name} could not start: {last}", todo=f"see {paths.owner_log}")


def _tell_secrets(process: subprocess.Popen[bytes], secrets: dict[str, str]) -> None:
    assert process.stdin is not None
    with contextlib.suppress(BrokenPipeError), process.stdin as pipe:  # one that could not start is told of by its caller
        pipe.write(json.dumps(secrets).encode())


def main() -> int:
    """The background process: `python -m runner.owner REQUEST`; its input has the environment variables with secrets."""
    from runner.spec.stored import load

    os.environ.update(json.load(sys.stdin))
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
