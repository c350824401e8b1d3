"""`GET /v1/doctor`: what keeps a node from running instances, looked at on each of them, at the same time."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

from runner.cluster.hosts import NODE_FOLDER, node_root
from runner.cluster.probes import Probes, check_engine, check_reading, datastore_of, within
from runner.cluster.scheduling import Node
from runner.compute import ray as adapter
from runner.compute.ray import HostHandle
from runner.errors import UserError
from runner.version import VERSION
from runner.workspace.units import show_size

NODE_SECONDS = 20.0  # for a node to answer
ONE_SECONDS = 15.0  # for one of its checks
CLOCK_SECONDS = 2.0
MEMORY = "/dev/shm"  # noqa: S108
MEMORY_FLOOR = 512 << 20  # below which instances put what they have there on a disk: see engine/scratch.py


@dataclass(frozen=True, kw_only=True)
class Check:
    name: str
    ok: bool
    text: str


class NodeChecks:
    """The service of a host on the node."""

    def __init__(self, fields: Mapping[str, Any]) -> None:
        self._fields = fields

    def describe(self, _nothing: None) -> dict[str, Any]:
        """Of no job: a scheduler that finds it ends it."""
        return {"request": {"job": ""}}

    def clock(self, _nothing: None) -> float:
        return time.time()

    def run(self, _nothing: None) -> list[dict[str, Any]]:
        """All checks."""
        fields, looks = self._fields, []
        if fields["runs_instances"]:
            looks.append(("docker", _docker))
        looks += [
            ("runner", partial(_version, "runner", VERSION, fields["runner"])),
            ("ray", partial(_version, "Ray", adapter.version(), fields["ray"])),
            ("disk", partial(_disk, fields["floor"])),
            ("memory", _memory),
            ("user", partial(_user, fields["uid"])),
        ]
        looks += [
            (f"datastore {datastore_of(content)}", partial(_datastore, path, content, bool(fields["runs_instances"])))
            for path, content in fields["probes"].items()
        ]
        with ThreadPoolExecutor(max_workers=len(looks)) as pool:
            return [asdict(one) for one in pool.map(lambda look: _checked(*look), looks)]


def _checked(name: str, look: Callable[[], str]) -> Check:
    try:
        return Check(name=name, ok=True, text=within(ONE_SECONDS, look))
    except TimeoutError:
        return Check(name=name, ok=False, text=f"no answer within {ONE_SECONDS:g} s")
    except UserError as error:
        return Check(name=name, ok=False, text=error.problem + (f": {error.todo}" if error.todo else ""))
    except Exception as error:  # whatever it is, it is what the node has
        return Check(name=name, ok=False, text=f"{type(error).__name__}: {error}")


def _docker() -> str:
    from runner.launch.engine_view import engine_version  # loads the Docker SDK
    from runner.launch.image import connected

    with connected() as engine:
        return f"{engine.kind()} {engine_version(engine)} at {engine.address}"


def _version(what: str, own: str, wanted: str) -> str:
    if own != wanted:
        raise UserError(f"{what} {own}, and the scheduler has {wanted}", todo="install the same version on the node, and start it again")
    return own


def _disk(floor: int) -> str:
    folder = node_root()
    existing = next(one for one in (folder, *folder.parents) if one.exists())
    free = shutil.disk_usage(existing).free
    if free < floor:
        raise UserError(
            f"{folder} has only {show_size(free)} free, and {show_size(floor)} are wanted",
            todo=f"make room, or name another folder with {NODE_FOLDER}",
        )
    return f"{folder}, {show_size(free)} free"


def _memory() -> str:
    free = shutil.disk_usage(MEMORY).free
    if free < MEMORY_FLOOR:
        raise UserError(
            f"{MEMORY} has only {show_size(free)} free: below {show_size(MEMORY_FLOOR)} instances use the disk instead",
            todo=f"make {MEMORY} larger; where the node is a container, mount that of its machine",
        )
    return f"{MEMORY}, {show_size(free)} free"


def _user(scheduler: int) -> str:
    own = os.geteuid()
    if own == 0:
        return "root: jobs run as their users"
    if own == scheduler:
        return f"uid {own}, as the scheduler: it can run this user's jobs only"
    raise UserError(f"uid {own}, and the scheduler has {scheduler}", todo="start the node as root, or as the user of the head")


def _datastore(path: str, content: str, runs_instances: bool) -> str:
    check_reading(path, content)
    if runs_instances:
        check_engine(path, content)
    return f"{Path(path).parents[2]}, the same as on the head" + (", also for its Docker engine" if runs_instances else "")


# On the head


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """What nodes are compared with."""

    probes: Probes
    floor: int


def examine(nodes: Iterable[Node], wanted: Wanted) -> list[dict[str, Any]]:
    """All nodes, at the same time, as `GET /v1/doctor` has it."""
    alive = sorted((node for node in nodes if node.alive), key=lambda node: node.name)
    if not alive:
        return []
    with ThreadPoolExecutor(max_workers=len(alive)) as pool:
        found = list(pool.map(lambda node: _examine(node, wanted), alive))
    return [{"name": node.name, "checks": [asdict(check) for check in checks]} for node, checks in zip(alive, found, strict=True)]


def _examine(node: Node, wanted: Wanted) -> list[Check]:
    begin = time.monotonic()
    fields = {
        "runner": VERSION,
        "ray": adapter.version(),
        "floor": wanted.floor,
        "uid": os.geteuid(),
        "probes": dict(wanted.probes.files),
        "runs_instances": node.total.cpus > 0 or node.total.gpus > 0,
    }
    host = None
    try:
        name = f"checks/{node.id}/{time.time_ns()}"
        host = HostHandle.start(name, "runner.cluster.checks:NodeChecks", fields, node=node.id)
        host.call("describe", timeout=NODE_SECONDS)  # it runs
        clock = _clock(host)
        left = max(1.0, begin + NODE_SECONDS - time.monotonic())
        checks = [Check(**one) for one in host.call("run", timeout=left)]
    except adapter.Gone as error:
        return [_unanswered(error, time.monotonic() - begin)]
    finally:
        if host is not None:
            host.kill()
    broken = [Check(name=f"datastore {name}", ok=False, text=text) for name, text in wanted.probes.broken.items()]
    return [*checks, clock, *broken]


def _clock(host: HostHandle) -> Check:
    before = time.time()
    there = float(host.call("clock", timeout=NODE_SECONDS))
    return judge_clock(before, there, time.time())


def judge_clock(before: float, there: float, after: float) -> Check:
    """A node's clock, read between two moments of ours."""
    off = there - after if there > after else there - before if there < before else 0.0
    if abs(off) > CLOCK_SECONDS:
        return Check(name="clock", ok=False, text=f"{off:+.1f} s off the scheduler's: let both take their time from the same server (NTP)")
    return Check(name="clock", ok=True, text=f"{off:+.1f} s off the scheduler's")


def _unanswered(error: BaseException, seconds: float) -> Check:
    if isinstance(error, adapter.Late):
        return Check(name="node", ok=False, text=f"no answer within {seconds:.0f} s: see `journalctl -u runner-node` there")
    why = "it has gone meanwhile" if "node has died" in str(error) else str(error).strip().rpartition("\n")[2]
    return Check(name="node", ok=False, text=f"nothing can be run there: {why}")
