"""The nodes of a cluster as the scheduler keeps them: what Ray says of them, and what it has seen them do."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from runner.cluster.requests import User
from runner.cluster.scheduling import Capacity, Node, Request, types_of
from runner.cluster.suspects import Suspects
from runner.compute.ray import RayNode
from runner.errors import UserError, did_you_mean
from runner.model.docker import InstanceType
from runner.workspace.records import read_json, write_json


class NodeBook:
    """`drained`: a file with the host names of drained nodes: they stay drained over restarts, their own and the scheduler's."""

    def __init__(self, types: Mapping[str, InstanceType], drained: Path) -> None:
        self._types, self._file = types, drained
        self._drained = set((read_json(drained) or {}).get("drained", ()))
        self._nodes: dict[str, Node] = {}
        self._suspects = Suspects()

    def all(self) -> list[Node]:
        return [node for node in self._nodes.values() if node.alive]

    def get(self, id_: str) -> Node | None:
        return self._nodes.get(id_)

    def name(self, node: str) -> str:
        """The host name of a node, also of one that is gone."""
        return self._nodes[node].name if node in self._nodes else node

    def look(self, found: Iterable[RayNode], requests: Iterable[Request]) -> set[str]:
        """Takes over what Ray says; returns the nodes that have gone since the last look."""
        lost = set()
        ours: dict[str, Capacity] = {}
        for request in requests:
            for place in request.reserved():
                ours[place.node] = ours.get(place.node, Capacity()) + place.capacity
        for one in found:
            node = self._nodes.get(one.id)
            if node is None:
                node = self._nodes[one.id] = _node(one, draining=one.name in self._drained)
            if node.alive and not one.alive:
                lost.add(node.id)
            node.alive = one.alive
            if one.alive:
                node.total = _capacity(one.total)
                node.foreign = _foreign(node.total, _capacity(one.available), ours.get(node.id, Capacity()))
        return lost

    def started(self, node: str, step: tuple[str, str]) -> None:
        """An instance of this step of a job runs here: where another one could not be started, the node is to blame."""
        self._set_aside(self._suspects.started(node, step))

    def failed(self, node: str, step: tuple[str, str], text: str, *, unfit: bool) -> None:
        """An instance could not be started here; `unfit`: for a reason that has nothing to do with its job."""
        self._set_aside(self._suspects.failed(node, step, text, unfit=unfit))

    def _set_aside(self, found: Mapping[str, str]) -> None:
        for node, reason in found.items():
            if node in self._nodes:
                self._nodes[node].set_aside = reason

    def forget(self, job: str) -> None:
        """It has ended."""
        self._suspects.ended(job)

    def drain(self, node: Node, wanted: bool) -> None:
        node.draining = wanted
        (self._drained.add if wanted else self._drained.discard)(node.name)
        write_json(self._file, {"drained": sorted(self._drained)})

    def use_again(self, node: Node) -> None:
        """An administrator says that it is in order."""
        node.set_aside = ""
        self._suspects.forget(node.id)

    def find(self, name: str) -> Node:
        """By its host name, or the beginning of its id. Errors: UserError."""
        found = [node for node in self.all() if node.name == name or (len(name) >= 4 and node.id.startswith(name))]
        if len(found) == 1:
            return found[0]
        names = [node.name for node in self.all()]
        if found:
            raise UserError(f"there are {len(found)} nodes '{name}'", todo="name one by the beginning of its id: runner compute show")
        raise UserError(f"there is no node '{name}'", allowed=", ".join(names), todo=did_you_mean(name, names))

    def check_user(self, user: User) -> None:
        """Errors: UserError where the cluster cannot run processes of this user."""
        own = os.geteuid()
        if own not in (0, user.uid):
            raise UserError(
                f"the job is of user {user.name}, and the cluster was started by user {own}, not by root: it cannot run jobs of others",
                todo="have the administrator start it as root, or submit as that user",
            )

    def describe(self) -> str:
        """What there is, in a few words."""
        kinds: dict[str, int] = {}
        for node in self.all():
            if not node.total.cpus:  # a head that takes no instances
                continue
            names = ", ".join(types_of(node, self._types.items())) or "no type"
            what = f"{names} with {node.total.cpus:g} CPUs" + (f" and {node.total.gpus:g} GPUs" if node.total.gpus else "")
            kinds[what] = kinds.get(what, 0) + 1
        return "; ".join(f"{count} of {what}" for what, count in kinds.items()) or "no node"

    def show(self, node: Node, requests: Iterable[Request]) -> dict[str, Any]:
        """As `GET /v1/cluster` has it."""
        free = node.total - node.foreign
        holds = []
        for request in requests:
            for place in request.reserved():
                if place.node == node.id:
                    free -= place.capacity
                    holds.append({"job": request.job, "instance": place.instance, "user": request.user, "leaving": place.leaving})
        return {
            "id": node.id,
            "name": node.name,
            "address": node.address,
            "alive": node.alive,
            "labels": dict(node.labels),
            "types": types_of(node, self._types.items()),
            "total": asdict(node.total),
            "free": asdict(free),
            "holds": holds,
            "draining": node.draining,
            "set_aside": node.set_aside,
        }


def _node(found: RayNode, *, draining: bool) -> Node:
    return Node(id=found.id, name=found.name, address=found.address, labels=found.labels, draining=draining)


def _capacity(resources: Mapping[str, float]) -> Capacity:
    return Capacity(resources.get("CPU", 0), resources.get("GPU", 0), resources.get("memory", 0))


def _foreign(total: Capacity, available: Capacity, ours: Capacity) -> Capacity:
    """What is neither free nor ours. While places of ours come and go it may be too little for a moment: Ray then says no."""
    used = total - available - ours
    return Capacity(max(0.0, used.cpus), max(0.0, used.gpus), max(0.0, used.memory))
