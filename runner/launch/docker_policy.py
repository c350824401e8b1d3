"""What `docker_args` may ask for: pure checks of parsed arguments against the workspace's policy.

The same function runs when a job is checked and again right before its container is created: a link may have been bent in between.
`pinned` then puts in place of each source where it really leads, so that the engine mounts what was checked.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from runner.errors import UserError, UserErrors
from runner.launch.docker_args import parse_docker_args
from runner.launch.docker_draft import DockerArguments
from runner.launch.docker_mount_policy import MountPolicy
from runner.launch.docker_mounts import normal
from runner.launch.docker_paths import engine_sockets, is_below
from runner.launch.docker_security import NO_NEW_PRIVILEGES, split_option
from runner.model.docker import BindMount, DockerPolicy

# What Docker grants by itself may be asked for.
_CAPABILITIES = {
    *("CAP_AUDIT_WRITE", "CAP_CHOWN", "CAP_DAC_OVERRIDE", "CAP_FOWNER", "CAP_FSETID", "CAP_KILL", "CAP_MKNOD"),
    *("CAP_NET_BIND_SERVICE", "CAP_NET_RAW", "CAP_SETFCAP", "CAP_SETGID", "CAP_SETPCAP", "CAP_SETUID", "CAP_SYS_CHROOT"),
}
_RUNTIMES = ("", "runc", "io.containerd.runc.v2", "nvidia")
# Other drivers connect to addresses and sockets as the engine itself does.
_LOG_DRIVERS = ("", "json-file", "local", "none")
_LOG_OPTIONS = {"max-size", "max-file", "compress", "labels", "labels-regex", "env", "env-regex", "tag", "mode", "max-buffer-size"}
_CONFINED = {"seccomp": ("builtin",), "apparmor": ("docker-default",), NO_NEW_PRIVILEGES: ("true", "1", "t", "T", "TRUE", "True")}
_AN_ID = re.compile("[0-9a-f]+")

Found = Iterator[str]


def check_policy(
    arguments: DockerArguments, policy: DockerPolicy, *, reserved: Iterable[BindMount] = (), sockets: Iterable[str] | None = None
) -> list[UserError]:
    """All that `docker_args` ask for and the policy does not allow. `reserved`: what the runner itself mounts in the
    container. `sockets`: where engines listen, by default the usual places and DOCKER_HOST."""
    found = [_forbidden(shown, word) for word, rule in _RULES if word not in policy.allow for shown in rule(arguments)]
    found += _groups(arguments, policy)
    mounts = MountPolicy(policy=policy, sockets=tuple(engine_sockets() if sockets is None else sockets))
    for mount in arguments.mounts:
        found += mounts.problems(mount)
    return found + list(_over_ours(arguments, list(reserved)))


def pinned(arguments: DockerArguments, policy: DockerPolicy) -> DockerArguments:
    """The same with each source on the host as where it really leads. Only for arguments that `check_policy` has passed."""
    mounts = MountPolicy(policy=policy, sockets=())
    return replace(arguments, mounts=tuple(map(mounts.pinned, arguments.mounts)))


def checked_docker_args(
    words: Sequence[str],
    policy: DockerPolicy,
    *,
    environment: Mapping[str, str],
    directory: Path,
    reader_uid: int | None = None,
    reserved: Iterable[BindMount] = (),
) -> DockerArguments:
    """Parsed, checked and pinned; raises `UserErrors` with all that is wrong. When a job is checked, and again before its containers."""
    arguments = parse_docker_args(words, environment=environment, directory=directory, reader_uid=reader_uid)
    errors = check_policy(arguments, policy, reserved=reserved)
    if errors:
        raise UserErrors(errors)
    return pinned(arguments, policy)


@dataclass(frozen=True, kw_only=True)
class DockerWords:
    """`docker_args` of a job, and all by which they are judged: again for each container."""

    words: tuple[str, ...]
    policy: DockerPolicy
    environment: Mapping[str, str] = field(repr=False)  # the submitter's: it may hold secrets
    directory: Path

    def checked(self, reserved: Iterable[BindMount] = ()) -> DockerArguments:
        """Errors: UserErrors."""
        return checked_docker_args(
            self.words, self.policy, environment=self.environment, directory=self.directory, reserved=reserved
        )  # fmt: skip


def _forbidden(shown: str, word: str) -> UserError:
    return UserError(
        f"docker_args: {shown} is not allowed in this workspace",
        todo=f"leave it out, or let whoever keeps the workspace write {word} below docker.policy.allow in workspace.yml",
    )


def _groups(arguments: DockerArguments, policy: DockerPolicy) -> Iterator[UserError]:
    """By number only: names would be looked up in the image, which can say anything."""
    added = arguments.host.get("GroupAdd", [])
    assert isinstance(added, list)
    for group in added if policy.only_user is not None else ():
        if group not in map(str, policy.only_groups):
            allowed = "the numbers of your groups: " + ", ".join(map(str, policy.only_groups))
            yield UserError(f"docker_args: --group-add {group} is not allowed on this cluster", allowed=allowed)


def _over_ours(arguments: DockerArguments, reserved: list[BindMount]) -> Iterator[UserError]:
    """At one of the runner's mounts, or below one that is not shared."""
    places = [(mount.flag, mount.target) for mount in arguments.mounts]
    devices = arguments.host.get("Devices", [])
    assert isinstance(devices, list)
    places += [("--device", str(device["PathInContainer"])) for device in devices]
    for flag, target in places:
        for ours in reserved:
            place = normal(ours.target)
            if normal(target) == place or (not ours.shared and is_below(normal(target), place)):
                problem = f"docker_args: {flag} to {target} is reserved: the runner mounts {place} there"
                yield UserError(problem, todo="mount it at another place of the container")


def _networks(arguments: DockerArguments) -> Found:
    names = dict.fromkeys([str(arguments.host.get("NetworkMode", "")), *arguments.endpoints])
    for name in names:
        # An id, or the beginning of one, may be that of the host's network.
        if name.strip() == "host" or name.startswith("container:") or _AN_ID.fullmatch(name):
            yield f"--network {name}"


def _namespace(flag: str, field: str) -> Callable[[DockerArguments], Found]:
    def rule(arguments: DockerArguments) -> Found:
        mode = str(arguments.host.get(field, ""))
        if mode == "host" or mode.startswith("container:"):
            yield f"{flag} {mode}"

    return rule


def _present(flag: str, field: str) -> Callable[[DockerArguments], Found]:
    """A field that may not be set at all."""

    def rule(arguments: DockerArguments) -> Found:
        if arguments.host.get(field):
            yield flag

    return rule


def _capabilities(arguments: DockerArguments) -> Found:
    added = arguments.host.get("CapAdd", [])
    assert isinstance(added, list)
    yield from (f"--cap-add {name}" for name in added if name not in _CAPABILITIES)


def _security(arguments: DockerArguments) -> Found:
    if "MaskedPaths" in arguments.host:
        yield "--security-opt systempaths=unconfined"
    for option in arguments.security:
        name, value = split_option(option)
        if value not in _CONFINED.get(name, ()):
            yield f"--security-opt {option if len(option) < 80 else f'{name}=… (a profile of your own)'}"


def _request_drivers(arguments: DockerArguments) -> Found:
    requests = arguments.host.get("DeviceRequests", [])
    assert isinstance(requests, list)
    yield from (f"--gpus driver={one['Driver']}" for one in requests if one.get("Driver", "") not in ("", "nvidia"))


def _log(arguments: DockerArguments) -> Found:
    log = arguments.host.get("LogConfig", {"Type": "", "Config": {}})
    assert isinstance(log, dict)
    if log["Type"] not in _LOG_DRIVERS:
        yield f"--log-driver {log['Type']}"
    yield from (f"--log-opt {name}" for name in log["Config"] if name not in _LOG_OPTIONS)


def _runtime(arguments: DockerArguments) -> Found:
    if arguments.host.get("Runtime", "") not in _RUNTIMES:
        yield f"--runtime {arguments.host['Runtime']}"


def _favoured(arguments: DockerArguments) -> Found:
    """Below 0 the kernel would end other processes of the host first."""
    score = arguments.host.get("OomScoreAdj", 0)
    if isinstance(score, int) and score < 0:
        yield f"--oom-score-adj {score}"


def _volume_driver(arguments: DockerArguments) -> Found:
    if arguments.host.get("VolumeDriver", "") not in ("", "local"):
        yield f"--volume-driver {arguments.host['VolumeDriver']}"


# By the word that allows it. What has no word of its own comes with `privileged`.
_RULES: tuple[tuple[str, Callable[[DockerArguments], Found]], ...] = (
    ("privileged", _present("--privileged", "Privileged")),
    ("privileged", _present("--annotation", "Annotations")),
    ("privileged", _present("--link", "Links")),  # shows another container's environment
    ("privileged", _runtime),
    ("privileged", _log),
    ("privileged", _favoured),
    ("host-network", _networks),
    ("host-pid", _namespace("--pid", "PidMode")),
    ("host-ipc", _namespace("--ipc", "IpcMode")),
    ("host-uts", _namespace("--uts", "UTSMode")),
    ("host-userns", _namespace("--userns", "UsernsMode")),
    ("host-cgroupns", _namespace("--cgroupns", "CgroupnsMode")),
    ("volumes-from", _present("--volumes-from", "VolumesFrom")),
    ("devices", _present("--device", "Devices")),
    ("devices", _present("--device-cgroup-rule", "DeviceCgroupRules")),
    ("devices", _request_drivers),
    ("cgroup-parent", _present("--cgroup-parent", "CgroupParent")),
    ("unconfined", _security),
    ("capabilities", _capabilities),
    ("any-mount", _volume_driver),
)
