"""What `docker_args` come to, against docker itself: each row is created by `docker create` and by our body, and both are inspected.

What the engine refuses it must refuse in both ways, with the same words. Nothing is started.
"""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import uuid
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from runner.launch.docker_args import parse_docker_args
from runner.launch.docker_body import create_body
from runner.launch.docker_flags import FLAGS, NO_EFFECT, SUPPORTED
from runner.model.docker import BindMount, ContainerRequest
from tests.integration.docker_arguments import ARGUMENTS, COVERED_ELSEWHERE, REFUSED_BY_ENGINE

pytestmark = pytest.mark.needs("docker")

PREFIX = f"dargs-{uuid.uuid4().hex[:8]}"
SUBNET = f"10.214.{int(PREFIX[-2:], 16)}"  # 10.213 is the clusters'
COMMAND = ("/bin/true", "x y")
# Of the container, not of its arguments.
OWN = ("Id", "Name", "Created", "LogPath", "HostnamePath", "HostsPath", "ResolvConfPath", "State", "GraphDriver")
CLIENT = {"HOME": "/home/client", "FROM_HERE": "of the client", "EMPTY": ""}


def docker(*words: str, check: bool = True, **options: Any) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["docker", *words], capture_output=True, text=True, timeout=60, check=check, **options)


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """The SDK's client; an image of one empty file, a network and a container to join, all removed at the end."""
    import docker as sdk

    folder = tmp_path_factory.mktemp("image")
    (folder / "bin").mkdir()
    (folder / "bin" / "true").write_bytes(b"")
    api = sdk.APIClient(version="auto", timeout=60)
    packed = subprocess.run(["tar", "-C", str(folder), "-c", "."], capture_output=True, check=True).stdout
    subprocess.run(["docker", "import", "-", PREFIX], input=packed, capture_output=True, check=True)
    network = api.create_network(f"{PREFIX}-net", ipam=sdk.types.IPAMConfig(pool_configs=[sdk.types.IPAMPool(subnet=f"{SUBNET}.0/24")]))
    other = api.create_container(PREFIX, ["/bin/true"], name=f"{PREFIX}-other")
    yield api
    api.remove_container(other["Id"], v=True, force=True)
    for volume in api.volumes(filters={"name": PREFIX})["Volumes"]:
        api.remove_volume(volume["Name"])
    api.remove_network(network["Id"])
    api.remove_image(PREFIX)
    api.close()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What stands beside the job file."""
    found = tmp_path_factory.mktemp("job")
    (found / "data").mkdir()
    (found / "my data").mkdir()
    (found / "vars.env").write_text("# comment\n\n  A=1\nB= two words \nFROM_HERE\nNOWHERE\nC=x=y\nD='quoted'\r\n")
    (found / "more.env").write_bytes(b"\xef\xbb\xbfA=2\n")
    (found / "labels").write_text("# comment\nteam=blue\nalone\nkey=a=b\n")
    (found / "seccomp.json").write_text('{\n  "defaultAction": "SCMP_ACT_ALLOW",\n  "syscalls": []\n}\n')
    return found


def words_of(row: str, folder: Path) -> list[str]:
    names = {"FOLDER": str(folder), "NET": f"{PREFIX}-net", "OTHER": f"{PREFIX}-other", "VOLUME": f"{PREFIX}-volume", "SUBNET": SUBNET}
    for name, found in names.items():
        row = row.replace("{" + name + "}", found)
    return shlex.split(row)


def request(**changes: Any) -> ContainerRequest:
    """What our side wants by itself; SYSTEM says the same to docker."""
    plain = ContainerRequest(image=PREFIX, command=COMMAND, name="", labels={"runner.job": "j"}, environment={"OURS": "1"})
    return replace(plain, **changes)


SYSTEM = ["--rm", "--init=false", "--shm-size=2g", "--security-opt=no-new-privileges", "--workdir=/", "-lrunner.job=j", "-eOURS=1"]


def by_docker(words: list[str], folder: Path, system: list[str] = SYSTEM) -> tuple[str, str]:
    """(id, error), one of them empty."""
    environment = {"PATH": os.environ["PATH"], **CLIENT}
    if "DOCKER_HOST" in os.environ:
        environment["DOCKER_HOST"] = os.environ["DOCKER_HOST"]
    done = docker("create", *system, *words, PREFIX, *COMMAND, check=False, cwd=folder, env=environment)
    return done.stdout.strip(), done.stderr.partition("Error response from daemon: ")[2].strip() or done.stderr if done.returncode else ""


def by_us(api: Any, words: list[str], folder: Path, wanted: ContainerRequest) -> tuple[str, str]:
    import docker as sdk

    arguments = parse_docker_args(words, environment=CLIENT, directory=folder)
    try:
        return api.create_container_from_config(create_body(wanted, arguments))["Id"], ""
    except sdk.errors.APIError as error:
        return "", str(error.explanation)


def inspected(api: Any, container: str) -> dict[str, Any]:
    """What the engine says of a container, without what is the container's own, and with lists whose order has no meaning sorted."""
    everything = api.inspect_container(container)
    found = {key: one for key, one in everything.items() if key not in OWN}
    config, host = found["Config"], found["HostConfig"]
    if config["Hostname"] == container[:12]:
        config["Hostname"] = "ID"
    config["Env"] = dict(one.partition("=")[::2] for one in config["Env"])
    host["Binds"] = sorted(host["Binds"] or ())
    host["Links"] = [one.replace(everything["Name"], "/NAME") for one in host["Links"] or ()]
    for mount in found["Mounts"]:
        if len(mount.get("Name", "")) == 64:  # of an anonymous volume
            mount["Name"] = mount["Source"] = "ID"
    found["Mounts"].sort(key=json.dumps)
    for endpoint in found["NetworkSettings"]["Networks"].values():
        endpoint["Aliases"] = [one for one in endpoint["Aliases"] or () if one != container[:12]]
    return shorn(found)


def shorn(value: Any) -> Any:
    """Without what is empty: docker's command line sends `[]` and `""` where the engine means the same by nothing."""
    if isinstance(value, dict):
        return {key: one for key, old in value.items() if (one := shorn(old)) not in (None, "", [], {})}
    return [shorn(one) for one in value] if isinstance(value, list) else value


def compare(api: Any, words: list[str], folder: Path, system: list[str] = SYSTEM, **changes: Any) -> str:
    """Creates both, and gives the engine's refusal if there was one."""
    made: list[str] = []
    try:
        theirs, refusal = by_docker(words, folder, system)
        made += [theirs] * bool(theirs)
        ours, our_refusal = by_us(api, words, folder, request(**changes))
        made += [ours] * bool(ours)
        assert our_refusal == refusal
        if not refusal:
            assert inspected(api, ours) == inspected(api, theirs)
        return refusal
    finally:
        for one in made:
            api.remove_container(one, v=True, force=True)


@pytest.mark.parametrize("row", ARGUMENTS)
def test_the_same_container(engine: Any, folder: Path, row: str) -> None:
    assert compare(engine, words_of(row, folder), folder) == ""


@pytest.mark.parametrize("row", REFUSED_BY_ENGINE)
def test_the_same_refusal(engine: Any, folder: Path, row: str) -> None:
    assert compare(engine, words_of(row, folder), folder) != ""


def test_every_supported_flag_is_in_the_table() -> None:
    from runner.launch.docker_args import read_words

    rows = [*ARGUMENTS, *REFUSED_BY_ENGINE]
    used = {flag.name for row in rows for flag, _, _ in read_words(shlex.split(row))}
    assert {flag.name for flag in FLAGS if flag.fate == SUPPORTED} - used == set(COVERED_ELSEWHERE)
    assert len(ARGUMENTS) >= 100


def test_every_flag_of_this_docker_has_a_fate() -> None:
    import re

    known = {flag.name: flag for flag in FLAGS}
    for command in ("run", "create"):
        for short, name in re.findall(r"^ +(?:-(\w), )?(--[\w-]+)", docker(command, "--help").stdout, re.MULTILINE):
            assert name in known, f"docker {command} has a flag of which nothing is known here"
            assert known[name].short == short


def test_the_systems_own_settings(engine: Any, folder: Path) -> None:
    """What a request asks for is what docker's flags of the same meaning ask for."""
    mount = BindMount(source=str(folder / "data"), target="/in")
    changes = {"mounts": (mount,), "user": "1000:1000", "working_dir": "/work", "cpus": 1.5, "memory": 1 << 30, "gpus": ("0", "1")}
    system = [*SYSTEM, f"--mount=type=bind,src={folder}/data,dst=/in,ro", "-u1000:1000", "-w/work", "--cpus=1.5", "-m1g"]
    assert compare(engine, [], folder, [*system, '--gpus="device=0,1"'], **changes) == ""


def test_arguments_win(engine: Any, folder: Path) -> None:
    """Later ones over earlier ones, and all of them over the system's; docker is told the outcome only."""
    changes = {"user": "1000:1000", "cpus": 1.5, "memory": 1 << 30, "gpus": ("0", "1"), "environment": {"OURS": "1", "A": "0"}}
    words = shlex.split("-u 5 --user=0 --cpus 1 --cpus=2 -m 2g --shm-size 1g --init -e A=1 -e A=2 --gpus all -w /")[:-2]
    plain = [word for word in SYSTEM if not word.startswith(("--init", "--shm-size"))]
    theirs = ["-u0", "--cpus=2", "-m2g", "--shm-size=1g", "--init", "-eA=2", "--gpus=all"]
    ours = parse_docker_args(words, environment=CLIENT, directory=folder)
    made = [by_docker([], folder, [*plain, *theirs])[0], engine.create_container_from_config(create_body(request(**changes), ours))["Id"]]
    try:
        assert inspected(engine, made[1]) == inspected(engine, made[0])
    finally:
        for one in made:
            engine.remove_container(one, v=True, force=True)


def test_a_wrong_source_of_our_own_makes_no_folder(engine: Any, folder: Path) -> None:
    import docker as sdk

    gone = folder / "gone"
    body = create_body(
        request(mounts=(BindMount(source=str(gone), target="/in"),)), parse_docker_args([], environment={}, directory=folder)
    )
    with pytest.raises(sdk.errors.APIError, match="bind source path does not exist"):
        engine.create_container_from_config(body)
    assert not gone.exists()


def test_what_has_no_effect_changes_nothing(engine: Any, folder: Path) -> None:
    words = [flag.name if flag.is_switch else f"{flag.name}=x" for flag in FLAGS if flag.fate == NO_EFFECT]
    arguments = parse_docker_args(words, environment={}, directory=folder)
    empty = parse_docker_args([], environment={}, directory=folder)
    assert create_body(request(), arguments) == create_body(request(), empty)
    assert len(arguments.notices) == len(words)
