"""Making jobs: from a loaded job file to one that runs, in this process, in the background, or on a cluster."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from runner.errors import UserError
from runner.model.cluster import RayCompute
from runner.model.events import Observer
from runner.model.job import Job, PipelineJob
from runner.runs import Runs, absolute_python
from runner.storage.stores import Stores
from runner.workspace.access import write_access
from runner.workspace.config import CONFIG_FILE
from runner.workspace.elsewhere import TakenOver
from runner.workspace.jobs import new_record, output_paths
from runner.workspace.locks import FileLock, hold_outputs
from runner.workspace.names import generate_name
from runner.workspace.records import JobRecord, write_json

if TYPE_CHECKING:
    from runner.model.paths import JobPaths
    from runner.owner import Held
    from runner.pipeline.options import StepPlan
    from runner.spec.blobs import Blobs
    from runner.spec.load import LoadedJob


class Submission(Runs):
    """What `Client` can do with jobs that are not there yet."""

    def resolve(
        self,
        loaded: LoadedJob,
        *,
        name: str | None = None,
        local: bool = False,
        python: str | None = None,
        uploads: Mapping[str, str] | None = None,
        blobs: Blobs | None = None,
        force_rerun: bool = False,
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
            models=workspace.models,
            components=workspace.components,
            blobs=blobs,
            docker_policy=workspace.docker_policy,
            local=local,
            python=python is not None,
            experiment=Path.cwd().name,
        )
        job = resolve(loaded, context)
        if force_rerun and isinstance(job, PipelineJob):
            job = replace(job, force_rerun=True)
        note_tables(job, blobs)
        job = replace(job, notices=tuple(dict.fromkeys((*job.notices, *blobs.notices.values()))))
        for path in output_paths(job):
            workspace.check_output(path)
        if self._cluster_of(job) is not None:
            from runner.workspace.upload import check_reachable

            check_reachable(job, workspace, self._stores(blobs))
        return job

    def validate(
        self, loaded: LoadedJob, *, name: str | None = None, local: bool = False, python: str | None = None
    ) -> tuple[Job, list[StepPlan]]:
        """The checked job and what it would do, a plan for each step; runs no user code and leaves nothing behind."""
        from runner.pipeline.options import options_for
        from runner.pipeline.run import plan_job

        blobs = self._blobs()
        job = self.resolve(loaded, name=name, local=local, python=python, blobs=blobs)
        self.store.check_free(job.name)
        self._warn_of_secrets(blobs)
        options = options_for(self.workspace, local=local, python=python, stores=self._stores(blobs))
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
        force_rerun: bool = False,
        watch: Observer | None = None,
    ) -> JobRecord:
        """Creates a job and hands it over to a process in the background; or, with `stream`, runs it in this one until it has ended.

        A job on a cluster is handed over to that, and followed with `stream`; those of a higher `priority` start first there.
        `force_rerun`: no step takes earlier results. `watch` sees the events of a streamed job.

        Raises `UserError` for a wrong request, before anything is left behind.
        """
        from runner.pipeline.options import options_for
        from runner.pipeline.plan import check_job

        self._check_name(name or loaded.name)
        blobs = self._blobs()
        job = self.resolve(loaded, name=name, local=local, python=python, blobs=blobs, force_rerun=force_rerun)
        compute = self._cluster_of(job)
        if compute is not None:
            self._remote(compute).check()
        self.store.check_free(job.name)
        check_job(job, options_for(self.workspace, local=local, python=python))
        self._warn_of_secrets(blobs)
        if not stream:  # or else they are the first lines of what is streamed
            self._tell_notices(job)
        if compute is not None:
            record = self._hand_over(
                loaded, job, blobs, compute, python=python, allow_large_snapshot=allow_large_snapshot, priority=priority
            )
            return self._followed(record, compute, stream=stream, watch=watch, made=True)
        if priority:
            self._say("the priority has no effect: the job does not run on a cluster")
        held = self._create(job, blobs, local=local, python=absolute_python(python), allow_large_snapshot=allow_large_snapshot)
        try:
            return self._start(job, held, stream=stream, watch=watch)
        except TakenOver:
            raise
        except UserError:
            if stream:  # refused before anything ran: its name is free again
                self._forget(job.name)
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
        force_rerun = isinstance(job, PipelineJob) and job.force_rerun
        resolved = self.resolve(loaded, name=job.name, uploads=placed, blobs=blobs, force_rerun=force_rerun) if placed else job
        limit = None if allow_large_snapshot else self.workspace.settings.max_snapshot

        def fill(draft: JobPaths) -> None:
            copy_code(job, draft, limit=limit, say=self._say)
            write_access(draft, blobs.used)

        return self._remote(compute).submit(resolved, python=absolute_python(python), priority=priority, fill=fill)

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
                self.store.elsewhere.claim(job.name, draft)
                try:
                    self.store.publish(draft, job.name)
                except BaseException:
                    self.store.elsewhere.give_back(job.name)
                    raise
                return Held(name=job.name, lock=FileLock(path=final.lock, handle=lock.handle), outputs=locks)
        except BaseException:
            locks.release()
            raise

    def _check_name(self, name: str | None) -> None:
        """Where several users have jobs, a name that is another's would be told as the lack of a permission."""
        if name and "/" not in name and self.workspace.is_shared:
            self.store.check_free(name)

    def _blobs(self) -> Blobs:
        from runner.spec.blobs import Blobs

        return Blobs(self.workspace.settings.blob_stores, say=self._say)

    def _tell_notices(self, job: Job) -> None:
        steps = job.steps.values() if isinstance(job, PipelineJob) else ()
        for text in dict.fromkeys(notice for one in (job, *steps) for notice in one.notices):
            self._say(f"Warning: {text}")

    def _stores(self, blobs: Blobs) -> Stores:
        """For what somebody waits for in front of a terminal."""
        from runner.spec.blobs import CHECK_SECONDS

        return Stores(blobs.used, say=self._say, patience=CHECK_SECONDS)

    def _warn_of_secrets(self, blobs: Blobs) -> None:
        """Those of the datastores that a job uses, where others can read them."""
        from runner.workspace.datastore_settings import open_secrets

        stores = self.workspace.settings.blob_stores
        used = [stores[store.name] for store in blobs.used if store.name in stores]
        for text in open_secrets(self.workspace.root / CONFIG_FILE, used, self.workspace.settings.tracking_uri):
            self._say(f"Warning: {text}")
