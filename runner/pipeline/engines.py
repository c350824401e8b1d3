"""The engine that is to run a step's containers: what it is, and whether it can do what the step wants."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from runner.compute.local import gpus
from runner.launch.docker_args import parse_docker_args
from runner.launch.engine_kind import EngineKind, Wish, check_engine, without_effect
from runner.model.docker import InstanceType
from runner.model.job import Step

CPU_TIME = ("NanoCpus", "CpuQuota")


@dataclass(frozen=True, kw_only=True)
class FittingEngine:
    """`userns` is the user namespace that all containers of the step share: host, or empty for the engine's own."""

    kind: EngineKind
    userns: str = ""
    warnings: tuple[str, ...] = ()


def fitting_engine(step: Step, instance: InstanceType) -> FittingEngine:
    """Asks the engine, once for each launch. Errors: UserError where there is none, and for one that cannot run the step."""
    from runner.launch.image import connected  # this loads the Docker package

    arguments = parse_docker_args(step.resources.docker_args, environment=os.environ, directory=Path(step.resources.docker_args_base))
    wish = wish_of(arguments.host, instance)
    with connected() as engine:
        kind, address = engine.kind(), engine.address
    check_engine(kind, wish, address=str(address), owner=address.owner, uid=os.getuid())
    return FittingEngine(kind=kind, userns=str(arguments.host.get("UsernsMode") or kind.userns), warnings=without_effect(kind, wish))


def wish_of(host: Mapping[str, object], instance: InstanceType) -> Wish:
    """From the HostConfig of docker_args, the instance type, and the GPUs of this machine, which instances get without asking."""
    return Wish(
        host_users=host.get("UsernsMode") == "host",
        gpus=bool(instance.gpus or gpus() or host.get("DeviceRequests")),
        memory=bool(instance.memory or host.get("Memory")),
        cpus=bool(instance.cpus or any(host.get(key) for key in CPU_TIME)),
    )
