"""Which files and folders of the host `docker_args` may mount: those below the data roots, by where their paths really lead."""

from __future__ import annotations

import os
import posixpath
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

from runner.errors import UserError
from runner.launch.docker_draft import Mount
from runner.launch.docker_mounts import is_path
from runner.launch.docker_paths import HostPathError, gives_socket, is_below, real_path
from runner.model.docker import DockerPolicy

_SHARED = {"shared", "rshared"}


@dataclass(frozen=True, kw_only=True)
class MountPolicy:
    """The policy's part that needs the file system."""

    policy: DockerPolicy
    sockets: tuple[str, ...]

    def problems(self, mount: Mount) -> Iterator[UserError]:
        """All that is wrong with one mount."""
        if mount.kind == "bind" or is_path(mount.source):
            yield from self._host_path(mount)
        if "any-mount" not in self.policy.allow:
            if propagation(mount) in _SHARED:
                yield _refusal(mount, f"may not carry mounts back to the host ({propagation(mount)})", todo="leave the propagation out")
            if mount.kind == "volume" and reaches_out(mount):
                yield _refusal(mount, "may not have a driver or options by which a volume is somewhere else", todo="leave volume-* out")

    def pinned(self, mount: Mount) -> Mount:
        if mount.kind != "bind":
            return mount
        source = self._lead(mount.source)
        return replace(mount, source=source, value={**mount.value, "Source": source} if mount.value else {})

    def _lead(self, source: str) -> str:
        """Where a source leads. The engine cleans it as text before it looks, so that `..` never follows a link; so does this."""
        clean = posixpath.normpath(source)
        return os.path.realpath(clean) if "any-mount" in self.policy.allow else real_path(clean)

    def _host_path(self, mount: Mount) -> Iterator[UserError]:
        if not mount.source.startswith("/"):
            todo = "write it from the root, or with ./ in front from the job file's folder"
            yield _refusal(mount, "is not an absolute path", todo=todo)
            return
        try:
            source = self._lead(mount.source)
        except HostPathError as error:
            yield _refusal(mount, f"is not allowed in this workspace: it {error}", todo=self._advice())
            return
        shown = "" if source == posixpath.normpath(mount.source) else f" (it leads to {source})"
        if not os.path.exists(source):  # noqa: PTH110 - what may not be seen is not there
            yield _refusal(mount, f"does not exist on this machine, or you may not see it{shown}", todo="make it, or correct the path")
        elif ":" in source and mount.flag == "--volume":
            yield _refusal(mount, f"has a colon in its path{shown}", todo="write --mount type=bind,source=…,target=…")
        elif "docker-socket" not in self.policy.allow and gives_socket(source, self.sockets):
            todo = "mount a folder without it"
            yield _refusal(mount, f"is not allowed in this workspace: it holds the Docker engine's socket{shown}", todo=todo)
        elif "any-mount" not in self.policy.allow and not self._in_data(source):
            yield _refusal(mount, f"is not allowed in this workspace: it is outside the data roots{shown}", todo=self._advice())

    def _in_data(self, source: str) -> bool:
        return any(is_below(source, os.path.realpath(root)) for root in self.policy.data_roots)

    def _advice(self) -> str:
        roots = ", ".join(self.policy.data_roots)
        advice = "or let whoever keeps the workspace add its folder to docker.policy.data_roots in workspace.yml"
        return f"mount what is below {roots}, {advice}" if roots else f"leave it out, {advice}"


def propagation(mount: Mount) -> str:
    options = mount.value.get("BindOptions")
    if isinstance(options, Mapping):
        return str(options.get("Propagation", ""))
    return next((one for one in mount.options.split(",") if one in _SHARED), "")


def reaches_out(mount: Mount) -> bool:
    """A volume of another driver, or one of the local driver that is really a mount of its own (`o=bind,device=/`)."""
    options = mount.value.get("VolumeOptions")
    driver = options.get("DriverConfig") if isinstance(options, Mapping) else None
    if not isinstance(driver, Mapping):
        return False
    return str(driver.get("Name", "")) not in ("", "local") or bool(driver.get("Options"))


def _refusal(mount: Mount, problem: str, *, todo: str) -> UserError:
    return UserError(f"docker_args: {mount.flag} of {mount.source or 'a volume'} {problem}", todo=todo)
