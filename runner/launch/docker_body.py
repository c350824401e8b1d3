"""One container's create body (`POST /containers/create` of the Engine API): what the runner wants, and `docker_args` over it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from runner.errors import UserError
from runner.launch.docker_draft import Body, DockerArguments, Mount
from runner.launch.docker_security import NO_NEW_PRIVILEGES, split_option
from runner.model.docker import BindMount, ContainerRequest

# The engine takes one or the other.
_CPU_TIME = ("CpuPeriod", "CpuQuota")


def create_body(request: ContainerRequest, arguments: DockerArguments) -> Body:
    """Scalars of `docker_args` win; environment, labels and security options are merged by name.

    Mounts add up: those over the runner's own are refused before (docker_policy.py), and of several at one place the last counts.
    """
    host = _host(request, arguments)
    host |= arguments.host
    host["SecurityOpt"] = _security(arguments.security)
    body: Body = {
        "Image": request.image,
        "Cmd": list(request.command),
        "Entrypoint": [],  # the image's own would stand before the command
        "User": request.user,
        "WorkingDir": request.working_dir,
        "AttachStdout": True,
        "AttachStderr": True,
        **arguments.config,
        "Env": _environment(request.environment, arguments.environment),
        "Labels": {**arguments.labels, **request.labels},
    }
    _mount(request, arguments.mounts, body, host)
    body["HostConfig"] = host
    body["NetworkingConfig"] = {"EndpointsConfig": {name: dict(one) for name, one in arguments.endpoints.items()}}
    return body


def _host(request: ContainerRequest, arguments: DockerArguments) -> Body:
    host: Body = {"AutoRemove": True, "Init": False, "RestartPolicy": {"Name": "no"}}
    host |= {"ShmSize": request.shm_size, "NetworkMode": "default"}
    if request.userns:
        host["UsernsMode"] = request.userns
    if request.cpus is not None and not set(_CPU_TIME) & arguments.host.keys():
        host["NanoCpus"] = round(request.cpus * 10**9)
    if request.memory is not None:
        host["Memory"] = request.memory
    if request.gpus:
        host["DeviceRequests"] = [{"Driver": "", "Count": 0, "DeviceIDs": list(request.gpus), "Capabilities": [["gpu"]], "Options": {}}]
    return host


def _security(options: Iterable[str]) -> list[str]:
    """No new privileges, unless `docker_args` say otherwise of that; the rest as it is, without repeats."""
    named = {split_option(option)[0]: option for option in options}
    found = [option for option in dict.fromkeys(options) if split_option(option)[0] != NO_NEW_PRIVILEGES]
    return [named.get(NO_NEW_PRIVILEGES, NO_NEW_PRIVILEGES), *found]


def _environment(ours: Mapping[str, str], theirs: Mapping[str, str | None]) -> list[str]:
    merged: dict[str, str | None] = {**ours, **theirs}
    return [name if value is None else f"{name}={value}" for name, value in merged.items()]


def _mount(request: ContainerRequest, theirs: tuple[Mount, ...], body: Body, host: Body) -> None:
    """Ours are entries of Mounts: there a wrong source is an error, and not a new folder. Only Binds can label files for SELinux."""
    label = request.mount_label
    entries = [] if label else [_entry(one) for one in request.mounts]
    binds = [_labelled(one, label) for one in request.mounts] if label else []
    entries += [dict(one.value) for one in theirs if one.flag == "--mount"]
    binds += [_text(one) for one in theirs if one.flag == "--volume" and one.source]
    volumes: Body = {one.target: {} for one in theirs if one.flag == "--volume" and not one.source}
    scratch = {one.target: one.options for one in theirs if one.flag == "--tmpfs"}
    host |= {key: found for key, found in (("Mounts", entries), ("Binds", binds), ("Tmpfs", scratch)) if found}
    if volumes:
        body["Volumes"] = volumes


def _entry(mount: BindMount) -> Body:
    return {"Type": "bind", "Source": mount.source, "Target": mount.target, "ReadOnly": mount.read_only}


def _labelled(mount: BindMount, label: str) -> str:
    if ":" in mount.source + mount.target:
        raise UserError(
            f"'{mount.source}' cannot be mounted with an SELinux label: it has a colon in its name",
            todo="rename the folder, or leave docker.mount_label out of workspace.yml",
        )
    return f"{mount.source}:{mount.target}:{'ro,' if mount.read_only else ''}{label}"


def _text(mount: Mount) -> str:
    return ":".join(part for part in (mount.source, mount.target, mount.options) if part)
