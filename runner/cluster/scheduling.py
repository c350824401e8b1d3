"""Who gets which nodes: pure decisions on plain data, so that they can be tested without a cluster.

An instance gets a node that none of its job's other instances has. First come, first served, and a higher priority before a lower one.
A later request never takes a node that an earlier one, which must wait, could use; on other nodes it may go ahead.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from runner.model.docker import InstanceType

LABEL = "instance_type"  # of Ray nodes
EPSILON = 1e-6


@dataclass(frozen=True)
class Capacity:
    """CPUs, GPUs and bytes of memory."""

    cpus: float = 0
    gpus: float = 0
    memory: float = 0

    def __add__(self, other: Capacity) -> Capacity:
        return Capacity(self.cpus + other.cpus, self.gpus + other.gpus, self.memory + other.memory)

    def __sub__(self, other: Capacity) -> Capacity:
        return Capacity(self.cpus - other.cpus, self.gpus - other.gpus, self.memory - other.memory)

    def holds(self, other: Capacity) -> bool:
        return self.cpus >= other.cpus - EPSILON and self.gpus >= other.gpus - EPSILON and self.memory >= other.memory - EPSILON

    def least(self, other: Capacity) -> Capacity:
        return Capacity(min(self.cpus, other.cpus), min(self.gpus, other.gpus), min(self.memory, other.memory))


@dataclass(kw_only=True)
class Node:
    """A machine of the cluster. `foreign`: what others than the runner have of it, as far as Ray says."""

    id: str
    name: str
    address: str = ""
    alive: bool = True
    labels: Mapping[str, str] = field(default_factory=dict)
    total: Capacity = Capacity()
    foreign: Capacity = Capacity()
    draining: bool = False
    set_aside: str = ""  # why nothing is started here

    @property
    def usable(self) -> bool:
        return self.alive and not self.draining and not self.set_aside


@dataclass(kw_only=True)
class Place:
    """What an instance has of a node: in Ray's terms, a bundle of a placement group."""

    instance: str  # node_0, node_1, …
    node: str
    type_name: str
    capacity: Capacity
    leaving: bool = False
    silent: bool = False  # it hangs or is cut off: another one takes its place, elsewhere while it is not known to have ended
    group: str = ""  # name of the placement group, once there is one
    index: int = 0


@dataclass(kw_only=True)
class Request:
    """The instances that a step wants, and has."""

    job: str
    step: str
    user: str
    count: int
    maximum: int
    types: tuple[tuple[str, InstanceType], ...]  # in order of preference; empty: whole nodes of any kind
    number: int  # of its arrival
    priority: int = 0
    started: bool = False  # it has had all it needs once
    places: dict[str, Place] = field(default_factory=dict)
    vacant: dict[str, Place] = field(default_factory=dict)  # by node: what its instances have left, and is still reserved for it
    failed_on: set[str] = field(default_factory=set)  # nodes where its instances could not be started
    unfit: set[str] = field(default_factory=set)  # those of them that are to blame for it themselves
    next_index: int = 0
    began: set[str] = field(default_factory=set)  # instances whose workers have been started
    deaths: int = 0  # of instances before that, one after another
    hopeless: str = ""  # why none of its instances can be started, as far as is known

    @property
    def staying(self) -> int:
        return sum(not place.leaving for place in self.places.values())

    def reserved(self) -> Iterator[Place]:
        """All that is reserved for it."""
        yield from self.places.values()
        yield from self.vacant.values()

    def type_names(self) -> str:
        return " or ".join(name for name, _ in self.types) or "any type"


@dataclass(frozen=True, kw_only=True)
class Start:
    request: Request
    places: tuple[Place, ...]


@dataclass(frozen=True, kw_only=True)
class SendAway:
    request: Request
    instance: str


@dataclass(frozen=True, kw_only=True)
class Plan:
    starts: tuple[Start, ...]
    away: tuple[SendAway, ...]
    reasons: Mapping[tuple[str, str], str]  # (job, step) → why it has to wait


def types_of(node: Node, types: Iterable[tuple[str, InstanceType]]) -> list[str]:
    """Those of the types that a node is of, by its label `instance_type` or by all labels that the type names, and large enough for."""
    return [name for name, kind in types if _is_of(node, name, kind) and node.total.holds(_wanted(node, kind))]


def _is_of(node: Node, name: str, kind: InstanceType) -> bool:
    if kind.labels:
        return all(node.labels.get(key) == value for key, value in kind.labels.items())
    return node.labels.get(LABEL) == name


def _wanted(node: Node, kind: InstanceType) -> Capacity:
    return Capacity(node.total.cpus if kind.cpus is None else kind.cpus, kind.gpus, kind.memory or 0)


def shape(request: Request, node: Node) -> tuple[int, str, Capacity] | None:
    """(rank of preference, type, what an instance takes) of this node for the request; None where it does not fit at all."""
    if not request.types:
        return (0, "", Capacity(node.total.cpus, node.total.gpus, 0)) if node.total.cpus >= 1 else None  # a head may have none to give
    for rank, (name, kind) in enumerate(request.types):
        wanted = _wanted(node, kind)
        if _is_of(node, name, kind) and node.total.holds(wanted):
            return rank, name, wanted
    return None


def impossible(request: Request, nodes: Iterable[Node], may_grow_to: Mapping[str, int]) -> str:
    """Why the cluster can never have what is asked for, or an empty string. `may_grow_to`: type → nodes that there may be one day."""
    alive = [node for node in nodes if node.alive]
    fitting = sum(shape(request, node) is not None for node in alive)
    grown = max([fitting, *(may_grow_to.get(name, 0) for name, _ in request.types)])
    if grown >= request.count:
        return ""
    has = "1 node" if fitting == 1 else f"{fitting or 'no'} nodes"
    more = f", and may grow to {grown}" if grown > fitting else ""
    return f"{request.count} instances of {request.type_names()} are asked for, and the cluster has {has} of that kind{more}"


class _Planning:
    def __init__(self, nodes: Sequence[Node], requests: Sequence[Request], quota: int | None) -> None:
        self._nodes = {node.id: node for node in nodes}
        self._requests = requests
        self._quota = quota
        self._free = {node.id: node.total - node.foreign for node in nodes}
        self._of_user: dict[str, int] = {}
        for request in requests:
            self._of_user[request.user] = self._of_user.get(request.user, 0) + request.staying
            for place in request.reserved():
                if place.node in self._free:
                    self._free[place.node] -= place.capacity
        self._claimed: set[str] = set()
        self._starts: list[Start] = []
        self._away: list[SendAway] = []
        self._reasons: dict[tuple[str, str], str] = {}

    def plan(self) -> Plan:
        order = sorted(self._requests, key=lambda one: (not one.started, -one.priority, one.number))
        for before, request in enumerate(order):
            self._serve(request, before=sum(not other.started for other in order[:before]))
        for request in order:
            self._grow(request)
        return Plan(starts=tuple(self._starts), away=tuple(self._away), reasons=self._reasons)

    def _serve(self, request: Request, *, before: int) -> None:
        wanted = request.count - request.staying
        if wanted <= 0:
            return
        room = self._room(request.user)
        if room < wanted and not request.started:
            self._reasons[request.job, request.step] = f"quota: {request.user} may have {self._quota} instances at a time"
            return
        candidates = self._candidates(request)
        if len(candidates) >= wanted or request.started:
            self._take(request, candidates[: min(wanted, room)])
        missing = request.count - request.staying
        if missing > 0:
            self._wait(request, len(candidates), before)

    def _wait(self, request: Request, free: int, before: int) -> None:
        could = {node.id for node in self._nodes.values() if node.usable and shape(request, node)} - request.failed_on
        self._ask_back(request, could, request.count - request.staying - free)
        kept = self._kept_from(request)
        self._claimed |= could
        ahead = f", and {before} {'job is' if before == 1 else 'jobs are'} before it" if before and not request.started else ""
        missing = request.count - request.staying
        nodes = "1 node" if missing == 1 else f"{missing} nodes"
        failed = sorted(self._nodes[node].name for node in request.failed_on if node in self._nodes)
        but = f"; it could not be started on {', '.join(failed)}" if failed else ""
        aside = sorted(node.name for node in self._nodes.values() if node.set_aside and node.id not in request.failed_on)
        but += f"; {', '.join(aside)} {'are' if len(aside) > 1 else 'is'} set aside (see `runner compute show`)" if aside else ""
        drained = sorted(node.name for node in self._nodes.values() if node.draining and shape(request, node))
        but += f"; {', '.join(drained)} {'are' if len(drained) > 1 else 'is'} drained" if drained else ""
        free_ones = f"{free or 'none'} free" + (f" ({kept} more kept for them)" if kept else "")
        self._reasons[request.job, request.step] = f"waits for {nodes} of {request.type_names()}; {free_ones}{ahead}{but}"

    def _kept_from(self, request: Request) -> int:
        """Nodes that have room for it, but that requests before it wait for."""
        fits = ((node, shape(request, self._nodes[node])) for node in self._claimed)
        return sum(fit is not None and self._free[node].holds(fit[2]) for node, fit in fits)

    def _ask_back(self, request: Request, could: set[str], missing: int) -> None:
        """Instances beyond what their steps need at least are sent away from nodes that this one waits for."""
        leaving = sum(place.leaving and place.node in could for other in self._requests for place in other.places.values())
        for other in sorted(self._requests, key=lambda one: (one.priority, -one.number)):
            for place in reversed(list(other.places.values())):
                if leaving >= missing or other is request or other.staying <= other.count:
                    break
                if place.node in could and not place.leaving:
                    place.leaving = True
                    leaving += 1
                    self._away.append(SendAway(request=other, instance=place.instance))

    def _grow(self, request: Request) -> None:
        if request.started and request.staying >= request.count:
            more = min(request.maximum - request.staying, self._room(request.user))
            self._take(request, self._candidates(request)[: max(0, more)])

    def _candidates(self, request: Request) -> list[tuple[Node, str, Capacity]]:
        """Nodes with room for an instance, the preferred type first, then those that most is left of."""
        taken = {place.node for place in request.places.values()} | request.failed_on | self._claimed
        found = []
        for node in self._nodes.values():
            fit, free = shape(request, node), self._free[node.id]
            if vacant := request.vacant.get(node.id):
                free += vacant.capacity
            if node.usable and node.id not in taken and fit is not None and free.holds(fit[2]):
                found.append((fit[0], -free.cpus, node.name, node, fit[1], fit[2]))
        return [(node, name, capacity) for *_, node, name, capacity in sorted(found, key=lambda one: one[:3])]

    def _take(self, request: Request, chosen: Sequence[tuple[Node, str, Capacity]]) -> None:
        places = []
        for node, name, capacity in chosen:
            place = Place(instance=f"node_{request.next_index}", node=node.id, type_name=name, capacity=capacity)
            request.next_index += 1
            request.places[place.instance] = place
            if vacant := request.vacant.pop(node.id, None):  # of the same step, and so as large
                place.group, place.index = vacant.group, vacant.index
            else:
                self._free[node.id] -= capacity
            self._of_user[request.user] = self._of_user.get(request.user, 0) + 1
            places.append(place)
        if places:
            request.started = request.started or request.staying >= request.count
            self._starts.append(Start(request=request, places=tuple(places)))

    def _room(self, user: str) -> int:
        return 1 << 30 if self._quota is None else max(0, self._quota - self._of_user.get(user, 0))


def plan(nodes: Sequence[Node], requests: Sequence[Request], *, quota: int | None = None) -> Plan:
    """What is to be started and sent away now; places are entered into the requests. `quota`: instances that one user may have."""
    return _Planning(nodes, requests, quota).plan()
