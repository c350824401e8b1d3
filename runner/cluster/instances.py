"""The instances of all jobs on a cluster: their places, the hosts that run there, and what the end of one means."""

from __future__ import annotations

import itertools
import json
import logging
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, replace
from functools import partial
from typing import Any, Protocol

from runner.cluster.accepted import AcceptedJobs
from runner.cluster.nodes import NodeBook
from runner.cluster.probes import Probes
from runner.cluster.requests import DONE, FAILED, LOST, NODE, REFUSED, InstanceRequest, User
from runner.cluster.scheduling import Capacity, Place, Request, Start, shape
from runner.cluster.watch import Watch
from runner.compute.ray import HostHandle, Places
from runner.model.docker import DockerPolicy, InstanceType
from runner.workspace.config import Workspace

log = logging.getLogger(__name__)
ENOUGH_DEATHS = 5  # of hosts that have not started an instance, one after another
ENOUGH_FAILURES = 2  # nodes on which an instance could not be started, after which its job is given up
Key = tuple[str, str]  # job, step
InstanceKey = tuple[str, str, str]  # and name


class Home(Protocol):
    """The scheduler, as far as instances need it. All calls are made in its thread, but `post`."""

    workspace: Workspace
    nodes: NodeBook
    accepted: AcceptedJobs
    watch: Watch
    probes: Probes
    requests: dict[Key, Request]

    def post(self, call: Callable[[], None]) -> None: ...
    def plan(self) -> None: ...
    def tell(self, job: str, words: Mapping[str, object]) -> None: ...
    def start_owner(self, name: str) -> None: ...


class Instances:
    def __init__(self, home: Home) -> None:
        self._home = home
        self._running: dict[InstanceKey, tuple[HostHandle, Place]] = {}
        self._groups: dict[str, Places] = {}
        self._numbers = itertools.count(time.time_ns())  # never used again: Ray frees the names of what has ended some time later

    @property
    def running(self) -> Mapping[InstanceKey, tuple[HostHandle, Place]]:
        return self._running

    def names(self, job: str) -> dict[str, list[str]]:
        """Step → names of the job's instances that may be at work."""
        found: dict[str, list[str]] = {}
        for name, step, instance in self._running:
            if name == job:
                found.setdefault(step, []).append(instance)
        return found

    def start(self, start: Start) -> None:
        """Reserves the places, in a thread of its own, then starts what belongs there."""
        threading.Thread(target=self._reserve, args=(start,), daemon=True).start()

    def _reserve(self, start: Start) -> None:
        new = [place for place in start.places if not place.group]
        name = f"runner/{start.request.job}/{start.request.step}/{next(self._numbers)}"
        try:
            places = Places.reserve(name, [(place.node, _resources(place)) for place in new]) if new else None
        except Exception:  # Ray's trouble: it is tried again, and without this the job would wait for ever
            log.exception("%s", name)
            places = None
        self._home.post(partial(self._reserved, start, new, places))

    def _reserved(self, start: Start, new: list[Place], places: Places | None) -> None:
        request = start.request
        if places is not None:
            self._groups[places.name] = places
            for index, place in enumerate(new):
                place.group, place.index = places.name, index
        for place in start.places:
            if not place.group:  # somebody else has taken it in between
                request.places.pop(place.instance, None)
        request.started = bool(request.places)
        if self._home.requests.get((request.job, request.step)) is not request:
            self.release_unused()
            return
        self._home.start_owner(request.job)
        for place in start.places:
            if place.group:
                self._start_one(request, place)

    def release_unused(self) -> None:
        """Gives back the groups in which nothing runs and nothing will."""
        used = {place.group for request in self._home.requests.values() for place in request.reserved()}
        used |= {place.group for _, place in self._running.values()}
        for name in [name for name in self._groups if name not in used]:
            log.info("released %s", name)
            self._groups.pop(name).release()

    def _start_one(self, request: Request, place: Place) -> None:
        paths = self._home.workspace.job_paths(request.job)
        job = self._home.accepted.jobs[request.job]
        wanted = InstanceRequest(
            job=request.job,
            root=str(paths.root),
            logs=str(paths.logs),
            step=request.step,
            node=place.instance,
            cpus=place.capacity.cpus,
            beside=tuple(request.places),
            type_name=place.type_name,
            kind=dict(request.types).get(place.type_name, InstanceType()),
            docker=replace(self._home.workspace.settings.docker, policy=kept_apart(self._home.workspace.docker_policy, job.user)),
            probes=self._home.probes.files,
        )
        argument = {"user": asdict(job.user), "request": json.loads(json.dumps(asdict(wanted), default=sorted)), "place": asdict(place)}
        handle = HostHandle.start(
            "/".join(("instance", request.job, request.step, place.instance, str(next(self._numbers)))),
            "runner.cluster.hosts:InstanceHost",
            argument,
            place=(self._groups[place.group], place.index),
            resources=_resources(place),
        )
        self._home.watch.starting((request.job, request.step, place.instance))
        self._follow((request.job, request.step, place.instance), handle, place)

    def _follow(self, key: InstanceKey, handle: HostHandle, place: Place) -> None:
        log.info("%s on %s", "/".join(key), place.node[:8])
        if key in self._running:  # of an earlier run of the job
            self._running[key][0].kill()
        self._running[key] = handle, place
        handle.when_done("started", None, lambda words, _error: self._home.post(partial(self._started, key, handle, words)))
        handle.when_done("ended", None, lambda words, error: self._home.post(partial(self._ended, key, handle, words, error)))

    def _is_current(self, key: InstanceKey, handle: HostHandle) -> bool:
        return key in self._running and self._running[key][0] is handle

    def _started(self, key: InstanceKey, handle: HostHandle, words: Mapping[str, Any] | None) -> None:
        request = self._home.requests.get(key[:2])
        if not words or not self._is_current(key, handle):
            return
        place = self._running[key][1]
        self._home.watch.started(key, self._home.accepted.jobs.get(key[0]), place, self._home.nodes.get(place.node), words)
        if request is not None and key[2] in request.places:
            log.info("%s has started", "/".join(key))
            request.began.add(key[2])
            request.deaths, request.hopeless = 0, ""
            self._home.nodes.started(request.places[key[2]].node, key[:2])

    def _ended(self, key: InstanceKey, handle: HostHandle, words: Mapping[str, str] | None, error: BaseException | None) -> None:
        log.info("%s has ended: %s", "/".join(key), words or error)
        if not self._is_current(key, handle):
            return
        _, place = self._running.pop(key)
        self._home.watch.ended(key)
        handle.kill()
        request = self._home.requests.get(key[:2])
        if request is not None:
            known = request.places.pop(key[2], None)
            words = words or self._told_by(request, place, error)
            if not error and (not place.leaving or place.silent) and words["how"] not in (FAILED, REFUSED):
                request.vacant[place.node] = place
            if known is not None:
                self._judge(request, place, words)
        self.release_unused()
        self._home.plan()

    def _told_by(self, request: Request, place: Place, error: BaseException | None) -> Mapping[str, str]:
        """What it means that a host has died: mostly that its node has; but not, when that happens again and again."""
        request.deaths += place.instance not in request.began
        return {"how": LOST if request.deaths < ENOUGH_DEATHS else FAILED, "text": str(error)}

    def _judge(self, request: Request, place: Place, words: Mapping[str, str]) -> None:
        """What the end of an instance means for its step."""
        if words["how"] == LOST:
            self._home.watch.lost("gone" if not place.silent else "")
            self._home.tell(request.job, {"t": "send_away", "step": request.step, "instance": place.instance, "why": "lost"})
        elif words["how"] in (FAILED, REFUSED):
            self._home.watch.failed()
            unfit = words.get("blame") == NODE
            request.failed_on.add(place.node)
            request.unfit |= {place.node} if unfit else set()
            self._home.nodes.failed(place.node, (request.job, request.step), words.get("text", ""), unfit=unfit)
            usable = {node.id for node in self._home.nodes.all() if node.usable and shape(request, node)} - request.failed_on
            if len(request.failed_on - request.unfit) >= ENOUGH_FAILURES or not usable:
                names = sorted(map(self._home.nodes.name, request.failed_on))
                request.hopeless = f"no instance could be started on {', '.join(names)}: {words.get('text', '')}"
                self._home.tell(request.job, {"t": "failed", "step": request.step, "text": request.hopeless})
        elif words["how"] == DONE:
            request.count = request.maximum = 0  # there was nothing left to do

    def end(self, key: InstanceKey) -> None:
        """Has it hand in what it has, and end."""
        if key in self._running:
            self._running[key][0].tell("end")

    def kill(self, key: InstanceKey) -> None:
        """At once, as soon as its host can be reached."""
        if key in self._running:
            self._running[key][0].tell("kill")

    # After a restart of the scheduler

    def recover(self, job: str, handle: HostHandle, fields: Mapping[str, Any]) -> None:
        """Takes over one that an earlier scheduler has started: its host has told with what."""
        given, step = dict(fields["place"]), fields["request"]["step"]
        place = Place(**{**given, "capacity": Capacity(**given["capacity"])})
        places = self._groups.get(place.group) or Places.known(place.group)
        request = self._home.requests.get((job, step))
        if request is None or places is None:
            handle.kill()
            return
        self._groups[places.name] = places
        request.places[place.instance] = place
        request.started = True
        request.next_index = max(request.next_index, int(place.instance.rpartition("_")[2]) + 1)
        self._follow((job, step, place.instance), handle, place)

    def recover_places(self) -> None:
        """Takes over what is reserved; what nobody uses is given back."""
        for name in Places.all_names():
            if (places := Places.known(name)) is not None:
                self._groups.setdefault(name, places)
        self.release_unused()


def kept_apart(policy: DockerPolicy, user: User) -> DockerPolicy:
    """The policy for a user's containers; root's may be anybody's."""
    return policy if user.uid == 0 else replace(policy, only_user=user.uid, only_groups=(user.gid, *user.groups))


def _resources(place: Place) -> dict[str, float]:
    wanted = {"CPU": place.capacity.cpus, "GPU": place.capacity.gpus, "memory": place.capacity.memory}
    return {name: amount for name, amount in wanted.items() if amount}
