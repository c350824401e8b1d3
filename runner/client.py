"""What the command line and the Python SDK call: jobs of one workspace, from submission to removal."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from runner.errors import UserError
from runner.model.cluster import RayCompute
from runner.model.events import Observer, StatusChanged
from runner.model.job import Job, PipelineJob
from runner.storage.stores import Stores
from runner.workspace.access import drop_access, read_access, renew_access, stores_again, write_access
from runner.workspace.clusters import gateway_of, read_proof, say_on_stderr
from runner.workspace.config import CONFIG_FILE, Workspace, find_workspace
from runner.workspace.jobs import JobStore, new_record, output_paths
from runner.workspace.locks import FileLock, hold_outputs
from runner.workspace.names import generate_name
from runner.workspace.records import CANCELED, COMPLETED, FAILED, REFUSED, JobRecord, write_json

if TYPE_CHECKING:
    from runner.model.paths import JobPaths
    from runner.owner import Held, Run
    from runner.pipeline.options import StepPlan
    from runner.remote import Remote
    from runner.spec.blobs import Blobs
    from runner.spec.load import LoadedJob
    from runner.workspace.prune import Removal
    from runner.workspace.transfer import Watch

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

    def __init__(
        self, workspace: str | Path | Workspace | None = None, *, must_exist: bool = False, say: Callable[[str], None] = say_on_stderr
    ) -> None:
        self.workspace = workspace if isinstance(workspace, Workspace) else find_workspace(workspace, must_exist=must_exist)
        self.store = JobStore(self.workspace, say=say)
        self._say = say

    # Making jobs

    def resolve(
        self,
        loaded: LoadedJob,
        *,
        name: str | None = None,
        local: bool = False,
        uploads: Mapping[str, str] | None = None,
        blobs: Blobs | None = None,
    ) -> Job:
        """The checked job, ready to run; nothing is written. Raises `UserError`, or `UserErrors` with all mistakes at once.

        `uploads`: where local inputs lie for the cluster that is to run it; `blobs` gathers the containers that the job uses.
        """
        from runner.spec.resolve import ResolveContext, resolve
        from runner.workspace.table_stores import note_tables

        workspace, blobs = self.workspace, blobs or self._blobs()
        context = ResolveContext(
            name=name if name is not None else loaded.name or generate_name(),
            root=workspace.root,
            datastores=workspace.datastores,
            default_datastore=workspace.settings.default_datastore,
            computes=tuple(workspace.computes),
            clusters=tuple(workspace.settings.ray_computes),
            shared=tuple(workspace.shared_datastores.values()),
            uploads=uploads or {},
            default_compute=workspace.settings.default_compute,
            instance_types=tuple(workspace.settings.instance_types),
            environments=workspace.environments,
            data=workspace.data,
            blobs=blobs,
            docker_policy=workspace.docker_policy,
            local=local,
            experiment=Path.cwd().name,
        )
        job = resolve(loaded, context)
        note_tables(job, blobs)
        for path in output_paths(job):
            workspace.check_output(path)
        if self._cluster_of(job) is not None:
            from runner.workspace.upload import check_reachable

            check_reachable(job, workspace, Stores(blobs.used, say=self._say))
        return job

    def _blobs(self) -> Blobs:
        from runner.spec.blobs import Blobs

        return Blobs(self.workspace.settings.blob_stores, say=self._say)

    def _warn_of_secrets(self, blobs: Blobs) -> None:
        """Those of the datastores that a job uses, where others can read them."""
        from runner.workspace.datastore_settings import open_secrets

        stores = self.workspace.settings.blob_stores
        used = [stores[store.name] for store in blobs.used if store.name in stores]
        for text in open_secrets(self.workspace.root / CONFIG_FILE, used):
            self._say(f"Warning: {text}")

    def _check_name(self, name: str | None) -> None:
        """Where several users have jobs, a name that is another's would be told as the lack of a permission."""
        if name and "/" not in name and self.workspace.is_shared:
            self.store.check_free(name)

    def _cluster_of(self, job: Job) -> RayCompute | None:
        """The cluster that is to run a job: that of all of its steps."""
        steps = job.steps.values() if isinstance(job, PipelineJob) else (job,)
        return next((self.workspace.settings.ray_computes.get(step.compute) for step in steps), None)

    def _remote(self, compute: RayCompute) -> Remote:
        from runner.remote import Remote

        return Remote(self.workspace, compute)

    def validate(self, loaded: LoadedJob, *, name: str | None = None, local: bool = False, python: str | None = None) -> tuple[Job, Plans]:
        """The checked job and what it would do, a plan for each step; runs no user code and leaves nothing behind."""
        from runner.pipeline.options import options_for
        from runner.pipeline.run import plan_job

        blobs = self._blobs()
        job = self.resolve(loaded, name=name, local=local, blobs=blobs)
        self.store.check_free(job.name)
        self._warn_of_secrets(blobs)
        options = options_for(self.workspace, local=local, python=python, stores=Stores(blobs.used, say=self._say))
        return job, plan_job(job, options)

    def submit(
        self,
        loaded: LoadedJob,
        *,
        name: str | None = None,
        stream: bool = False,
        local: bool = False,
        python: str | None = None,
        allow_large_snapshot: bool = False,
        priority: int = 0,
        watch: Observer | None = None,
    ) -> JobRecord:
        """Creates a job and hands it over to a process in the background; or, with `stream`, runs it in this one until it has ended.

        A job on a cluster is handed over to that, and followed with `stream`; those of a higher `priority` start first there.
        `watch` sees the events of a streamed job. Raises `UserError` for a wrong request, before anything is left behind.
        """
        from runner.pipeline.options import options_for
        from runner.pipeline.plan import check_job

        self._check_name(name or loaded.name)
        blobs = self._blobs()
        job = self.resolve(loaded, name=name, local=local, blobs=blobs)
        compute = self._cluster_of(job)
        if compute is not None:
            self._remote(compute).check()
        self.store.check_free(job.name)
        check_job(job, options_for(self.workspace, local=local, python=python))
        self._warn_of_secrets(blobs)
        if compute is not None:
            record = self._hand_over(
                loaded, job, blobs, compute, python=python, allow_large_snapshot=allow_large_snapshot, priority=priority
            )
            return self._followed(record, compute, stream=stream, watch=watch, made=True)
        if priority:
            self._say("the priority has no effect: the job does not run on a cluster")
        held = self._create(job, blobs, local=local, python=_absolute(python), allow_large_snapshot=allow_large_snapshot)
        try:
            return self._start(job, held, stream=stream, watch=watch)
        except UserError:
            if stream:  # refused before anything ran: its name is free again
                self.delete(job.name)
            raise

    def _hand_over(
        self,
        loaded: LoadedJob,
        job: Job,
        blobs: Blobs,
        compute: RayCompute,
        *,
        python: str | None,
        allow_large_snapshot: bool,
        priority: int,
    ) -> JobRecord:
        """Copies what lies on this machine only, and hands the job over. Its outputs are reserved by its owner there."""
        from runner.workspace.code import copy_code
        from runner.workspace.space import check_space
        from runner.workspace.upload import place_inputs

        self.workspace.make()
        outputs = output_paths(job)
        check_space(self.workspace, outputs)
        hold_outputs(outputs, job=job.name, registry=self.workspace.locks).release()
        placed = place_inputs(job, self.workspace, self._say)
        resolved = self.resolve(loaded, name=job.name, uploads=placed, blobs=blobs) if placed else job
        limit = None if allow_large_snapshot else self.workspace.settings.max_snapshot

        def fill(draft: JobPaths) -> None:
            copy_code(job, draft, limit=limit, say=self._say)
            write_access(draft, blobs.used)

        return self._remote(compute).submit(resolved, python=_absolute(python), priority=priority, fill=fill)

    def _followed(self, record: JobRecord, compute: RayCompute, *, stream: bool, watch: Observer | None, made: bool = False) -> JobRecord:
        """`made`: the job is new. Errors: UserError for one that its owner has refused before anything ran, as on this machine."""
        if not stream:
            return record
        if watch is not None:
            from runner.remote import announce

            announce(record, compute, watch)
        record = self._remote(compute).follow(record.name, watch)
        if record.error is not None and record.error["code"] == REFUSED:
            if made:
                self.delete(record.name)
            raise UserError(record.error["message"])
        return record

    def _create(self, job: Job, blobs: Blobs, *, local: bool, python: str | None, allow_large_snapshot: bool) -> Held:
        from runner.owner import Held
        from runner.spec.stored import dump
        from runner.workspace.code import copy_code
        from runner.workspace.space import check_space

        self.workspace.make()
        outputs = output_paths(job)
        check_space(self.workspace, outputs)
        locks = hold_outputs(outputs, job=job.name, registry=self.workspace.locks)
        try:
            with self.store.draft(job.name) as (draft, lock):
                copy_code(job, draft, limit=None if allow_large_snapshot else self.workspace.settings.max_snapshot, say=self._say)
                write_access(draft, blobs.used)
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
        """Follows a job until it has ended; `watch` sees its events from the latest state on. Errors: see `runner.remote`."""
        from runner.workspace.control import subscribe

        paths = self.store.paths(name)
        compute = self.store.cluster_of(JobStore(self.workspace, say=lambda _hint: None).get(name))
        if compute is not None:
            return self._remote(compute).follow(name, watch)
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
        check_space(self.workspace, output_paths(job))
        retry_failed = record.status == FAILED and (record.error or {}).get("code") != "interrupted"
        self._check_renewal(job, record, code=code, python=python)
        compute = self.store.cluster_of(record)
        if compute is not None:
            self._remote(compute).check()
        held = self._take(name, job)
        paths = self.workspace.job_paths(name)
        try:
            limit = None if allow_large_snapshot else self.workspace.settings.max_snapshot
            self._renew(job, name, limit, code=code, python=python)
            renew_access(paths, self.workspace)
        except BaseException:
            held.release()
            raise
        paths.cancel.unlink(missing_ok=True)
        if compute is not None:
            held.release()  # the owner on the cluster takes it
            try:
                record = self._remote(compute).resume(name, retry_failed=retry_failed)
            except BaseException:
                drop_access(paths)
                raise
            return self._followed(record, compute, stream=stream, watch=watch)
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
            renew_code(job, paths, limit=limit, say=self._say)
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
        held = self._take(name, job)
        with self._renewed(paths, held) as stores:
            return self._own(job, held, lambda observe, _cancel: finish_partial(job, paths, observe, stores), watch)

    @contextmanager
    def _renewed(self, paths: JobPaths, held: Held) -> Iterator[Stores]:
        """Credentials for a job that has ended, while it is worked on once more; where there are none, it is given back."""
        try:
            renew_access(paths, self.workspace)
        except BaseException:
            held.release()
            raise
        try:
            yield read_access(paths, say=self._say)
        finally:
            drop_access(paths)

    def _finish_step(self, pipeline: str, name: str, watch: Observer | None) -> JobRecord:
        """Publishes the rows of one step; the pipeline's own status stays what it was."""
        from runner.pipeline.run import finish_partial

        job = self._stored(pipeline)
        assert isinstance(job, PipelineJob)
        step_name = name.removeprefix(f"{pipeline}.")
        step, paths = job.steps[step_name], self.workspace.job_paths(pipeline).step(step_name)
        held = self._take(pipeline, step)
        with self._renewed(self.workspace.job_paths(pipeline), held) as stores:
            try:
                result = finish_partial(step, paths, watch or (lambda _event: None), stores)
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

        self.store.check_ended(self.store.get(name))
        lock = self.store.take(name)
        try:
            settle_code(self.workspace.job_paths(name))
            return Held(name=name, lock=lock, outputs=hold_outputs(output_paths(job), job=name, registry=self.workspace.locks))
        except BaseException:
            lock.release()
            raise

    # Keeping house

    def download(
        self, name: str, target: Path, *, output_name: str | None = None, everything: bool = False, watch: Watch = lambda _moved: None
    ) -> Paths:
        """Copies outputs and logs; see `runner.workspace.download`."""
        from runner.workspace.download import download

        record = self.store.get(name)
        paths = self.workspace.job_paths(record.parent or record.name)

        def stores_of(address: str) -> Stores:
            return stores_again(paths, self.workspace, address, say=self._say)

        return download(record, target, output_name=output_name, everything=everything, stores_of=stores_of, watch=watch)

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
        """The computes of the workspace, `local` first; see `runner.workspace.computes`."""
        from runner.workspace.computes import list_computes

        return list_computes(self.workspace)

    def compute(self, name: str) -> dict[str, object]:
        """One compute by name, a cluster with its nodes and jobs; raises `UserError` for an unknown one, or one that does not answer."""
        from runner.workspace.computes import show_compute

        return show_compute(self.workspace, name)

    def drain(self, node: str, *, compute: str | None = None, undo: bool = False) -> Mapping[str, object]:
        """Gives a node of a cluster nothing new, or (`undo`) again; for administrators. Returns the node as it then is."""
        gateway, proof = gateway_of(self.cluster(compute)), read_proof(self.workspace)
        return gateway.undrain(node, proof) if undo else gateway.drain(node, proof)

    def cluster(self, name: str | None = None) -> RayCompute:
        """The cluster of that name, or the only one."""
        return self.workspace.ray_compute(name) if name else self.workspace.only_cluster()


def exit_status(record: JobRecord) -> int:
    """0 completed or handed over, 1 failed, 130 cancelled."""
    return {FAILED: 1, CANCELED: 130}.get(record.status, 0)


def _absolute(python: str | None) -> str | None:
    """A path of an interpreter as it is found from everywhere: the process that runs the job has a current folder of its own."""
    if python is None or "/" not in python:
        return python  # a command or a version
    return os.path.abspath(os.path.expanduser(python))  # noqa: PTH100, PTH111 (a venv's python is a link that must not be followed)
