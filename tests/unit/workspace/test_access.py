"""The credentials of a job: where they lie, for how long, and how they are made anew."""

from __future__ import annotations

from dataclasses import replace

import pytest

from runner.errors import UserError
from runner.model.datastore import BlobStore, Credential
from runner.model.paths import JobPaths
from runner.workspace.access import drop_access, read_access, renew_access, stores_again, write_access
from runner.workspace.config import find_workspace

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


def test_an_output_of_a_job_that_has_ended_is_opened_again(paths, tmp_path) -> None:
    write_access(paths, [store(), store(f"{URL}/other", "acc", "other", kind="sas", secret=f"sv=1&sig={CANARY}")])
    drop_access(paths)
    stores = stores_again(paths, workspace(tmp_path, "account_key: newer123"), f"{store().root}/x", say=print)
    assert stores.at(f"{store().root}/x")[0].store.credential.secret == "newer123"
    assert not paths.access.exists()
