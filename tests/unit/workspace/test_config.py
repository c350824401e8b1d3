from __future__ import annotations

import pytest

from runner.errors import UserError
from runner.workspace.config import find_workspace


@pytest.fixture(autouse=True)
def _no_variable(monkeypatch):
    monkeypatch.delenv("RUNNER_WORKSPACE", raising=False)


def test_found_upwards(tmp_path):
    below = tmp_path / "a" / "b"
    below.mkdir(parents=True)
    (tmp_path / ".runner").mkdir()
    assert find_workspace(cwd=below).root == tmp_path
    (tmp_path / "a" / "workspace.yml").write_text("")
    assert find_workspace(cwd=below).root == tmp_path / "a"


def test_option_wins_over_variable(tmp_path, monkeypatch):
    monkeypatch.setenv("RUNNER_WORKSPACE", str(tmp_path / "v"))
    assert find_workspace(cwd=tmp_path).root == tmp_path / "v"
    assert find_workspace("o", cwd=tmp_path).root == tmp_path / "o"


def test_made_on_the_first_job_only(tmp_path):
    workspace = find_workspace(tmp_path)
    assert list(tmp_path.iterdir()) == []
    workspace.make()
    assert (tmp_path / ".runner" / ".gitignore").read_text() == "*\n"
    with pytest.raises(UserError, match="no job has been created here"):
        find_workspace(cwd=tmp_path.parent, must_exist=True)
    with pytest.raises(UserError, match="is not a workspace"):
        find_workspace(tmp_path / "x", must_exist=True)


def test_not_a_folder(tmp_path):
    (tmp_path / "f").write_text("")
    with pytest.raises(UserError, match="is not a folder"):
        find_workspace(tmp_path / "f")


def test_settings(tmp_path):
    (tmp_path / "workspace.yml").write_text(
        """
datastores: {lake: {type: local, path: data/lake}}
default_datastore: lake
computes: {box: {type: local}}
default_compute: azureml:box
environments:
  score: {"1": {image: img, conda_file: conda.yml}, "2": {build: {path: docker}}}
defaults: {free_space_floor: 1.5 GB}
"""
    )
    workspace = find_workspace(tmp_path)
    assert workspace.datastores["lake"] == tmp_path / "data/lake"
    assert workspace.data_folder("j") == tmp_path / "data/lake/azureml/j"
    assert workspace.computes == {"local": "local", "box": "local"}
    assert workspace.settings.default_compute == "box"
    assert workspace.settings.environments["score"]["1"].conda_file == tmp_path / "conda.yml"
    assert workspace.settings.environments["score"]["2"].build_context == tmp_path / "docker"
    assert workspace.settings.free_space_floor == 3 * 2**29


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("datastore: {}", r"workspace.yml:1 `datastore`: unknown key 'datastore'\n.*\n.*did you mean 'datastores'"),
        ("\ndatastores: {lake: {type: local}}", r"workspace.yml:2 .*`path` is missing"),
        ("datastores: {lake: {type: blob, path: x}}", r"the type 'blob' is not supported.*\n  allowed: local"),
        ("default_compute: gpu", "'gpu' is not known here\n  allowed: local"),
        ("defaults: {free_space_floor: much}", "'much' is not a size"),
        ("computes: [a]", "must be a mapping"),
        ("a: [", "YAML syntax"),
    ],
)
def test_mistakes_are_named_with_file_and_line(tmp_path, text, message):
    (tmp_path / "workspace.yml").write_text(text)
    with pytest.raises(UserError, match=message):
        find_workspace(tmp_path)
