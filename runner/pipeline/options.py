"""What a run is told beside its job, and what it says at the end."""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from runner.compute.cluster import ClusterLink
from runner.model.batch import Progress
from runner.model.docker import DockerSettings, InstanceType
from runner.storage.stores import Stores
from runner.workspace.config import Workspace


@dataclass(frozen=True, kw_only=True)
class RunOptions:
    """`cache` is a folder shared by all jobs of the workspace (virtual environments, hashes)."""

    cache: Path
    local: bool = False  # --local: processes on this machine, whatever `compute` and `image` say
    python: str | None = None  # --python: the interpreter, instead of one made from the conda file
    resume: bool = False  # go on from the journal of this job
    docker: DockerSettings = field(default_factory=DockerSettings)
    instance_types: Mapping[str, InstanceType] = field(default_factory=dict)
    clusters: Collection[str] = ()  # computes that are not this machine
    retry_failed: bool = False  # with resume: mini-batches that failed for good are tried afresh (of a failed job)
    stores: Stores = field(default_factory=Stores)  # the containers of blobs that the job uses
    confirm: Callable[[], None] = lambda: None  # asks, before anything is published, whether the job is still ours; raises Superseded
    withheld: Collection[str] = ()  # environment variables of this process that scripts do not get: they have secrets
    tracking_uri: str = ""  # of MLflow, as the workspace says
    cluster: ClusterLink | None = None  # the instances run on a cluster, and this process is the owner there


def options_for(
    workspace: Workspace,
    *,
    local: bool,
    python: str | None,
    resume: bool = False,
    retry_failed: bool = False,
    stores: Stores | None = None,
) -> RunOptions:
    """The options of a job in this workspace; the rest is what it was created with."""
    return RunOptions(
        cache=workspace.cache,
        local=local,
        python=python,
        resume=resume,
        retry_failed=retry_failed,
        docker=replace(workspace.settings.docker, policy=workspace.docker_policy),
        instance_types=workspace.settings.instance_types,
        clusters=tuple(workspace.settings.ray_computes),
        stores=stores or Stores(),
        withheld=workspace.settings.secret_variables,
        tracking_uri=workspace.settings.tracking_uri,
    )


@dataclass(frozen=True, kw_only=True)
class RunResult:
    """`status` is Completed, Failed or Canceled. `error` has message, code and log, or is empty."""

    status: str
    progress: Progress = field(default_factory=Progress)
    error: dict[str, str] = field(default_factory=dict)
    incomplete: bool = False  # published by `finish --partial`


@dataclass(frozen=True, kw_only=True)
class StepPlan:
    """What would happen: printed by `job validate`, before anything starts."""

    step: str
    input: str  # one line: what is split, and how
    mini_batches: int | None  # None, as below: a command has none, or they are made by a step that has not run
    items: int | None  # files; rows where they are known without reading
    unit: str  # "files" or "rows"
    bytes: int | None
    largest: int | None  # bytes of the largest mini-batch
    instances: int
    workers: int | None  # in all; None: decided on the nodes of a cluster
    arguments: tuple[str, ...]  # the script's sys.argv[1:]
    output: str  # where the rows will be, or "summary only"
    python: str
    compute: str = "local"
    command: str = ""  # of a command, which has no input that is split
    notices: tuple[str, ...] = ()


class Cancellation:
    """A request to stop that wakes those who wait for it; may be made from any thread or signal handler's thread."""

    def __init__(self) -> None:
        self._event = threading.Event()
        self._wakers: list[Callable[[], None]] = []

    @property
    def requested(self) -> bool:
        return self._event.is_set()

    def request(self) -> None:
        self._event.set()
        for wake in list(self._wakers):
            wake()

    def on_request(self, wake: Callable[[], None]) -> None:
        self._wakers.append(wake)
        if self.requested:
            wake()
