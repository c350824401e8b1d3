"""The scheduler of a cluster: accepts jobs, decides who gets which nodes, and has Ray start what is to run there.

One thread does everything, one thing after another: requests, ends of processes, and looks at the nodes come to it as calls. What takes
long, such as the reservation of places, is done in others, which call back.
"""

from __future__ import annotations

import itertools
import json
import logging
import queue
import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from runner.cluster import accepted as jobs_of
from runner.cluster.accepted import Accepted, AcceptedJobs
from runner.cluster.checks import Wanted, examine
from runner.cluster.gateway import Gateway
from runner.cluster.hosts import SCHEDULER, run_end
from runner.cluster.metrics import render
from runner.cluster.nodes import NodeBook
from runner.cluster.probes import write_probes
from runner.cluster.requests import DONE, FAILED, LOST, NODE, REFUSED, InstanceRequest, OwnerRequest, User
from runner.cluster.scheduling import Capacity, Place, Plan, Request, Start, impossible, plan, shape
from runner.cluster.watch import Watch, state_free
from runner.compute import ray as adapter
from runner.compute.ray import HostHandle, Places
from runner.errors import UserError
from runner.model.docker import DockerPolicy, InstanceType
from runner.model.job import ParallelStep
from runner.version import VERSION
from runner.workspace.config import find_workspace

log = logging.getLogger(__name__)
T = TypeVar("T")
LOOK_SECONDS = 1.0  # between two looks at the nodes: Ray tells nobody by itself
ENOUGH_DEATHS = 5  # of hosts that have not started an instance, one after another
ENOUGH_FAILURES = 2  # nodes on which an instance could not be started, after which its job is given up
Key = tuple[str, str]


class Scheduler:
    """The service of the actor `scheduler`. Its public methods with one argument are called by other hosts; `ask` by the gateway."""

    def __init__(self, fields: Mapping[str, Any]) -> None:
        self.workspace = find_workspace(fields["workspace"])
        logging.basicConfig(
            filename=self.workspace.state / "scheduler.log", level=logging.INFO, format="%(asctime)s %(message)s", force=True
        )  # fmt: skip
        self.fields = dict(fields)
        self.nodes = NodeBook(self.workspace.settings.instance_types)
        self.accepted = AcceptedJobs(self.workspace)
        self.watch = Watch(self.workspace)
        self._probes = write_probes(self.workspace.shared_datastores)
        self.requests: dict[Key, Request] = {}
        self.reasons: Mapping[Key, str] = {}
        self._owners: dict[str, HostHandle] = {}
        self._instances: dict[tuple[str, str, str], tuple[HostHandle, Place]] = {}
        self._groups: dict[str, Places] = {}
        self._numbers = itertools.count(time.time_ns())  # never used again: Ray frees the names of what has ended some time later
        self._inbox: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()
        self._over = False
        threading.Thread(target=self._run, name="scheduler", daemon=True).start()
        self.ask(self._recover)
        token = Path(fields["submit_token_file"]).read_text(encoding="ascii").strip()
        address = (fields["host"], fields["gateway_port"])
        self._gateway = Gateway(self, address, token=token, certificate=fields["certificate"], key=fields["key"])
        self._gateway.start()
        self.watch.began(self._gateway.address)

    def gateway(self, _nothing: None) -> str:
        """Where it listens."""
        return self._gateway.address

    # Called from other threads

    def ask(self, call: Callable[[], T]) -> T:
        """Has the scheduler's thread make a call; its result. Errors: those of the call."""
        future: Future[T] = Future()

        def made() -> None:
            try:
                future.set_result(call())
            except BaseException as error:  # told to whoever asks
                future.set_exception(error)

        self._inbox.put(made)
        return future.result()

    def heard(self, said: Mapping[str, Any]) -> None:
        """What the owner of a job says."""
        self._inbox.put(partial(self._heard, said["job"], said["words"]))

    def doctor(self) -> list[dict[str, Any]]:
        """What each node finds about itself; takes as long as the slowest of them."""
        nodes = self.ask(lambda: list(self.nodes.all()))
        return examine(nodes, Wanted(probes=self._probes, floor=self.workspace.settings.free_space_floor))

    def metrics(self) -> str:
        """As Prometheus reads them."""
        families = self.ask(lambda: self.watch.families(self.requests.values(), self.accepted.jobs.values(), self.nodes.all()))
        return render([*families, state_free(self.workspace.state)])

    def instances(self, job: str) -> dict[str, list[str]]:
        """Step → names of the job's instances that may be at work."""
        return self.ask(lambda: self._names(job))

    # The thread

    def _run(self) -> None:
        looked = 0.0
        while not self._over:
            try:
                call = self._inbox.get(timeout=max(0.0, looked + LOOK_SECONDS - time.monotonic()))
            except queue.Empty:
                looked, call = time.monotonic(), self._look
            try:
                call()
            except Exception:  # a bug, or Ray's trouble with one job: all others go on
                log.exception("%s", call)

    def _look(self) -> None:
        lost = self.nodes.look(adapter.nodes(), self.requests.values())
        for request in self.requests.values():
            for node in lost:
                request.vacant.pop(node, None)
            for place in request.places.values():
                if place.node in lost and not place.leaving:
                    self._tell(request.job, {"t": "send_away", "step": request.step, "instance": place.instance, "why": "lost"})
        self.watch.sample(self._instances)
        self.plan()

    def plan(self) -> None:
        """Starts what can be started, and sends away what others need."""
        decided = plan(self.nodes.all(), list(self.requests.values()), quota=self.workspace.settings.quotas.instances_per_user)
        for away in decided.away:
            self._send_away(away.request, away.instance, "retired")
        for start in decided.starts:
            threading.Thread(target=self._reserve, args=(start,), daemon=True).start()
        self._tell_reasons(decided)

    def _tell_reasons(self, decided: Plan) -> None:
        before, self.reasons = self.reasons, decided.reasons
        for (job, step), reason in decided.reasons.items():
            if before.get((job, step)) != reason:
                self._tell(job, {"t": "queued", "step": step, "reason": reason})

    # Jobs

    def submit(self, name: str, body: Mapping[str, Any]) -> dict[str, Any]:
        """Accepts a job, in the scheduler's thread. Errors: UserError."""
        with self.watch.refusals("submit", name, body):
            return self._submit(name, body)

    def _submit(self, name: str, body: Mapping[str, Any]) -> dict[str, Any]:
        if body.get("runner", VERSION) != VERSION:
            raise UserError(
                f"the machine that submits has runner {body['runner']}, the cluster has {VERSION}", todo="install the same version on both"
            )
        paths = jobs_of.paths_of(self.workspace, name)
        jobs_of.check_key(paths, body.get("key"))
        if name in self.accepted.jobs:
            raise UserError(f"job {name} is on the cluster already", todo=f"follow it with: runner job stream {name}")
        user = jobs_of.owner_of(paths)
        self.nodes.check_user(user)
        number, priority = self.accepted.next_number(), int(body.get("priority") or 0)
        spec = jobs_of.read_job(paths)
        requests = [self._request_of(name, step, user.name, number, priority) for step in jobs_of.steps_of(spec)]
        for one in requests:
            self._check(one)
        request = requests[0]
        job = Accepted(
            name=name,
            user=user,
            number=request.number,
            priority=request.priority,
            resume=bool(body.get("resume")),
            retry_failed=bool(body.get("retry_failed")),
        )
        self.watch.submitted(job, spec, body)
        self.accepted.put(job)
        self.requests[name, request.step] = request
        self.plan()
        return self.status_of(name)

    def _request_of(self, job: str, step: ParallelStep, user: str, number: int, priority: int) -> Request:
        resources = step.resources
        maximum = max(resources.instance_count, resources.max_instance_count or 0)
        return Request(
            job=job,
            step=step.step or "",
            user=user,
            count=resources.instance_count,
            maximum=maximum,
            types=self._types(resources.instance_type),
            number=number,
            priority=priority,
        )

    def _types(self, names: tuple[str, ...]) -> tuple[tuple[str, InstanceType], ...]:
        known = self.workspace.settings.instance_types
        unknown = [name for name in names if name not in known]
        if unknown:
            raise UserError(
                f"the cluster has no instance type '{unknown[0]}'", allowed=", ".join(known) or "none: it has none in its workspace.yml"
            )
        return tuple((name, known[name]) for name in names)

    def _check(self, request: Request) -> None:
        types = self.workspace.settings.instance_types
        never = impossible(request, self.nodes.all(), {name: kind.max_nodes or 0 for name, kind in types.items()})
        if never:
            raise UserError(never, allowed=self.nodes.describe(), todo="ask for fewer, or for another instance_type")
        quota = self.workspace.settings.quotas
        if quota.instances_per_user is not None and request.count > quota.instances_per_user:
            raise UserError(f"{request.count} instances are asked for", allowed=f"at most {quota.instances_per_user} of one user at a time")
        waiting = sum(job.user.name == request.user and not job.began for job in self.accepted.jobs.values())
        if quota.queued_jobs_per_user is not None and waiting >= quota.queued_jobs_per_user:
            raise UserError(f"{request.user} has {waiting} jobs in the queue", allowed=f"at most {quota.queued_jobs_per_user}")

    def status_of(self, name: str) -> dict[str, Any]:
        """Errors: KeyError for a job that is not on the cluster."""
        job = self.accepted.jobs[name]
        reason = next((text for (other, _), text in self.reasons.items() if other == name), "")
        return {"status": "Running" if job.began else "Queued", "reason": reason}

    def cancel(self, name: str, body: Mapping[str, Any]) -> dict[str, Any]:
        """Errors: UserError; KeyError for a job that is not on the cluster."""
        with self.watch.refusals("cancel", name, body):
            if not body["administrator"]:
                jobs_of.check_key(jobs_of.paths_of(self.workspace, name), body.get("key"))
            job = self.accepted.jobs[name]
        self.watch.cancelled(job, body)
        if name in self._owners:
            self._tell(name, {"t": "cancel"})
            return {"status": "Running"}
        end = {"status": "Canceled", "code": "cancelled", "message": "cancelled while it waited in the queue"}
        self._forget(name)
        run_end(self.fields["workspace"], job.user, name, end)
        self.watch.job_ended(job)
        self.plan()
        return {"status": "Canceled"}

    # Starting

    def _reserve(self, start: Start) -> None:
        """In a thread of its own."""
        new = [place for place in start.places if not place.group]
        name = f"runner/{start.request.job}/{start.request.step}/{next(self._numbers)}"
        places = Places.reserve(name, [(place.node, _resources(place)) for place in new]) if new else None
        self._inbox.put(partial(self._reserved, start, new, places))

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
        if self.requests.get((request.job, request.step)) is not request:
            self._release_unused()
            return
        self._start_owner(request.job)
        for place in start.places:
            if place.group:
                self._start_instance(request, place)

    def _release_unused(self) -> None:
        """Gives back the groups in which nothing runs and nothing will."""
        used = {place.group for request in self.requests.values() for place in request.reserved()}
        used |= {place.group for _, place in self._instances.values()}
        for name in [name for name in self._groups if name not in used]:
            log.info("released %s", name)
            self._groups.pop(name).release()

    def _start_owner(self, name: str) -> None:
        if name in self._owners:
            return
        job = self.accepted.jobs[name]
        if not job.began:
            self.accepted.put(replace(job, began=True))
        request = OwnerRequest(
            workspace=self.fields["workspace"],
            job=name,
            host="",
            ports=tuple(self.fields["owner_ports"]),
            resume=job.resume,
            retry_failed=job.retry_failed,
        )
        argument = {"user": asdict(job.user), "request": asdict(request)}
        handle = HostHandle.start(
            f"owner/{name}/{next(self._numbers)}", "runner.cluster.hosts:OwnerHost", argument, node=adapter.own_node(), restarts=-1
        )
        self._follow_owner(name, handle)

    def _follow_owner(self, name: str, handle: HostHandle) -> None:
        self._owners[name] = handle
        handle.when_done("ended", None, lambda _status, error: self._inbox.put(partial(self._owner_ended, name, error)))

    def _owner_ended(self, name: str, error: BaseException | None) -> None:
        handle = self._owners.get(name)
        if handle is None:
            return
        if error is not None:  # Ray starts it again
            threading.Timer(LOOK_SECONDS, lambda: self._inbox.put(partial(self._follow_owner, name, handle))).start()
            return
        del self._owners[name]
        handle.kill()
        self.watch.job_ended(self.accepted.jobs[name])
        self._forget(name)
        self.plan()

    def _forget(self, name: str) -> None:
        """A job that has ended: what it still has is taken from it."""
        self.accepted.remove(name)
        self.nodes.forget(name)
        for key in [key for key in self.requests if key[0] == name]:
            self._drop(key)

    def _drop(self, key: Key) -> None:
        request = self.requests.pop(key)
        for place in request.places.values():
            self._end_instance((*key, place.instance))
        self._release_unused()

    def _start_instance(self, request: Request, place: Place) -> None:
        paths = self.workspace.job_paths(request.job)
        job = self.accepted.jobs[request.job]
        wanted = InstanceRequest(
            job=request.job,
            root=str(paths.root),
            logs=str(paths.logs),
            step=request.step,
            node=place.instance,
            cpus=place.capacity.cpus,
            type_name=place.type_name,
            kind=dict(request.types).get(place.type_name, InstanceType()),
            docker=replace(self.workspace.settings.docker, policy=kept_apart(self.workspace.docker_policy, job.user)),
            probes=self._probes.files,
        )
        argument = {"user": asdict(job.user), "request": json.loads(json.dumps(asdict(wanted), default=sorted)), "place": asdict(place)}
        handle = HostHandle.start(
            "/".join(("instance", request.job, request.step, place.instance, str(next(self._numbers)))),
            "runner.cluster.hosts:InstanceHost",
            argument,
            place=(self._groups[place.group], place.index),
            resources=_resources(place),
        )
        self.watch.starting((request.job, request.step, place.instance))
        self._follow_instance((request.job, request.step, place.instance), handle, place)

    def _follow_instance(self, key: tuple[str, str, str], handle: HostHandle, place: Place) -> None:
        log.info("%s on %s", "/".join(key), place.node[:8])
        if key in self._instances:  # of an earlier run of the job
            self._instances[key][0].kill()
        self._instances[key] = handle, place
        handle.when_done("started", None, lambda words, _error: self._inbox.put(partial(self._instance_started, key, handle, words)))
        handle.when_done("ended", None, lambda words, error: self._inbox.put(partial(self._instance_ended, key, handle, words, error)))

    def _is_current(self, key: tuple[str, str, str], handle: HostHandle) -> bool:
        return key in self._instances and self._instances[key][0] is handle

    def _instance_started(self, key: tuple[str, str, str], handle: HostHandle, words: Mapping[str, Any] | None) -> None:
        request = self.requests.get(key[:2])
        if not words or not self._is_current(key, handle):
            return
        place = self._instances[key][1]
        self.watch.started(key, self.accepted.jobs.get(key[0]), place, self.nodes.get(place.node), words)
        if request is not None and key[2] in request.places:
            log.info("%s has started", "/".join(key))
            request.began.add(key[2])
            request.deaths = 0
            self.nodes.started(request.places[key[2]].node, key[:2])

    def _instance_ended(
        self, key: tuple[str, str, str], handle: HostHandle, words: Mapping[str, str] | None, error: BaseException | None
    ) -> None:
        log.info("%s has ended: %s", "/".join(key), words or error)
        if not self._is_current(key, handle):
            return
        _, place = self._instances.pop(key)
        self.watch.ended(key)
        handle.kill()
        request = self.requests.get(key[:2])
        if request is not None:
            known = request.places.pop(key[2], None)
            words = words or self._told_by(request, place, error)
            if not error and (not place.leaving or place.silent) and words["how"] not in (FAILED, REFUSED):
                request.vacant[place.node] = place
            if known is not None:
                self._judge(request, place, words)
        self._release_unused()
        self.plan()

    def _told_by(self, request: Request, place: Place, error: BaseException | None) -> Mapping[str, str]:
        """What it means that a host has died: mostly that its node has; but not, when that happens again and again."""
        request.deaths += place.instance not in request.began
        return {"how": LOST if request.deaths < ENOUGH_DEATHS else FAILED, "text": str(error)}

    def _judge(self, request: Request, place: Place, words: Mapping[str, str]) -> None:
        """What the end of an instance means for its step."""
        if words["how"] == LOST:
            self.watch.lost("gone" if not place.silent else "")
            self._tell(request.job, {"t": "send_away", "step": request.step, "instance": place.instance, "why": "lost"})
        elif words["how"] in (FAILED, REFUSED):
            self.watch.failed()
            unfit = words.get("blame") == NODE
            request.failed_on.add(place.node)
            request.unfit |= {place.node} if unfit else set()
            self.nodes.failed(place.node, (request.job, request.step), words.get("text", ""), unfit=unfit)
            usable = {node.id for node in self.nodes.all() if node.usable and shape(request, node)} - request.failed_on
            if len(request.failed_on - request.unfit) >= ENOUGH_FAILURES or not usable:
                names = sorted(map(self.nodes.name, request.failed_on))
                text = f"no instance could be started on {', '.join(names)}: {words.get('text', '')}"
                self._tell(request.job, {"t": "failed", "step": request.step, "text": text})
        elif words["how"] == DONE:
            request.count = request.maximum = 0  # there was nothing left to do

    def _end_instance(self, key: tuple[str, str, str]) -> None:
        if key in self._instances:
            self._instances[key][0].tell("end")

    # What owners say

    def _heard(self, name: str, words: Mapping[str, Any]) -> None:
        if words["t"] == "stats":
            self.watch.heard(name, words)
            return
        job = self.accepted.jobs.get(name)
        if job is None:
            return
        if words["t"] == "want":
            self._want(job, words)
            self.plan()
        elif words["t"] == "lost":
            self._lost(name, words["step"], words["instance"])
        elif words["t"] == "done" and (name, words["step"]) in self.requests:
            self._drop((name, words["step"]))
            self.plan()

    def _lost(self, job: str, step: str, instance: str) -> None:
        """An instance hangs, or is cut off: another one is started in its place, and it is killed as soon as it can be reached."""
        request = self.requests.get((job, step))
        place = request.places.get(instance) if request else None
        if place is not None:
            log.info("%s/%s/%s is not heard of any more", job, step, instance)
            place.leaving = place.silent = True
            self.watch.lost("silent")
            if (job, step, instance) in self._instances:
                self._instances[job, step, instance][0].tell("kill")
            self.plan()

    def _want(self, job: Accepted, words: Mapping[str, Any]) -> None:
        for key in [key for key in self.requests if key[0] == job.name and key[1] != words["step"]]:
            self._drop(key)  # what was reserved for a step that is complete already
        if (job.name, words["step"]) in self.requests:
            return
        try:
            types = self._types(tuple(words["types"]))
        except UserError as error:
            self._tell(job.name, {"t": "failed", "step": words["step"], "text": error.describe()})
            return
        request = Request(
            job=job.name,
            step=words["step"],
            user=job.user.name,
            count=words["count"],
            maximum=words["maximum"],
            types=types,
            number=job.number,
            priority=job.priority,
        )
        # Whether the cluster can ever have it was asked when the job was submitted; its nodes may be on their way back now.
        self.requests[job.name, request.step] = request

    def _tell(self, job: str, words: Mapping[str, object]) -> None:
        if handle := self._owners.get(job):
            handle.tell("tell", json.dumps(words))

    def _send_away(self, request: Request, instance: str, why: str) -> None:
        request.places[instance].leaving = True
        self._tell(request.job, {"t": "send_away", "step": request.step, "instance": instance, "why": why})

    def _names(self, job: str) -> dict[str, list[str]]:
        found: dict[str, list[str]] = {}
        for name, step, instance in self._instances:
            if name == job:
                found.setdefault(step, []).append(instance)
        return found

    # Administration

    def drain(self, name: str, wanted: bool, address: str = "") -> dict[str, Any]:
        """What runs on a node finishes first; nothing new is started there. Errors: UserError."""
        node = self.nodes.find(name)
        self.watch.drained(node, wanted, address)
        node.draining = wanted
        if not wanted:
            self.nodes.use_again(node)
        for request in self.requests.values():
            if not wanted:
                request.failed_on.discard(node.id)
            for place in request.places.values():
                if wanted and place.node == node.id and not place.leaving:
                    self._send_away(request, place.instance, "retired")
        self.plan()
        return self.nodes.show(node, self.requests.values())

    def show(self) -> dict[str, Any]:
        """For `GET /v1/cluster`."""
        requests = list(self.requests.values())
        queue = sorted((one for one in requests if not one.started), key=lambda one: (-one.priority, one.number))
        listed = []
        for job in self.accepted.jobs.values():
            own = [one for one in requests if one.job == job.name]
            position = next((at + 1 for at, one in enumerate(queue) if one.job == job.name), None)
            counts = [sum(one.count for one in own), sum(one.staying for one in own)]
            listed.append(
                {"name": job.name, **self.status_of(job.name), "user": job.user.name, "priority": job.priority}
                | {"instances": counts, "position": position}
            )
        return {
            "runner": VERSION,
            "ray": adapter.version(),
            "state": str(self.workspace.state),
            "maximum": {name: kind.max_nodes for name, kind in self.workspace.settings.instance_types.items() if kind.max_nodes},
            "nodes": [self.nodes.show(node, requests) for node in self.nodes.all()],
            "jobs": listed,
        }

    # After a restart

    def _recover(self) -> None:
        """Finds what runs: the hosts tell what they were started with."""
        self.nodes.look(adapter.nodes(), ())
        for job in self.accepted.jobs.values():
            if not job.began:
                paths = jobs_of.paths_of(self.workspace, job.name)
                step = jobs_of.steps_of(jobs_of.read_job(paths))[0]
                self.requests[job.name, step.step or ""] = self._request_of(job.name, step, job.user.name, job.number, job.priority)
        found = [name for name in adapter.hosts() if name != SCHEDULER]
        for name in sorted(found, reverse=True):  # owners before instances
            handle = HostHandle.find(name)
            try:
                fields = handle.call("describe") if handle else None
            except adapter.Gone:
                fields = None
            if handle is not None and fields is not None:
                self._recover_host(name, handle, fields)
        for name in Places.all_names():
            if (places := Places.known(name)) is not None:
                self._groups.setdefault(name, places)
        self._release_unused()
        for job in list(self.accepted.jobs.values()):
            if job.began and job.name not in self._owners:
                self._start_owner(job.name)

    def _recover_host(self, name: str, handle: HostHandle, fields: Mapping[str, Any]) -> None:
        kind = name.partition("/")[0]
        job = self.accepted.jobs.get(fields["request"]["job"])
        if job is None:
            handle.kill()
        elif kind == "owner":
            self._follow_owner(job.name, handle)
            for words in fields["wants"]:
                self._want(job, words)
        else:
            self._recover_instance(job.name, handle, fields)

    def _recover_instance(self, job: str, handle: HostHandle, fields: Mapping[str, Any]) -> None:
        given, step = dict(fields["place"]), fields["request"]["step"]
        place = Place(**{**given, "capacity": Capacity(**given["capacity"])})
        places = self._groups.get(place.group) or Places.known(place.group)
        request = self.requests.get((job, step))
        if request is None or places is None:
            handle.kill()
            return
        self._groups[places.name] = places
        request.places[place.instance] = place
        request.started = True
        request.next_index = max(request.next_index, int(place.instance.rpartition("_")[2]) + 1)
        self._follow_instance((job, step, place.instance), handle, place)


def kept_apart(policy: DockerPolicy, user: User) -> DockerPolicy:
    """The policy for a user's containers; root's may be anybody's."""
    return policy if user.uid == 0 else replace(policy, only_user=user.uid, only_groups=(user.gid, *user.groups))


def _resources(place: Place) -> dict[str, float]:
    wanted = {"CPU": place.capacity.cpus, "GPU": place.capacity.gpus, "memory": place.capacity.memory}
    return {name: amount for name, amount in wanted.items() if amount}
