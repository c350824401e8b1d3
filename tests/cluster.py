"""A real cluster for tests: a head and nodes, each a container on a network of their own, which start their containers beside themselves.

    def test_it(cluster):                      # the session's cluster, whole again; tests/conftest.py
        cluster.kill_raylet(cluster.node("node-1"))

The nodes share a temporary folder with this machine, `root`, at the same path; so they do /dev/shm. The runner is mounted from the
checkout, at another path than it has here, as it would be in an image. What a killed run has left is swept by the next one, by label.
"""

from __future__ import annotations

import contextlib
import ipaddress
import json
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import docker
from docker.errors import APIError, NotFound
from docker.models.containers import Container
from docker.types import IPAMConfig, IPAMPool, Mount

from tests.docker_engine import find_engine

ROOT = Path(__file__).resolve().parents[1]
SOURCE = "/opt/runner"  # in the nodes
IMAGE = "runner-test/node:latest"
LABEL = "runner.test-cluster"
CPUS = 2
HEAD, PORT, GATEWAY_PORT = "head", 6379, 6380
STORE = "100MB"
UP_SECONDS = 60.0
UP = "head at "
WORKSPACE = """\
datastores:
  shared: {{type: local, path: {root}/data, shared: true}}
default_datastore: shared
instance_types:
  small: {{cpus: 2, memory: 1GB}}
  big: {{cpus: 2, memory: 2GB}}
"""
# Programs for `Cluster.python`; the nodes have no ps, no pkill.
NODES = """
import json, os
from ray._raylet import GcsClient
nodes = GcsClient(address=os.environ["RAY_ADDRESS"]).get_all_node_info().values()
print(json.dumps([
    {"id": node.node_id.hex(), "name": node.node_manager_hostname, "address": node.node_manager_address, "alive": node.state == 0,
      "labels": dict(node.labels)} for node in nodes
]))
"""
KILL = """
import os, re, sys
from pathlib import Path
pattern, number, found = re.compile(sys.argv[1]), int(sys.argv[2]), []
for folder in Path("/proc").iterdir():
    if folder.name.isdigit() and int(folder.name) not in (1, os.getpid()):
        try:
            words = (folder / "cmdline").read_bytes().replace(b"\\0", b" ").decode(errors="replace")
            name = (folder / "comm").read_text().strip()
            if pattern.search(words) or pattern.fullmatch(name):
                os.kill(int(folder.name), number)
                found.append(int(folder.name))
        except (FileNotFoundError, ProcessLookupError):
            pass
print(*found)
"""


# Actors of the tests that use it run on the head.
KILL_ACTOR = """
import os, sys
import ray
from ray._private.state import actors
ray.init(log_to_driver=False, logging_level="error", namespace="runner")
for actor in actors().values():
    if f"{actor['Name']}/".startswith(f"{sys.argv[1]}/") and actor["State"] == "ALIVE":
        os.kill(actor["Pid"], 9)
        print(actor["Pid"])
"""


@dataclass(kw_only=True)
class Node:
    """A container that is a node, or the head."""

    name: str
    type: str
    address: str
    container: Container
    cut: bool = False

    def logs(self) -> str:
        return self.container.logs().decode(errors="replace")

    def pid(self) -> int:
        """Of its first process, as this machine counts; 0 when it does not run."""
        self.container.reload()
        return int(self.container.attrs["State"]["Pid"])


@dataclass(kw_only=True)
class Cluster:
    """`with Cluster(types=("small", "big")) as cluster:` – one node of each; the head takes no instances unless `head_type` is given."""

    types: Sequence[str] = ("small", "small", "big")
    head_type: str = ""
    workspace: str = WORKSPACE  # its workspace.yml; {root} is the shared folder
    source: str = SOURCE  # str(ROOT) for the same path as here
    options: Sequence[str] = ()  # more words for `runner cluster head` and `join`
    nodes: dict[str, Node] = field(default_factory=dict)
    bridge: str = ""  # address of this machine on their network

    def __enter__(self) -> Cluster:
        self.client = docker.from_env(timeout=120)
        sweep(self.client)
        self.root = Path(tempfile.mkdtemp(prefix="runner-cluster-"))
        self.root.chmod(0o755)
        self.labels = {LABEL: f"{os.getpid()} {started(os.getpid())} {self.root}"}
        try:
            self._prepare()
            self._start(HEAD, self.head_type)
            self.wait_until(lambda: UP in self.head.logs() and HEAD in self.alive(), "the head is up")
            for kind in self.types:
                self.add_node(kind)
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        remove(self.client, self.labels[LABEL])
        self.client.close()

    def _prepare(self) -> None:
        for name, mode in (("workspace", 0o755), ("data", 0o1777), ("tokens", 0o711), ("local", 0o1777)):
            (self.root / name).mkdir()
            (self.root / name).chmod(mode)
        (self.root / "workspace" / "workspace.yml").write_text(self.workspace.format(root=self.root))
        self.network = make_network(self.client, self.labels)
        pool = ipaddress.ip_network(self.network.attrs["IPAM"]["Config"][0]["Subnet"])
        self._addresses = iter([str(address) for address in pool.hosts()][10:])
        self.bridge = str(next(pool.hosts()))

    # What tests need to know

    @property
    def head(self) -> Node:
        return self.nodes[HEAD]

    @property
    def gateway(self) -> str:
        """Reached from this machine, too."""
        return f"{self.head.address}:{GATEWAY_PORT}"

    @property
    def submit_token_file(self) -> Path:
        return self.root / "tokens" / "submit.token"

    def node(self, name: str) -> Node:
        return self.nodes[name]

    def python(self, code: str, *words: str, on: str = HEAD, check: bool = True, user: str = "0") -> str:
        """What a Python program prints that runs in a node's container, as `ray.init(address=…)` or `runner` would there."""
        done = self.nodes[on].container.exec_run(["python3", "-c", code, *words], environment=self._environment(), user=user, demux=True)
        out, err = ((stream or b"").decode(errors="replace") for stream in done.output)
        if check and done.exit_code:
            raise AssertionError(f"exit status {done.exit_code} on {on}:\n{out}{err}")
        return out

    def ray_nodes(self) -> list[dict[str, Any]]:
        """All nodes that Ray has known, those that are gone, too."""
        return list(json.loads(self.python(NODES)))

    def alive(self) -> set[str]:
        try:
            return {node["name"] for node in self.ray_nodes() if node["alive"]}
        except (AssertionError, APIError, ValueError):
            return set()  # the head is not up

    def wait_until(self, condition: Callable[[], bool], what: str, seconds: float = UP_SECONDS) -> float:
        """The seconds that it took."""
        begin = time.monotonic()
        while not condition():
            if time.monotonic() - begin > seconds:
                logs = "\n".join(f"--- {node.name}\n{node.logs()[-2000:]}" for node in self.nodes.values())
                raise AssertionError(f"not within {seconds:.0f} s: {what}\n{logs}")
            time.sleep(0.1)
        return time.monotonic() - begin

    # What happens to clusters

    def add_node(self, kind: str, *words: str, name: str = "", environment: Mapping[str, str] | None = None) -> Node:
        """One more, which has joined on return: two that start at once may fail to register."""
        name = name or next(name for number in range(1, 100) if (name := f"node-{number}") not in self.nodes)
        node = self._start(name, kind, *words, environment=environment)
        # Ray has it in its list a second before it is ready; cut off in between, it would wait for half a minute.
        self.wait_until(lambda: "joined" in node.logs() and name in self.alive(), f"{name} has joined")
        return node

    def remove_node(self, node: Node) -> None:
        """Without a word to the others."""
        node.container.remove(force=True)
        del self.nodes[node.name]

    def kill_process(self, node: Node, pattern: str, number: int = 9) -> list[int]:
        """A signal to those in the node's container whose command line has the pattern, or whose name is it; their ids there."""
        return [int(pid) for pid in self.python(KILL, pattern, str(number), on=node.name).split()]

    def kill_actor(self, name: str) -> bool:
        """The process of an actor of the runner's, by its name; whether there was one."""
        return bool(self.python(KILL_ACTOR, name).strip())

    def kill_raylet(self, node: Node) -> None:
        assert self.kill_process(node, r"^\S*/raylet ")

    def kill_container(self, node: Node) -> None:
        """The machine has gone."""
        node.container.kill()

    def start_container(self, node: Node) -> None:
        """The machine is there again."""
        node.container.start()
        node.cut = False

    def cut(self, node: Node) -> None:
        """Its network goes silent: nothing is refused, nothing arrives."""
        for chain, way in (("INPUT", "-i"), ("OUTPUT", "-o")):
            in_network(node, "iptables", "-I", chain, "!", way, "lo", "-j", "DROP")
        node.cut = True

    def heal(self, node: Node) -> None:
        for chain in ("INPUT", "OUTPUT"):
            in_network(node, "iptables", "-F", chain)
        node.cut = False

    def hide(self, node: Node, folder: str) -> None:
        """From the node's processes: they see an empty folder there."""
        code = "import ctypes, os, sys; sys.exit(ctypes.CDLL(None).mount(b'none', os.fsencode(sys.argv[1]), b'tmpfs', 0, None))"
        subprocess.run(["nsenter", "-t", str(node.pid()), "-m", "python3", "-c", code, folder], check=True)

    def restart_head(self) -> None:
        """Killed, and started again with what is on its disk."""
        self.head.container.kill()
        self.head.container.start()
        self.wait_until(lambda: HEAD in self.alive(), "the head is up again")

    def repair(self) -> None:
        """All nodes as they were at first, in whatever state a test has left them."""
        wanted = {f"node-{number}": kind for number, kind in enumerate(self.types, start=1)}
        for node in list(self.nodes.values()):
            node.container.reload()
            if node.cut:
                self.heal(node)
            if node.name not in (HEAD, *wanted):
                self.remove_node(node)
            elif node.container.status != "running":
                self.start_container(node)
        self.wait_until(lambda: HEAD in self.alive(), "the head is up")
        for name, kind in wanted.items():
            if name not in self.nodes:
                self._start(name, kind)
        self.wait_until(lambda: self.alive() >= {HEAD, *wanted}, "all nodes are up")

    # How it is made

    def _environment(self) -> dict[str, str]:
        return {
            "PYTHONPATH": f"{self.source}:{self.source}/runner/worker/importable",
            "RAY_ADDRESS": f"{self.nodes[HEAD].address if HEAD in self.nodes else ''}:{PORT}",
            "RAY_AUTH_MODE": "token",
            "RAY_AUTH_TOKEN_PATH": f"{self.root}/tokens/node.token",
            "DOCKER_HOST": "unix:///var/run/docker.sock",
            "TMPDIR": f"{self.root}/local",
        }

    def _start(self, name: str, kind: str, *words: str, environment: Mapping[str, str] | None = None) -> Node:
        address = next(self._addresses)
        common = [f"--node-token-file={self.root}/tokens/node.token", f"--node-ip-address={address}", f"--object-store-memory={STORE}"]
        common += ["--temp-dir=/tmp/ray", f"--cpus={CPUS if kind else 0}", *([f"--instance-type={kind}"] if kind else []), *self.options]
        if name == HEAD:
            own = [f"--workspace={self.root}/workspace", f"--submit-token-file={self.submit_token_file}"]
            command = ["head", *own, f"--port={PORT}", f"--gateway-port={GATEWAY_PORT}"]
        else:
            command = ["join", "--rejoin", f"{self.head.address}:{PORT}"]
        container = self._container(name, address, ["python3", "-m", "runner", "cluster", *command, *common, *words], environment or {})
        self.nodes[name] = node = Node(name=name, type=kind, address=address, container=container)
        container.start()
        return node

    def _container(self, name: str, address: str, command: list[str], extra: Mapping[str, str]) -> Container:
        engine = urlsplit(find_engine() or "").path
        places = {
            str(self.root): str(self.root),
            "/dev/shm": "/dev/shm",
            engine: "/var/run/docker.sock",
        }
        mounts = [Mount(target, source, type="bind") for source, target in places.items()]
        # Names and groups of the users as whom jobs run, as in deploy/compose.yml.
        mounts += [Mount(file, file, type="bind", read_only=True) for file in ("/etc/passwd", "/etc/group")]
        mounts.append(Mount(f"{self.source}/runner", str(ROOT / "runner"), type="bind", read_only=True))
        container = self.client.containers.create(
            IMAGE,
            command,
            name=f"{self.root.name}-{name}",
            hostname=name,
            init=True,
            mounts=mounts,
            labels=self.labels,
            environment=self._environment() | {"RUNNER_NODE_DIR": f"{self.root}/local/{name}", **extra},
            network_mode="none",
        )
        # Only so does the engine take an address of our choice.
        self.client.networks.get("none").disconnect(container)
        self.network.connect(container, ipv4_address=address, aliases=[name])
        return container


def make_network(client: docker.DockerClient, labels: dict[str, str]) -> Any:
    """A bridge with addresses that no other network of the engine has, so that they can be given by us, and kept over restarts."""
    for number in range(64):
        pool = IPAMPool(subnet=f"10.213.{4 * number}.0/24")
        try:
            network = client.networks.create(f"runner-cluster-{os.getpid()}-{number}", labels=labels, ipam=IPAMConfig(pool_configs=[pool]))
        except APIError as error:
            if "overlap" not in str(error).lower():
                raise
        else:
            network.reload()
            return network
    raise RuntimeError("no addresses are free for one more network")


def in_network(node: Node, *words: str) -> None:
    """A command of this machine's in the network of the node."""
    done = subprocess.run(["nsenter", "-t", str(node.pid()), "-n", *words], capture_output=True, text=True, timeout=30, check=False)
    if done.returncode:
        raise RuntimeError(f"{' '.join(words)}: {done.stderr}")


def started(pid: int) -> str:
    """By which a process is told from a later one of the same number; empty when it has ended."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]
    except OSError:
        return ""


def sweep(client: docker.DockerClient) -> None:
    """What killed test runs have left."""
    found = client.containers.list(all=True, filters={"label": LABEL}, ignore_removed=True)
    networks = client.networks.list(filters={"label": LABEL})
    for value in {one.labels[LABEL] for one in found} | {one.attrs["Labels"][LABEL] for one in networks}:
        pid, since, _ = value.split(" ", 2)
        if started(int(pid)) != since:
            remove(client, value)


def remove(client: docker.DockerClient, value: str) -> None:
    """Of one cluster: its nodes, the containers of jobs that they have started, its network, its folder."""
    root = value.split(" ", 2)[2]
    own = client.containers.list(all=True, filters={"label": f"{LABEL}={value}"}, ignore_removed=True)
    for container in own:
        with contextlib.suppress(NotFound, APIError):
            container.remove(force=True)
    for container in client.containers.list(all=True, ignore_removed=True):
        if any(str(mount.get("Source", "")).startswith(root) for mount in container.attrs.get("Mounts", ())):
            with contextlib.suppress(NotFound, APIError):
                container.remove(force=True)
    for network in client.networks.list(filters={"label": f"{LABEL}={value}"}):
        with contextlib.suppress(NotFound):
            network.remove()
    shutil.rmtree(root, ignore_errors=True)
