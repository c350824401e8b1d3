"""What the command line and the Python SDK call: jobs of one workspace, from submission to removal."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from runner.errors import UserError, did_you_mean
from runner.model.events import Observer, StatusChanged
from runner.model.job import Job, PipelineJob
from runner.workspace.config import Workspace, find_workspace
from runner.workspace.jobs import JobStore, new_record
from runner.workspace.locks import FileLock, hold_outputs
from runner.workspace.names import generate_name
from runner.workspace.records import CANCELED, COMPLETED, FAILED, JobRecord, write_json

if TYPE_CHECKING:
    from runner.owner import Held, Run
    from runner.pipeline.options import StepPlan
    from runner.spec.load import LoadedJob
    from runner.workspace.prune import Removal

    Plans = list[StepPlan]
    Removals = list[Removal]

# `list` is a method of the class below.
Records = list[JobRecord]
Paths = list[Path]
Computes = list[dict[str, object]]


class Client:
    """One workspace. `workspace` is a folder, else RUNNER_WORKSPACE, else what is found from the current folder upwards.

    With `must_exist` the absence of a workspace is an error; otherwise the current folder becomes one with its first job.
    """

    def __init__(self, workspace: str | Path | Workspace | None = None, *, must_exist: bool = False) -> None:
        self.workspace = workspace if isinstance(workspace, Workspace) else find_workspace(workspace, must_exist=must_exist)
        self.store = JobStore(self.workspace)

    # Making jobs

    def resolve(self, loaded: LoadedJob, *, name: str | None = None, local: bool = False) -> Job:
        """The checked job, ready to run; nothing is written. Raises `UserError`, or `UserErrors` with all mistakes at once."""
        from runner.spec.resolve import ResolveContext, resolve

        workspace = self.workspace
        context = ResolveContext(
            name=name if name is not None else loaded.name or generate_name(),
            root=workspace.root,
            datastores=workspace.datastores,
            default_datastore=workspace.settings.default_datastore,
            computes=tuple(workspace.computes),
            default_compute=workspace.settings.default_compute,
            instance_types=tuple(workspace.settings.instance_types),
            environments=workspace.environments,
            docker_policy=workspace.docker_policy,
            local=local,
            experiment=Path.cwd().name,
        )
        job = resolve(loaded, context)
        for path in _output_paths(job):
            workspace.check_output(path)
        return job

    def validate(self, loaded: LoadedJob, *, name: str | None = None, local: bool = False, python: str | None = None) -> tuple[Job, Plans]:
        """The checked job and what it would do, a plan for each step; runs no user code and leaves nothing behind."""
        from runner.pipeline.options import options_for
        from runner.pipeline.run import plan_job

        job = self.resolve(loaded, name=name, local=local)
        self.store.check_free(job.name)
        return job, plan_job(job, options_for(self.workspace, local=local, python=python))

    def submit(
        self,
        loaded: LoadedJob,
        *,
        name: str | None = None,
        stream: bool = False,
        local: bool = False,
        python: str | None = None,
        allow_large_snapshot: bool = False,
        watch: Observer | None = None,
    ) -> JobRecord:
        """Creates a job and hands it over to a process in the background; or, with `stream`, runs it in this one until it has ended.

        `watch` sees the events of a streamed job. Raises `UserError` for a wrong request, before anything is left behind.
        """
        from runner.pipeline.options import options_for
        from runner.pipeline.plan import check_job

        job = self.resolve(loaded, name=name, local=local)
        self.store.check_free(job.name)
        check_job(job, options_for(self.workspace, local=local, python=python))
        held = self._create(job, local=local, python=_absolute(python), allow_large_snapshot=allow_large_snapshot)
        try:
            return self._start(job, held, stream=stream, watch=watch)
        except UserError:
            if stream:  # refused before anything ran: its name is free again
                self.delete(job.name)
            raise

    def _create(self, job: Job, *, local: bool, python: str | None, allow_large_snapshot: bool) -> Held:
        from runner.owner import Held
        from runner.spec.stored import dump
        from runner.workspace.code import copy_code
        from runner.workspace.space import check_space

        self.workspace.make()
        outputs = _output_paths(job)
        check_space(self.workspace, outputs)
        locks = hold_outputs(outputs, job=job.name, registry=self.workspace.locks)
        try:
            with self.store.draft(job.name) as (draft, lock):
                copy_code(job, draft, limit=None if allow_large_snapshot else self.workspace.settings.max_snapshot)
                write_json(draft.spec, dump(job))
                final = self.workspace.job_paths(job.name)
                write_json(draft.record, new_record(job, final, local=local, python=python).to_json())
                self.store.publish(draft, job.name)
                return Held(name=job.name, lock=FileLock(path=final.lock, handle=lock.handle), outputs=locks)
        except BaseException:
            locks.release()
            raise

    def _start(
        self, job: Job, held: Held, *, stream: bool, watch: Observer | None, resume: bool = False, retry_failed: bool = False
    ) -> JobRecord:
        from runner.owner import run_of, start_in_background

        if not stream:
            start_in_background(self.workspace, held, resume=resume, retry_failed=retry_failed)
            return self.store.get(held.name)
        record = self.store.get(held.name)
        if watch is not None:
            watch(StatusChanged(at=time.time(), status="Preparing", reason=f"job {record.name}, logs in {record.logs}"))
        run = run_of(job, self.workspace, record, resume=resume, retry_failed=retry_failed)
        return self._own(job, held, run, watch)

    def _own(self, job: Job, held: Held, run: Run, watch: Observer | None) -> JobRecord:
        from runner.owner import Owner

        owner = Owner(self.workspace, job, held, watch=watch)
        record = owner.run(run)
        if owner.refused is not None:
            raise owner.refused
        return record

    # Following and changing them

    def get(self, name: str) -> JobRecord:
        """The job as it is now; `<pipeline>.<step>` names a step."""
        return self.store.get(name)

    def list(self, *, tag: str | None = None, status: str | None = None, parent: str | None = None) -> Records:
        """The jobs, newest first; see `JobStore.find`."""
        return self.store.find(tag=tag, status=status, parent=parent)

    def stream(self, name: str, watch: Observer | None = None) -> JobRecord:
        """Follows a job until it has ended; `watch` sees its events from the latest state on."""
        from runner.workspace.control import subscribe

        paths = self.store.paths(name)
        while not (record := self.store.get(name)).finished:
            events = subscribe(paths.control)
            if events is None:
                time.sleep(0.1)  # it is just starting or ending
                continue
            for event in events:
                if watch is not None:
                    watch(event)
        return record

    def cancel(self, name: str) -> JobRecord:
        """Asks the owner of a running job to cancel it, and returns the job as it then is: mostly not ended yet."""
        if not self.store.cancel(name):
            raise UserError(f"job {name} cannot be cancelled: its process is gone", todo=f"see `runner job show {name}`")
        return self.store.get(name)

    def resume(
        self,
        name: str,
        *,
        stream: bool = False,
        watch: Observer | None = None,
        code: bool = False,
        python: str | None = None,
        allow_large_snapshot: bool = False,
    ) -> JobRecord:
        """Goes on with a job that failed, was cancelled or interrupted: what is finished is not run again.

        Mini-batches that failed for good are tried afresh if the job failed, and left alone if it was interrupted or cancelled.
        `code` takes the code folders (of every step of a pipeline) as they are now in the place of the job's snapshots; `python` is
        the interpreter from now on.
        """
        from runner.workspace.space import check_space

        name = self.store.get(name).parent or name  # the step of a pipeline goes on with its pipeline
        record = self.store.get(name)
        if record.status == COMPLETED and not record.incomplete:
            raise UserError(f"job {name} cannot be resumed: it is complete", todo="create a new job to run it again")
        job = self._stored(name)
        check_space(self.workspace, _output_paths(job))
        retry_failed = record.status == FAILED and (record.error or {}).get("code") != "interrupted"
        self._check_renewal(job, record, code=code, python=python)
        held = self._take(name, job)
        try:
            limit = None if allow_large_snapshot else self.workspace.settings.max_snapshot
            self._renew(job, name, limit, code=code, python=python)
        except BaseException:
            held.release()
            raise
        self.workspace.job_paths(name).cancel.unlink(missing_ok=True)
        return self._start(job, held, stream=stream, watch=watch, resume=True, retry_failed=retry_failed)

    def _check_renewal(self, job: Job, record: JobRecord, *, code: bool, python: str | None) -> None:
        from runner.pipeline.options import options_for
        from runner.pipeline.plan import check_job
        from runner.workspace.code import check_code

        if code:
            check_code(job)
        if code or python:
            check_job(job, options_for(self.workspace, local=record.local, python=python or record.python))

    def _renew(self, job: Job, name: str, limit: int | None, *, code: bool, python: str | None) -> None:
        from runner.workspace.code import renew_code

        paths = self.workspace.job_paths(name)
        if code:
            renew_code(job, paths, limit=limit)
        if python:
            record, python = self.store.get(name), _absolute(python)
            steps = {step: replace(one, python=python) for step, one in record.jobs.items()}
            write_json(paths.record, replace(record, python=python, jobs=steps).to_json())

    def finish_partial(self, name: str, watch: Observer | None = None) -> JobRecord:
        """Publishes what succeeded in a job that failed or was cancelled, in order; the job is marked as incomplete."""
        from runner.pipeline.run import finish_partial

        if self.store.get(name).status == COMPLETED:
            raise UserError(f"job {name} is complete: there is nothing to finish")
        parent = self.store.get(name).parent
        if parent is not None:
            return self._finish_step(parent, name, watch)
        job = self._stored(name)
        paths = self.workspace.job_paths(name)
        return self._own(job, self._take(name, job), lambda observe, _cancel: finish_partial(job, paths, observe), watch)

    def _finish_step(self, pipeline: str, name: str, watch: Observer | None) -> JobRecord:
        """Publishes the rows of one step; the pipeline's own status stays what it was."""
        from runner.pipeline.run import finish_partial

        job = self._stored(pipeline)
        assert isinstance(job, PipelineJob)
        step_name = name.removeprefix(f"{pipeline}.")
        step, paths = job.steps[step_name], self.workspace.job_paths(pipeline).step(step_name)
        held = self._take(pipeline, step)
        try:
            result = finish_partial(step, paths, watch or (lambda _event: None))
            record = self.store.get(pipeline)
            done = replace(record.jobs[step_name], status=result.status, progress=result.progress, incomplete=True, error=None)
            changed = replace(record, jobs={**record.jobs, step_name: done})
            write_json(self.workspace.job_paths(pipeline).record, changed.to_json())
            return done
        finally:
            held.release()

    def _stored(self, name: str) -> Job:
        from runner.spec.stored import load

        return load(json.loads(self.store.paths(name).spec.read_text(encoding="utf-8")))

    def _take(self, name: str, job: Job) -> Held:
        from runner.owner import Held
        from runner.workspace.code import settle_code

        lock = self.store.take(name)
        try:
            settle_code(self.workspace.job_paths(name))
            return Held(name=name, lock=lock, outputs=hold_outputs(_output_paths(job), job=name, registry=self.workspace.locks))
        except BaseException:
            lock.release()
            raise

    # Keeping house

    def download(self, name: str, target: Path, *, output_name: str | None = None, everything: bool = False) -> Paths:
        """Copies outputs and logs; see `runner.workspace.download`."""
        from runner.workspace.download import download

        return download(self.store.get(name), target, output_name=output_name, everything=everything)

    def delete(self, name: str) -> Removal:
        """Removes a job with its logs, and with its outputs as far as they lie in the workspace's own place for them."""
        from runner.workspace.prune import delete_job

        return delete_job(self.store, name)

    def plan_prune(self, *, keep: float | None = None, max_size: int | None = None) -> Removals:
        """What goes: all that is older than `keep` seconds, then the oldest beyond `max_size` bytes."""
        from runner.workspace.prune import plan_prune

        return plan_prune(self.store, keep=keep, max_size=max_size)

    def prune(self, removals: Removals, say: Callable[[str], None] = print) -> Iterator[Removal]:
        """Removes what `plan_prune` chose; gives each when it is gone."""
        from runner.workspace.prune import prune

        return prune(self.store, removals, say)

    def computes(self) -> Computes:
        """The computes of the workspace, `local` first."""
        return [_compute(name, kind, name == self.workspace.settings.default_compute) for name, kind in self.workspace.computes.items()]

    def compute(self, name: str) -> dict[str, object]:
        """One compute by name; raises `UserError` for an unknown one."""
        known = self.workspace.computes
        if name not in known:
            raise UserError(f"there is no compute {name!r}", allowed=", ".join(known), todo=did_you_mean(name, known))
        return next(compute for compute in self.computes() if compute["name"] == name)


def exit_status(record: JobRecord) -> int:
    """0 completed or handed over, 1 failed, 130 cancelled."""
    return {FAILED: 1, CANCELED: 130}.get(record.status, 0)


def _absolute(python: str | None) -> str | None:
    """A path of an interpreter as it is found from everywhere: the process that runs the job has a current folder of its own."""
    if python is None or "/" not in python:
        return python  # a command or a version
    return os.path.abspath(os.path.expanduser(python))  # noqa: PTH100, PTH111 (a venv's python is a link that must not be followed)


def _output_paths(job: Job) -> list[Path]:
    ports = list(job.outputs.values())
    if isinstance(job, PipelineJob):
        ports += [port for step in job.steps.values() for port in step.outputs.values()]
    return [Path(port.path) for port in ports]


def _compute(name: str, kind: str, default: bool) -> dict[str, object]:
    cores = len(os.sched_getaffinity(0))
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return {"name": name, "type": kind, "default": default, "cores": cores, "memory_gb": round(memory / 2**30, 1), "state": "Running"}
