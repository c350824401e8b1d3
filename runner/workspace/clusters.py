"""Jobs that a cluster runs, as the workspace sees them: no process of this machine holds their lock, so the gateway is asked."""

from __future__ import annotations

import contextlib
import os
import secrets
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

from runner.errors import UserError
from runner.model.cluster import RayCompute
from runner.model.paths import JobPaths
from runner.workspace.config import Workspace
from runner.workspace.records import CANCELED, FAILED, FINAL, UNFINISHED, JobRecord

if TYPE_CHECKING:
    from runner.compute.gateway import Gateway, JobState

JUST_MADE = 15.0  # seconds in which a job may be on its way to the gateway

Say = Callable[[str], None]


def say_on_stderr(text: str) -> None:
    """A hint that is no part of the answer."""
    print(text, file=sys.stderr)


def write_key(paths: JobPaths) -> str:
    """Makes the access key of a job: for its user only, whatever the umask."""
    key = secrets.token_hex(32)
    with open(os.open(paths.access_key, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="ascii") as file:
        file.write(key)
    return key


def read_key(paths: JobPaths) -> str:
    """Errors: UserError where this user may not read it."""
    try:
        return paths.access_key.read_text(encoding="ascii").strip()
    except OSError as error:
        raise UserError(
            f"job {paths.root.name} is another user's: its access key cannot be read ({error.strerror})",
            todo="ask its user, or an administrator of the cluster",
        ) from None


def credentials(workspace: Workspace, paths: JobPaths) -> tuple[str, str]:
    """(the job's access key, what shows an administrator): the first where it can be read, else the second. Errors: UserError."""
    try:
        return read_key(paths), ""
    except UserError:
        with contextlib.suppress(UserError):
            return "", read_proof(workspace)
        raise


def read_proof(workspace: Workspace) -> str:
    """What shows to a gateway that this user is an administrator. Errors: UserError for others."""
    file = workspace.state / "admin.key"
    try:
        return file.read_text(encoding="ascii").strip()
    except OSError as error:
        raise UserError(
            f"this is for administrators of the cluster: {file} cannot be read ({error.strerror})",
            todo="do it as the user that `runner cluster head` runs as, or as a member of the group that `administrators:` names there",
        ) from None


def gateway_of(compute: RayCompute) -> Gateway:
    """Loaded only where there is a cluster to ask: a local job need not pay for HTTP."""
    from runner.compute.gateway import Gateway

    return Gateway(compute)


def compute_of(record: JobRecord, workspace: Workspace) -> RayCompute | None:
    """The cluster that runs a job; None for this machine."""
    return None if record.local else workspace.settings.ray_computes.get(record.compute)


class ClusterJobs:
    """Asks the gateways of a workspace for its unfinished jobs; each that does not answer is told of once (`told` remembers).

    With `whole`, one request for each cluster serves for all jobs.
    """

    def __init__(self, workspace: Workspace, *, say: Say, told: set[str], whole: bool = False) -> None:
        self._workspace, self._say, self._told, self._whole = workspace, say, told, whole
        self._known: dict[str, dict[str, JobState] | None] = {}

    def now(self, record: JobRecord, compute: RayCompute, reload: Callable[[], JobRecord | None], age: float) -> JobRecord | None:
        """The job as its cluster has it; None if nothing runs it. `reload` reads the record afresh, `age` is since its last change."""
        name = record.parent or record.name
        try:
            state = self._state(name, compute)
        except UserError as error:
            if compute.name not in self._told:
                self._told.add(compute.name)
                self._say(f"{error.problem}; unfinished jobs are shown as they were last recorded")
            return record
        record = reload() or record  # it may have ended in between
        if record.finished:
            return record
        if state is None:
            return record if record.status == "Queued" and 0 <= age < JUST_MADE else None
        return seen(record, state)

    def _state(self, name: str, compute: RayCompute) -> JobState | None:
        if not self._whole:
            return gateway_of(compute).state(name)
        if compute.name not in self._known:
            self._known[compute.name] = None
            self._known[compute.name] = _states(gateway_of(compute))
        states = self._known[compute.name]
        if states is None:
            raise UserError(f"the cluster {compute.name} has not answered")
        return states.get(name)


def seen(record: JobRecord, state: JobState) -> JobRecord:
    """An unfinished record with what the scheduler adds to it: the owner's own word counts once there is one, and the scheduler's before
    and after."""
    if state.status == "Queued":
        return replace(record, status="Queued", reason=state.reason)
    if state.status in FINAL:
        error = {"message": state.reason or f"the job ended as {state.status}", "code": "cluster", "log": record.logs}
        return replace(record, status=state.status, error=error if state.status in (FAILED, CANCELED) else None)
    status = state.status if record.status == "Queued" and state.status in UNFINISHED else record.status
    return replace(record, status=status, reason=state.reason)


def age_of(paths: JobPaths) -> float:
    """Seconds since the record was written."""
    try:
        return time.time() - paths.record.stat().st_mtime
    except OSError:
        return JUST_MADE


def _states(gateway: Gateway) -> dict[str, JobState]:
    from runner.compute.gateway import JobState

    jobs = gateway.cluster().get("jobs") or ()
    return {str(job.get("name")): JobState(status=str(job.get("status")), reason=str(job.get("reason") or "")) for job in jobs}
