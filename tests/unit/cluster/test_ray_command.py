from __future__ import annotations

import sys
from pathlib import Path

import pytest

from runner.cluster.ray_command import (
    TUNED,
    Node,
    environment,
    head_command,
    join_command,
    owner_ports,
    parse_address,
    parse_labels,
    parse_ports,
)
from runner.errors import UserError

TOKEN = Path("/etc/runner/node.token")
START = [sys.executable, "-m", "ray.scripts.scripts", "start", "--block", "--log-style=record", "--include-log-monitor=false"]


def test_all_nodes_get_the_same_times_and_ask_for_the_token():
    got = environment({"PATH": "/bin", "RAY_AUTH_MODE": "disabled", "RAY_AUTH_TOKEN": "other", "RAY_ADDRESS": "elsewhere:1"}, TOKEN)
    own = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN_PATH": str(TOKEN), "RAY_USAGE_STATS_ENABLED": "0", "PYTHONUNBUFFERED": "1"}
    assert got == {"PATH": "/bin", **TUNED, **own}


def test_the_machine_may_say_other_times():
    assert environment({"RAY_health_check_period_ms": "5000"}, TOKEN)["RAY_health_check_period_ms"] == "5000"


def test_a_head_without_options():
    want = [*START, "--head", "--port=6379", "--no-monitor", "--include-dashboard=false", "--min-worker-port=0", "--max-worker-port=0"]
    assert head_command(Node(token_file=TOKEN)) == want


def test_a_head_whose_nodes_the_cluster_launcher_starts():
    command = head_command(Node(token_file=TOKEN), autoscaling=Path("bootstrap.yaml"))
    assert "--autoscaling-config=bootstrap.yaml" in command
    assert "--no-monitor" not in command


def test_a_node_with_all_options():
    node = Node(
        token_file=TOKEN, address="10.0.0.2", labels={"instance_type": "gpu", "zone": "a"}, cpus=8.0, gpus=0.0, memory=1 << 30,
        object_store_memory=100_000_000, ports=(20000, 20999), folder=Path("/var/ray"),
    )  # fmt: skip
    assert join_command(node, "10.0.0.1:6379") == [
        *START,
        "--address=10.0.0.1:6379",
        "--num-cpus=8",
        "--num-gpus=0",
        "--memory=1073741824",
        "--object-store-memory=100000000",
        "--node-ip-address=10.0.0.2",
        "--labels=instance_type=gpu,zone=a",
        "--temp-dir=/var/ray",
        "--node-manager-port=20000",
        "--object-manager-port=20001",
        "--runtime-env-agent-port=20002",
        "--dashboard-agent-grpc-port=20003",
        "--dashboard-agent-listen-port=20004",
        "--metrics-export-port=20005",
        "--min-worker-port=20006",
        "--max-worker-port=20999",
    ]


def test_of_a_heads_ports_the_last_third_is_for_owners():
    node = Node(token_file=TOKEN, ports=(20000, 20299))
    assert owner_ports((20000, 20299)) == (20200, 20299)
    assert "--max-worker-port=20199" in head_command(node)
    assert "--max-worker-port=20299" in join_command(node, "10.0.0.1:6379")


def test_labels():
    assert parse_labels(["zone=a", "disk=ssd"], "gpu") == {"instance_type": "gpu", "zone": "a", "disk": "ssd"}
    assert parse_labels([]) == {}


@pytest.mark.parametrize("pair", ["zone", "=a", "zone=", "zone=a b", "zone=a,b", "-zone=a", "ray.io/x=y"])
def test_what_is_no_label(pair):
    with pytest.raises(UserError, match="is not a label"):
        parse_labels([pair])


def test_a_label_twice():
    with pytest.raises(UserError, match="given twice"):
        parse_labels(["instance_type=small"], "gpu")


def test_ports():
    assert parse_ports("20000-20999") == (20000, 20999)


@pytest.mark.parametrize("text", ["20000", "20999-20000", "80-1000", "20000-20010", "60000-70000", "a-b"])
def test_what_are_no_ports(text):
    with pytest.raises(UserError):
        parse_ports(text)


@pytest.mark.parametrize(("text", "want"), [("head", "head:6379"), ("head:7000", "head:7000"), (" 10.0.0.1 ", "10.0.0.1:6379")])
def test_addresses(text, want):
    assert parse_address(text) == want


@pytest.mark.parametrize("text", ["", ":6379", "head:", "head:0", "head:70000", "http://head:6379"])
def test_what_is_no_address(text):
    with pytest.raises(UserError, match="is not the address"):
        parse_address(text)
