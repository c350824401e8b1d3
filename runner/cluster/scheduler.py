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
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from runner.cluster import accepted as jobs_of
from runner.cluster.accepted import Accepted, AcceptedJobs
from runner.cluster.admission import Admission, instances
from runner.cluster.checks import Wanted, examine
from runner.cluster.gateway import Gateway
from runner.cluster.hosts import SCHEDULER, run_end
from runner.cluster.instances import Instances, Key
from runner.cluster.metrics import render
from runner.cluster.nodes import NodeBook
from runner.cluster.probes import write_probes
from runner.cluster.requests import OwnerRequest
from runner.cluster.scheduling import Plan, Request, plan
from runner.cluster.watch import Watch, state_free
from runner.compute import ray as adapter
from runner.compute.ray import HostHandle
from runner.errors import UserError
from runner.version import VERSION
from runner.workspace.config import find_workspace

log = logging.getLogger(__name__)
T = TypeVar("T")
ASKED_AT_ONCE = 64  # hosts, after a restart
LOOK_SECONDS = 1.0  # between two looks at the nodes: Ray tells nobody by itself
ENOUGH_DEATHS = 5  # of hosts that have not started an instance, one after another
ENOUGH_FAILURES = 2  # nodes on which an instance could not be started, after which its job is given up


class Scheduler:
    """The service of the actor `scheduler`. Its public methods with one argument are called by other hosts; `ask` by the gateway."""

    def __init__(self, fields: Mapping[str, Any]) -> None:
        self.workspace = find_workspace(fields["workspace"])
        logging.basicConfig(
            filename=self.workspace.state / "scheduler.log", level=logging.INFO, format="%(asctime)s %(message)s", force=True
        )  # fmt: skip
        self.fields = dict(fields)
        self.nodes = NodeBook(self.workspace.settings.instance_types, self.workspace.state / "nodes.json")
        self.accepted = AcceptedJobs(self.workspace)
        self._admission = Admission(self.workspace.settings, self.nodes, self.accepted)
        self.watch = Watch(self.workspace)
        self.probes = write_probes(self.workspace.shared_datastores)
        self.requests: dict[Key, Request] = {}
        self.reasons: dict[Key, str] = {}  # why jobs wait, as their owners were told
        self._owners: dict[str, HostHandle] = {}
        self._unwritten: dict[str, dict[str, Any]] = {}  # how jobs ended whose records could not be written as their users
        self._instances = Instances(self)
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

        self.post(made)
        return future.result()

    def post(self, call: Callable[[], None]) -> None:
        """Has the scheduler's thread make a call."""
        self._inbox.put(call)

    def heard(self, said: Mapping[str, Any]) -> None:
        """What the owner of a job says."""
        self.post(partial(self._heard, said["job"], said["words"]))

    def doctor(self) -> list[dict[str, Any]]:
        """What each node finds about itself; takes as long as the slowest of them."""
        nodes = self.ask(lambda: list(self.nodes.all()))
        return examine(nodes, Wanted(probes=self.probes, floor=self.workspace.settings.free_space_floor))

    def denied(self, what: str, node: str, address: str) -> None:
        """Somebody who is no administrator has asked for it."""
        self.watch.denied(what, node, address)

    def metrics(self) -> str:
        """As Prometheus reads them."""
        families = self.ask(lambda: self.watch.families(self.requests.values(), self.accepted.jobs.values(), self.nodes.all()))
        return render([*families, state_free(self.workspace.state)])

    def instances(self, job: str) -> dict[str, list[str]]:
        """Step → names of the job's instances that may be at work."""
        return self.ask(lambda: self._instances.names(job))

    # The thread

    def _run(self) -> None:
        looked = 0.0
        while not self._over:
            try:
                left = looked + LOOK_SECONDS - time.monotonic()
                if left <= 0:  # however much there is to do
                    raise queue.Empty
                call = self._inbox.get(timeout=left)
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
                    self.tell(request.job, {"t": "send_away", "step": request.step, "instance": place.instance, "why": "lost"})
        self.watch.sample(self._instances.running)
        self.plan()

    def plan(self) -> None:
        """Starts what can be started, and sends away what others need."""
        decided = plan(self.nodes.all(), list(self.requests.values()), quota=self.workspace.settings.quotas.instances_per_user)
        for away in decided.away:
            self._send_away(away.request, away.instance, "retired")
        for start in decided.starts:
            self._instances.start(start)
        self._tell_reasons(decided)

    def _tell_reasons(self, decided: Plan) -> None:
        before, self.reasons = self.reasons, dict(decided.reasons)
        for (job, step), reason in decided.reasons.items():
            if before.get((job, step)) != reason:
                self.tell(job, {"t": "queued", "step": step, "reason": reason})

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
        requests = [self._admission.request_of(name, step, user.name, number, priority) for step in jobs_of.steps_of(spec)]
        for one in requests:
            self._admission.check(one)
        request = requests[0]
        job = Accepted(
            name=name,
            user=user,
            number=request.number,
            priority=request.priority,
            resume=bool(body.get("resume")),
            retry_failed=bool(body.get("retry_failed")),
        )
        self._unwritten.pop(name, None)
        self.watch.submitted(job, spec, body)
        self.accepted.put(job)
        self.requests[name, request.step] = request
        self.plan()
        return self.status_of(name)

    def status_of(self, name: str) -> dict[str, Any]:
        """Errors: KeyError for a job that is not on the cluster."""
        if name in self._unwritten:
            return self._unwritten[name]
        job = self.accepted.jobs[name]
        reason = next((text for (other, _), text in self.reasons.items() if other == name), "")
        return {"status": "Running" if job.began else "Queued", "reason": reason}

    def cancel(self, name: str, body: Mapping[str, Any]) -> dict[str, Any]:
        """In the thread of who asks: the end of a job that waits is written down by a process of its user's, which may take its time.

        Errors: UserError; KeyError for a job that is not on the cluster.
        """
        waiting = self.ask(lambda: self._cancel(name, body))
        if waiting is None:
            return {"status": "Running"}
        end = {"status": "Canceled", "code": "cancelled", "message": "cancelled while it waited in the queue"}
        try:
            run_end(self.fields["workspace"], waiting.user, name, end)
        except OSError as error:
            self._unwritten[name] = {"status": "Canceled", "reason": str(error)}
        finally:
            self.ask(lambda: self._cancelled(waiting))
        return {"status": "Canceled"}

    def _cancel(self, name: str, body: Mapping[str, Any]) -> Accepted | None:
        """The job, if nobody owns it; it does not start any more."""
        with self.watch.refusals("cancel", name, body):
            if not body["administrator"]:
                jobs_of.check_key(jobs_of.paths_of(self.workspace, name), body.get("key"))
            job = self.accepted.jobs[name]
        self.watch.cancelled(job, body)
        if name in self._owners:
            self.tell(name, {"t": "cancel"})
            return None
        for key in [key for key in self.requests if key[0] == name]:
            self._drop(key)
        return job

    def _cancelled(self, job: Accepted) -> None:
        if self.accepted.jobs.get(job.name) is job:  # or else it was cancelled twice
            self._forget(job.name)
            self.watch.job_ended(job)
            self.plan()

    # Starting

    def start_owner(self, name: str) -> None:
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
        handle.when_done("ended", None, lambda problem, error: self.post(partial(self._owner_ended, name, problem, error)))

    def _owner_ended(self, name: str, problem: str | None, error: BaseException | None) -> None:
        handle = self._owners.get(name)
        if handle is None:
            return
        if error is not None:  # Ray starts it again
            threading.Timer(LOOK_SECONDS, lambda: self.post(partial(self._follow_owner, name, handle))).start()
            return
        del self._owners[name]
        handle.kill()
        if problem:
            self._unwritten[name] = {"status": "Failed", "reason": problem}
        job = self.accepted.jobs[name]
        self._forget(name)
        self.watch.job_ended(job)  # behind it: what a user has put into the record must not keep the job here
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
            self._instances.end((*key, place.instance))
        self._instances.release_unused()

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
            self._instances.kill((job, step, instance))
            self.plan()

    def _want(self, job: Accepted, words: Mapping[str, Any]) -> None:
        if not isinstance(words["step"], str) or "/" in words["step"]:  # it goes into the names of places
            raise ValueError(words["step"])
        if known := self.requests.get((job.name, words["step"])):
            self._tell_again(known)
            return
        try:
            types = self._admission.types(tuple(words["types"]))
            count, maximum = instances(words["count"]), instances(words["maximum"])
        except UserError as error:
            self.tell(job.name, {"t": "failed", "step": words["step"], "text": error.describe()})
            return
        request = Request(
            job=job.name,
            step=words["step"],
            user=job.user.name,
            count=count,
            maximum=maximum,
            types=types,
            number=job.number,
            priority=job.priority,
        )
        # Whether the cluster can ever have it was asked when the job was submitted; its nodes may be on their way back now.
        self.requests[job.name, request.step] = request

    def _tell_again(self, request: Request) -> None:
        """An owner has begun, or begun anew: instances may have been tried before there was anybody to be told of it."""
        if request.hopeless:
            self.tell(request.job, {"t": "failed", "step": request.step, "text": request.hopeless})
        self.reasons.pop((request.job, request.step), None)  # the next planning tells it

    def tell(self, job: str, words: Mapping[str, object]) -> None:
        if handle := self._owners.get(job):
            handle.tell("tell", json.dumps(words))

    def _send_away(self, request: Request, instance: str, why: str) -> None:
        request.places[instance].leaving = True
        self.tell(request.job, {"t": "send_away", "step": request.step, "instance": instance, "why": why})

    # Administration

    def drain(self, name: str, wanted: bool, address: str = "") -> dict[str, Any]:
        """What runs on a node finishes first; nothing new is started there. Errors: UserError."""
        node = self.nodes.find(name)
        self.watch.drained(node, wanted, address)
        self.nodes.drain(node, wanted)
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
        for job in list(self.accepted.jobs.values()):
            if not job.began:
                self._recover_waiting(job)
        found = sorted((name for name in adapter.hosts() if name != SCHEDULER), reverse=True)  # owners before instances
        with ThreadPoolExecutor(ASKED_AT_ONCE) as pool:  # those that are cut off take ten seconds not to answer
            told = list(pool.map(_described, found))
        for name, (handle, fields) in zip(found, told, strict=True):
            if handle is not None and fields is not None:
                try:
                    self._recover_host(name, handle, fields)
                except Exception:  # what it tells comes from a process of the job's user
                    log.exception("%s", name)
        self._instances.recover_places()
        for job in list(self.accepted.jobs.values()):
            if job.began and job.name not in self._owners:
                self.start_owner(job.name)

    def _recover_waiting(self, job: Accepted) -> None:
        try:
            step = jobs_of.steps_of(jobs_of.read_job(jobs_of.paths_of(self.workspace, job.name)))[0]
            self.requests[job.name, step.step or ""] = self._admission.request_of(job.name, step, job.user.name, job.number, job.priority)
        except Exception as error:  # its folder is gone, or not what it was, or its instance type is: that concerns this job only
            log.warning("%s is given up: %s", job.name, error)
            self.accepted.remove(job.name)

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
            self._instances.recover(job.name, handle, fields)


def _described(name: str) -> tuple[HostHandle | None, Mapping[str, Any] | None]:
    """A host, and what it says of itself, if it says anything."""
    handle = HostHandle.find(name)
    try:
        return handle, handle.call("describe") if handle else None
    except adapter.Gone:
        return handle, None
