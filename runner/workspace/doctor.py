"""`runner doctor`: what a machine needs to submit jobs to a cluster, looked at one by one; then what each node says of itself."""

from __future__ import annotations

import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import Any

from runner.errors import UserError
from runner.model.cluster import RayCompute
from runner.workspace.clusters import gateway_of
from runner.workspace.config import CONFIG_FILE, Workspace
from runner.workspace.units import show_size

CLOCK = 30.0  # seconds by which clocks may differ before it confuses


@dataclass(frozen=True, kw_only=True)
class Check:
    """One thing that was looked at. `node` is "here" for this machine."""

    node: str
    name: str
    ok: bool
    text: str


def examine(workspace: Workspace, compute: RayCompute) -> Iterator[Check]:
    """What can be told of this machine first, then of the gateway, then what its nodes say; each as it is known."""
    yield Check(
        node="here", name="workspace", ok=True, text=f"{workspace.root / CONFIG_FILE}, the cluster {compute.name} at {compute.address}"
    )
    for name, folder in workspace.shared_datastores.items():
        yield _checked(f"datastore {name}", lambda folder=folder: _datastore(str(folder), workspace.settings.free_space_floor))  # type: ignore[misc]
    token = _checked("token", lambda: _token(compute))
    yield token
    if not token.ok:
        return
    reachable = _checked("gateway", lambda: _gateway(workspace, compute))
    yield reachable
    if reachable.ok:
        yield _checked("clock", lambda: _clock(compute))
        yield from _nodes(compute)


def _checked(name: str, look: Callable[[], str]) -> Check:
    try:
        return Check(node="here", name=name, ok=True, text=look())
    except UserError as error:
        text = error.problem + (f": {error.todo}" if error.todo else "")
        return Check(node="here", name=name, ok=False, text=text)


def _datastore(folder: str, floor: int) -> str:
    if not os.path.isdir(folder):  # noqa: PTH112
        raise UserError(f"{folder} is not there", todo="mount it at that path, as the machines of the cluster have it")
    try:
        with tempfile.NamedTemporaryFile(prefix=".runner-doctor-", dir=folder):
            pass
    except OSError as error:
        raise UserError(
            f"{folder} cannot be written to: {error.strerror}", todo="have its permissions changed, or mount it for writing"
        ) from None
    free = shutil.disk_usage(folder).free
    if free < floor:
        raise UserError(f"{folder} has only {show_size(free)} free", todo=f"make room: no job starts with less than {show_size(floor)}")
    return f"{folder}, {show_size(free)} free"


def _token(compute: RayCompute) -> str:
    from runner.compute.gateway import read_token

    read_token(compute)
    if compute.token_env:
        return f"in the environment variable {compute.token_env}"
    return f"in {compute.token_file}"


def _gateway(workspace: Workspace, compute: RayCompute) -> str:
    gateway = gateway_of(compute)
    begin = time.monotonic()
    cluster = gateway.cluster()
    took = time.monotonic() - begin
    gateway.check_version(cluster)
    gateway.check_state(cluster, str(workspace.state))
    return f"{compute.address}, runner {cluster.get('runner')}, Ray {cluster.get('ray')}, answered in {took * 1000:.0f} ms"


def _clock(compute: RayCompute) -> str:
    date = gateway_of(compute).clock()
    if date is None:
        return "the gateway does not tell its time"
    try:
        difference = time.time() - parsedate_to_datetime(date).timestamp()
    except ValueError:
        return "the gateway does not tell its time"
    if abs(difference) > CLOCK:
        raise UserError(f"this machine is {difference:+.0f} s off the cluster", todo="let both take their time from the same server (NTP)")
    return "agrees with the cluster's to a few seconds"


def _nodes(compute: RayCompute) -> Iterator[Check]:
    try:
        nodes = gateway_of(compute).doctor().get("nodes") or ()
    except UserError as error:
        yield Check(node="cluster", name="nodes", ok=False, text=error.problem)
        return
    for node in nodes:
        yield from (_of_node(str(node.get("name")), check) for check in node.get("checks") or ())


def _of_node(node: str, check: Mapping[str, Any]) -> Check:
    return Check(node=node, name=str(check.get("name")), ok=check.get("ok") is True, text=str(check.get("text") or ""))
