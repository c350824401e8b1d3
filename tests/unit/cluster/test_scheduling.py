from __future__ import annotations

from runner.cluster.scheduling import Capacity, Node, Request, impossible, plan, types_of
from runner.model.docker import InstanceType

Types = tuple[tuple[str, InstanceType], ...]
SMALL = ("small", InstanceType(cpus=2))
LARGE = ("large", InstanceType(cpus=8, gpus=1))


def node(name: str, kind: str = "small", cpus: float = 2, gpus: float = 0, **labels: str) -> Node:
    return Node(id=name, name=name, labels={"instance_type": kind, **labels}, total=Capacity(cpus, gpus, 1 << 33))


def cluster(count: int) -> list[Node]:
    return [node(f"n{i}") for i in range(count)]


class Queue:
    def __init__(self, nodes: list[Node], quota: int | None = None) -> None:
        self.nodes, self.quota = nodes, quota
        self.requests: list[Request] = []
        self.reasons: dict[tuple[str, str], str] = {}

    def ask(self, job: str, count: int = 1, maximum: int = 0, types: Types = (SMALL,), **more: object) -> Request:
        given = {"user": "alice", "step": "", **more}
        request = Request(
            job=job, count=count, maximum=max(count, maximum), types=types, number=len(self.requests), **given  # type: ignore[arg-type]
        )  # fmt: skip
        self.requests.append(request)
        return request

    def plan(self) -> tuple[dict[str, list[str]], list[tuple[str, str]]]:
        """Job → nodes that it gets now; (job, instance) that are sent away."""
        decided = plan(self.nodes, self.requests, quota=self.quota)
        self.reasons = dict(decided.reasons)
        starts: dict[str, list[str]] = {}
        for one in decided.starts:
            starts.setdefault(one.request.job, []).extend(place.node for place in one.places)
        return starts, [(one.request.job, one.instance) for one in decided.away]

    def end(self, request: Request) -> None:
        self.requests.remove(request)


def test_one_instance_on_each_node() -> None:
    queue = Queue(cluster(3))
    queue.ask("a", 3)
    assert queue.plan() == ({"a": ["n0", "n1", "n2"]}, [])


def test_first_come_first_served() -> None:
    queue = Queue(cluster(3))
    a = queue.ask("a", 3)
    b = queue.ask("b", 3)
    queue.plan()
    for i in range(10):
        queue.ask(f"c{i}")
    assert queue.plan() == ({}, [])
    assert queue.reasons["b", ""] == "waits for 3 nodes of small; none free"
    assert queue.reasons["c9", ""] == "waits for 1 node of small; none free, and 10 jobs are before it"
    queue.end(a)
    assert set(queue.plan()[0]) == {"b"}
    queue.end(b)
    assert list(queue.plan()[0]) == ["c0", "c1", "c2"]


def test_a_higher_priority_goes_first() -> None:
    queue = Queue(cluster(1))
    a = queue.ask("a")
    queue.plan()
    queue.ask("b")
    queue.ask("c", priority=1)
    queue.end(a)
    assert queue.plan()[0] == {"c": ["n0"]}


def test_others_go_ahead_on_nodes_that_the_first_has_no_use_for() -> None:
    queue = Queue([node("n0"), node("g0", "large", 8, 1), node("g1", "large", 8, 1)])
    queue.ask("a", types=(LARGE,))
    queue.plan()
    queue.ask("b", 2, types=(LARGE,))
    queue.ask("c", types=(LARGE,))
    queue.ask("d")
    assert queue.plan()[0] == {"d": ["n0"]}


def test_the_preferred_type_is_taken_where_it_is_free() -> None:
    queue = Queue([node("n0"), node("g0", "large", 8, 1)])
    both = (LARGE, SMALL)
    assert [queue.ask(job, types=both) and queue.plan()[0] for job in "ab"] == [{"a": ["g0"]}, {"b": ["n0"]}]


def test_jobs_share_a_node_that_has_room_for_both() -> None:
    queue = Queue([node("n0", cpus=4)])
    for job in "abc":
        queue.ask(job)
    assert queue.plan()[0] == {"a": ["n0"], "b": ["n0"]}


def test_without_a_type_an_instance_has_a_node_to_itself() -> None:
    queue = Queue([node("n0", cpus=4)])
    queue.ask("a", types=())
    queue.ask("b", types=())
    assert queue.plan()[0] == {"a": ["n0"]}


def test_what_others_have_of_a_node_is_left_to_them() -> None:
    queue = Queue(cluster(1))
    queue.nodes[0].foreign = Capacity(1)
    queue.ask("a")
    assert queue.plan()[0] == {}


def test_a_lost_node_is_replaced_before_anybody_else_is_served() -> None:
    queue = Queue(cluster(3))
    a = queue.ask("a", 2)
    queue.plan()
    queue.ask("b", 2)
    queue.plan()
    queue.nodes[0].alive = False
    del a.places["node_0"]
    assert queue.plan()[0] == {"a": ["n2"]}
    assert list(a.places) == ["node_1", "node_2"]  # names are not used again


def test_nodes_that_join_are_taken_up() -> None:
    queue = Queue(cluster(2))
    a = queue.ask("a", 2)
    queue.plan()
    queue.nodes[1].alive = False
    del a.places["node_1"]
    assert queue.plan()[0] == {}
    queue.nodes.append(node("n9"))
    assert queue.plan()[0] == {"a": ["n9"]}


def test_grows_into_free_nodes_and_gives_them_back() -> None:
    queue = Queue(cluster(3))
    queue.ask("a", 1, maximum=5)
    queue.plan()
    queue.plan()
    assert len(queue.requests[0].places) == 3
    queue.ask("b", 2)
    _, away = queue.plan()
    assert away == [("a", "node_2"), ("a", "node_1")]
    assert queue.plan() == ({}, [])  # they are still leaving
    for name in ("node_1", "node_2"):
        del queue.requests[0].places[name]
    assert set(queue.plan()[0]) == {"b"}


def test_drained_and_set_aside_nodes_get_nothing_new() -> None:
    queue = Queue(cluster(3))
    queue.nodes[0].draining, queue.nodes[1].set_aside = True, "Docker does not answer"
    queue.ask("a")
    assert queue.plan()[0] == {"a": ["n2"]}


def test_nodes_that_are_set_aside_are_named_to_those_who_wait() -> None:
    queue = Queue(cluster(2))
    queue.nodes[1].set_aside = "no engine"
    queue.ask("a", 2)
    queue.plan()
    assert queue.reasons["a", ""] == "waits for 2 nodes of small; 1 free; n1 is set aside (see `runner compute show`)"


def test_a_quota_keeps_nobody_else_waiting() -> None:
    queue = Queue(cluster(3), quota=2)
    queue.ask("a", 2)
    queue.ask("b")
    queue.ask("c", user="bob")
    assert set(queue.plan()[0]) == {"a", "c"}
    assert queue.reasons["b", ""] == "quota: alice may have 2 instances at a time"


def test_a_node_where_an_instance_could_not_start_is_not_tried_again_by_the_same_step() -> None:
    queue = Queue(cluster(2))
    a = queue.ask("a")
    queue.plan()
    a.failed_on.add("n0")
    del a.places["node_0"]
    assert queue.plan()[0] == {"a": ["n1"]}
    a.failed_on.add("n1")
    a.places.clear()
    queue.plan()
    assert queue.reasons["a", ""] == "waits for 1 node of small; none free; it could not be started on n0, n1"


def test_what_can_never_be_had_is_said_at_once() -> None:
    queue = Queue([*cluster(2), node("g0", "large", 8, 1)])
    assert impossible(queue.ask("a", 2), queue.nodes, {}) == ""
    told = impossible(queue.ask("b", 3), queue.nodes, {})
    assert told == "3 instances of small are asked for, and the cluster has 2 nodes of that kind"
    assert impossible(queue.ask("c", 3), queue.nodes, {"small": 4}) == ""
    assert "has no nodes" in impossible(queue.ask("d", types=(("huge", InstanceType(cpus=64)),)), queue.nodes, {})
    assert impossible(queue.ask("e", 3, types=()), queue.nodes, {}) == ""
    big = ("big", InstanceType(cpus=4, labels={"instance_type": "large"}))
    assert "has 1 node of" in impossible(queue.ask("f", 2, types=(big,)), queue.nodes, {})


def test_types_go_by_the_label_or_by_those_that_they_name() -> None:
    kinds = [SMALL, ("east", InstanceType(labels={"zone": "east"}))]
    assert types_of(node("n", zone="east"), kinds) == ["small", "east"]
    assert types_of(node("n", "other", zone="west"), kinds) == []
