"""What is started on a machine of the cluster: the `ray start` command and its environment, as plain data."""

from __future__ import annotations

import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from runner.errors import Place, UserError

# With Ray's own values the loss of a node is noticed after 14 s, of a cut-off one after 64 s, and such a node ends itself after three
# minutes; with these it is 3 s, 7 s and 17 s. They have to be the same on all nodes.
TUNED = {
    "RAY_health_check_initial_delay_ms": "1000",
    "RAY_health_check_period_ms": "1000",
    "RAY_health_check_timeout_ms": "2000",
    "RAY_health_check_failure_threshold": "3",
    "RAY_gcs_rpc_server_reconnect_timeout_s": "10",
    "RAY_grpc_client_keepalive_time_ms": "3000",
    "RAY_grpc_client_keepalive_timeout_ms": "3000",
    "RAY_raylet_liveness_self_check_interval_ms": "1000",
    "RAY_GRACEFUL_SHUTDOWN_DRAIN_TIMEOUT_S": "0",  # else it waits 30 s for actors that we never end; draining is the scheduler's business
}
# Would be used instead of what is said here.
UNWANTED = ("RAY_AUTH_TOKEN", "RAY_ADDRESS", "RAY_REDIS_ADDRESS")
PORT = 6379
NAMED_PORTS = 6  # of a range of ports, the first ones, for what a node has one of
FEWEST_PORTS = 30
_LABEL = re.compile(r"[A-Za-z0-9]([A-Za-z0-9_.-]{0,61}[A-Za-z0-9])?")
TYPE_LABEL = "instance_type"


@dataclass(frozen=True, kw_only=True)
class Node:
    """A machine as it is told to Ray. What is None, Ray finds out."""

    token_file: Path
    address: str = ""  # its own, in the cluster's network
    labels: Mapping[str, str] = field(default_factory=dict)
    cpus: float | None = None
    gpus: float | None = None
    memory: int | None = None  # bytes
    object_store_memory: int | None = None  # bytes; data of jobs does not go through it
    ports: tuple[int, int] | None = None  # first and last; without it any
    folder: Path | None = None  # of Ray's logs and sockets


def environment(base: Mapping[str, str], token_file: Path) -> dict[str, str]:
    """What Ray's processes get. The machine's own environment may say other times than ours, not who may join."""
    kept = {name: value for name, value in base.items() if name not in UNWANTED}
    said = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN_PATH": str(token_file), "RAY_USAGE_STATS_ENABLED": "0", "PYTHONUNBUFFERED": "1"}
    return {**TUNED, **kept, **said}


def head_command(node: Node, *, port: int = PORT, dashboard: bool = False, autoscaling: Path | None = None) -> list[str]:
    # The autoscaler's monitor, like the log monitor, takes 50 MB, for nothing where no file says what it should do.
    if node.ports:
        node = replace(node, ports=(node.ports[0], owner_ports(node.ports)[0] - 1))
    scaler = f"--autoscaling-config={autoscaling}" if autoscaling else "--no-monitor"
    return [*_start(), "--head", f"--port={port}", scaler, f"--include-dashboard={str(dashboard).lower()}", *_node_words(node)]


def owner_ports(ports: tuple[int, int]) -> tuple[int, int]:
    """Of the ports of a head, the last third: the owners of jobs listen there for their instances."""
    first, last = ports
    return last + 1 - (last + 1 - first) // 3, last


def join_command(node: Node, address: str) -> list[str]:
    return [*_start(), f"--address={address}", *_node_words(node)]


def _start() -> list[str]:
    """Not the script `ray`, which may lie elsewhere than on the path, and has the path of an interpreter in its first line."""
    return [sys.executable, "-m", "ray.scripts.scripts", "start", "--block", "--log-style=record", "--include-log-monitor=false"]


def _node_words(node: Node) -> list[str]:
    numbers: dict[str, object] = {
        "num-cpus": _whole(node.cpus),
        "num-gpus": _whole(node.gpus),
        "memory": node.memory,
        "object-store-memory": node.object_store_memory,
        "node-ip-address": node.address or None,
        "labels": ",".join(f"{key}={value}" for key, value in node.labels.items()) or None,
        "temp-dir": node.folder,
    }
    return [*(f"--{name}={value}" for name, value in numbers.items() if value is not None), *_port_words(node.ports)]


def _whole(number: float | None) -> int | float | None:
    """Ray takes whole numbers of these only; what is not one is an error of Ray's, said by it."""
    return int(number) if number is not None and number == int(number) else number


def _port_words(ports: tuple[int, int] | None) -> list[str]:
    if ports is None:
        return ["--min-worker-port=0", "--max-worker-port=0"]  # any that are free: several nodes fit on a machine
    first, last = ports
    names = ("node-manager", "object-manager", "runtime-env-agent", "dashboard-agent-grpc", "dashboard-agent-listen", "metrics-export")
    named = [f"--{name}-port={first + index}" for index, name in enumerate(names)]
    return [*named, f"--min-worker-port={first + NAMED_PORTS}", f"--max-worker-port={last}"]


def parse_labels(pairs: list[str], instance_type: str = "") -> dict[str, str]:
    """`K=V` each, as Ray takes them."""
    labels = {TYPE_LABEL: instance_type} if instance_type else {}
    for pair in pairs:
        key, equals, value = pair.partition("=")
        if not equals:
            raise UserError(f"{pair!r} is not a label", place=Place(field="--label"), allowed="KEY=VALUE")
        if labels.setdefault(key, value) != value:
            raise UserError(f"the label {key!r} is given twice", place=Place(field="--label"), todo="leave one of the two")
    for key, value in labels.items():
        if not _LABEL.fullmatch(key) or not _LABEL.fullmatch(value):
            allowed = "up to 63 letters, digits, '-', '_', '.', beginning and ending with a letter or a digit"
            raise UserError(f"{key}={value} is not a label", place=Place(field="--label"), allowed=allowed)
    return labels


def parse_ports(text: str) -> tuple[int, int]:
    """`FIRST-LAST`."""
    place = Place(field="--ports")
    match = re.fullmatch(r"(\d{1,5})-(\d{1,5})", text.strip())
    if not match:
        raise UserError(f"{text!r} is not a range of ports", place=place, allowed="FIRST-LAST, e.g. 20000-20999")
    first, last = int(match[1]), int(match[2])
    if not 1024 <= first <= last <= 65535 or last - first + 1 < FEWEST_PORTS:
        raise UserError(f"{text!r} is no range for a node", place=place, allowed=f"at least {FEWEST_PORTS} ports between 1024 and 65535")
    return first, last


def parse_address(text: str) -> str:
    """`HOST` or `HOST:PORT`, of the head."""
    host, colon, port = text.strip().rpartition(":")
    if not colon:
        host, port = text.strip(), str(PORT)
    if not host or not port.isdigit() or not 0 < int(port) < 65536 or "/" in host:
        raise UserError(f"{text!r} is not the address of a head", place=Place(field="ADDRESS"), allowed="HOST or HOST:PORT")
    return f"{host}:{int(port)}"


def check_own_address(address: str) -> None:
    """Of a node. Ray takes another one without a word. Errors: UserError for one that no other machine reaches."""
    if address.startswith("127.") or address in ("localhost", "::1"):
        raise UserError(
            f"{address} is this machine's own address, which no other machine reaches",
            place=Place(field="--node-ip-address"),
            todo="give the address that the others know it by, or leave it out",
        )
