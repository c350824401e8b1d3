"""Jobs that are handed over to a cluster: the client's part of them. The job's folder is made here; its owner runs there."""

from __future__ import annotations

import contextlib
import glob
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import TYPE_CHECKING

from runner.model.cluster import RayCompute
from runner.model.events import Event, Message, Observer, StatusChanged
from runner.model.job import Job
from runner.model.paths import JobPaths
from runner.workspace.clusters import credentials, gateway_of, read_key, seen, write_key
from runner.workspace.config import Workspace
from runner.workspace.jobs import JobStore, new_record
from runner.workspace.records import FINAL, JobRecord, read_json, write_json
from runner.workspace.wire import decode

if TYPE_CHECKING:
    from runner.compute.gateway import JobState

_PAUSES = (0.1, 0.5, 1.0, 2.0, 5.0, 10.0)  # seconds before the next try to follow; the last one again and again
_END_SECONDS = 10.0  # for a cluster to put away a job that has ended


class Detached(KeyboardInterrupt):
    """Ctrl-C while a cluster's job was followed: the job goes on."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.name = name


class Remote:
    """One cluster, for the jobs of a workspace."""

    def __init__(self, workspace: Workspace, compute: RayCompute) -> None:
        self._store = JobStore(workspace, say=lambda _hint: None)  # whoever follows is told by an event
        self._compute = compute
        self._gateway = gateway_of(compute)

    def check(self) -> None:
        """Before anything is made. Errors: UserError for a cluster that cannot take jobs of this workspace."""
        cluster = self._gateway.cluster()
        self._gateway.check_version(cluster)
        self._gateway.check_state(cluster, str(self._store.workspace.state))

    def submit(self, job: Job, *, python: str | None, priority: int, fill: Callable[[JobPaths], None]) -> JobRecord:
        """Makes the job's folder, which `fill` puts code and credentials into, and hands it over; nothing is left if the gateway refuses.

        The job belongs to this user.
        """
        from runner.spec.stored import dump
        from runner.workspace.code import sign_code

        store = self._store
        final = store.workspace.job_paths(job.name)
        record = replace(new_record(job, final, local=False, python=python), status="Queued")
        with store.draft(job.name) as (draft, lock):
            fill(draft)
            sign_code(job, draft)
            write_json(draft.spec, dump(job))
            key = write_key(draft)
            write_json(draft.record, record.to_json())
            store.publish(draft, job.name)
        lock.release()  # its owner on the cluster takes it
        try:
            state = self._hand_over(job.name, lambda: self._gateway.submit(job.name, key, priority=priority))
        except BaseException:
            self._withdraw(job.name)
            raise
        return seen(record, state)

    def resume(self, name: str, *, retry_failed: bool) -> JobRecord:
        """Hands a job over again; its record is as before if the gateway refuses."""
        from runner.spec.stored import load
        from runner.workspace.code import sign_code

        paths = self._store.paths(name)
        self._wait_for_its_end(name)
        sign_code(load(read_json(paths.spec) or {}), paths)
        before = read_json(paths.record) or {}
        key = read_key(paths)
        record = replace(JobRecord.from_json(before), status="Queued", ended_at=None, error=None)
        write_json(paths.record, record.to_json())
        try:
            state = self._hand_over(name, lambda: self._gateway.submit(name, key, resume=True, retry_failed=retry_failed))
        except BaseException:
            write_json(paths.record, before)
            raise
        return seen(record, state)

    def follow(self, name: str, watch: Observer | None) -> JobRecord:
        """Follows a job until it has ended, also while its cluster is away for a while. Ctrl-C: `Detached`.

        Errors: UserError if the cluster does not answer at the beginning, or refuses.
        """
        try:
            return self._follow(name, watch or (lambda _event: None))
        except KeyboardInterrupt:
            raise Detached(name) from None

    def _follow(self, name: str, watch: Observer) -> JobRecord:
        from runner.compute.gateway import GatewayUnreachable

        tries = 0
        lost = ""
        proof = credentials(self._store.workspace, self._store.paths(name))
        while not (record := self._store.get(name)).finished:
            try:
                for event in _events(self._gateway.events(name, *proof)):
                    watch(event)
                    tries, lost = 1, ""
                tries += 1
            except GatewayUnreachable as error:
                if not tries:
                    raise
                if not lost:
                    lost = f"{error.problem}; trying again. The job is not affected by that"
                    watch(Message(at=time.time(), level="WARNING", text=lost))
                tries += 1
            time.sleep(_PAUSES[min(tries - 1, len(_PAUSES) - 1)])
        return record

    def _wait_for_its_end(self, name: str) -> None:
        """A job is known to have ended a moment before its cluster has put it away."""
        end = time.monotonic() + _END_SECONDS
        while self._gateway.state(name) is not None and time.monotonic() < end:
            time.sleep(_PAUSES[0])

    def _hand_over(self, name: str, act: Callable[[], JobState]) -> JobState:
        """An answer that got lost is asked for again: the job may have been taken."""
        from runner.compute.gateway import GatewayUnreachable

        try:
            return act()
        except GatewayUnreachable:
            state = self._gateway.state(name)
            if state is None or state.status in FINAL:
                raise
            return state

    def _withdraw(self, name: str) -> None:
        """Its folder, and what reserving its outputs has left."""
        from runner.workspace.prune import remove_folder

        workspace = self._store.workspace
        remove_folder(workspace.job_paths(name).root)
        for folder in (workspace.data_folder(name), *workspace.data_folder(name).parent.glob(f"{glob.escape(name)}.*")):
            with contextlib.suppress(OSError):  # not empty: somebody else's
                folder.rmdir()


def _events(lines: Iterator[bytes]) -> Iterator[Event]:
    for line in lines:
        event = decode(line) if line.endswith(b"\n") else None
        if event is not None:
            yield event


def announce(record: JobRecord, compute: RayCompute, watch: Observer) -> None:
    """The first thing that a follower sees."""
    reason = f"job {record.name} on {compute.name}, logs in {record.logs}" + (f"; {record.reason}" if record.reason else "")
    watch(StatusChanged(at=time.time(), status="Queued", reason=reason))
