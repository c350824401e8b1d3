"""`runner cluster head` and `join`: one Ray node in the foreground, for systemd, containers and terminals alike."""

from __future__ import annotations

import importlib.util
import json
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from runner.cluster.here import registered
from runner.cluster.ray_command import Node, head_command, join_command, owner_ports
from runner.cluster.ray_process import Ray, Say
from runner.cluster.tokens import NODE_TOKEN_MODE, SUBMIT_TOKEN_MODE, check_token, make_token
from runner.errors import Place, UserError

BOOTSTRAP = "runner.cluster.bootstrap"
BOOTSTRAP_TRIES = 3
REJOIN_PAUSE = 3.0


@dataclass(frozen=True, kw_only=True)
class Head:
    """What a head has beside what each node has."""

    workspace: Path
    submit_token_file: Path
    port: int
    gateway_port: int
    dashboard: bool = False
    certificate: Path | None = None  # with it the gateway speaks HTTPS
    key: Path | None = None
    autoscaling: Path | None = None  # the file of Ray's cluster launcher, which then starts and ends nodes


def run_head(node: Node, head: Head, say: Say) -> int:
    """Starts the head and the scheduler on it; ends when it ends. The exit status."""
    _check_ray()
    if not head.workspace.is_dir():
        todo = "make it, with the cluster's workspace.yml in it"
        raise UserError(f"there is no folder {head.workspace}", place=Place(field="--workspace"), todo=todo)
    _check_port(node.address, head.port, "--port")
    _check_port(node.address, head.gateway_port, "--gateway-port")
    for file, mode, field in (
        (node.token_file, NODE_TOKEN_MODE, "--node-token-file"),
        (head.submit_token_file, SUBMIT_TOKEN_MODE, "--submit-token-file"),
    ):
        if make_token(file, mode, field):
            say(f"made {file}")
    own = node.address or own_address()
    address = f"{own}:{head.port}"
    command = head_command(node, port=head.port, dashboard=head.dashboard, autoscaling=head.autoscaling)
    with registered("head", address) as ready, Ray(command, node.token_file) as ray:
        if not ray.wait_until_ready((own, head.port)):
            return ray.end(say, "Ray did not come up")
        say(f"head at {address}")
        if not _start_scheduler(ray, bootstrap_settings(node, head, address), say):
            return ray.end(say, "the scheduler did not start")
        ready(True)
        return ray.wait(say)


def run_join(node: Node, address: str, say: Say, *, rejoin: bool = False, pause: float = REJOIN_PAUSE) -> int:
    """Joins the cluster; ends when the node ends, or, with `rejoin`, joins again. The exit status."""
    _check_ray()
    check_token(node.token_file, "--node-token-file")
    command = join_command(node, address)
    with registered("node", address) as ready:
        while True:
            with Ray(command, node.token_file) as ray:
                if ray.wait_until_ready():
                    say(f"joined {address}")
                    ready(True)
                status = ray.wait(say)
                ready(False)
                if ray.told_to_end:
                    return 0
                if not rejoin:
                    return status
                say(f"joins {address} again in {pause:.0f} s")
                if ray.sleep(pause):
                    return 0


def bootstrap_settings(node: Node, head: Head, address: str) -> dict[str, object]:
    """What `python -m runner.cluster.bootstrap` is told, as JSON in its first argument."""
    return {
        "workspace": str(head.workspace.resolve()),
        "address": address,
        "host": node.address,  # where the gateway listens; empty: everywhere
        "gateway_port": head.gateway_port,
        "owner_ports": owner_ports(node.ports) if node.ports else (0, 0),  # 0: any that is free
        "submit_token_file": str(head.submit_token_file.resolve()),
        "node_token_file": str(node.token_file.resolve()),
        "certificate": str(head.certificate.resolve()) if head.certificate else None,
        "key": str(head.key.resolve()) if head.key else None,
    }


def _start_scheduler(ray: Ray, settings: dict[str, object], say: Say) -> bool:
    """Makes the scheduler, or finds it running: safe to try again, which helps while Ray is still coming up."""
    if importlib.util.find_spec(BOOTSTRAP) is None:
        say(f"Error: this version of the runner has no scheduler ({BOOTSTRAP}); nodes can join, jobs cannot be submitted")
        return True
    for attempt in range(BOOTSTRAP_TRIES):
        if attempt and ray.sleep(2.0):
            return False
        if ray.run([sys.executable, "-m", BOOTSTRAP, json.dumps(settings)]) == 0:
            return True
    return False


def _check_ray() -> None:
    if importlib.util.find_spec("ray") is None:
        raise UserError("Ray is not installed beside this runner", todo=f"install it there: {sys.executable} -m pip install ray")


def _check_port(host: str, port: int, field: str) -> None:
    """Ray says of a port in use only that it could not start."""
    place = Place(field=field)
    if not 0 < port < 65536:
        raise UserError(f"{port} is not a port", place=place, allowed="1 to 65535")
    with _listener(host) as listener:
        try:
            listener.bind((host, port))
        except OSError as error:
            problem = f"port {port} of {host or 'this machine'} cannot be used: {error.strerror}"
            raise UserError(problem, place=place, todo=f"end what uses it, or choose another with {field}") from error


@contextmanager
def _listener(host: str) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as Ray: connections that have ended do not count
        yield listener


def own_address() -> str:
    """The address by which others reach this machine: of the way to the outside, as Ray finds it. Nothing is sent."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))
            return str(probe.getsockname()[0])
        except OSError:
            return "127.0.0.1"
