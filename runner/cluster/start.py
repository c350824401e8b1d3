"""`runner cluster head` and `join`: one Ray node in the foreground, for systemd, containers and terminals alike."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from runner.cluster.here import registered
from runner.cluster.ray_command import Node, environment, head_command, join_command
from runner.cluster.tokens import NODE_TOKEN_MODE, SUBMIT_TOKEN_MODE, check_token, make_token
from runner.errors import Place, UserError
from runner.worker.linux import signal_when_parent_dies

READY_SECONDS = 60.0
BOOTSTRAP = "runner.cluster.bootstrap"
BOOTSTRAP_TRIES = 3
GRACE = 20.0  # seconds that Ray has to end
REJOIN_PAUSE = 3.0
READY_SAYING = b"Ray runtime started"
_RAYLET_PROBLEM = re.compile(rb" [EC] \d+ \d+\] ")  # as the raylet marks errors in its log
Say = Callable[[str], None]


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


class Ray:
    """`ray start --block` as a child, which ends with this process, also when that is killed."""

    def __init__(self, command: list[str], token_file: Path) -> None:
        self._environment = environment(os.environ, token_file.resolve())
        self._told, self._ready = threading.Event(), threading.Event()
        self._processes: list[subprocess.Popen[bytes]] = []
        self._command = command

    def __enter__(self) -> Ray:
        self._signals = {number: signal.signal(number, self._on_signal) for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)}
        self._ray = self._start(self._command, output=subprocess.PIPE)
        self._reader = threading.Thread(target=self._read, args=(self._ray,), daemon=True)
        self._reader.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._terminate()
        self._reader.join(1)
        for number, handler in self._signals.items():
            signal.signal(number, handler)

    @property
    def told_to_end(self) -> bool:
        return self._told.is_set()

    def wait_until_ready(self, address: tuple[str, int] | None = None, seconds: float = READY_SECONDS) -> bool:
        """Whether Ray says so and, of a head, the address answers. A node whose head cannot be reached gives up by itself."""
        end = time.monotonic() + seconds
        while self._ray.poll() is None and not self.told_to_end and time.monotonic() < end:
            if self._ready.is_set() and (address is None or answers(address)):
                return True
            self._told.wait(0.05)
        return False

    def wait(self, say: Say) -> int:
        """The exit status: 0 when we were told to end. `ray start --block` stays when its raylet ends while it still starts, or gently."""
        alone, seen = 0, False
        while self._ray.poll() is None and not self.told_to_end and alone < 4:
            raylet = _raylet(self._ray.pid)
            seen |= raylet
            alone = 0 if raylet or not seen else alone + 1
            self._told.wait(0.5)
        if alone:
            self._ray.kill()  # it would wait for what is gone; the kernel kills what it has started
        return self.end(say, "the Ray node has ended")

    def end(self, say: Say, problem: str) -> int:
        told = self.told_to_end
        if not told:
            status = self._ray.poll()
            say(problem + ("" if status is None else f" (exit status {status})"))
        self._terminate()
        return 0 if told else 1

    def sleep(self, seconds: float) -> bool:
        """Whether we have been told to end meanwhile."""
        return self._told.wait(seconds)

    def run(self, command: list[str]) -> int:
        """The exit status of another child in Ray's environment."""
        process = self._start(command)
        while process.poll() is None and not self.told_to_end and self._ray.poll() is None:
            self._told.wait(0.05)
        if process.poll() is None:
            process.terminate()
        return process.wait()

    def _read(self, ray: subprocess.Popen[bytes]) -> None:
        """Passes on what Ray says, without the debug dumps that it quotes when its raylet has ended."""
        quoting = False
        assert ray.stdout is not None
        with ray.stdout as lines:
            for line in lines:
                if READY_SAYING in line:
                    self._ready.set()
                quoting = b"----- BEGIN" in line or (quoting and b"----- END" not in line)
                if not quoting or _RAYLET_PROBLEM.search(line):
                    print(line.decode(errors="replace"), end="", file=sys.stderr, flush=True)

    def _start(self, command: list[str], output: int | None = None) -> subprocess.Popen[bytes]:
        own = os.getpid()
        # In a session of its own: Ctrl-C reaches us, and we tell Ray, once.
        process = subprocess.Popen(
            command,
            env=self._environment,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output and subprocess.STDOUT,
            start_new_session=True,
            preexec_fn=lambda: signal_when_parent_dies(signal.SIGKILL, own),
        )
        self._processes.append(process)
        return process

    def _terminate(self) -> None:
        for process in self._processes:
            if process.poll() is None:
                process.terminate()
        for process in self._processes:
            try:
                process.wait(GRACE)
            except subprocess.TimeoutExpired:
                process.kill()  # the kernel then kills what it has started
                process.wait()

    def _on_signal(self, *_: object) -> None:
        self._told.set()


def _check_ray() -> None:
    if importlib.util.find_spec("ray") is None:
        raise UserError("Ray is not installed beside this runner", todo="pip install 'runner[ray]'")


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


def answers(address: tuple[str, int]) -> bool:
    try:
        with socket.create_connection(address, timeout=1):
            return True
    except OSError:
        return False


def own_address() -> str:
    """The address by which others reach this machine: of the way to the outside, as Ray finds it. Nothing is sent."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))
            return str(probe.getsockname()[0])
        except OSError:
            return "127.0.0.1"


def _raylet(ray: int) -> bool:
    """Whether a child of the process is a running raylet."""
    try:
        children = Path(f"/proc/{ray}/task/{ray}/children").read_text().split()
    except OSError:
        return False
    return any(_is_raylet(child) for child in children)


def _is_raylet(pid: str) -> bool:
    try:
        head, _, rest = Path(f"/proc/{pid}/stat").read_text().rpartition(")")
    except OSError:
        return False
    return head.endswith("(raylet") and rest.split()[0] != "Z"
