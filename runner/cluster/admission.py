"""What may come into the queue of a cluster: the requests of a job's steps, checked against what there is and what its user may have."""

from __future__ import annotations

from runner.cluster.accepted import AcceptedJobs
from runner.cluster.nodes import NodeBook
from runner.cluster.scheduling import Request, impossible
from runner.errors import UserError, did_you_mean
from runner.model.docker import InstanceType
from runner.model.job import Step
from runner.workspace.settings import Settings

MOST_INSTANCES = 1_000_000
Types = tuple[tuple[str, InstanceType], ...]


class Admission:
    def __init__(self, settings: Settings, nodes: NodeBook, accepted: AcceptedJobs) -> None:
        self._settings, self._nodes, self._accepted = settings, nodes, accepted

    def request_of(self, job: str, step: Step, user: str, number: int, priority: int) -> Request:
        """Errors: UserError for an instance type that the cluster has not, and for numbers that are none."""
        resources = step.resources
        count = instances(resources.instance_count)
        maximum = max(count, instances(resources.max_instance_count or count))
        return Request(
            job=job,
            step=step.step or "",
            user=user,
            count=count,
            maximum=maximum,
            types=self.types(resources.instance_type),
            number=number,
            priority=priority,
        )

    def types(self, names: tuple[str, ...]) -> Types:
        """Errors: UserError for one that the cluster has not."""
        known = self._settings.instance_types
        unknown = [name for name in names if name not in known]
        if unknown:
            raise UserError(
                f"the cluster has no instance type '{unknown[0]}'",
                allowed=", ".join(known) or "none: it has none in its workspace.yml",
                todo=did_you_mean(unknown[0], known),
            )
        return tuple((name, known[name]) for name in names)

    def check(self, request: Request) -> None:
        """Errors: UserError for what the cluster can never have, and for what a user may not."""
        types = self._settings.instance_types
        never = impossible(request, self._nodes.all(), {name: kind.max_nodes or 0 for name, kind in types.items()})
        if never:
            raise UserError(never, allowed=self._nodes.describe(), todo="ask for fewer, or for another instance_type")
        quota = self._settings.quotas
        if quota.instances_per_user is not None and request.count > quota.instances_per_user:
            raise UserError(f"{request.count} instances are asked for", allowed=f"at most {quota.instances_per_user} of one user at a time")
        waiting = sum(job.user.name == request.user and not job.began for job in self._accepted.jobs.values())
        if quota.queued_jobs_per_user is not None and waiting >= quota.queued_jobs_per_user:
            raise UserError(f"{request.user} has {waiting} jobs in the queue", allowed=f"at most {quota.queued_jobs_per_user}")


def instances(count: object) -> int:
    """What a job's file or owner says that it wants: both are its user's, and one that is no number would stop the planning for all.

    Errors: UserError.
    """
    if type(count) is not int or not 1 <= count <= MOST_INSTANCES:
        raise UserError(f"{str(count)[:40]} is no number of instances", allowed=f"a whole number, 1 to {MOST_INSTANCES}")
    return count
