"""The computes of a workspace, as `runner compute` shows them: this machine, and clusters as their gateways describe them."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from runner.errors import UserError, did_you_mean
from runner.model.cluster import RayCompute
from runner.workspace.cluster_settings import RAY
from runner.workspace.clusters import gateway_of
from runner.workspace.config import Workspace

FIELDS = ("head", "runner", "ray", "maximum", "nodes", "jobs")  # of the gateway's answer


def list_computes(workspace: Workspace) -> list[dict[str, object]]:
    """All, `local` first. The size of a cluster is what it has now; its `state` says if it does not answer."""
    return [_compute(workspace, name) for name in workspace.computes]


def show_compute(workspace: Workspace, name: str) -> dict[str, object]:
    """One by name, a cluster with its nodes and its jobs. Errors: UserError for an unknown one, or one that does not answer."""
    known = workspace.computes
    if name not in known:
        raise UserError(f"there is no compute {name!r}", allowed=", ".join(known), todo=did_you_mean(name, known))
    if known[name] != RAY:
        return _compute(workspace, name)
    compute = workspace.ray_compute(name)
    cluster = gateway_of(compute).cluster()
    found = _cluster(compute, cluster, workspace) | {"address": compute.address, "folder": cluster.get("state")}
    return found | {key: cluster.get(key) for key in FIELDS}


def _compute(workspace: Workspace, name: str) -> dict[str, object]:
    if workspace.computes[name] != RAY:
        return _local(name, workspace)
    compute = workspace.ray_compute(name)
    try:
        return _cluster(compute, gateway_of(compute).cluster(), workspace)
    except UserError as error:
        return _cluster(compute, {}, workspace) | {"state": f"Unreachable: {error.problem}"}


def _local(name: str, workspace: Workspace) -> dict[str, object]:
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return _fields(name, "local", workspace, len(os.sched_getaffinity(0)), memory)


def _cluster(compute: RayCompute, cluster: Mapping[str, Any], workspace: Workspace) -> dict[str, object]:
    """The same fields as those of this machine: sums over the nodes that live."""
    totals = [node.get("total") or {} for node in cluster.get("nodes") or () if node.get("alive")]
    cores, memory = sum(one.get("cpus") or 0 for one in totals), sum(one.get("memory") or 0 for one in totals)
    return _fields(compute.name, RAY, workspace, int(cores), memory)


def _fields(name: str, kind: str, workspace: Workspace, cores: int, memory: float) -> dict[str, object]:
    default = name == workspace.settings.default_compute
    return {"name": name, "type": kind, "default": default, "cores": cores, "memory_gb": round(memory / 2**30, 1), "state": "Running"}
