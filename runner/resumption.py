"""Going on with jobs that have ended: resumed, or finished with what they have; fetched from another machine where they ran there."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING

from runner.errors import UserError
from runner.model.events import Observer
from runner.model.job import Job, PipelineJob
from runner.runs import Runs, absolute_python
from runner.storage.stores import Stores
from runner.workspace.access import drop_access, read_access, renew_access
from runner.workspace.jobs import output_paths
from runner.workspace.locks import FileLock, hold_outputs
from runner.workspace.records import COMPLETED, FAILED, JobRecord, write_json

if TYPE_CHECKING:
    from runner.model.paths import JobPaths
    from runner.owner import Held


class Resumption(Runs):
    """What `Client` can do with jobs that have ended."""

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
        self._bring(name)
        record = self.store.get(name)
        if record.status == COMPLETED and not record.incomplete:
            return self._completed(record)
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

    def finish_partial(self, name: str, watch: Observer | None = None) -> JobRecord:
        """Publishes what succeeded in a job that failed or was cancelled, in order; the job is marked as incomplete."""
        from runner.pipeline.run import finish_partial

        if self.store.get(name).status == COMPLETED:
            raise UserError(f"job {name} is complete: there is nothing to finish")
        parent = self.store.get(name).parent
        self._bring(parent or name)
        if parent is not None:
            return self._finish_step(parent, name, watch)
        job = self._stored(name)
        paths = self.workspace.job_paths(name)
        held = self._take(name, job)
        with self._renewed(paths, held) as stores:
            return self._own(job, held, lambda observe, _cancel, _confirm: finish_partial(job, paths, observe, stores), watch)

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
                self.store.elsewhere.put_away(pipeline)
                return done
            finally:
                held.release()

    def _completed(self, record: JobRecord) -> JobRecord:
        """Of a job that is complete, there may be something left to do. Errors: UserError where there is not."""
        elsewhere = self.store.elsewhere
        if not self.store.is_here(record.name) or not elsewhere.is_behind(record.name):
            raise UserError(f"job {record.name} cannot be resumed: it is complete", todo="create a new job to run it again")
        lock = self.store.take(record.name)
        try:
            elsewhere.retake(record.name)
            elsewhere.put_away(record.name)
        finally:
            lock.release()
        return record

    def _bring(self, name: str) -> None:
        """Makes the folder of a job that another machine has had. Errors: JobConflict while its owner may be alive; UserError."""
        found = self.store.elsewhere.holds(name)
        if found is None or (found.record.status == COMPLETED and not found.record.incomplete):
            return
        owned = self.store.elsewhere.take_over(found)
        self._say(f"job {name} ran on {found.host}: it is fetched from the datastore")
        with self.store.draft(name) as (draft, lock):
            self.store.elsewhere.fetch(name, owned, draft)
            self.store.discard(name)
            final = self.store.publish(draft, name)
            FileLock(path=final.lock, handle=lock.handle).release()

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
            record, python = self.store.get(name), absolute_python(python)
            steps = {step: replace(one, python=python) for step, one in record.jobs.items()}
            write_json(paths.record, replace(record, python=python, jobs=steps).to_json())

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

    def _stored(self, name: str) -> Job:
        from runner.spec.stored import load

        return load(json.loads(self.store.paths(name).spec.read_text(encoding="utf-8")))

    def _take(self, name: str, job: Job) -> Held:
        from runner.owner import Held
        from runner.workspace.code import settle_code

        self.store.check_ended(self.store.get(name))
        lock = self.store.take(name)
        try:
            self.store.elsewhere.retake(name)
            settle_code(self.workspace.job_paths(name))
            return Held(name=name, lock=lock, outputs=hold_outputs(output_paths(job), job=name, registry=self.workspace.locks))
        except BaseException:
            lock.release()
            raise
