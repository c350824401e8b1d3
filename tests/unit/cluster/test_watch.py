from __future__ import annotations

import re
from pathlib import Path

import pytest

from runner.cluster.accepted import Accepted
from runner.cluster.metrics import render
from runner.cluster.requests import User
from runner.cluster.scheduling import Capacity, Node, Place, Request
from runner.cluster.watch import Watch, state_free
from runner.workspace.config import Workspace
from tests.exposition import parse

DOCS = Path(__file__).parents[3] / "docs" / "operations.md"
ALICE = User(uid=1000, gid=1000, name="alice")


@pytest.fixture
def watch(tmp_path: Path) -> Watch:
    (tmp_path / ".runner").mkdir()
    return Watch(Workspace(root=tmp_path))


def place(name: str, *, leaving: bool = False) -> Place:
    return Place(instance=name, node="n", type_name="", capacity=Capacity(1), leaving=leaving)


def test_what_is_counted_of_requests_jobs_and_nodes(watch: Watch) -> None:
    request = Request(job="a", step="", user="alice", count=4, maximum=4, types=(), number=1, began={"node_0", "node_1"})
    request.places = {one.instance: one for one in (place("node_0"), place("node_1", leaving=True), place("node_2"))}
    jobs = [Accepted(name=name, user=ALICE, number=1, began=name == "a") for name in ("a", "b", "c")]
    nodes = [Node(id="1", name="1"), Node(id="2", name="2", draining=True), Node(id="3", name="3", draining=True, set_aside="broken")]
    found = parse(render(watch.families([request], jobs, [*nodes, Node(id="4", name="4", alive=False)])))
    assert [found.value(f"runner_jobs_{state}") for state in ("queued", "running")] == [2, 1]
    assert [found.value("runner_instances", state=state) for state in ("starting", "running", "leaving")] == [1, 1, 1]
    assert found.value("runner_instances_wanted") == 2
    assert [found.value("runner_nodes", state=state) for state in ("ready", "draining", "set_aside")] == [1, 1, 1]


def test_losses_are_counted_once(watch: Watch) -> None:
    for how in ("silent", "", "gone"):
        watch.lost(how)
    found = parse(render(watch.families([], [], [])))
    assert [found.value("runner_instances_lost_total", how=how) for how in ("silent", "gone")] == [1, 1]


def test_a_job_whose_record_cannot_be_read(watch: Watch) -> None:
    watch.job_ended(Accepted(name="gone", user=ALICE, number=1))
    assert parse(render(watch.families([], [], []))).value("runner_jobs_ended_total", status="unknown") == 1


def test_the_page_for_administrators_names_all_metrics_and_no_others(watch: Watch, tmp_path: Path) -> None:
    text = render([*watch.families([], [], []), state_free(tmp_path)])
    known = set(parse(text).kinds)
    named = set(re.findall(r"\brunner_[a-z_]+\b", DOCS.read_text()))
    assert named == known
