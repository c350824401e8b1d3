"""What kind of engine runs a job's containers, and what follows from it: whom a container takes for the submitter, and what is refused."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from runner.errors import UserError
from runner.launch.engine_address import WITHOUT_ENGINE


@dataclass(frozen=True, kw_only=True)
class EngineKind:
    """Of one engine, by what it says of itself. The defaults are Docker's own engine, run by root."""

    podman: bool = False
    rootless: bool = False  # its root is an ordinary user of the machine: the one who started it
    remapped: bool = False  # users of its containers are nobody's numbers on the machine (userns-remap)
    limits_memory: bool = True
    limits_cpus: bool = True

    def __str__(self) -> str:
        words = ["rootless"] * self.rootless + ["Podman" if self.podman else "Docker"]
        return " ".join(words) + " with userns-remap" * self.remapped

    @property
    def maps_users(self) -> bool:
        """Whether a number of a user means another user inside, or nobody; root is somebody in all of them."""
        return self.rootless or self.remapped

    @property
    def userns(self) -> str:
        """What to ask for: Podman may be set to another namespace (`keep-id`), whose root is not the submitter, and does not tell."""
        return "host" if self.podman and self.rootless else ""


@dataclass(frozen=True, kw_only=True)
class Wish:
    """What a job wants of its containers that not every engine can do."""

    host_users: bool = False  # `--userns host`
    gpus: bool = False
    memory: bool = False  # a limit
    cpus: bool = False  # likewise


def kind_of(info: Mapping[str, Any]) -> EngineKind:
    """From the engine's answer to `GET /info`."""
    options = {part for option in info.get("SecurityOptions") or () for part in str(option).split(",")}
    podman = "BuildahVersion" in info
    rootless = "name=rootless" in options or bool(info.get("Rootless"))
    # Podman claims the limits of the machine; an ordinary user is given no control groups of version 1.
    powerless = podman and rootless and str(info.get("CgroupVersion")) == "1"
    return EngineKind(
        podman=podman,
        rootless=rootless,
        remapped="name=userns" in options,
        limits_memory=bool(info.get("MemoryLimit", True)) and not powerless,
        limits_cpus=bool(info.get("CpuCfsQuota", True)) and not powerless,
    )


def check_engine(kind: EngineKind, wish: Wish, *, address: str, owner: int | None, uid: int) -> None:
    """Whether a job of the user `uid` can run there. `owner`: whose the engine's socket is, where that is known.

    Errors: UserError, before anything has been pulled, built or started.
    """
    if kind.remapped and not wish.host_users:
        raise UserError(
            f"the engine at {address} gives its containers users of their own (userns-remap): "
            "the script could neither read this job's files as you may, nor write outputs that are yours",
            todo="run the engine without userns-remap; or give `--userns host` in docker_args, once whoever keeps the workspace has "
            f"written host-userns below docker.policy.allow in workspace.yml; {WITHOUT_ENGINE}",
        )
    if kind.rootless and owner not in (None, uid):
        raise UserError(
            f"the engine at {address} is a rootless one of another user (uid {owner}; yours is {uid}): "
            "its containers have that user's rights, and outputs would not be yours",
            todo=f"submit the job as that user, or name an engine of your own with DOCKER_HOST; {WITHOUT_ENGINE}",
        )
    if kind.podman and wish.gpus:
        raise UserError(
            f"the engine at {address} is Podman, whose Docker socket does not give GPUs to containers",
            todo="take a Docker engine; or hide the GPUs from this job: CUDA_VISIBLE_DEVICES= (empty) where runner is called, no "
            f"--gpus in docker_args, no gpus in its instance type; {WITHOUT_ENGINE}",
        )


def without_effect(kind: EngineKind, wish: Wish) -> tuple[str, ...]:
    """What is asked for and this engine does not do, as warnings: the job runs all the same."""
    asked = (("memory", wish.memory, kind.limits_memory), ("CPUs", wish.cpus, kind.limits_cpus))
    return tuple(
        f"the engine ({kind}) does not limit {what} on this machine: the job's limit has no effect"
        for what, wanted, done in asked
        if wanted and not done
    )
