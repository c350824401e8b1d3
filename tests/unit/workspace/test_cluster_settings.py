from __future__ import annotations

import os
import stat

import pytest

from runner.errors import UserError
from runner.model.cluster import Quotas, RayCompute
from runner.workspace.config import find_workspace

TEXT = """
datastores:
  data: {path: %s, shared: true}
  scratch: {path: scratch, shared: false}
default_datastore: data
computes:
  cluster: {type: ray, address: head.example, token_file: keys/submit.token, ca_file: ca.pem}
  other: {type: ray, address: "[fd00::7]:7000", token_env: OTHER_TOKEN}
  box: {type: local}
default_compute: azureml:cluster
instance_types:
  gpu: {cpus: 8, gpus: 1, labels: {zone: a}, max_nodes: 4}
quotas: {instances_per_user: 8, queued_jobs_per_user: 0}
administrators: ml-admins
"""


@pytest.fixture(autouse=True)
def _no_variable(monkeypatch):
    monkeypatch.delenv("RUNNER_WORKSPACE", raising=False)


@pytest.fixture
def shared(tmp_path):
    """A workspace with a cluster; the datastore lies elsewhere."""
    (tmp_path / "data").mkdir()
    (tmp_path / "ws").mkdir()
    (tmp_path / "ws" / "ca.pem").write_text("x")
    (tmp_path / "ws" / "workspace.yml").write_text(TEXT % (tmp_path / "data"))
    return find_workspace(tmp_path / "ws")


def test_a_cluster(shared, tmp_path):
    settings = shared.settings
    assert shared.computes == {"local": "local", "cluster": "ray", "other": "ray", "box": "local"}
    first = RayCompute(
        name="cluster", host="head.example", token_file=str(tmp_path / "ws/keys/submit.token"), ca_file=str(tmp_path / "ws/ca.pem")
    )
    assert shared.ray_compute("cluster") == first
    assert first.address == "head.example:6380"
    assert shared.ray_compute("other").address == "[fd00::7]:7000"
    assert shared.ray_compute("other").token_env == "OTHER_TOKEN"
    assert settings.default_compute == "cluster"
    assert settings.instance_types["gpu"].max_nodes == 4
    assert settings.quotas == Quotas(instances_per_user=8, queued_jobs_per_user=0)
    assert settings.administrators == "ml-admins"
    assert shared.shared_datastores == {"data": tmp_path / "data"}
    with pytest.raises(UserError, match=r"is no cluster(.|\n)*allowed: cluster, other"):
        shared.ray_compute("box")
    with pytest.raises(UserError, match="did you mean 'cluster'"):
        shared.ray_compute("clustr")


def test_jobs_lie_in_the_shared_datastore(shared, tmp_path):
    assert shared.jobs == tmp_path / "data/.runner/jobs"
    assert shared.data_folder("j") == tmp_path / "data/azureml/j"
    previous = os.umask(0o077)
    try:
        shared.make()
        shared.make()
    finally:
        os.umask(previous)
    for folder in (shared.jobs, shared.drafts, shared.locks, shared.uploads, tmp_path / "data/azureml"):
        assert stat.S_IMODE(folder.stat().st_mode) == 0o1777
    assert stat.S_IMODE(shared.cache.stat().st_mode) == 0o700
    assert not (tmp_path / "ws/.runner").exists()
    with pytest.raises(UserError, match="lies in the workspace's own folder"):
        shared.check_output(tmp_path / "data/.runner/jobs/x")
    shared.check_output(tmp_path / "data/results")


def test_a_datastore_that_is_not_mounted(shared, tmp_path):
    (tmp_path / "data").rmdir()
    with pytest.raises(UserError, match=r"'data' is not there(.|\n)*mount it"):
        shared.make()


def test_without_a_shared_default_datastore_nothing_changes(tmp_path):
    (tmp_path / "workspace.yml").write_text("datastores: {data: {path: /srv/data, shared: true}}\n")
    workspace = find_workspace(tmp_path)
    assert (workspace.state, workspace.cache) == (tmp_path / ".runner", tmp_path / ".runner/cache")


SHARED = "datastores: {d: {path: /srv/d, shared: true}}\ndefault_datastore: d\ncomputes:\n  c: "


@pytest.mark.parametrize(
    ("text", "line", "message"),
    [
        (SHARED + "{type: ray, token_env: T}", 4, r"`address` is missing(.|\n)*HOST:PORT"),
        (SHARED + "{type: ray, token_env: T, address: 'http://head:6380/x'}", 4, r"is not an address(.|\n)*write head:6380"),
        (SHARED + "{type: ray, token_env: T, address: 'head:99999'}", 4, "'head:99999' is not an address"),
        (SHARED + "{type: ray, token_env: T, address: 'head:'}", 4, "is not an address"),
        (SHARED + "{type: ray, token_env: T, address: [head]}", 4, "must be one value"),
        (SHARED + "{type: ray, token_env: T, adress: head}", 4, r"unknown key 'adress'(.|\n)*did you mean 'address'"),
        (SHARED + "{type: ray, address: head}", 4, r"needs the submit token(.|\n)*token_file: PATH, token_env: NAME"),
        (SHARED + "{type: ray, address: head, token_env: T, token_file: f}", 4, "exclude each other"),
        (SHARED + "{type: ray, address: head, token_env: a-b}", 4, "'a-b' is not the name of an environment variable"),
        (SHARED + "{type: ray, address: head, token_env: T, ca_file: missing.pem}", 4, "the file 'missing.pem' does not exist"),
        (SHARED + "{type: rya, address: head}", 4, r"the type 'rya' is not supported(.|\n)*allowed: local, ray(.|\n)*did you mean 'ray'"),
        ("computes: {c: {type: ray, address: h, token_env: T}}", 1, r"needs a default datastore that is shared(.|\n)*shared: true"),
        (SHARED.replace("c: ", "local: ") + "{type: ray, address: h, token_env: T}", 4, "'local' is always this machine"),
        ("datastores: {d: {path: data, shared: true}}", 1, "must be absolute, not 'data'"),
        ("datastores: {d: {path: /srv/d, shared: maybe}}", 1, "must be true or false"),
        ("quotas: {instances: 3}", 1, "unknown key 'instances'"),
        ("quotas: {instances_per_user: -1}", 1, "not a number that fits"),
        ("quotas: [3]", 1, "must be a mapping"),
        ("administrators: [a]", 1, "must be one value"),
        ("administrators: a b", 1, "'a b' is not the name of a group"),
        ("instance_types: {a: {max_nodes: 0}}", 1, "not a number that fits"),
    ],
)
def test_mistakes_are_named_with_file_and_line(tmp_path, text, line, message):
    (tmp_path / "workspace.yml").write_text(text)
    with pytest.raises(UserError, match=message) as caught:
        find_workspace(tmp_path)
    assert f"workspace.yml:{line}" in str(caught.value)


def test_a_token_file_need_not_be_there(tmp_path):
    (tmp_path / "workspace.yml").write_text(SHARED + "{type: ray, address: head, token_file: missing}")
    assert find_workspace(tmp_path).ray_compute("c").token_file == str(tmp_path / "missing")
