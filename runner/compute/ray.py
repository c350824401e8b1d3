"""All that is asked of Ray: which nodes there are, places on them, and a process of ours in each place. The only file that imports it.

Nothing but short texts goes through Ray: what runs in a place is named as `module:class` and gets JSON.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import ray
import ray.exceptions
from ray.util.placement_group import PlacementGroup, get_placement_group, placement_group, placement_group_table, remove_placement_group
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy, PlacementGroupSchedulingStrategy

NAMESPACE = "runner"
NODE_LABEL = "ray.io/node-id"
HOSTED = "runner.cluster."  # where what runs in a place may come from
SLASHES = 3  # in the names of our placement groups: runner/JOB/STEP/NUMBER
THREADS = 64  # calls at a time in one host: each scheduler that was killed has left two that wait for its end
RESERVE_SECONDS = 10.0
Late = ray.exceptions.GetTimeoutError
Gone = (ray.exceptions.RayActorError, ray.exceptions.RayTaskError, ray.exceptions.GetTimeoutError, ValueError)


@dataclass(frozen=True, kw_only=True)
class RayNode:
    """A node as Ray knows it; `total` and `available` are Ray's resources: CPU, GPU, memory in bytes."""

    id: str
    name: str
    address: str
    alive: bool
    labels: Mapping[str, str]
    total: Mapping[str, float]
    available: Mapping[str, float]


def version() -> str:
    return str(ray.__version__)


def connect(address: str = "auto") -> None:
    """To the cluster that a node of this machine belongs to. Errors: ConnectionError."""
    with contextlib.redirect_stdout(None):
        ray.init(address=address, namespace=NAMESPACE, log_to_driver=False, configure_logging=False)


def disconnect() -> None:
    ray.shutdown()


def nodes() -> list[RayNode]:
    """All nodes, those that are gone included."""
    available = _available()
    return [
        RayNode(
            id=one["NodeID"],
            name=one["NodeManagerHostname"],
            address=one["NodeManagerAddress"],
            alive=bool(one["Alive"]),
            labels=one.get("Labels") or {},
            total=one["Resources"],
            available=available.get(one["NodeID"], {}),
        )
        for one in ray.nodes()
    ]


def _available() -> dict[str, dict[str, float]]:
    from ray._private.state import available_resources_per_node  # Ray has no public name for it

    found: dict[str, dict[str, float]] = available_resources_per_node()
    return found


def own_node() -> str:
    return str(ray.get_runtime_context().get_node_id())


def own_address() -> str:
    return str(ray.util.get_node_ip_address())


def own_gpus() -> tuple[str, ...]:
    """Those that Ray has given to this process, as CUDA names them."""
    return tuple(map(str, ray.get_gpu_ids()))


class Places:
    """Places on certain nodes, reserved together or not at all: a placement group that outlives whoever made it."""

    def __init__(self, name: str, group: PlacementGroup) -> None:
        self.name, self._group = name, group

    @staticmethod
    def reserve(name: str, wanted: Sequence[tuple[str, Mapping[str, float]]]) -> Places | None:
        """`wanted`: ids of different nodes, and what is wanted of each. None when somebody else has taken it in between."""
        group = placement_group(
            [dict(resources) for _, resources in wanted],
            strategy="STRICT_SPREAD",
            name=name,
            lifetime="detached",
            bundle_label_selector=[{NODE_LABEL: node} for node, _ in wanted],
        )
        ready = False
        try:
            ready = group.wait(RESERVE_SECONDS)
        finally:
            if not ready:  # nobody would give it back
                remove_placement_group(group)
        return Places(name, group) if ready else None

    @staticmethod
    def known(name: str) -> Places | None:
        """Those of an earlier scheduler."""
        try:
            return Places(name, get_placement_group(name))
        except ValueError:
            return None

    @staticmethod
    def all_names() -> list[str]:
        """Of all that are reserved: names have slashes, so that other people's groups are left alone."""
        table: dict[str, dict[str, Any]] = placement_group_table()
        return [one["name"] for one in table.values() if one["state"] != "REMOVED" and one["name"].count("/") == SLASHES]

    def release(self) -> None:
        remove_placement_group(self._group)

    def at(self, index: int) -> PlacementGroupSchedulingStrategy:
        return PlacementGroupSchedulingStrategy(self._group, placement_group_bundle_index=index)


class Host:
    """A process of ours on a node: one service, whose methods take a text and return one. See HostHandle."""

    def __init__(self, target: str, argument: str) -> None:
        module, _, name = target.partition(":")
        if not module.startswith(HOSTED):
            raise ValueError(f"{module} is not to be run on a node")
        self._service = getattr(importlib.import_module(module), name)(json.loads(argument))

    def call(self, method: str, argument: str) -> str:
        if method.startswith("_"):
            raise ValueError(method)
        return json.dumps(getattr(self._service, method)(json.loads(argument)))


class HostHandle:
    """Calls a host from anywhere in the cluster. Arguments and results are what JSON can say."""

    def __init__(self, name: str, actor: Any) -> None:
        self.name, self._actor = name, actor

    @staticmethod
    def start(
        name: str,
        target: str,
        argument: object,
        *,
        place: tuple[Places, int] | None = None,
        node: str | None = None,
        resources: Mapping[str, float] | None = None,
        restarts: int = 0,
        environment: Mapping[str, str] | None = None,
    ) -> HostHandle:
        """Starts one, in a place or on a node; `restarts`: how often Ray may start it again, -1 for ever. Returns before it runs."""
        resources = dict(resources or {})
        strategy = place[0].at(place[1]) if place else NodeAffinitySchedulingStrategy(node, soft=False) if node else "DEFAULT"
        actor = (
            ray.remote(Host)
            .options(
                name=name,
                lifetime="detached",
                max_concurrency=THREADS,
                max_restarts=restarts,
                max_task_retries=0,
                num_cpus=resources.pop("CPU", 0),
                num_gpus=resources.pop("GPU", 0),
                memory=int(resources.pop("memory", 0)) or None,
                scheduling_strategy=strategy,
                runtime_env={"env_vars": dict(environment)} if environment else None,
            )
            .remote(target, json.dumps(argument))
        )
        return HostHandle(name, actor)

    @staticmethod
    def find(name: str) -> HostHandle | None:
        try:
            return HostHandle(name, ray.get_actor(name))
        except ValueError:
            return None

    def call(self, method: str, argument: object = None, *, timeout: float = 10.0) -> Any:
        """Errors: those in `Gone`, when the host is dead, cannot be reached now, or has raised."""
        return json.loads(ray.get(self._actor.call.remote(method, json.dumps(argument)), timeout=timeout))

    def tell(self, method: str, argument: object = None) -> None:
        """Without waiting for what comes of it."""
        self._actor.call.remote(method, json.dumps(argument))

    def when_done(self, method: str, argument: object, then: Callable[[Any, BaseException | None], None]) -> None:
        """Calls `then` with the result, or with the error, in a thread of Ray's."""

        def done(future: Any) -> None:
            error = future.exception()
            then(None if error else json.loads(future.result()), error)

        self._actor.call.remote(method, json.dumps(argument)).future().add_done_callback(done)

    def kill(self) -> None:
        with contextlib.suppress(*Gone):
            ray.kill(self._actor, no_restart=True)


def hosts() -> Iterator[str]:
    """Names of all hosts of the cluster that live or will be started again."""
    yield from (one["name"] for one in ray.util.list_named_actors(all_namespaces=True) if one["namespace"] == NAMESPACE)


def environment_without_ray() -> dict[str, str]:
    """For processes that Ray, its tokens above all, is nothing to."""
    return {name: value for name, value in os.environ.items() if not name.startswith(("RAY_", "RUNNER_TOKEN"))}
