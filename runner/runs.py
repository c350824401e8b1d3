"""What making jobs and going on with them have in common: how a job is started, here or on a cluster, and followed."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING

from runner.errors import UserError
from runner.model.cluster import RayCompute
from runner.model.events import Observer, StatusChanged
from runner.model.job import Job, PipelineJob
from runner.workspace.clusters import Say
from runner.workspace.config import Workspace
from runner.workspace.jobs import JobStore
from runner.workspace.records import REFUSED, JobRecord

if TYPE_CHECKING:
    from runner.owner import Held, Run
    from runner.remote import Remote


class Runs:
    """Of one workspace; `Client` has more to say of it."""

    def __init__(self, workspace: Workspace, store: JobStore, say: Say) -> None:
        self.workspace, self.store, self._say = workspace, store, say

    def _cluster_of(self, job: Job) -> RayCompute | None:
        """The cluster that is to run a job: that of all of its steps."""
        steps = job.steps.values() if isinstance(job, PipelineJob) else (job,)
        return next((self.workspace.settings.ray_computes.get(step.compute) for step in steps), None)

    def _remote(self, compute: RayCompute) -> Remote:
        from runner.remote import Remote

        return Remote(self.workspace, compute)

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
                self._forget(record.name)
            raise UserError(record.error["message"])
        return record

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

    def _forget(self, name: str) -> None:
        """A job that was refused before anything ran: its name is free again."""
        from runner.workspace.prune import delete_job

        delete_job(self.store, name)


def absolute_python(python: str | None) -> str | None:
    """A path of an interpreter as it is found from everywhere: the process that runs the job has a current folder of its own."""
    if python is None or "/" not in python:
        return python  # a command or a version
    return os.path.abspath(os.path.expanduser(python))  # noqa: PTH100, PTH111 (a venv's python is a link that must not be followed)
