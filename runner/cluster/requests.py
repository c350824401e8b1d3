"""What the processes of a cluster tell one another, as plain data: JSON on a pipe or in the call of an actor."""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from runner.model.docker import DockerPolicy, DockerSettings, InstanceType

# How an instance has ended, or that its workers are being started.
STARTED, DONE, RETIRED, FAILED, FENCED, LOST, REFUSED = "started", "done", "retired", "failed", "fenced", "lost", "refused"
PLAIN = "plain"  # it starts no container: what it starts must not have the right to speak to the Docker engine, nor must it itself
ENDS = frozenset((DONE, RETIRED, FAILED, FENCED, LOST, REFUSED, PLAIN))
NODE = "node"  # whom a failure is blamed on, when it has nothing to do with the job


@dataclass(frozen=True, kw_only=True)
class User:
    """Whom a process belongs to."""

    uid: int
    gid: int
    groups: tuple[int, ...] = ()
    name: str = ""


@dataclass(frozen=True, kw_only=True)
class OwnerRequest:
    """The owner of a job on the head: `python -m runner.cluster.owner`."""

    workspace: str
    job: str
    host: str  # where instances reach it
    ports: tuple[int, ...] = (0, 0)  # first and last of those that it may listen on; 0: any
    resume: bool = False
    retry_failed: bool = False
    awaited: Mapping[str, list[str]] = field(default_factory=dict)  # step → instances that may be at work
    end: Mapping[str, str] = field(default_factory=dict)  # only write down that the job has ended: status, code, message


@dataclass(frozen=True, kw_only=True)
class InstanceRequest:
    """An instance on a node: `python -m runner.cluster.instance`."""

    job: str
    root: str  # of the job's folder
    logs: str
    step: str  # empty: the job itself
    node: str  # node_0, node_1, …: a name that is used once in a step
    cpus: float
    beside: tuple[str, ...] = ()  # the step's instances that there are when this one is started
    folder: str = ""  # for what only this node needs
    gpus: tuple[str, ...] = ()
    type_name: str = ""
    kind: InstanceType = InstanceType()  # noqa: RUF009 (frozen)
    docker: DockerSettings = DockerSettings()  # noqa: RUF009 (frozen)
    python: str | None = None
    engine: bool = False  # it has the group that may speak to the Docker engine
    probes: Mapping[str, str] = field(default_factory=dict)  # files in shared datastores, and what stands in them


def check_owner(root: Path) -> None:
    """Whether a job's folder is still of the user that it was accepted for, as whom this process runs: when its user has removed it,
    anybody may have put another in its place. Errors: OSError.
    """
    if os.lstat(root).st_uid != os.geteuid():
        raise PermissionError(f"{root} is not a folder of the user {os.geteuid()}")


def to_json(request: OwnerRequest | InstanceRequest | User) -> str:
    return json.dumps(dataclasses.asdict(request), default=sorted)  # of its own types JSON lacks sets only


def owner_request(text: str) -> OwnerRequest:
    """Errors: ValueError, TypeError for what is none."""
    return OwnerRequest(**json.loads(text))


def instance_request(text: str) -> InstanceRequest:
    """Errors: ValueError, KeyError, TypeError for what is none."""
    fields: dict[str, Any] = json.loads(text)
    docker = dict(fields["docker"])
    policy = docker["policy"]
    roots, groups = tuple(policy["data_roots"]), tuple(policy["only_groups"])
    docker["policy"] = DockerPolicy(allow=frozenset(policy["allow"]), data_roots=roots, only_user=policy["only_user"], only_groups=groups)
    fields |= {"kind": InstanceType(**fields["kind"]), "docker": DockerSettings(**docker), "gpus": tuple(fields["gpus"])}
    fields["beside"] = tuple(fields.get("beside", ()))
    return InstanceRequest(**fields)


def user_of(fields: Mapping[str, Any]) -> User:
    return User(uid=int(fields["uid"]), gid=int(fields["gid"]), groups=tuple(map(int, fields["groups"])), name=str(fields["name"]))
