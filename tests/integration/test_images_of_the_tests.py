"""Each image of the tests is what its name says; other tests rely on it."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import docker
import pytest
from docker.errors import APIError
from docker.models.images import Image

from tests.docker_engine import as_tester
from tests.images import recipes

pytestmark = pytest.mark.needs("docker")

LOOK = """
import importlib.util, json, os, sys
found = [name for name in ("pandas", "pyarrow") if importlib.util.find_spec(name)]
for name in found:
    __import__(name)
print(json.dumps([list(sys.version_info[:2]), found, os.getuid()]))
"""
NOT_THERE = "executable file not found|no such file or directory"
Run = Callable[..., str]


@pytest.fixture(scope="module")
def engine() -> Iterator[docker.DockerClient]:
    client = docker.from_env()
    yield client
    client.close()


@pytest.fixture
def image(engine, test_image) -> Callable[[str], Image]:
    return lambda name: engine.images.get(test_image(name))


@pytest.fixture
def run(engine, test_image) -> Run:
    """Runs a container of the image to its end and gives what it printed; the command is searched on the image's PATH."""

    def run(name: str, *command: str) -> str:
        # Not `containers.run(remove=True)`, which leaves the container behind when its command cannot be started.
        container = engine.containers.create(test_image(name), list(command), network_mode="none")
        try:
            container.start()
            status = container.wait(timeout=60)["StatusCode"]
            printed = container.logs().decode()
        finally:
            container.remove(force=True)
        assert status == 0, printed
        return printed

    return run


@pytest.mark.parametrize(
    ("name", "version", "packages", "uid"),
    [
        ("bare", [3, 11], [], 0),
        ("pandas-only", [3, 11], ["pandas"], 0),
        ("pandas", [3, 11], ["pandas", "pyarrow"], 0),
        ("python37", [3, 7], [], 0),
        ("python38", [3, 8], ["pandas", "pyarrow"], 0),
        ("oldpython", [3, 6], [], 0),
        ("user", [3, 11], [], 1234),
        ("noshell", [3, 11], [], 0),
    ],
)
def test_python_packages_and_user(run, name, version, packages, uid):
    assert json.loads(run(name, "python3", "-c", LOOK)) == [version, packages, uid]


@pytest.mark.parametrize(("name", "version"), [("python37", "3.7"), ("python38", "3.8"), ("oldpython", "3.6")])
def test_an_older_python_is_the_only_one(run, name, version):
    assert run(name, "python", "-c", "import sys; print('%d.%d' % sys.version_info[:2])").strip() == version
    found = run(name, "sh", "-c", "ls /bin /usr/bin /usr/local/bin | grep '^python' | sort -u").split()
    assert set(re.findall(r"\d\.\d+", " ".join(found))) == {version}


def test_user(image, run):
    assert image("user").attrs["Config"]["User"] == "1234"
    assert run("user", "sh", "-c", "whoami; pwd").split() == ["app", "/home/app"]


def test_entrypoint(image, run):
    assert image("entrypoint").attrs["Config"]["Entrypoint"] == ["/bin/echo", "not-me"]
    assert run("entrypoint", "python3", "-V") == "not-me python3 -V\n"
    assert run("entrypoint") == "not-me nor-me\n"


@pytest.mark.parametrize("command", ["sh", "bash", "/bin/sh", "/bin/dash", "ls", "env"])
def test_noshell(run, command):
    with pytest.raises(APIError, match=NOT_THERE):
        run("noshell", command)


@pytest.mark.parametrize("command", ["python", "python3", "/usr/bin/python3"])
def test_nopython(run, command):
    with pytest.raises(APIError, match=NOT_THERE):
        run("nopython", command)
    assert run("nopython", "sh", "-c", "echo a shell is there") == "a shell is there\n"


@pytest.mark.needs("docker-user")
def test_an_ordinary_user_starts_containers(test_image):
    code = """
import docker, os, sys
client = docker.from_env()
container = client.containers.run(sys.argv[1], ["true"], network_mode="none", detach=True)
print(os.getuid() > 0, container.wait()["StatusCode"])
container.remove()
client.close()
"""
    done = subprocess.run(
        [*as_tester(), sys.executable, "-c", code, test_image("bare")], cwd="/", capture_output=True, text=True, check=False
    )
    assert done.stdout == "True 0\n", done.stderr


def test_the_pins_of_the_images_are_those_of_the_project():
    pins = {line.split(";")[0].strip() for line in (Path(__file__).parents[2] / "constraints.txt").read_text().splitlines()}
    assert pins.issuperset(recipes.PANDAS + recipes.PYARROW)


def test_parents_come_first_and_once():
    assert recipes.with_parents(["pandas", "bare", "user"]) == ["bare", "pandas-only", "pandas", "user"]
