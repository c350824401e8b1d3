"""Images from a private registry and from Dockerfiles, with a real engine."""

from __future__ import annotations

import os
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import closing

import pytest

from runner.client import Client
from runner.errors import UserError
from runner.images import Images
from runner.launch.image import connected
from runner.launch.image_find import describe_image
from runner.model.job import Environment
from tests.integration.images_support import Finder, context, settings, sleeper
from tests.integration.registry import PASSWORD, Registry, docker_config, helper_config, running_registry

pytestmark = pytest.mark.needs("docker")


@pytest.fixture
def finder(tmp_path) -> Iterator[Finder]:
    made = Finder(tmp_path / "cache")
    yield made
    made.clean()


# A private registry


@pytest.fixture(scope="module")
def registry(tmp_path_factory, request) -> Iterator[Registry]:
    from tests.conftest import demand

    demand("docker-registry")
    with running_registry(tmp_path_factory.mktemp("registry")) as running:
        yield running


@pytest.fixture
def scorer(registry, test_image) -> Iterator[tuple[str, str]]:
    """An image of the registry that is not on this machine: its name and its digest."""
    name = f"team/scorer-{os.getpid()}:1.2"
    digest = registry.push(test_image("bare"), name)
    yield f"{registry.address}/{name}", digest
    with connected() as engine:
        for left in (f"{registry.address}/{name}", f"{registry.address}/{name.partition(':')[0]}@{digest}"):
            engine.remove(left)


@pytest.mark.parametrize("kind", ["in the file", "by a helper"])
def test_an_image_is_pulled_with_the_credentials_of_dockers_configuration(finder, registry, scorer, tmp_path, monkeypatch, kind):
    name, digest = scorer
    folder = (docker_config if kind == "in the file" else helper_config)(tmp_path / "docker", registry)
    monkeypatch.setenv("DOCKER_CONFIG", str(folder))
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
    assert "to be pulled" in describe_image(Environment(image=name), docker=settings(), cache=finder.cache).text

    found = finder.find(Environment(image=name))
    assert found.reference == name
    assert found.digest == f"{name.removesuffix(':1.2')}@{digest}"
    assert found.id.startswith("sha256:")
    assert found.python == ("python3",)
    assert found.facts.version >= (3, 7)
    assert finder.said[0] == f"pulling {name}"
    assert finder.said[-1].startswith(f"pulled {name}: ")
    assert not [line for line in finder.said if PASSWORD in line]
    for file in finder.cache.rglob("*"):
        assert file.is_dir() or PASSWORD not in file.read_text()

    finder.said.clear()
    assert finder.find(Environment(image=name)).id == found.id
    assert finder.said == [], "it is there: the registry is not asked"
    plan = describe_image(Environment(image=name), docker=settings(), cache=finder.cache)
    assert plan.ready
    assert "on this machine" in plan.text


def test_an_image_is_found_by_its_digest_and_through_the_image_map(finder, registry, scorer, tmp_path, monkeypatch):
    name, digest = scorer
    monkeypatch.setenv("DOCKER_CONFIG", str(docker_config(tmp_path / "docker", registry)))
    repository = name.rpartition("/")[2].partition(":")[0]
    image_map = {"registry.example/": "elsewhere.example/", "registry.example/upstream/": f"{registry.address}/team/"}
    written = f"registry.example/upstream/{repository}:7@{digest}"  # beside a digest, a tag says nothing

    found = finder.find(Environment(image=written), image_map=image_map)
    assert found.reference == f"{registry.address}/team/{repository}:7@{digest}"
    assert found.digest == f"{registry.address}/team/{repository}@{digest}"
    assert finder.said[0] == f"image map: {found.reference} in the place of {written}"


def test_wrong_and_missing_credentials_say_what_to_do(finder, registry, scorer, tmp_path, monkeypatch):
    name, _ = scorer
    wrong = "not-the-password-7"
    for folder in (docker_config(tmp_path / "wrong", registry, password=wrong), tmp_path / "none"):
        monkeypatch.setenv("DOCKER_CONFIG", str(folder))
        with pytest.raises(UserError) as caught:
            finder.find(Environment(image=name))
        assert name in caught.value.problem
        assert "docker login" in caught.value.todo
        assert wrong not in f"{caught.value}{finder.said}"


def test_a_credential_helper_that_is_missing_is_named(finder, registry, scorer, tmp_path, monkeypatch):
    monkeypatch.setenv("DOCKER_CONFIG", str(helper_config(tmp_path / "docker", registry)))  # and not on the PATH
    for environment in (Environment(image=scorer[0]), context(tmp_path / "context", f"FROM {scorer[0]}\n")):
        with pytest.raises(UserError, match="docker-credential-of-the-tests is not installed") as caught:
            finder.find(environment)
        assert caught.value.todo.startswith("install it, or take it out of Docker's config.json")


@pytest.mark.parametrize(
    ("script", "said"),
    [("exit 3", "docker-credential-broken exited with"), ("echo hello", "gave no credentials"), ("echo '{}'", "gave no credentials")],
)
def test_a_credential_helper_that_is_broken(finder, tmp_path, monkeypatch, script, said):
    (tmp_path / "config.json").write_text('{"credsStore": "broken"}')
    (tmp_path / "docker-credential-broken").write_text(f"#!/bin/sh\n{script}\n")
    (tmp_path / "docker-credential-broken").chmod(0o755)
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path))
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    with pytest.raises(UserError, match=said) as caught:
        finder.find(Environment(image="registry.example/that/is/not/here:1"))
    assert "see what is wrong with this helper" in caught.value.todo


def test_scratch_is_no_image(finder):
    with pytest.raises(UserError, match="reserved name") as caught:
        finder.find(Environment(image="scratch"))
    assert "that has a Python" in caught.value.todo


def test_an_image_that_the_registry_does_not_have(finder, registry, tmp_path, monkeypatch):
    monkeypatch.setenv("DOCKER_CONFIG", str(docker_config(tmp_path / "docker", registry)))
    with pytest.raises(UserError, match=r"cannot be pulled: .*not (found|known)|manifest unknown") as caught:
        finder.find(Environment(image=f"{registry.address}/team/scorer:no-such-tag"))
    assert "see that its name, tag or digest is right" in caught.value.todo


def test_a_registry_that_hangs_ends_at_the_time_out(finder):
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        name = f"127.0.0.1:{silent.getsockname()[1]}/team/never:1"
        started = time.monotonic()
        with pytest.raises(UserError, match="took longer than 1 second") as caught:
            finder.find(Environment(image=name), pull_timeout=1)
        assert time.monotonic() - started < 60
        assert "pull_timeout" in caught.value.todo


def test_a_build_starts_from_an_image_of_the_registry(finder, registry, scorer, tmp_path, monkeypatch):
    name, _ = scorer
    monkeypatch.setenv("DOCKER_CONFIG", str(docker_config(tmp_path / "docker", registry)))
    written = name.replace(registry.address, "registry.example")
    found = finder.find(
        context(tmp_path / "context", f"FROM {written}\nENV MARK=7\n"), ca_bundle=None, image_map={"registry.example": registry.address}
    )
    assert finder.image(found).environment["MARK"] == "7"
    assert PASSWORD not in f"{finder.said}"
    wrong = context(tmp_path / "wrong", f"FROM {registry.address}/team/no-such-image:1\n")
    with pytest.raises(UserError, match=r"the build of .* failed:\n(.*\n)*.*(not found|unknown|denied)"):
        finder.find(wrong)


# Dockerfiles


def test_a_build_is_made_once_and_leaves_out_what_dockerignore_says(finder, test_image, tmp_path):
    dockerfile = f"""\
FROM {test_image("noshell")}
COPY . /context
RUN ["python3", "-c", "import os; print('it has', sorted(os.listdir('/context'))); os.stat('/context/link', follow_symlinks=False)"]
"""
    folder = tmp_path / "context"
    environment = context(folder, dockerfile, kept="1", secret="2", **{".dockerignore": "# comment\nsecret\n*.log\n!kept.log\n"})
    for name in ("a.log", "kept.log"):
        (folder / name).write_text(name)
    (folder / "link").symlink_to("/etc/hostname")
    assert "to be built" in describe_image(environment, docker=settings(), cache=finder.cache).text

    found = finder.find(environment)
    assert found.reference == f"the build of {folder}"
    listed = next(line for line in finder.said if line.startswith("it has"))
    assert "'kept'" in listed
    assert "'kept.log'" in listed
    assert "secret" not in listed
    assert "'a.log'" not in listed

    finder.said.clear()
    (folder / "secret").write_text("has changed, and does not belong to the context")
    os.utime(folder / "kept", (1, 1))
    assert finder.find(environment).id == found.id
    assert finder.said == [], "not built again"
    assert "built before" in describe_image(environment, docker=settings(), cache=finder.cache).text
    (folder / "kept").write_text("has changed")
    assert finder.find(environment).id != found.id


def test_the_build_that_fails_shows_its_last_lines(finder, test_image, tmp_path):
    code = "import sys; [print('line', number) for number in range(40)]; sys.exit(3)"
    environment = context(tmp_path / "context", f'FROM {test_image("bare")}\nRUN ["python3", "-c", "{code}"]\n')
    with pytest.raises(UserError) as caught:
        finder.find(environment)
    lines = [line.strip() for line in caught.value.problem.splitlines()]
    assert lines[0] == f"the build of {tmp_path / 'context'} failed:"
    assert "line 39" in lines
    assert "line 20" not in lines
    assert "returned a non-zero code: 3" in lines[-1]
    assert "line 0" in finder.said, "all of it went to the log"


def test_a_build_ends_at_its_time_out_and_on_cancellation(finder, test_image, tmp_path):
    environment = context(tmp_path / "context", f'FROM {test_image("bare")}\nRUN ["sleep", "47.11"]\n')
    with pytest.raises(UserError, match="took longer than 2 seconds") as caught:
        finder.find(environment, build_timeout=2, ca_bundle=None)
    assert "build_timeout" in caught.value.todo

    started = time.monotonic()
    with pytest.raises(UserError, match="was cancelled"):
        finder.find(environment, ca_bundle=None, on_cancel=lambda stop: threading.Timer(1, stop).start())
    assert time.monotonic() - started < 120
    assert gone("47.11"), "the engine has stopped it as well"


def gone(word: str) -> bool:
    """Whether no process has this word in its command line, within some seconds."""
    for _ in range(150):
        if not [path for path in os.scandir("/proc") if path.name.isdigit() and word in command_line(path.path)]:
            return True
        time.sleep(0.2)
    return False


def command_line(process: str) -> list[str]:
    try:
        with open(f"{process}/cmdline") as file:
            return file.read().split("\0")
    except OSError:
        return []


def test_a_build_has_proxies_and_the_ca_bundle_and_keeps_neither(finder, test_image, tmp_path):
    proxy = {"https_proxy": "http://user:pa55word@proxy.example:3128", "no_proxy": "localhost"}
    bundle = tmp_path / "bundle.pem"
    bundle.write_text("certificates\n")
    look = "import os; print(os.environ['SSL_CERT_FILE'], open(os.environ['PIP_CERT']).read().strip(), os.environ['https_proxy'])"
    dockerfile = f'FROM {test_image("bare")} AS first\nRUN ["true"]\nFROM first\nUSER 1234\nRUN ["python3", "-c", "{look}"]\n'
    found = finder.find(context(tmp_path / "context", dockerfile), ca_bundle=str(bundle), proxy=proxy)
    assert "/etc/runner-ca.pem certificates http://****@proxy.example:3128" in finder.said
    image = finder.image(found)
    assert not {"SSL_CERT_FILE", "https_proxy"} & set(image.environment)
    assert "pa55word" not in f"{image}{history(found.id)}{finder.said}"


def history(image_id: str) -> str:
    import docker

    client = docker.APIClient(version="auto")
    with closing(client):
        return str(client.history(image_id))


# The image as a base of jobs


def test_pythons_that_are_missing_or_too_old_are_refused(finder, test_image):
    for name, seen in (("nopython", ""), ("oldpython", "python3 3.6")):
        with pytest.raises(UserError, match=r"has no Python 3\.7 or newer on its PATH") as caught:
            finder.find(Environment(image=test_image(name)))
        assert seen in caught.value.problem


def test_the_image_of_a_build_is_said_to_be_one(finder, test_image, tmp_path):
    environment = context(tmp_path / "context", f"FROM {test_image('nopython')}\n")
    with pytest.raises(UserError, match=r"^the image of the build of .*/context has no Python"):
        finder.find(environment)
    finder.clean()


@pytest.mark.parametrize("name", ["user", "entrypoint", "noshell", "python37"])
def test_images_are_asked_whatever_they_are(finder, test_image, name):
    found = finder.find(Environment(image=test_image(name)))
    assert found.python[0] in ("python", "python3")
    assert found.facts.passwd.startswith("root:")
    assert found.facts.tools == {}


def test_without_an_engine_the_error_says_what_was_tried(finder, tmp_path, monkeypatch):
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/no.sock")
    for ask in (finder.find, lambda environment: describe_image(environment, docker=settings(), cache=finder.cache)):
        with pytest.raises(
            UserError, match=r"no Docker engine answers: tried unix://.*no\.sock \(from DOCKER_HOST\): No such file"
        ) as caught:
            ask(Environment(image="registry.example/scorer:1"))
        assert "--local" in caught.value.todo


# Keeping house


def test_prune_removes_what_this_workspace_has_not_used_for_long(finder, test_image, tmp_path):
    environment = context(tmp_path / "context", f"FROM {test_image('bare')}\nCOPY unique /\n")
    (tmp_path / "workspace.yml").write_text("{}")
    images = Images(Client(tmp_path))
    made = images.build(environment, say=finder.said.append, warn=finder.warned.append)
    other = finder.find(context(tmp_path / "other", f"FROM {test_image('bare')}\nCOPY unique /\n"))

    listed = {one.id: one for one in images.list()}
    assert listed[made.id].made_from == str(tmp_path / "context")
    assert listed[other.id].last_used is None, "this workspace has not used it"
    assert images.plan_prune(keep=3600) == []
    (mine,) = images.plan_prune(keep=3600, now=time.time() + 7200)
    assert mine.id == made.id

    with connected() as engine:
        with engine.container(sleeper(made.id)):
            assert list(images.prune([mine], finder.said.append)) == []
            assert "is kept" in finder.said[-1]
        assert list(images.prune([mine], finder.said.append)) == [mine]
        assert engine.find(made.id) is None
        assert engine.find(other.id) is not None
