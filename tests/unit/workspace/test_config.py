from __future__ import annotations

import pytest

from runner.errors import UserError
from runner.model.docker import DockerPolicy, DockerSettings, InstanceType
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


def test_docker_and_instance_types(tmp_path):
    (tmp_path / "ca.pem").write_text("x")
    (tmp_path / "workspace.yml").write_text(
        """
docker:
  policy: {allow: [devices, host-network], data_roots: [shared, /srv/data]}
  images: {registry.example/azureml/: mine.example/}
  proxy: {http_proxy: "http://proxy.example:3128", no_proxy: localhost}
  ca_bundle: ca.pem
  pull_timeout: 90
  build_timeout: 2h
  mount_label: z
instance_types:
  gpu: {cpus: 0.5, gpus: 2, memory: 4GB, labels: {zone: a}}
  small:
"""
    )
    settings = find_workspace(tmp_path).settings
    assert settings.docker == DockerSettings(
        policy=DockerPolicy(allow=frozenset({"devices", "host-network"}), data_roots=(str(tmp_path / "shared"), "/srv/data")),
        image_map={"registry.example/azureml/": "mine.example/"},
        proxy={"http_proxy": "http://proxy.example:3128", "no_proxy": "localhost"},
        ca_bundle=str(tmp_path / "ca.pem"),
        pull_timeout=90,
        build_timeout=7200,
        mount_label="z",
    )
    assert settings.instance_types == {
        "gpu": InstanceType(cpus=0.5, gpus=2, memory=4 << 30, labels={"zone": "a"}),
        "small": InstanceType(),
    }


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("docker: {polcy: {}}", "unknown key 'polcy'"),
        ("docker: [1]", "must be a mapping"),
        ("docker: {policy: {allow: [privilegd]}}", "Did you mean 'privileged'|did you mean"),
        ("docker: {policy: {allow: privileged}}", "must be a list"),
        ("docker: {images: {a: [b]}}", "must be one value"),
        ("docker: {ca_bundle: missing.pem}", "does not exist"),
        ("docker: {pull_timeout: soon}", "is not a length of time"),
        ("docker: {mount_label: q}", "not known here"),
        ("instance_types: {a: {gpus: -1}}", "is not a number that fits here"),
        ("instance_types: {a: {cpus: many}}", "is not a number that fits here"),
        ("instance_types: {a: {memory: big}}", "is not a size"),
        ("instance_types: {a: {gpu: 1}}", "unknown key 'gpu'"),
    ],
)
def test_mistakes_in_docker_and_instance_types(tmp_path, text, message):
    (tmp_path / "workspace.yml").write_text(text)
    with pytest.raises(UserError, match=message) as caught:
        find_workspace(tmp_path)
    assert "workspace.yml:1" in str(caught.value)


def test_data_roots_are_those_of_the_policy_and_the_datastores(tmp_path):
    text = "datastores: {more: {path: /srv/more}}\ndocker: {policy: {allow: [devices], data_roots: [/srv/data]}}\n"
    (tmp_path / "workspace.yml").write_text(text)
    workspace = find_workspace(tmp_path)
    roots = ("/srv/data", str(workspace.datastores["workspaceblobstore"]), "/srv/more")
    assert workspace.docker_policy == DockerPolicy(allow=frozenset({"devices"}), data_roots=roots)


@pytest.mark.parametrize("path", [".runner", ".runner/jobs/x", ".runner/datastore", ".runner/cache/x.txt"])
def test_outputs_among_the_workspaces_records(tmp_path, path):
    with pytest.raises(UserError, match="lies in the workspace's own folder"):
        find_workspace(tmp_path).check_output(tmp_path / path)


@pytest.mark.parametrize("path", [".runner/datastore/azureml/x", "out", ".", ".runnerx"])
def test_outputs_elsewhere(tmp_path, path):
    find_workspace(tmp_path).check_output(tmp_path / path)
