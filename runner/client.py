"""What the command line and the Python SDK call: jobs of one workspace, from submission to removal."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from runner.errors import UserError, printable
from runner.model.cluster import RayCompute
from runner.model.events import Observer
from runner.resumption import Resumption
from runner.storage.stores import Stores
from runner.submission import Submission
from runner.workspace.access import stores_again
from runner.workspace.clusters import gateway_of, read_proof, say_on_stderr
from runner.workspace.config import Workspace, find_workspace
from runner.workspace.jobs import JobStore
from runner.workspace.records import CANCELED, FAILED, JobRecord

if TYPE_CHECKING:
    from runner.workspace.archive.archive import Archived
    from runner.workspace.prune import Removal
    from runner.workspace.transfer import Watch

    Removals = list[Removal]

# `list` is a method of the class below.
Records = list[JobRecord]
Paths = list[Path]
Computes = list[dict[str, object]]


class Client(Submission, Resumption):
    """One workspace. `workspace` is a folder, else RUNNER_WORKSPACE, else what is found from the current folder upwards.

    With `must_exist` the absence of a workspace is an error; otherwise the current folder becomes one with its first job.
    """

    def __init__(
        self, workspace: str | Path | Workspace | None = None, *, must_exist: bool = False, say: Callable[[str], None] = say_on_stderr
    ) -> None:
        found = workspace if isinstance(workspace, Workspace) else find_workspace(workspace, must_exist=must_exist)
        super().__init__(found, JobStore(found, say=say), say)

    # Following and changing jobs; making them: submission.py, going on with them: resumption.py

    def get(self, name: str) -> JobRecord:
        """The job as it is now; `<pipeline>.<step>` names a step."""
        return self.store.get(name)

    def list(self, *, tag: str | None = None, status: str | None = None, parent: str | None = None) -> Records:
        """The jobs, newest first; see `JobStore.find`."""
        return self.store.find(tag=tag, status=status, parent=parent)

    def stream(self, name: str, watch: Observer | None = None) -> JobRecord:
        """Follows a job until it has ended; `watch` sees its events from the latest state on. Errors: see `runner.remote`."""
        from runner.workspace.control import subscribe

        if self.store.elsewhere.holds(name):
            return self.store.elsewhere.follow(name, watch or (lambda _event: None))
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
        """Asks the owner of a running job to cancel it, and returns the job as it then is: mostly `CancelRequested`."""
        found = self.store.elsewhere.holds(name)
        if not (self._cancel_elsewhere(found) if found else self.store.cancel(name)):
            raise UserError(f"job {name} cannot be cancelled: its process is gone", todo=f"see `runner job show {name}`")
        record = self.store.get(name)
        return record if record.finished else replace(record, status="CancelRequested")

    def _cancel_elsewhere(self, found: Archived) -> bool:
        record = found.shown
        if record.finished:
            raise UserError(f"job {record.name} cannot be cancelled: it has ended already ({record.status})")
        return self.store.elsewhere.cancel(found)

    # Keeping house

    def download(
        self, name: str, target: Path, *, output_name: str | None = None, everything: bool = False, watch: Watch = lambda _moved: None
    ) -> Paths:
        """Copies outputs and logs; see `runner.workspace.download`."""
        from runner.workspace.download import download
        from runner.workspace.transfer import SILENCE

        record = self.store.get(name)
        paths = self.workspace.job_paths(record.parent or record.name)

        elsewhere = self.store.elsewhere
        away = elsewhere.holds(record.parent or record.name)

        def stores_of(address: str) -> Stores:
            if away and address == record.logs:
                return elsewhere.logs()
            known = elsewhere.stores(away.record.name) if away else None
            return stores_again(paths, self.workspace, address, say=self._say, known=known, patience=SILENCE)

        return download(record, target, output_name=output_name, everything=everything, stores_of=stores_of, watch=watch)

    def delete(self, name: str) -> Removal:
        """Removes a job with its logs, and with its outputs as far as they lie in the workspace's own place for them."""
        from runner.workspace.prune import delete_elsewhere, delete_job

        if not self.store.is_here(name) and (removal := delete_elsewhere(self.store, name)):
            return removal
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


def last_page(record: JobRecord) -> str:
    """What is told of a job that has ended: its `job_result.txt`."""
    try:
        page = (Path(record.logs) / "job_result.txt").read_text(encoding="utf-8", errors="replace")
    except OSError:
        page = ""
    if record.status not in page.split("\n", 1)[0]:  # an interrupted job has none, or an old one
        message = record.error["message"] if record.error else ""
        page = f"Job {record.name}: {record.status}\n\n{message}\n\nLogs: {record.logs}\n"
    return printable(page)


def exit_status(record: JobRecord) -> int:
    """0 completed or handed over, 1 failed, 130 cancelled."""
    return {FAILED: 1, CANCELED: 130}.get(record.status, 0)
