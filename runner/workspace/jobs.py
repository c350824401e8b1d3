"""The jobs of a workspace: their folders and records, who owns them, and how to ask an owner to cancel."""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
import shutil
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

from runner.errors import JobConflict, Place, UserError, did_you_mean
from runner.model.cluster import RayCompute
from runner.model.job import Job, JobInput, JobOutput, PipelineJob
from runner.model.moments import utc
from runner.model.paths import JobPaths
from runner.workspace.access import drop_left_access
from runner.workspace.clusters import ClusterJobs, Say, age_of, compute_of, credentials, gateway_of, say_on_stderr
from runner.workspace.config import Workspace
from runner.workspace.control import ask_to_cancel
from runner.workspace.elsewhere import Elsewhere
from runner.workspace.locks import FileLock, is_held, take_lock
from runner.workspace.names import check_name
from runner.workspace.records import STATUSES, JobRecord, interrupted, load_quietly
from runner.workspace.settings import LOCAL

_PUT_AWAY_SECONDS = 5.0  # that the owner of a job which shows as ended may need until it is gone


def new_record(job: Job, paths: JobPaths, *, local: bool, python: str | None) -> JobRecord:
    """The record of a job that has just been created. A pipeline has the compute of its steps where that is one cluster."""
    created = utc(time.time())
    given: dict[str, object] = {"local": local, "python": python}
    if not isinstance(job, PipelineJob):
        return _record(job, paths, created, type=job.type, compute=job.compute, **given)
    steps = {
        name: _record(step, paths.step(name), created, type=step.type, compute=step.compute, parent=job.name, status="Queued", **given)
        for name, step in job.steps.items()
    }
    computes = {step.compute for step in job.steps.values()}
    compute = computes.pop() if len(computes) == 1 else LOCAL
    return _record(job, paths, created, type="pipeline", compute=compute, jobs=steps, **given)


def _record(job: Job, paths: JobPaths, created: str, **further: object) -> JobRecord:
    common = {key: getattr(job, key) for key in ("name", "display_name", "experiment_name", "description", "tags", "properties")}
    ports = {
        "inputs": {name: _input(port) for name, port in job.inputs.items() if not port.optional_unset},
        "outputs": {name: _output(port) for name, port in job.outputs.items()},
    }
    fields = {**common, **ports, "status": "Preparing", **further}
    return JobRecord(**fields, created_at=created, logs=str(paths.logs))


def _input(port: JobInput) -> Mapping[str, object]:
    if not port.is_data:
        return {"type": port.type, "value": port.value}
    return {"type": port.type, "path": port.path, "uri": port.uri, "mode": port.mode}


def _output(port: JobOutput) -> Mapping[str, object]:
    entry: dict[str, object] = {"type": port.type, "path": port.path, "uri": port.uri, "mode": port.mode}
    return entry | {key: value for key, value in (("name", port.name), ("version", port.version)) if value is not None}


def output_paths(job: Job) -> list[str]:
    """Where a job and its steps write: local paths and addresses."""
    steps = job.steps.values() if isinstance(job, PipelineJob) else ()
    return [port.path for one in (job, *steps) for port in one.outputs.values()]


class JobStore:
    """All jobs of one workspace."""

    def __init__(self, workspace: Workspace, *, say: Say = say_on_stderr) -> None:
        self.workspace, self._say = workspace, say
        self._told: set[str] = set()  # clusters that have not answered
        self.elsewhere = Elsewhere(workspace, say)

    def paths(self, name: str) -> JobPaths:
        """The folders of a job that exists; raises `UserError` for others."""
        paths = self.workspace.job_paths(check_name(name))
        if not os.path.isfile(paths.record):  # noqa: PTH113 (nor is it there for whom its folder is closed)
            raise self._unknown(name)
        return paths

    def check_free(self, name: str) -> None:
        """Raises `JobConflict` if the name is taken."""
        if os.path.lexists(self.workspace.job_paths(name).root):
            raise _taken(name)
        self.elsewhere.check_free(name)

    @contextlib.contextmanager
    def draft(self, name: str) -> Iterator[tuple[JobPaths, FileLock]]:
        """A job folder that is not to be seen yet, with the held lock of its owner: the caller fills it, and `publish()` shows it.

        What was not published is removed at the end.
        """
        self.workspace.make()
        root = self._draft_folder(name)
        paths = replace(self.workspace.job_paths(name), root=root)
        lock = take_lock(paths.lock)
        assert lock is not None  # the folder is new
        try:
            yield paths, lock
        except BaseException:
            lock.release()
            raise
        finally:
            if root.exists():
                shutil.rmtree(root, ignore_errors=True)

    def _draft_folder(self, name: str) -> Path:
        """For its user alone; in a shared workspace also for its group, if the umask allows it."""
        if not self.workspace.is_shared:
            return Path(tempfile.mkdtemp(prefix=f"{name[:80]}.", dir=self.workspace.drafts))
        root = self.workspace.drafts / f"{name[:80]}.{secrets.token_hex(6)}"
        root.mkdir(mode=0o750)
        return root

    def publish(self, draft: JobPaths, name: str) -> JobPaths:
        """Gives the job its place, in one step; raises `JobConflict` if another job has taken the name."""
        final = self.workspace.job_paths(name)
        self.workspace.claim_data_folder(name)
        try:
            draft.root.rename(final.root)
        except OSError as error:
            if error.errno in (errno.EEXIST, errno.ENOTEMPTY, errno.ENOTDIR):
                raise _taken(name) from None
            raise
        return final

    def get(self, name: str) -> JobRecord:
        """The job as it is now. `<pipeline>.<step>` names a step. One whose owner is gone shows as Failed, interrupted."""
        record = self._newest(check_name(name))
        if record is not None:
            return record
        step = self._step(name)
        if step is None:
            raise self._unknown(name)
        return step

    def find(self, *, tag: str | None = None, status: str | None = None, parent: str | None = None) -> list[JobRecord]:
        """Newest first. `tag`: `key` or `key=value`; `parent`: the steps of that pipeline instead of the workspace's jobs."""
        if status is not None and status not in STATUSES:
            near = did_you_mean(status, STATUSES)
            raise UserError(f"there is no status {status!r}", place=Place(field="--status"), allowed=", ".join(STATUSES), todo=near)
        jobs = list(self.get(parent).jobs.values()) if parent is not None else self.elsewhere.all(self.here())
        chosen = [job for job in jobs if (status is None or job.status == status) and (tag is None or _has_tag(job, tag))]
        return sorted(chosen, key=lambda job: (job.created_at or "", job.name), reverse=parent is None)

    def here(self) -> dict[str, JobRecord]:
        """The jobs whose folders this machine has, by name."""
        return {record.name: record for record in self._all()}

    def names(self) -> list[str]:
        """The names of the jobs whose folders this machine has."""
        try:
            return sorted(entry.name for entry in os.scandir(self.workspace.jobs) if entry.is_dir())
        except FileNotFoundError:
            return []

    def is_here(self, name: str) -> bool:
        """Whether this machine has a folder of the job."""
        return self.workspace.job_paths(check_name(name)).record.is_file()

    def discard(self, name: str) -> None:
        """Removes the folder that this machine has of a job which has gone on elsewhere; its logs stay. Errors: JobConflict."""
        if self.is_here(name):
            lock = self.take(name)
            try:
                shutil.rmtree(self.workspace.job_paths(name).root, ignore_errors=True)
            finally:
                lock.release()

    def is_running(self, name: str) -> bool:
        """Whether a process owns the job."""
        return is_held(self.workspace.job_paths(name).lock)

    def take(self, name: str) -> FileLock:
        """Makes this process the owner of an existing job; raises `JobConflict` if another one is."""
        paths = self.paths(name)
        try:
            lock = _lock_of(paths)
        except OSError as error:
            raise UserError(f"job {name} cannot be changed: {error}", todo="make its folder writable") from error
        if lock is None:
            todo = f"follow it with `runner job stream {name}`, or stop it with `runner job cancel {name}`"
            raise JobConflict(f"job {name} is running in another process", todo=todo)
        return lock

    def cluster_of(self, record: JobRecord) -> RayCompute | None:
        """The cluster that runs the job; None for this machine."""
        return compute_of(record, self.workspace)

    def check_ended(self, record: JobRecord) -> None:
        """Raises `JobConflict` for a job that a cluster has yet to end, as far as can be told."""
        compute = self.cluster_of(record)
        if compute is not None and not record.finished:
            name = record.parent or record.name
            todo = f"follow it with `runner job stream {name}`, or stop it with `runner job cancel {name}`"
            raise JobConflict(f"job {name} has not ended: it is {record.status} on the cluster {compute.name}", todo=todo)

    def cancel(self, name: str) -> bool:
        """Asks the owner to cancel; True if it has heard, False if the job has no owner any more (an interrupted one)."""
        paths = self.paths(name)
        record = self.get(name)
        if record.finished and not self.is_running(name):
            raise UserError(f"job {name} cannot be cancelled: it has ended already ({record.status})")
        compute = self.cluster_of(record)
        if compute is not None:
            gateway_of(compute).cancel(name, *credentials(self.workspace, paths))
            return True
        paths.cancel.touch()
        if not ask_to_cancel(paths.control):
            return self.is_running(name)  # it is just starting, and will see the request, or just ending
        return True

    def _clusters(self, *, whole: bool = False) -> ClusterJobs:
        return ClusterJobs(self.workspace, say=self._say, told=self._told, whole=whole)

    def _all(self) -> Iterator[JobRecord]:
        clusters = self._clusters(whole=True)
        for name in self.names():
            record = self._read(self.workspace.job_paths(name), clusters)
            if record is not None:
                yield record

    def _newest(self, name: str) -> JobRecord | None:
        return self.elsewhere.newest(self._read(self.workspace.job_paths(name), self._clusters()), name)

    def _read(self, paths: JobPaths, clusters: ClusterJobs) -> JobRecord | None:
        record = load_quietly(paths)
        if record is None or record.finished or is_held(paths.lock):
            return record
        compute = self.cluster_of(record)
        if compute is not None:
            return clusters.now(record, compute, lambda: load_quietly(paths), age_of(paths)) or interrupted(load_quietly(paths) or record)
        record = load_quietly(paths)  # it may have ended in between
        if record is None or record.finished:
            return record
        if self.workspace.computes.get(LOCAL if record.local else record.compute) == LOCAL and not paths.access_key.exists():
            drop_left_access(paths, self.workspace)  # of this machine's jobs: those of a cluster may go on by themselves
        return interrupted(record)

    def _step(self, name: str) -> JobRecord | None:
        for at, letter in enumerate(name):
            if letter == ".":
                pipeline = self._newest(name[:at])
                if pipeline is not None and name[at + 1 :] in pipeline.jobs:
                    return pipeline.jobs[name[at + 1 :]]
        return None

    def _unknown(self, name: str) -> UserError:
        step = self._step(name)
        if step is not None:
            return UserError(f"{name!r} is a step of the pipeline {step.parent}", todo=f"name the pipeline: {step.parent}")
        known = self.names()
        if name in known:
            return UserError(f"job {name!r} is another user's", todo="ask its user; `runner job list` shows the jobs that you may see")
        return UserError(
            f"there is no job {name!r} in the workspace {self.workspace.root}",
            todo=did_you_mean(name, known) or "list the jobs with `runner job list`",
        )


def _has_tag(job: JobRecord, tag: str) -> bool:
    key, equals, value = tag.partition("=")
    return key in job.tags and (not equals or job.tags[key] == value)


def _lock_of(paths: JobPaths) -> FileLock | None:
    """None if another process has it, which is not one that is about to leave: who has followed a job to its end may delete it."""
    end = time.monotonic() + _PUT_AWAY_SECONDS
    while (lock := take_lock(paths.lock)) is None and time.monotonic() < end:
        record = load_quietly(paths)
        if record is None or not record.finished:
            break
        time.sleep(0.05)
    return lock


def _taken(name: str) -> JobConflict:
    return JobConflict(
        f"the name {name!r} is taken by another job of this workspace",
        place=Place(field="name"),
        todo=f"choose another name, or delete that job (`runner job delete {name}`); "
        f"one that was cut short goes on with `runner job resume {name}`",
    )
