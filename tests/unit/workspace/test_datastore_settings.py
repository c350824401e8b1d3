"""Datastores of type azure_blob and data assets in workspace.yml."""

from __future__ import annotations

import pytest

from runner.errors import UserError
from runner.model.datastore import DataAsset
from runner.workspace.config import find_workspace
from runner.workspace.datastore_settings import open_secrets
from runner.workspace.settings import read_settings

CANARY = "c4nary+s3cret=="
HEAD = "datastores:\n  lake:\n    type: azure_blob\n    account_name: acc\n    container_name: data\n"


def settings(tmp_path, text):
    (tmp_path / "workspace.yml").write_text(text)
    return read_settings(tmp_path / "workspace.yml")


@pytest.mark.parametrize(
    ("more", "url", "kind", "described"),
    [
        ("", "https://acc.blob.core.windows.net", "identity", "that of the job (identity:), else the default credential"),
        ("    endpoint: core.chinacloudapi.cn\n", "https://acc.blob.core.chinacloudapi.cn", "identity", None),
        ("    protocol: http\n", "http://acc.blob.core.windows.net", "identity", None),
        ("    endpoint: http://127.0.0.1:1/acc/\n", "http://127.0.0.1:1/acc", "identity", None),
        (f"    credentials: {{account_key: {CANARY}}}\n", None, "account_key", "account key"),
        (f"    credentials: {{sas_token: '{CANARY}'}}\n", None, "sas", "SAS token"),
        ("    credentials: {connection_string: UseDevelopmentStorage=true}\n", None, "connection_string", None),
        (f"    credentials: {{connection_string: 'AccountName=acc;AccountKey={CANARY}'}}\n", None, "connection_string", None),
        (
            f"    credentials: {{tenant_id: t, client_id: c, client_secret: {CANARY}, authority_url: 'https://login.example'}}\n",
            None,
            "service_principal",
            "service principal c",
        ),
        ("    credentials: {managed_identity: true, client_id: c}\n", None, "managed_identity", "managed identity c"),
    ],
)
def test_what_may_be_written(tmp_path, more, url, kind, described) -> None:
    read = settings(tmp_path, HEAD + more)
    store = read.blob_stores["lake"]
    assert store.kind == kind
    assert read.datastores == {}
    assert url in (None, store.url)
    assert described in (None, store.describe())
    assert CANARY not in repr(read)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (HEAD + "    path: x\n", r"workspace.yml:6 .*unknown key 'path'"),
        (HEAD + "    credentials: {account_kye: x}\n", r"workspace.yml:6 .*unknown key 'account_kye'\n.*\n.*did you mean 'account_key'"),
        (HEAD + f"    credentials: {{account_key: {CANARY}, sas_token: x}}\n", r"workspace.yml:6 .*exclude each other"),
        (HEAD + f"    credentials: {{account_key: [{CANARY}]}}\n", r"workspace.yml:6 .*must be a text"),
        (HEAD + f"    credentials: {{account_key: {{text: {CANARY}}}}}\n", r"workspace.yml:6 .*written in a way unknown here"),
        (
            HEAD + f"    credentials: {{account_key: {{env: '{CANARY}'}}}}\n",
            r"workspace.yml:6 .*must be the name of an environment variable",
        ),
        (HEAD + f"    credentials: {{client_id: c, client_secret: {CANARY}}}\n", r"workspace.yml:6 .*`tenant_id` is missing"),
        (HEAD + "    credentials: {client_id: c}\n", r"workspace.yml:6 .*not complete"),
        (HEAD + "    credentials: {managed_identity: 1}\n", r"workspace.yml:6 .*must be true or false"),
        (HEAD + f"    credentials: {{connection_string: {CANARY}}}\n", r"workspace.yml:6 .*no connection string with a credential"),
        (HEAD + "    endpoint: http://127.0.0.1:10055\n", r"workspace.yml:6 .*lacks the account(.|\n)*write http://127.0.0.1:10055/acc"),
        (HEAD + "    endpoint: http://localhost/\n", r"workspace.yml:6 .*lacks the account(.|\n)*write http://localhost/acc"),
        (HEAD + "    endpoint: a/b\n", r"workspace.yml:6 .*'a/b' is not an endpoint"),
        (
            HEAD + "default_datastore: lake\ncomputes: {c: {type: ray, address: h, token_env: T}}\n",
            r"workspace.yml:7 .*'c' needs a default datastore that is shared, and 'lake' is in blob storage",
        ),
        ("datastores: {lake: {type: azure_blob}}", r"`container_name` is missing(.|\n)*`account_name` is missing"),
        ("datastores: {lake: {type: azure_blob, account_name: Acc, container_name: a--b}}", r"'Acc' cannot(.|\n)*'a--b' cannot"),
        (
            "datastores: {workspaceblobstore: {type: azure_blob, account_name: acc, container_name: data}}",
            "always a folder of this machine",
        ),
        ("datastores: {a.b: {type: azure_blob, account_name: acc, container_name: data}}", "'a.b' is not a name of a datastore"),
        ("data: {x: {'1': {type: uri_file}}}", "`path` is missing"),
        ("data: {x: {'1': {type: uri_fil, path: y}}}", "'uri_fil' is not known(.|\n)*did you mean 'uri_file'"),
        ("data: {x: {'1': {path: azureml:y:1}}}", "cannot name another one"),
        ("data: {x: {'1': {path: 'https://a.blob.core.windows.net/c/x?sv=1&sig=c4nary'}}}", "has a SAS in it"),
    ],
)
def test_mistakes(tmp_path, text, message) -> None:
    with pytest.raises(UserError, match=message) as caught:
        settings(tmp_path, text)
    assert "c4nary" not in str(caught.value) or f"env: '{CANARY}'" in text


def test_data_assets_by_name_and_version(tmp_path) -> None:
    (tmp_path / "workspace.yml").write_text(
        "data: {digits: {'1': {type: uri_folder, path: a}, '2.0': {path: azureml://datastores/x/paths/b}}}"
    )
    assert find_workspace(tmp_path).data == {
        "digits:1": DataAsset(path="a", type="uri_folder"),
        "digits:2.0": DataAsset(path="azureml://datastores/x/paths/b"),
    }


def test_secrets_that_others_can_read_are_told_of(tmp_path) -> None:
    file = tmp_path / "workspace.yml"
    file.write_text(HEAD + f"    credentials: {{account_key: {CANARY}}}\n")
    file.chmod(0o644)
    stores = read_settings(file).blob_stores.values()
    (text,) = open_secrets(file, stores)
    assert text == f"other users can read {file}, which has the credentials of lake in it: chmod 600 {file}"
    file.chmod(0o600)
    assert list(open_secrets(file, stores)) == []
    file.write_text(HEAD + "    credentials: {account_key: {file: key}}\n")
    (tmp_path / "key").write_text(CANARY)
    (tmp_path / "key").chmod(0o640)
    assert str(tmp_path / "key") in next(open_secrets(file, read_settings(file).blob_stores.values()))


def test_the_default_datastore_may_be_in_blob_storage(tmp_path) -> None:
    (tmp_path / "workspace.yml").write_text(HEAD + "default_datastore: lake\n")
    workspace = find_workspace(tmp_path)
    assert workspace.archive_store is not None
    assert workspace.archive_store.name == "lake"
    assert workspace.job_paths("job").logs == tmp_path / ".runner" / "datastore" / "azureml" / "job" / "logs"
