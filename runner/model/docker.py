"""Containers as plain data: what the workspace says of Docker, and what one container is asked to be."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

LABEL_JOB, LABEL_INSTANCE = "runner.job", "runner.instance"
LABEL_PREFIX = "runner."  # labels of this prefix are ours alone
# What a policy may allow beyond the harmless, by the words that stand below `docker.policy.allow` in workspace.yml.
ALLOWABLE = (
    "privileged",
    "host-network",
    "host-pid",
    "host-ipc",
    "host-uts",
    "host-userns",
    "host-cgroupns",
    "volumes-from",
    "devices",
    "cgroup-parent",
    "unconfined",
    "capabilities",
    "docker-socket",
    "any-mount",
)


@dataclass(frozen=True, kw_only=True)
class DockerPolicy:
    """What `docker_args` may ask for. Without `allow`: nothing by which a container gets at the host."""

    allow: frozenset[str] = frozenset()  # of ALLOWABLE
    data_roots: tuple[str, ...] = ()  # absolute host folders below which host folders may be mounted
    only_user: int | None = None  # on a cluster, whose users are kept apart: the one that containers run as
    only_groups: tuple[int, ...] = ()  # and the groups that they may have


@dataclass(frozen=True, kw_only=True)
class DockerSettings:
    """What `docker:` in workspace.yml says. Times are seconds."""

    policy: DockerPolicy = field(default_factory=DockerPolicy)
    image_map: Mapping[str, str] = field(default_factory=dict)  # prefix of an image's name → what stands in its place
    proxy: Mapping[str, str] = field(default_factory=dict)  # http_proxy, https_proxy, no_proxy: for builds, pip, conda and containers
    ca_bundle: str | None = None  # absolute path of a PEM file: likewise
    pull_timeout: float = 3600
    build_timeout: float = 3600
    mount_label: str | None = None  # SELinux: z (shared) or Z (private), put on all of our bind mounts


@dataclass(frozen=True, kw_only=True)
class InstanceType:
    """What a name below `instance_types` in workspace.yml means."""

    cpus: float | None = None
    gpus: int = 0
    memory: int | None = None  # bytes
    labels: Mapping[str, str] = field(default_factory=dict)  # of Ray nodes: one that has them all is of this type
    max_nodes: int | None = None  # what the cluster may grow to; None: what it has


@dataclass(frozen=True, kw_only=True)
class BindMount:
    """A folder or file of the host in a container."""

    source: str  # absolute, on the machine where the Docker engine runs
    target: str
    read_only: bool = True
    whole: bool = True  # all that is in it is the job's; false of a folder in which a file of the job's is to stand
    shared: bool = False  # `docker_args` may mount something below it: it is data, and not what the runner lives by


@dataclass(frozen=True, kw_only=True)
class ContainerRequest:
    """One container as the runner wants it; `docker_args` come on top and win where they may (launch/docker_args.py)."""

    image: str  # an id, or a reference that is on this machine
    command: tuple[str, ...]
    name: str
    labels: Mapping[str, str] = field(default_factory=dict)
    environment: Mapping[str, str] = field(default_factory=dict)
    mounts: tuple[BindMount, ...] = ()
    user: str = ""  # uid:gid
    userns: str = ""  # host: the engine's own users, where it would give the container others
    working_dir: str = "/"
    shm_size: int = 2 << 30  # bytes
    gpus: tuple[str, ...] = ()  # ids or indices of devices to ask for
    cpus: float | None = None
    memory: int | None = None  # bytes
    docker_args: tuple[str, ...] = ()
    mount_label: str | None = None
