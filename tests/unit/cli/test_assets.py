"""`runner component|environment|model`, and `runner data create`."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from runner.cli import app


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    """The command in a folder with one file of each kind: its status, what it prints, what it says."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("RUNNER_WORKSPACE", raising=False)
    (tmp_path / "data").mkdir()
    (tmp_path / "component.yml").write_text("name: prep\ntype: command\ncommand: ls\nenvironment: azureml:words@latest\n")
    (tmp_path / "environment.yml").write_text("name: words\nversion: 2\nimage: words:1\n")
    (tmp_path / "model.yml").write_text("name: m\npath: ./data\n")
    (tmp_path / "data.yml").write_text("name: d\npath: ./data\ndescription: a few\n")

    def call(*arguments: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["runner", *arguments])
        status = app.run()
        done = capsys.readouterr()
        return status, done.out, done.err

    return call


@pytest.mark.parametrize(("kind", "key"), [("component", "prep:1"), ("environment", "words:2"), ("model", "m:1"), ("data", "d:1")])
def test_what_is_created_is_listed_and_shown(run, kind, key):
    name, _, version = key.partition(":")
    status, out, _ = run(kind, "create", "-f", f"{kind}.yml")
    created = json.loads(out)
    assert (status, created["name"], created["version"]) == (0, name, version)
    assert name in run(kind, "list")[1]
    for arguments in ([name], [key], ["-n", name, "--version", version]):
        assert json.loads(run(kind, "show", *arguments)[1])["version"] == version
    assert [one["version"] for one in json.loads(run(kind, "list", name, "-o", "json")[1])] == [version]
    assert "version" in run(kind, "show", name, "-o", "table")[1]


def test_name_version_and_values_of_the_command_line_win(run):
    out = run("environment", "create", "-f", "environment.yml", "-n", "other", "-v", "1.10", "--set", "image=words:3", "-o", "yaml")[1]
    assert out == "name: other\nversion: '1.10'\nimage: words:3\n"


def test_mistakes(run):
    assert run("component", "create") == (2, "", "Error: `--file`: no file is given\n  next: give one: -f component.yml\n")
    run("environment", "create", "-f", "environment.yml")
    status, _, said = run("environment", "create", "-f", "environment.yml", "--set", "image=words:4")
    assert (status, "environment.yml:2 `version`: the environment words:2 is registered already, with another content" in said) == (2, True)
    assert "allowed: words:2" in run("environment", "show", "wrds")[2]
    assert "no component 'none'" in run("component", "list", "none")[2]
