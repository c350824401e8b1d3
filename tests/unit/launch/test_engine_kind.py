"""The kind of an engine by what it says of itself, and what follows. The answers are cut out of those of real engines."""

from __future__ import annotations

from dataclasses import replace

import pytest

from runner.errors import UserError
from runner.launch.docker_body import create_body
from runner.launch.docker_draft import DockerArguments
from runner.launch.engine_kind import EngineKind, Wish, check_engine, kind_of, without_effect
from runner.model.docker import ContainerRequest, InstanceType
from runner.pipeline.engines import wish_of

LIMITS = {"MemoryLimit": True, "CpuCfsQuota": True}
NO_LIMITS = {"MemoryLimit": False, "CpuCfsQuota": False}
DOCKER = {"SecurityOptions": ["name=seccomp,profile=default"], "CgroupVersion": "1", **LIMITS}
ROOTLESS_DOCKER = {"SecurityOptions": ["name=seccomp,profile=default", "name=rootless"], "CgroupVersion": "1", **NO_LIMITS}
REMAPPED = {**DOCKER, "SecurityOptions": ["name=seccomp,profile=default", "name=userns"]}
PODMAN = {**DOCKER, "BuildahVersion": "1.28.2", "Rootless": False}
ROOTLESS_PODMAN = {**PODMAN, "Rootless": True}


@pytest.mark.parametrize(
    ("info", "expected"),
    [
        (DOCKER, EngineKind()),
        ({}, EngineKind()),  # very old, or no engine that we know
        ({**DOCKER, "SecurityOptions": None}, EngineKind()),
        (ROOTLESS_DOCKER, EngineKind(rootless=True, limits_memory=False, limits_cpus=False)),
        ({**ROOTLESS_DOCKER, "CgroupVersion": "2", **LIMITS}, EngineKind(rootless=True)),
        (REMAPPED, EngineKind(remapped=True)),
        (PODMAN, EngineKind(podman=True)),
        (ROOTLESS_PODMAN, EngineKind(podman=True, rootless=True, limits_memory=False, limits_cpus=False)),
        ({**ROOTLESS_PODMAN, "CgroupVersion": "2"}, EngineKind(podman=True, rootless=True)),
    ],
)
def test_kinds(info, expected):
    assert kind_of(info) == expected


@pytest.mark.parametrize(
    ("kind", "text", "maps_users"),
    [
        (EngineKind(), "Docker", False),
        (EngineKind(rootless=True), "rootless Docker", True),
        (EngineKind(remapped=True), "Docker with userns-remap", True),
        (EngineKind(podman=True, rootless=True), "rootless Podman", True),
    ],
)
def test_what_is_shown_and_whose_numbers_count(kind, text, maps_users):
    assert (str(kind), kind.maps_users) == (text, maps_users)


def test_whose_users_are_asked_for():
    assert EngineKind(podman=True, rootless=True).userns == "host"
    assert [kind.userns for kind in (EngineKind(), EngineKind(rootless=True), EngineKind(podman=True))] == ["", "", ""]


def test_the_container_asks_for_them():
    request = ContainerRequest(image="i", command=(), name="n", userns="host")
    assert create_body(request, DockerArguments())["HostConfig"]["UsernsMode"] == "host"
    assert "UsernsMode" not in create_body(replace(request, userns=""), DockerArguments())["HostConfig"]


def refusal(kind: EngineKind, wish: Wish | None = None, *, owner: int | None = 1000, uid: int = 1000) -> str:
    try:
        check_engine(kind, wish or Wish(), address="unix:///e.sock", owner=owner, uid=uid)
    except UserError as error:
        return str(error)
    return ""


@pytest.mark.parametrize(
    "accepted",
    [
        refusal(EngineKind()),
        refusal(EngineKind(), Wish(gpus=True), owner=0),
        refusal(EngineKind(podman=True), owner=0),
        refusal(EngineKind(rootless=True)),
        refusal(EngineKind(rootless=True), owner=None),  # over TCP: whose it is cannot be seen
        refusal(EngineKind(remapped=True), Wish(host_users=True), owner=0),
    ],
)
def test_accepted(accepted):
    assert accepted == ""


def test_userns_remap_is_refused():
    said = refusal(EngineKind(remapped=True), owner=0)
    assert "unix:///e.sock" in said
    assert "userns-remap" in said
    assert "--userns host" in said
    assert "host-userns" in said


@pytest.mark.parametrize("uid", [0, 1001])
def test_somebody_elses_rootless_engine_is_refused(uid):
    said = refusal(EngineKind(rootless=True), uid=uid)
    assert "uid 1000" in said
    assert f"yours is {uid}" in said


def test_podman_gives_no_gpus():
    assert "GPUs" in refusal(EngineKind(podman=True), Wish(gpus=True))


def test_limits_without_effect():
    blind = EngineKind(rootless=True, limits_memory=False, limits_cpus=False)
    assert without_effect(blind, Wish()) == ()
    assert without_effect(EngineKind(), Wish(memory=True, cpus=True)) == ()
    memory, cpus = without_effect(blind, Wish(memory=True, cpus=True))
    assert "does not limit memory" in memory
    assert "does not limit CPUs" in cpus


def test_wishes(monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert wish_of({}, InstanceType()) == Wish()
    assert wish_of({"UsernsMode": "host"}, InstanceType(memory=1)) == Wish(host_users=True, memory=True)
    assert wish_of({"CpuQuota": 5, "Memory": 5}, InstanceType(gpus=1)) == Wish(cpus=True, memory=True, gpus=True)
    assert wish_of({"DeviceRequests": [{}], "NanoCpus": 5}, InstanceType()) == Wish(cpus=True, gpus=True)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")
    assert wish_of({}, InstanceType()) == Wish(gpus=True)
