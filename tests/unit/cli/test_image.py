"""`runner image …` and what it calls, without an engine."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from types import SimpleNamespace

import pytest

from runner.client import Client
from runner.errors import UserError
from runner.images import Images, OwnImage, PulledImage
from runner.spec.load import read_job

WORKSPACE = """
environments:
  base: {"1": {image: "registry.example/base:1"}, "2": {image: "registry.example/base:2", conda_file: conda.yml}}
  plain: {"1": {conda_file: conda.yml}}
"""
IMAGE = OwnImage(
    name="runner/image:1", hash="1", id="sha256:12", bytes=1 << 20, created="2026-01-31T12:00:00Z", made_from="x", last_used=1e9
)


@pytest.fixture
def images(folder) -> Images:
    (folder / "workspace.yml").write_text(WORKSPACE)
    (folder / "conda.yml").write_text("dependencies: [python=3.11]\n")
    return Images(Client())


@pytest.fixture
def command(monkeypatch, capsys):
    """`command("list", …)` runs `runner image list …` and gives its exit status, stdout and stderr."""

    def run(*words: str) -> tuple[int, str, str]:
        from runner.cli import app

        monkeypatch.setattr(sys, "argv", ["runner", "image", *words])
        status = app.run()
        told = capsys.readouterr()
        return status, told.out, told.err

    return run


def test_environments_of_the_workspace_by_name(images):
    assert images.of_name("base").image == "registry.example/base:2"
    assert images.of_name("base@latest").conda == {"dependencies": ["python=3.11"]}
    assert images.of_name("azureml:base:1").conda is None
    with pytest.raises(UserError, match="'plain' asks for no image"):
        images.of_name("plain")
    with pytest.raises(UserError, match="not known"):
        images.of_name("bass")


def test_environments_of_a_job_each_once(images, folder):
    text = (folder / "job.yml").read_text().replace("task: {", "task: {environment: 'azureml:base:1', ")
    (folder / "job.yml").write_text(text)
    (found,) = images.of_job(read_job(folder / "job.yml", ()))
    assert found.image == "registry.example/base:1"


def test_pull_of_names_and_job_files(images, folder, command, monkeypatch):
    pulled = []

    def pull(_self, name, *, say):
        say(f"pulling {name}")
        pulled.append(name)
        return PulledImage(name=name, reference=f"mine/{name}", id="sha256:12", digest="mine/a@sha256:34")

    monkeypatch.setattr(Images, "pull", pull)
    status, out, err = command("pull", "registry.example/a:1", "-o", "json")
    assert (status, pulled, err) == (0, ["registry.example/a:1"], "pulling registry.example/a:1\n")
    assert json.loads(out) == [{"image": "mine/registry.example/a:1", "id": "sha256:12", "digest": "mine/a@sha256:34"}]
    text = (folder / "job.yml").read_text().replace("task: {", "task: {environment: 'azureml:base:1', ")
    (folder / "job.yml").write_text(text)
    assert command("pull", "-f", "job.yml")[0] == 0
    assert pulled[1:] == ["registry.example/base:1"]
    assert command("pull")[0] == 2
    assert "is no name of an image" in command("pull", "A b")[2]


def test_build_of_an_environment(images, command, monkeypatch):
    made = []

    def build(_self, environment, *, say, warn):
        warn("the file says")
        made.append(environment)
        return SimpleNamespace(reference="a:1", id="sha256:12", digest="", facts=SimpleNamespace(version_text="3.11.2"))

    monkeypatch.setattr(Images, "build", build)
    status, out, err = command("build", "base")
    assert status == 0
    assert out.splitlines()[2].split() == ["a:1", "12", "3.11.2"]
    assert err == "Notice: the file says\n"
    assert made[0].image == "registry.example/base:2"
    assert "no step of the job file asks for an image" in command("build", "-f", "job.yml")[2]
    assert "no environment is named" in command("build")[2]


@pytest.mark.parametrize("verb", ["pull", "build"])
def test_a_name_or_a_job_file_and_not_both(images, command, verb):
    status, _, err = command(verb, "base", "-f", "job.yml")
    assert status == 2
    assert "both 'base' and a job file with -f are given\n  next: give one of the two" in err


def test_list_and_prune(images, command, monkeypatch):
    removed = []
    monkeypatch.setattr(Images, "list", lambda _self: [IMAGE])
    monkeypatch.setattr(Images, "prune", lambda _self, chosen, _say: removed.extend(chosen) or iter(chosen))
    assert command("list")[1].splitlines()[2].split() == ["runner/image:1", "12", "1.0", "MB", "2001-09-09", "01:46:40", "x"]
    assert json.loads(command("list", "-o", "json")[1])[0]["bytes"] == 1 << 20
    status, out, err = command("prune", "--dry-run")
    assert (status, removed, err) == (0, [], "1 would be removed\n")
    assert "runner/image:1" in out
    assert command("prune", "--keep", "7d", "--yes")[2] == "1 are removed\n"
    assert removed == [IMAGE]
    assert "is not a length of time" in command("prune", "--keep", "soon")[2]


def test_what_is_pruned_goes_by_use_and_by_workspace(images, monkeypatch):
    now = time.time()
    fresh = OwnImage(name="a", hash="a", id="1", bytes=1, created="2026-01-31T12:00:00Z", made_from="x", last_used=now)
    others = OwnImage(name="b", hash="b", id="2", bytes=1, created="2026-01-31T12:00:00Z", made_from="", last_used=None)
    monkeypatch.setattr(Images, "list", lambda _self: [IMAGE, fresh, others])
    later = 1769860800 + 40 * 86400  # forty days after they were made
    assert images.plan_prune(keep=30 * 86400, now=min(now, later)) == [IMAGE]
    assert images.plan_prune(keep=30 * 86400, everything=True, now=max(now, later))[-1] == others


def test_help_loads_no_docker():
    code = "import sys; sys.argv = ['runner', 'image', '--help']\nfrom runner.cli import app\napp.run()\nassert 'docker' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, timeout=60)
