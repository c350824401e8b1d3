"""The cluster of the tests, with nothing but Ray on it: what happens to nodes, and how soon it is noticed."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path

import docker
import pytest

from tests.cluster import CPUS, ROOT, Cluster, Node, sweep

pytestmark = pytest.mark.needs("cluster")

ALL = {"head", "node-1", "node-2", "node-3"}
RESOURCES = """
import json, ray
ray.init(log_to_driver=False, logging_level="error")
nodes = [node for node in ray.nodes() if node["Alive"]]
print(json.dumps({node["NodeManagerHostname"]: [node["Resources"].get("CPU", 0), node["Labels"].get("instance_type")] for node in nodes}))
"""
UNINVITED = """
import os
os.environ["RAY_AUTH_TOKEN"] = "0" * 64
from ray._raylet import GcsClient
try:
    print(len(GcsClient(address=os.environ["RAY_ADDRESS"]).get_all_node_info(timeout=3)))
except Exception as error:
    print(type(error).__name__)
"""


def ids(cluster: Cluster, node: Node, *, alive: bool) -> set[str]:
    return {one["id"] for one in cluster.ray_nodes() if one["name"] == node.name and one["alive"] is alive}


def test_nodes_have_their_labels_and_cpus(cluster):
    cpus = float(CPUS)
    want = {"head": [0, None], "node-1": [cpus, "small"], "node-2": [cpus, "small"], "node-3": [cpus, "big"]}
    assert {name: found for name, found in json.loads(cluster.python(RESOURCES)).items() if name in want} == want
    assert cluster.alive() == ALL


def test_who_has_not_the_token_is_not_let_in(cluster):
    assert cluster.python(UNINVITED).strip() == "AuthenticationError"


def test_the_submit_token_is_no_node_token(cluster):
    tokens = cluster.root / "tokens"
    assert (tokens / "node.token").read_text() != cluster.submit_token_file.read_text()
    assert (tokens / "node.token").stat().st_mode & 0o777 == 0o600


def test_a_node_whose_raylet_was_killed_is_lost_at_once_and_joins_again(cluster):
    node = cluster.node("node-1")
    before = ids(cluster, node, alive=True)
    cluster.kill_raylet(node)
    assert cluster.wait_until(lambda: before <= ids(cluster, node, alive=False), "it is lost") < 8
    cluster.wait_until(lambda: bool(ids(cluster, node, alive=True) - before), "it joins again", 30)


def test_a_node_that_is_cut_off_is_lost_ends_itself_and_joins_again_when_healed(cluster):
    node = cluster.node("node-2")
    before, ends = ids(cluster, node, alive=True), node.logs().count("the Ray node has ended")
    cluster.cut(node)
    begin = time.monotonic()
    cluster.wait_until(lambda: node.name not in cluster.alive(), "it is lost", 20)
    cluster.wait_until(lambda: node.logs().count("the Ray node has ended") > ends, "it ends itself", 40)
    assert time.monotonic() - begin < 40
    cluster.heal(node)
    cluster.wait_until(lambda: bool(ids(cluster, node, alive=True) - before), "it joins again", 60)


def test_a_node_that_is_healed_before_it_has_ended_itself_is_a_new_one_too(cluster):
    node = cluster.node("node-2")
    before = ids(cluster, node, alive=True)
    cluster.cut(node)
    cluster.wait_until(lambda: node.name not in cluster.alive(), "it is lost", 20)
    cluster.heal(node)
    cluster.wait_until(lambda: bool(ids(cluster, node, alive=True)), "it joins again", 60)
    assert not before & ids(cluster, node, alive=True)


def test_a_machine_that_goes_and_comes(cluster):
    node = cluster.node("node-3")
    cluster.kill_container(node)
    assert cluster.wait_until(lambda: node.name not in cluster.alive(), "it is lost") < 15
    cluster.start_container(node)
    cluster.wait_until(lambda: node.name in cluster.alive(), "it is there again")


def test_one_more_node(cluster):
    node = cluster.add_node("big", "--label=zone=a")
    labels = next(one["labels"] for one in cluster.ray_nodes() if one["name"] == node.name and one["alive"])
    assert (labels["instance_type"], labels["zone"]) == ("big", "a")
    cluster.kill_process(node, "runner cluster join", 15)
    cluster.wait_until(lambda: node.name not in cluster.alive(), "it has left")
    node.container.wait(timeout=20)
    assert node.container.attrs["State"]["ExitCode"] == 0


def test_after_a_restart_of_the_head_the_nodes_come_back(cluster):
    token = cluster.submit_token_file.read_text()
    cluster.restart_head()
    cluster.wait_until(lambda: cluster.alive() == ALL, "all are back", 90)
    assert cluster.submit_token_file.read_text() == token


def test_what_a_killed_run_has_left_is_swept(test_image):
    test_image("node")
    code = "import time; from tests.cluster import Cluster; print(Cluster(types=()).__enter__().root, flush=True); time.sleep(60)"
    process = subprocess.Popen([sys.executable, "-c", code], cwd=ROOT, stdout=subprocess.PIPE, text=True)
    with process:
        root = process.stdout.readline().strip()
        process.kill()
    client = docker.from_env()
    try:
        names = [container.name for container in client.containers.list(ignore_removed=True) if container.name.startswith(Path(root).name)]
        assert len(names) == 1
        sweep(client)
        assert not [container for container in client.containers.list(all=True, ignore_removed=True) if container.name in names]
        assert not [network for network in client.networks.list() if f"-{process.pid}-" in network.name]
        assert not Path(root).exists()
    finally:
        client.close()
