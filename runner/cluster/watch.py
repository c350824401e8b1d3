"""What the scheduler counts and writes down for those who watch the cluster: metrics, and the audit log."""

from __future__ import annotations

import logging
import shutil
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from runner.cluster import accepted as jobs_of
from runner.cluster.accepted import Accepted
from runner.cluster.audit import AuditLog, short, without_values
from runner.cluster.metrics import COUNTER, GAUGE, Family, Histogram, labelled, single
from runner.cluster.requests import User
from runner.cluster.scheduling import Node, Place, Request
from runner.cluster.tally import Tallies
from runner.compute import ray as adapter
from runner.compute.ray import HostHandle
from runner.errors import UserError
from runner.model.job import Job, PipelineJob, Step
from runner.version import VERSION
from runner.workspace.config import Workspace
from runner.workspace.records import FINAL

log = logging.getLogger(__name__)
BUCKETS = (0.5, 1, 2, 5, 10, 30, 60, 120, 300, 600, 1800, 3600)  # seconds
SAMPLE_SECONDS = 30.0  # between two looks at the folders of nodes
ADDRESS = "address"  # in what is asked: where it came from, as the gateway saw it
UNKNOWN = "unknown"  # how a job has ended whose record cannot be read
Key = tuple[str, str, str]  # job, step, instance


class Watch:
    """Used in the scheduler's thread, except where it says otherwise."""

    def __init__(self, workspace: Workspace) -> None:
        self._workspace = workspace
        self.audit = AuditLog(workspace.state, workspace.settings.administrators)
        self._tallies = Tallies()
        self._began = time.time()
        self._submitted = self._refused = 0
        self._ended = dict.fromkeys((*sorted(FINAL), UNKNOWN), 0)
        self._lost = {"silent": 0, "gone": 0}
        self._failed = 0
        self._start_seconds, self._image_seconds = Histogram(BUCKETS), Histogram(BUCKETS)
        self._starting: dict[Key, float] = {}
        self._free: dict[str, int] = {}  # by node
        self._sampled = 0.0

    def began(self, address: str) -> None:
        self.audit.note("scheduler start", version=VERSION, ray=adapter.version(), gateway=address, state=str(self._workspace.state))

    # Jobs

    def submitted(self, job: Accepted, spec: Job, body: Mapping[str, Any]) -> None:
        """Errors: OSError: what cannot be written down is not accepted."""
        fields = {"priority": job.priority, "resume": job.resume, "retry_failed": job.retry_failed}
        steps = [_step(one) for one in _steps(spec)]
        self.audit.write("submit", job=job.name, **_who(job.user), address=body.get(ADDRESS), **fields, steps=steps)
        self._submitted += 1

    @contextmanager
    def refusals(self, what: str, job: str, body: Mapping[str, Any]) -> Iterator[None]:
        """Writes down what is refused, and counts it."""
        try:
            yield
        except (UserError, KeyError, OSError, ValueError) as error:
            self._refused += what == "submit"
            why = error.describe() if isinstance(error, UserError) else "no such job" if isinstance(error, KeyError) else str(error)
            self.audit.note("refused", what=what, job=short(job), address=body.get(ADDRESS), why=short(why))
            raise

    def cancelled(self, job: Accepted, body: Mapping[str, Any]) -> None:
        by = "administrator" if body.get("administrator") else "user"
        self.audit.note("cancel", job=job.name, **_who(job.user), by=by, address=body.get(ADDRESS))

    def job_ended(self, job: Accepted) -> None:
        record = jobs_of.read_record(self._workspace.job_paths(job.name))
        status = str(record.get("status"))
        known = status if status in self._ended else UNKNOWN
        self._tallies.forget(job.name)
        self._ended[known] += 1
        self.audit.note("end", job=job.name, **_who(job.user), status=known, counts=_counts(record.get("progress")))

    def heard(self, job: str, words: Mapping[str, Any]) -> None:
        """A line of an owner's, with what it counts."""
        try:
            self._tallies.add(job, words, time.monotonic())
        except (KeyError, TypeError, ValueError):
            log.info("%s has sent counts that are none", job)

    # Instances

    def starting(self, key: Key) -> None:
        self._starting[key] = time.monotonic()

    def started(self, key: Key, job: Accepted | None, place: Place, node: Node | None, words: Mapping[str, Any]) -> None:
        if isinstance(free := words.get("free"), int):
            self._free[place.node] = free
        if begin := self._starting.pop(key, None):
            self._start_seconds.observe(time.monotonic() - begin)
            if isinstance(seconds := words.get("image_seconds"), float):
                self._image_seconds.observe(seconds)
            told = {name: words.get(name) for name in ("image", "image_id", "image_digest", "login", "docker_args", "variables")}
            where = {"node": node.name, "node_address": node.address} if node else {"node": place.node}
            self.audit.note("start", job=key[0], step=key[1], instance=key[2], **where, **(_who(job.user) if job else {}), **told)

    def ended(self, key: Key) -> None:
        self._starting.pop(key, None)

    def failed(self) -> None:
        self._failed += 1

    def lost(self, how: str) -> None:
        """`silent`: its owner hears nothing of it; `gone`: its process or its node has died; empty: counted before."""
        if how:
            self._lost[how] += 1

    def sample(self, instances: Mapping[Key, tuple[HostHandle, Place]]) -> None:
        """Every now and then asks one instance of each node how much is free there. Who runs nothing does not fill its disk."""
        if time.monotonic() < self._sampled + SAMPLE_SECONDS:
            return
        self._sampled = time.monotonic()
        for node, handle in {place.node: handle for handle, place in instances.values()}.items():
            handle.when_done("free", None, lambda free, error, node=node: None if error else self._told_free(node, free))  # type: ignore[misc]

    def _told_free(self, node: str, free: int) -> None:
        """In a thread of Ray's."""
        self._free[node] = int(free)

    # Administration

    def denied(self, what: str, node: str, address: str) -> None:
        """In any thread."""
        self.audit.note("refused", what=what, node=short(node), address=address, why="not an administrator")

    def drained(self, node: Node, wanted: bool, address: str) -> None:
        self.audit.note("drain" if wanted else "undrain", node=node.name, node_id=node.id, by="administrator", address=address)

    # Metrics

    def families(self, requests: Iterable[Request], jobs: Iterable[Accepted], nodes: Iterable[Node]) -> list[Family]:
        requests, jobs, nodes = list(requests), list(jobs), list(nodes)
        return [*self._of_jobs(jobs), *self._of_instances(requests), *self._of_nodes(nodes), *self._of_owners()]

    def _of_jobs(self, jobs: list[Accepted]) -> Iterator[Family]:
        running = sum(job.began for job in jobs)
        yield labelled("runner_info", GAUGE, "The version of the runner; always 1.", "version", {VERSION: 1})
        yield single("runner_scheduler_start_time_seconds", GAUGE, "When the scheduler was started, since the epoch.", self._began)
        yield single("runner_jobs_queued", GAUGE, "Jobs that wait in the queue.", len(jobs) - running)
        yield single("runner_jobs_running", GAUGE, "Jobs that have begun and not ended.", running)
        yield single("runner_jobs_submitted_total", COUNTER, "Jobs that were accepted.", self._submitted)
        yield single("runner_jobs_refused_total", COUNTER, "Jobs that were not.", self._refused)
        yield labelled("runner_jobs_ended_total", COUNTER, "Jobs that have ended, by their status.", "status", self._ended)

    def _of_instances(self, requests: list[Request]) -> Iterator[Family]:
        states = {"starting": 0, "running": 0, "leaving": 0}
        for request in requests:
            for place in request.places.values():
                states["leaving" if place.leaving else "running" if place.instance in request.began else "starting"] += 1
        wanted = sum(max(0, request.count - request.staying) for request in requests)
        yield labelled("runner_instances", GAUGE, "Instances of jobs, by what they do.", "state", states)
        yield single("runner_instances_wanted", GAUGE, "Instances that jobs need at least and do not have.", wanted)
        yield labelled("runner_instances_lost_total", COUNTER, "Instances that were not heard of any more, or died.", "how", self._lost)
        yield single("runner_instances_failed_total", COUNTER, "Instances that could not be started, or gave up.", self._failed)
        yield self._start_seconds.family("runner_instance_start_seconds", "From the decision to start an instance until its workers start.")
        yield self._image_seconds.family("runner_instance_image_seconds", "Of that, until it had its image: pulled, built, or found.")

    def _of_nodes(self, nodes: list[Node]) -> Iterator[Family]:
        alive = [node for node in nodes if node.alive]
        states = {"ready": 0, "draining": 0, "set_aside": 0}
        for node in alive:
            states["set_aside" if node.set_aside else "draining" if node.draining else "ready"] += 1
        free = {node.name: self._free[node.id] for node in alive if node.id in self._free}
        yield labelled("runner_nodes", GAUGE, "Nodes that are alive, the head included, by their state.", "state", states)
        yield labelled("runner_node_folder_free_bytes", GAUGE, "Free in a node's folder, when something last ran there.", "node", free)

    def _of_owners(self) -> Iterator[Family]:
        totals, level = self._tallies.totals, partial(self._tallies.level, now=time.monotonic())
        batches = {"succeeded": totals["succeeded"], "failed": totals["failed"]}
        workers = {"ready": level("ready"), "busy": level("busy")}
        yield labelled("runner_workers", GAUGE, "Workers that are ready, and those of them that are busy.", "state", workers)
        yield labelled("runner_mini_batches_total", COUNTER, "Mini-batches that are finished.", "result", batches)
        for name, key, help_ in (
            ("runner_mini_batch_retries_total", "retries", "Further attempts at mini-batches."),
            ("runner_items_total", "items", "Files and rows in finished mini-batches."),
            ("runner_journal_syncs_total", "syncs", "Times that journals were made durable."),
            ("runner_exchanges_total", "exchanges", "Exchanges of instances with the coordinators of their jobs."),
            ("runner_exchange_wait_seconds_total", "waited", "Seconds that exchanges waited until they were worked at."),
            ("runner_exchange_work_seconds_total", "worked", "Seconds that exchanges were worked at."),
        ):
            yield single(name, COUNTER, help_, totals[key])
        for name, key, help_ in (
            ("runner_exchange_wait_longest_seconds", "longest_wait", "The longest wait of an exchange in the last seconds."),
            ("runner_exchange_work_longest_seconds", "longest_work", "The longest that one was worked at in the last seconds."),
        ):
            yield single(name, GAUGE, help_, level(key))


def _counts(progress: object) -> dict[str, dict[str, int]] | None:
    """Numbers only: the record is the user's, who may have written anything into it."""
    if not isinstance(progress, dict):
        return None
    groups = {name: progress.get(name) for name in ("mini_batches", "items")}
    names = ("total", "succeeded", "failed", "retries", "listed")
    return {
        group: {name: found[name] for name in names if isinstance(found.get(name), int) and abs(found[name]) < 1 << 63}
        for group, found in groups.items()
        if isinstance(found, dict)
    }


def _who(user: User) -> dict[str, object]:
    return {"user": user.name, "uid": user.uid, "gid": user.gid}


def _steps(job: Job) -> list[Step]:
    return list(job.steps.values()) if isinstance(job, PipelineJob) else [job]


def _step(step: Step) -> dict[str, object]:
    """What it asks for, in its own words."""
    environment, resources = step.environment, step.resources
    image = environment and (environment.image or (environment.build_context and f"built from {environment.build_context}"))
    return {
        "step": step.step or "",
        "image": image or "",
        "instances": resources.instance_count,
        "types": list(resources.instance_type),
        "docker_args": without_values(resources.docker_args),
        "variables": sorted(step.environment_variables),
    }


def state_free(folder: Path) -> Family:
    """In any thread: a file server may not answer."""
    free = shutil.disk_usage(folder).free
    return single("runner_state_free_bytes", GAUGE, f"Free on the file system of the state folder, {folder}.", free)
