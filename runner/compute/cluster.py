"""Instances on other machines, as the owner of a job sees them: it listens for them, and somebody else starts them.

Who starts them is the *broker*: on a Ray cluster the scheduler. It is told what is wanted, and tells what it has found.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Protocol

from runner.compute.stats import Stats
from runner.engine.remote.address import Address, write_address
from runner.engine.remote.handshake import new_secret
from runner.engine.remote.line import SESSION_SECONDS
from runner.engine.remote.server import ExchangeServer, Members
from runner.model.batch import Progress
from runner.model.events import Event, InstanceStarted, Message, Observer, StatusChanged
from runner.model.paths import JobPaths

__all__ = ["SESSION_SECONDS", "Broker", "ClusterCompute", "ClusterLink", "Want"]

GOODBYE_SECONDS = 30.0  # for instances to hand in what they have once the job is decided; shutdown() of their workers is in it


@dataclass(frozen=True, kw_only=True)
class Want:
    """Instances that a step asks for: at least `count` of them run, up to `maximum` where there is room."""

    step: str  # empty: the job itself
    count: int
    maximum: int
    types: tuple[str, ...] = ()  # names of instance types, in order of preference


class Listener(Protocol):
    """What a broker tells, from its own thread."""

    def queued(self, reason: str) -> None:
        """The instances are not to be had now."""

    def send_away(self, instance: str, why: str) -> None:
        """`retired`: others need its node, when what runs there has finished; `lost`: the node is believed to be gone."""

    def failed(self, text: str) -> None:
        """No instance can be started, and none will be."""


class Broker(Protocol):
    def want(self, want: Want, listener: Listener) -> None: ...
    def lost(self, step: str, instance: str) -> None:
        """An instance is not heard of any more."""

    def done(self, step: str) -> None:
        """All instances of the step may be ended."""

    def stats(self, step: str, numbers: Mapping[str, object]) -> None:
        """See stats.py."""


@dataclass(frozen=True, kw_only=True)
class ClusterLink:
    """How the owner of a job is bound into a cluster. `host`: where instances reach it; `awaited`: those that may be at work already."""

    broker: Broker
    host: str
    version: str
    ports: tuple[int, ...] = (0, 0)  # first and last of those that may be listened on; 0: any
    awaited: Mapping[str, frozenset[str]] = field(default_factory=dict)  # by step


class Coordinating(Members, Protocol):
    @property
    def syncs(self) -> int: ...
    def progress(self) -> Progress: ...
    def all_have_left(self, seconds: float) -> bool: ...


class ClusterCompute:
    """The instances of one step: `start`, then `join` when the coordinator has decided."""

    def __init__(
        self,
        coordinator: Coordinating,
        link: ClusterLink,
        want: Want,
        *,
        paths: JobPaths,
        observe: Observer,
        goodbye: float = GOODBYE_SECONDS,
    ) -> None:
        """`goodbye`: seconds for what instances still have to hand in once the job is decided."""
        self._goodbye = goodbye
        self._coordinator, self._link, self._observe, self._where = coordinator, link, observe, paths.coordinator
        self._want = want
        self._server = ExchangeServer(
            coordinator, secret=_secret(paths.secret), version=link.version, publish=self._published, ports=link.ports
        )  # fmt: skip
        self._running = False
        send = partial(link.broker.stats, want.step)
        self._stats = Stats(progress=self._progress, totals=self._totals, levels=self._levels, send=send)

    def start(self) -> None:
        self._stats.start()
        self._server.start()
        write_address(self._where, Address(host=self._link.host, port=self._server.port, coordinator=self._server.id))
        self._link.broker.want(self._want, self)

    def join(self) -> None:
        """Returns when the instances have handed in all they had, or are not heard of any more."""
        self._coordinator.all_have_left(self._goodbye)
        self._stats.close()
        self._link.broker.done(self._want.step)
        self._server.close()

    def abandon(self) -> None:
        """Another coordinator has taken over: the instances are its own now."""
        self._stats.close(last=False)
        self._server.close()

    def silent(self, instance: str) -> None:
        """The coordinator has not heard of an instance for too long."""
        text = f"{instance} has died, hangs, or is cut off: its mini-batches are given to others, at no attempt's cost"
        self._observe(Message(at=time.time(), level="WARNING", text=text, source="master"))
        self._link.broker.lost(self._want.step, instance)

    def _progress(self) -> dict[str, float]:
        progress = self._coordinator.progress()
        return {"succeeded": progress.succeeded, "failed": progress.failed, "retries": progress.retries, "items": progress.items}

    def _totals(self) -> dict[str, float]:
        pace = self._server.pace
        return {"syncs": self._coordinator.syncs, "exchanges": pace.count, "waited": pace.waited, "worked": pace.worked}

    def _levels(self) -> dict[str, float]:
        progress, (wait, work) = self._coordinator.progress(), self._server.pace.take_longest()
        return {"ready": progress.workers, "busy": progress.running, "longest_wait": wait, "longest_work": work}

    def _published(self, event: Event) -> None:
        if isinstance(event, InstanceStarted) and not self._running:
            self._running = True
            self._observe(StatusChanged(at=time.time(), status="Running"))
        self._observe(event)

    # The broker tells

    def queued(self, reason: str) -> None:
        if not self._running:
            self._observe(StatusChanged(at=time.time(), status="Queued", reason=reason))
        else:
            self._observe(Message(at=time.time(), level="INFO", text=f"waiting for further instances: {reason}", source="scheduler"))

    def send_away(self, instance: str, why: str) -> None:
        self._coordinator.send_away(instance, "lost" if why == "lost" else "retired")

    def failed(self, text: str) -> None:
        self._coordinator.fail("nodes", text)


def _secret(path: Path) -> str:
    """Of the step: made by its first coordinator, for the job's user only, and known to the instances that outlive it."""
    if not path.exists():
        temporary = path.with_name(f".{path.name}")
        temporary.touch(mode=0o600)
        temporary.write_text(new_secret())
        temporary.replace(path)
    return path.read_text()


class LineBroker:
    """A broker at the other end of two pipes: lines of JSON. `send(line)`; what comes is handed to `take`."""

    def __init__(self, send: Callable[[str], None]) -> None:
        self._write, self._writing = send, threading.Lock()
        self._listeners: dict[str, Listener] = {}

    def want(self, want: Want, listener: Listener) -> None:
        self._listeners[want.step] = listener
        fields = {"step": want.step, "count": want.count, "maximum": want.maximum, "types": list(want.types)}
        self._send(json.dumps({"t": "want", **fields}))

    def lost(self, step: str, instance: str) -> None:
        self._send(json.dumps({"t": "lost", "step": step, "instance": instance}))

    def done(self, step: str) -> None:
        self._listeners.pop(step, None)
        self._send(json.dumps({"t": "done", "step": step}))

    def stats(self, step: str, numbers: Mapping[str, object]) -> None:
        self._send(json.dumps({"t": "stats", "step": step, **numbers}))

    def _send(self, line: str) -> None:
        with self._writing:  # one line after another, whatever threads they come from
            self._write(line)

    def take(self, line: str) -> None:
        """Errors: ValueError, KeyError for what is no message."""
        message = json.loads(line)
        listener = self._listeners.get(message["step"])
        if listener is None:
            return
        if message["t"] == "queued":
            listener.queued(message["reason"])
        elif message["t"] == "send_away":
            listener.send_away(message["instance"], message["why"])
        elif message["t"] == "failed":
            listener.failed(message["text"])
