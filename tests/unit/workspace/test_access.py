"""The credentials of a job: where they lie, for how long, and how they are made anew."""

from __future__ import annotations

from dataclasses import replace

import pytest

from runner.errors import UserError
from runner.model.datastore import BlobStore, Credential
from runner.model.paths import JobPaths
from runner.workspace.access import drop_access, drop_left_access, read_access, renew_access, stores_again, write_access
from runner.workspace.config import find_workspace
from runner.workspace.jobs import JobStore
from runner.workspace.locks import take_lock
from runner.workspace.records import read_json, write_json

CANARY = "c4nary=="
URL = "https://acc.blob.core.windows.net"
SETTINGS = "datastores:\n  az: {{type: azure_blob, account_name: acc, container_name: data, credentials: {{{}}}}}\n"


def store(root: str = "azureml://datastores/az/paths", name: str = "az", container: str = "data", **credential) -> BlobStore:
    given = Credential(**({"kind": "account_key", "secret": CANARY} | credential))
    return BlobStore(root=root, name=name, endpoint=URL, container=container, account="acc", credential=given)


@pytest.fixture
def paths(tmp_path) -> JobPaths:
    (tmp_path / "job").mkdir()
    return JobPaths(tmp_path / "job", tmp_path / "logs")


def workspace(tmp_path, credentials: str = ""):
    (tmp_path / "workspace.yml").write_text(SETTINGS.format(credentials) if credentials is not None else "datastores: {}\n")
    return find_workspace(tmp_path)


def test_it_is_for_its_user_alone_and_goes(paths) -> None:
    write_access(paths, [store()])
    assert paths.access.stat().st_mode & 0o777 == 0o600
    assert CANARY in paths.access.read_text()
    assert CANARY not in paths.stores.read_text()
    container, path = read_access(paths).at("azureml://datastores/az/paths/a/b")
    assert (container.store, path) == (store(), "a/b")
    drop_access(paths)
    drop_access(paths)
    assert [path.name for path in paths.root.iterdir()] == ["stores.json"]


def test_nothing_is_written_for_a_job_without_blobs(paths, tmp_path) -> None:
    write_access(paths, [])
    renew_access(paths, workspace(tmp_path))
    assert list(paths.root.iterdir()) == []
    with pytest.raises(UserError, match="no credential is known"):
        read_access(paths).at("azureml://datastores/az/paths/a")


def test_a_job_that_goes_on_gets_what_the_workspace_has_now(paths, tmp_path) -> None:
    write_access(paths, [store()])
    drop_access(paths)
    renew_access(paths, workspace(tmp_path, "account_key: newer123"))
    assert read_access(paths).at(store().root)[0].store == replace(store(secret="newer123"), account="acc")
    renew_access(paths, workspace(tmp_path, ""))  # no credential of its own any more, and the job had no identity
    assert read_access(paths).at(store().root)[0].store.credential == Credential()


def test_the_identity_of_the_job_is_kept(paths, tmp_path) -> None:
    used = store(kind="managed_identity", secret="", client_id="me")
    write_access(paths, [used])
    drop_access(paths)
    renew_access(paths, workspace(tmp_path, ""))
    assert read_access(paths).at(used.root)[0].store.credential == used.credential


def test_a_datastore_that_is_gone(paths, tmp_path) -> None:
    write_access(paths, [store()])
    (tmp_path / "workspace.yml").write_text("datastores: {}\n")
    with pytest.raises(UserError, match="no datastore 'az' any more"):
        renew_access(paths, find_workspace(tmp_path))


def test_a_sas_of_a_job_file_is_not_kept(paths, tmp_path) -> None:
    root = f"{URL}/data"
    write_access(paths, [store(root, "acc", kind="sas", secret=f"sv=1&sig={CANARY}")])
    (tmp_path / "workspace.yml").write_text("datastores: {}\n")
    empty = find_workspace(tmp_path)
    renew_access(paths, empty)  # its processes were killed: it is still there
    assert read_access(paths).at(root)[0].store.credential.secret == f"sv=1&sig={CANARY}"
    drop_access(paths)
    with pytest.raises(
        UserError, match=r"reached with a SAS of the job file, which is not kept(.|\n)*describe the container as a datastore"
    ):
        renew_access(paths, empty)
    renew_access(paths, workspace(tmp_path, "sas_token: sv=1&sig=newer"))
    renewed = read_access(paths).at(f"{root}/x")[0].store
    assert (renewed.root, renewed.credential) == (root, Credential(kind="sas", secret="sv=1&sig=newer"))


def test_what_a_killed_owner_has_left_goes_where_the_workspace_has_it(paths, tmp_path, monkeypatch) -> None:
    here = workspace(tmp_path, "account_key: {env: LAKE_KEY}")
    write_access(paths, [store()])
    drop_left_access(paths, here)
    assert paths.access.exists()  # the variable is not set here, and may not be again
    monkeypatch.setenv("LAKE_KEY", CANARY)
    lock = take_lock(paths.lock)
    drop_left_access(paths, here)
    assert paths.access.exists()  # somebody goes on with the job
    lock.release()
    drop_left_access(paths, here)
    assert not paths.access.exists()
    renew_access(paths, here)
    assert read_access(paths).at(store().root)[0].store == store()


def test_a_sas_of_a_job_file_is_left_to_who_goes_on(paths, tmp_path) -> None:
    here = workspace(tmp_path, "account_key: newer123")
    write_access(paths, [store(), store(f"{URL}/other", "acc", "other", kind="sas", secret=f"sv=1&sig={CANARY}")])
    drop_left_access(paths, here)
    assert [one["credential"]["secret"] for one in read_json(paths.access)["stores"]] == [f"sv=1&sig={CANARY}"]
    assert paths.access.stat().st_mode & 0o777 == 0o600
    renew_access(paths, here)
    assert [one.credential.secret for one in read_access(paths).known] == ["newer123", f"sv=1&sig={CANARY}"]


@pytest.mark.parametrize(("compute", "stays"), [("local", False), ("gone", True)])
def test_looking_at_a_job_whose_owner_is_gone(compute, stays, make_job, tmp_path) -> None:
    paths = make_job("lost", "Running")
    write_json(paths.record, read_json(paths.record) | {"compute": compute, "local": False})
    write_access(paths, [store()])
    (tmp_path / "ws" / "workspace.yml").write_text(SETTINGS.format("account_key: newer123"))
    assert JobStore(find_workspace(tmp_path / "ws")).get("lost").status == "Failed"
    assert paths.access.exists() is stays


def test_an_output_of_a_job_that_has_ended_is_opened_again(paths, tmp_path) -> None:
    write_access(paths, [store(), store(f"{URL}/other", "acc", "other", kind="sas", secret=f"sv=1&sig={CANARY}")])
    drop_access(paths)
    stores = stores_again(paths, workspace(tmp_path, "account_key: newer123"), f"{store().root}/x", say=print)
    assert stores.at(f"{store().root}/x")[0].store.credential.secret == "newer123"
    assert not paths.access.exists()
