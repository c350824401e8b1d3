"""A real cluster is watched: what its nodes find about themselves, a node that cannot run anything, metrics, records of who did what."""

from __future__ import annotations

import json
import re
import urllib.request
from typing import Any

import pytest

from tests.acceptance.jobs import ClusterLab
from tests.cluster import Cluster

pytestmark = pytest.mark.needs("cluster")

NOWHERE = "unix:///var/run/nowhere.sock"


@pytest.fixture
def lab(cluster: Cluster, request: pytest.FixtureRequest) -> ClusterLab:
    name = re.sub(r"\W+", "-", request.node.name.removeprefix("test_"))[:30].strip("-")
    lab = ClusterLab.on(cluster, name)
    lab.files(6)
    lab.script()
    lab.job(max_concurrency_per_instance=2, resources={"instance_type": "small"})
    return lab


def get(lab: ClusterLab, path: str) -> bytes:
    token = lab.cluster.submit_token_file.read_text().strip()
    asked = urllib.request.Request(f"http://{lab.cluster.gateway}{path}", headers={"Authorization": f"Bearer {token}"})
    with urllib.request.urlopen(asked, timeout=90) as answer:
        return bytes(answer.read())


def nodes(lab: ClusterLab) -> dict[str, dict[str, Any]]:
    shown = lab.run("compute", "show", "cluster", "-o", "json")
    return {node["name"]: node for node in json.loads(shown.stdout)["nodes"] if node["alive"]}


def broken_node(lab: ClusterLab, name: str = "bad") -> None:
    """A node without a Docker engine, which sorts before the others: it is the first to be chosen."""
    lab.cluster.add_node("small", name=name, environment={"DOCKER_HOST": NOWHERE})
    lab.cluster.wait_until(lambda: name in nodes(lab), "the scheduler knows it")


def test_the_doctor_finds_what_is_wrong_with_a_node(lab: ClusterLab) -> None:
    broken_node(lab)
    examined = lab.run("doctor", "cluster", "-o", "json")
    assert examined.status == 1, examined.stderr
    checks = {(one["node"], one["name"]): (one["ok"], one["text"]) for one in json.loads(examined.stdout)}
    wrong = {key for key, (ok, _) in checks.items() if not ok}
    assert wrong == {("bad", "docker"), ("bad", "datastore shared")}, checks
    assert NOWHERE in checks["bad", "docker"][1]
    for name in ("node-1", "node-2", "node-3"):
        found = {check for node, check in checks if node == name}
        assert found == {"docker", "runner", "ray", "disk", "memory", "user", "clock", "datastore shared"}
        assert "also for its Docker engine" in checks[name, "datastore shared"][1]
    assert ("head", "docker") not in checks, "nothing runs there"


def test_a_node_that_cannot_run_anything_is_set_aside(lab: ClusterLab) -> None:
    broken_node(lab)
    for number in range(2):
        done = lab.score(name=f"aside-{number}", timeout=120)
        assert done.status == 0, done.stderr
        assert done.counts == (6, 6, 0)
    node = nodes(lab)["bad"]
    assert "instances of aside-0 and aside-1 could not be started here and could elsewhere" in node["set_aside"]
    assert NOWHERE in node["set_aside"]
    table = lab.run("compute", "show", "cluster", "-o", "table").stdout
    assert re.search(r"^bad +set aside: instances of aside-0", table, re.MULTILINE), table

    log = lab.cluster.root / "data/.runner/scheduler.log"
    before = log.read_text().count(node["id"][:8])
    assert lab.score(name="aside-2").status == 0
    assert log.read_text().count(node["id"][:8]) == before, "nothing is tried there any more"

    undrained = lab.run("node", "undrain", "bad", "-o", "json", timeout=60)
    assert undrained.status == 0, undrained.stderr
    assert json.loads(undrained.stdout)["set_aside"] == ""
    assert not nodes(lab)["bad"]["set_aside"]


def test_a_job_whose_nodes_are_all_broken_is_told_why(lab: ClusterLab) -> None:
    broken_node(lab)
    for name in ("node-1", "node-2"):
        assert lab.run("node", "drain", name).status == 0
    try:
        done = lab.score(name="hopeless", timeout=120)
    finally:
        for name in ("node-1", "node-2"):
            assert lab.run("node", "undrain", name).status == 0
    assert done.status == 1
    assert "no instance could be started" in done.stderr
    assert NOWHERE in done.stderr


def test_a_datastore_that_a_node_does_not_see(lab: ClusterLab) -> None:
    """The node has the folder, as an empty one of its own: what was mounted there is not."""
    broken_node(lab, "blind")
    lab.cluster.hide(lab.cluster.node("blind"), f"{lab.cluster.root}/data")
    done = lab.score(name="blind", timeout=120)
    assert done.status == 0, done.stderr
    assert done.counts == (6, 6, 0)
    text = (lab.cluster.root / "data/.runner/scheduler.log").read_text()
    assert "the node blind does not see the datastore shared" in text
