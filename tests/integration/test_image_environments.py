"""Conda files in images, with a real engine: pip alone, the image's conda, and what neither can do."""

from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import docker
import pytest

from runner.errors import UserError
from runner.launch.image import connected
from runner.launch.image_cache import locked
from runner.launch.image_find import describe_image
from runner.launch.image_leftovers import container_name
from runner.model.docker import BindMount, ContainerRequest
from tests.integration.images_support import Finder, conda, context, settings

pytestmark = pytest.mark.needs("docker")
# A program in the place of micromamba, mamba or conda: makes a virtual environment, and tells what it was asked.
FAKE = """\
#!/usr/bin/python3
import json, os, subprocess, sys
words = sys.argv[1:]
file, prefix = words[words.index("-f") + 1], words[words.index("-p") + 1]
print("asked", json.dumps(words[:2]), flush=True)
print(open(file).read(), flush=True)
if "no-such-package" in open(file).read():
    print("PackagesNotFoundError: no-such-package")
    sys.exit(4)
os.makedirs(os.environ["CONDA_PKGS_DIRS"])
subprocess.check_call([sys.executable, "-m", "venv", "--without-pip", prefix])
"""


@pytest.fixture
def finder(tmp_path) -> Iterator[Finder]:
    made = Finder(tmp_path / "cache")
    yield made
    made.clean()


def ask(image: str, code: str, folder: Path, *, user: str = "1234:1234") -> object:
    """What `python` in the image answers to an expression, as JSON."""
    folder.mkdir(exist_ok=True)
    folder.chmod(0o777)
    program = f"import json, os, sys\nopen('/out/answer', 'w').write(json.dumps({code}))"
    mounts = (BindMount(source=str(folder), target="/out", read_only=False),)
    request = ContainerRequest(image=image, command=("python", "-c", program), name=f"runner-test-{os.getpid()}", user=user, mounts=mounts)
    with connected() as engine, engine.container(request, network="none") as container:
        assert container.wait(until=time.monotonic() + 60) == 0
    return json.loads((folder / "answer").read_text())


LOOK = "[sys.version_info[:2], sys.prefix, __import__('iniconfig').__name__, os.path.exists('/opt/runner-work')]"


@pytest.mark.parametrize("name", ["noshell", "user", "python37"])
def test_packages_of_pip_need_neither_conda_nor_pip_nor_a_shell_in_the_image(finder, test_image, tmp_path, name):
    environment = conda(test_image(name), "python>=3.7", "pip", {"pip": ["iniconfig<3"]})
    base = finder.find(replace(environment, conda=None))
    assert describe_image(environment, docker=settings(), cache=finder.cache).text.endswith("to be installed with pip")
    found = finder.find(environment)
    assert found.id != base.id
    assert found.python == ("python",)
    version, prefix, package, rest = ask(found.id, LOOK, tmp_path / "out")  # type: ignore[misc]
    assert (tuple(version), prefix, package, rest) == (base.facts.version[:2], "/opt/runner-environment", "iniconfig", False)
    own, below = finder.image(found), finder.image(base)
    assert own.environment == {**below.environment, "PATH": own.environment["PATH"], "VIRTUAL_ENV": prefix}
    assert own.config["WorkingDir"] in (below.config["WorkingDir"], "/")
    assert own.config["User"] == (below.config["User"] or "0:0")

    finder.said.clear()
    assert finder.find(environment).id == found.id
    assert finder.said == [], "not made again"
    assert describe_image(environment, docker=settings(), cache=finder.cache).ready


def test_secrets_are_in_no_layer_no_history_no_log(finder, test_image, tmp_path, monkeypatch):
    monkeypatch.setenv("PIP_RETRIES", "0")  # nothing answers at that index
    (tmp_path / "requirements.txt").write_text("--extra-index-url https://user:t0ken@127.0.0.1:9/simple\n./plain\n")
    plain = tmp_path / "plain"
    plain.mkdir()
    (plain / "pyproject.toml").write_text(
        '[project]\nname = "plain-of-the-tests"\nversion = "1"\n[tool.setuptools]\npy-modules = ["plain"]\n'
    )
    (plain / "plain.py").write_text("")
    environment = conda(test_image("bare"), {"pip": ["-r requirements.txt"]}, path=tmp_path / "conda.yml")
    proxy = {"no_proxy": "user:pa55word@example"}
    found = finder.find(environment, proxy=proxy)
    look = "[__import__('plain').__name__, [root for root, _, files in os.walk('/opt') if 'requirements.txt' in files]]"
    assert ask(found.id, look, tmp_path / "out") == ["plain", []]
    client = docker.APIClient(version="auto")
    with closing(client):
        told = f"{client.history(found.id)}{client.inspect_image(found.id)}{finder.said}{finder.warned}"
    assert "t0ken" not in told
    assert "pa55word" not in told
    for file in finder.cache.rglob("*"):
        assert file.is_dir() or "t0ken" not in file.read_text()


def test_a_conda_file_on_a_build(finder, test_image, tmp_path):
    build = context(tmp_path / "context", f"FROM {test_image('bare')}\nENV MARK=from-the-build PYTHONPATH=/nowhere\n")
    environment = replace(build, conda=conda("x", {"pip": ["iniconfig"]}).conda)
    found = finder.find(environment)
    assert ask(found.id, "[os.environ['MARK'], __import__('iniconfig').__name__]", tmp_path / "out") == ["from-the-build", "iniconfig"]


def test_pips_last_words_stand_in_the_error_and_nothing_is_left(finder, test_image):
    environment = conda(test_image("bare"), {"pip": ["no-such-package-of-the-tests==1"]})
    with pytest.raises(UserError, match=r"pip install in the image .* failed with exit status 1") as caught:
        finder.find(environment)
    assert "No matching distribution found for no-such-package-of-the-tests==1" in caught.value.problem
    assert left_containers(finder) == []


def test_an_installation_ends_at_its_time_out_and_on_cancellation(finder, test_image, tmp_path):
    slow = tmp_path / "slow"
    slow.mkdir()
    (slow / "setup.py").write_text("import time\ntime.sleep(600)\n")
    environment = conda(test_image("bare"), {"pip": ["./slow"]}, path=tmp_path / "conda.yml")
    with pytest.raises(UserError, match="took longer than 4 seconds"):
        finder.find(environment, build_timeout=4)
    started = time.monotonic()
    with pytest.raises(UserError, match="was cancelled"):
        finder.find(environment, on_cancel=lambda stop: threading.Timer(2, stop).start())
    assert time.monotonic() - started < 120
    assert left_containers(finder) == []


def left_containers(finder: Finder) -> list[str]:
    names = [path.stem for path in (finder.cache / "images").glob("*.lock")]
    assert names
    client = docker.APIClient(version="auto")
    with closing(client):
        return [one["Id"] for name in names for one in client.containers(all=True, filters={"name": container_name(name, finder.cache)})]


def test_what_a_killed_process_has_left_is_removed_by_the_next(finder, test_image):
    left, held = (container_name(hash_ * 20, finder.cache) for hash_ in "ab")
    others = container_name("a" * 20, finder.cache / "other")
    client = docker.APIClient(version="auto")
    with closing(client), locked(finder.cache, "b" * 20, finder.said.append, lambda _stop: None):
        try:
            for name in (left, held, others):
                client.create_container(test_image("bare"), ["true"], name=name)
            finder.find(conda(test_image("bare"), "python>=3.7"))
            with connected() as engine:
                assert set(engine.containers_named("runner-install-")) & {left, held, others} == {held, others}
        finally:
            with connected() as engine:
                for name in (left, held, others):
                    engine.remove_container(name)


def test_two_at_once_make_one_image(finder, test_image):
    environment = conda(test_image("bare"), {"pip": ["iniconfig"]})
    found: list[str] = []
    threads = [threading.Thread(target=lambda: found.append(finder.find(environment).id)) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(300)
    assert len(found) == 2
    assert len(set(found)) == 1
    assert sum(line.startswith("making an image") for line in finder.said) == 1
    assert "another job is making this image: waiting for it" in finder.said


# Without PyPI's help


def test_a_python_that_the_image_lacks(finder, test_image):
    environment = conda(test_image("bare"), "python=3.8")
    with pytest.raises(UserError, match=r"asks for python==3\.8\.\*; the image .* has Python 3\.11\.\d+, and no conda") as caught:
        finder.find(environment)
    assert "take an image with that Python" in caught.value.todo


def test_packages_that_need_conda_in_an_image_without(finder, test_image):
    environment = conda(test_image("bare"), "cudatoolkit=11.1", "pip")
    for what in (finder.find, lambda environment: describe_image(environment, docker=settings(), cache=finder.cache)):
        with pytest.raises(UserError, match=r"needs what only conda can install \(.*cudatoolkit=11\.1") as caught:
            what(environment)
        assert "Dockerfile" in caught.value.todo


@pytest.mark.parametrize("tool", ["conda", "micromamba"])
def test_the_conda_of_the_image_is_used_where_pip_is_not_enough(finder, test_image, tmp_path, tool):
    dockerfile = f'FROM {test_image("bare")}\nCOPY {tool} /usr/local/bin/\nRUN ["chmod", "755", "/usr/local/bin/{tool}"]\n'
    base = context(tmp_path / "context", dockerfile, **{tool: FAKE})
    content = conda("x", "python=3.8", "cudatoolkit=11.1", {"pip": ["-r more.txt"]}).conda
    (tmp_path / "more.txt").write_text("iniconfig\n")
    variables = {"channels": ["https://user:t0ken@conda.example/main"], "variables": {"MARK": "7"}}
    environment = replace(base, conda={**(content or {}), **variables}, conda_path=str(tmp_path / "conda.yml"))

    found = finder.find(environment)
    asked = {"conda": '["env", "create"]', "micromamba": '["create", "-y"]'}[tool]
    assert f"asked {asked}" in finder.said
    assert "- cudatoolkit=11.1" in finder.said
    assert "  - -r /opt/runner-work/0/more.txt" in finder.said
    assert "- https://****@conda.example/main" in finder.said
    look = "[sys.prefix, os.environ['CONDA_PREFIX'], os.environ['MARK'], os.listdir('/opt')]"
    prefix = "/opt/runner-environment"
    assert ask(found.id, look, tmp_path / "out") == [prefix, prefix, "7", ["runner-environment"]]

    broken = replace(environment, conda={**(environment.conda or {}), "dependencies": ["no-such-package", "cudatoolkit"]})
    with pytest.raises(UserError, match=f"{tool} in the image .* failed with exit status 4") as caught:
        finder.find(broken)
    assert "PackagesNotFoundError" in caught.value.problem
