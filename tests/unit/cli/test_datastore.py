"""`runner datastore` and `runner data`, with folders and with Azurite."""

from __future__ import annotations

import json
import re
import sys
from datetime import datetime, timedelta, timezone

import pytest

from runner.cli import app as cli
from tests.azurite import Azurite

CANARY = "c4naryAs3cret"
WORKSPACE = f"""
datastores:
  photos: {{path: photos}}
  lake: {{type: azure_blob, account_name: acc, container_name: data, credentials: {{account_key: {CANARY}}}}}
  open: {{type: azure_blob, account_name: acc, container_name: data}}
  later: {{type: azure_blob, container_name: data, credentials: {{connection_string: {{env: ABSENT_HERE}}}}}}
data:
  digits: {{"2": {{type: uri_folder, path: photos/digits}}, "10": {{type: uri_file, path: azureml://datastores/photos/paths/ten.txt}}}}
"""


@pytest.fixture
def command(folder, capsys, monkeypatch):
    """Runs a command; gives its exit status, stdout and stderr."""
    (folder / "workspace.yml").write_text(WORKSPACE)
    (folder / "workspace.yml").chmod(0o600)

    def run(*words: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["runner", *words])
        status = cli.run()
        said = capsys.readouterr()
        assert CANARY not in said.out + said.err
        return status, said.out, said.err

    return run


def test_list(command) -> None:
    status, out, err = command("datastore", "list")
    assert (status, err) == (0, "")
    lines = [line.split() for line in out.splitlines()]
    assert lines[0] == ["name", "type", "default", "account_name", "container_name", "path", "credentials"]
    assert ["lake", "azure_blob", "False", "acc", "data", "-", "account", "key"] in lines
    stores = json.loads(command("datastore", "list", "-o", "json")[1])
    assert [store["name"] for store in stores] == ["workspaceblobstore", "photos", "lake", "open", "later"]
    assert len({tuple(store) for store in stores}) == 1  # all have the same fields
    assert stores[2]["endpoint"] == "https://acc.blob.core.windows.net"
    assert "ABSENT_HERE" in stores[4]["endpoint"]


def test_show_a_folder(command, folder) -> None:
    shown = json.loads(command("datastore", "show", "photos")[1])
    status, _, err = command("datastore", "show", "photos")
    assert (status, err) == (1, "  next: make it: runner datastore create photos\n")
    assert (shown["path"], shown["state"]) == (str(folder / "photos"), "Unreachable: there is no such folder (yet)")
    (folder / "photos").mkdir()
    assert command("datastore", "show", "-n", "photos", "-o", "table")[1].split()[-1] == "Reachable"
    status, _, err = command("datastore", "show", "photo")
    assert status == 2
    assert "there is no datastore 'photo'" in err
    assert "did you mean 'photos'?" in err


def test_copies_to_and_from_a_folder(command, folder) -> None:
    status, out, err = command("datastore", "upload", "photos", "--source", "in", "--target", "new/place")
    assert (status, out) == (0, f"{folder}/photos/new/place\n")
    assert err.startswith("uploaded 3 files, 3 bytes, in ")
    assert (folder / "photos/new/place/2.txt").read_text() == "x"
    assert command("datastore", "upload", "photos", "-s", "in/1.txt")[1] == f"{folder}/photos/1.txt\n"
    assert command("datastore", "upload", "photos", "-s", "in/1.txt", "-t", "into/")[1] == f"{folder}/photos/into/1.txt\n"
    assert command("datastore", "download", "photos", "-s", "new", "-t", "got")[1] == "got\n"
    assert (folder / "got/place/0.txt").is_file()
    assert command("datastore", "download", "photos", "-s", "1.txt", "-t", "got")[1] == "got/1.txt\n"
    for words in (("-s", "absent"), ("-s", "../in")):
        status, _, err = command("datastore", "download", "photos", *words)
        assert (status, err.startswith("Error: ")) == (2, True)
    assert command("datastore", "upload", "photos", "-s", "absent")[0] == 2


def test_data(command, folder) -> None:
    assert [line.split()[:3] for line in command("data", "list")[1].splitlines()[2:]] == [
        ["digits", "2", "uri_folder"],
        ["digits", "10", "uri_file"],
    ]
    assert json.loads(command("data", "show", "digits")[1])["version"] == "10"
    for words in (("digits:2",), ("digits", "--version", "2"), ("azureml:digits:2",)):
        assert json.loads(command("data", "show", *words)[1])["path"] == "photos/digits"
    status, _, err = command("data", "show", "digit")
    assert (status, "did you mean 'digits'?" in err) == (2, True)
    assert "allowed: digits:10, digits:2" in command("data", "show", "digits:3")[2]
    assert command("data", "upload", "digits:2", "-s", "in")[1] == f"{folder}/photos/digits\n"
    assert "is a folder, and the data asset digits:10 is of type uri_file" in command("data", "upload", "digits:10", "-s", "in")[2]
    assert command("data", "upload", "digits", "-s", "in/0.txt", "--version", "10")[0] == 0
    status, _, err = command("data", "upload", "digits", "-s", "in/0.txt")
    assert (status, "digits has several versions\n  allowed: digits:2, digits:10" in err) == (2, True)
    assert command("data", "download", "digits:2", "-t", "got")[1] == "got\n"
    assert sorted(path.name for path in (folder / "got").iterdir()) == ["0.txt", "1.txt", "2.txt"]
    assert command("data", "download", "digits")[1] == "ten.txt\n"


def test_blobs(command, folder, azurite: Azurite) -> None:
    container = azurite.container()
    place = f"account_name: {azurite.account}, container_name: {container}, endpoint: '{azurite.endpoint}'"
    az = f"{{type: azure_blob, {place}, credentials: {{account_key: {{file: key}}}}}}"
    (folder / "workspace.yml").write_text(f"datastores: {{az: {az}}}\ndata: {{few: {{'1': {{path: azureml://datastores/az/paths/a/b}}}}}}")
    (folder / "key").write_text(azurite.key)
    (folder / "key").chmod(0o644)
    assert json.loads(command("datastore", "show", "az")[1])["state"] == "Reachable"
    status, out, err = command("datastore", "upload", "az", "-s", "in", "-t", "a/b")
    assert (status, out) == (0, "azureml://datastores/az/paths/a/b\n")
    assert f"Warning: other users can read {folder / 'key'}" in err
    assert command("data", "download", "few", "-t", "got")[1] == "got\n"
    assert sorted(path.name for path in (folder / "got").iterdir()) == ["0.txt", "1.txt", "2.txt"]
    assert command("datastore", "download", "az", "-s", "/")[1] == "az\n"
    assert (folder / "az/a/b/0.txt").is_file()
    (folder / "key").write_text("d3Jvbmc=")
    status, out, err = command("datastore", "show", "az")
    assert (status, err) == (1, "  next: mend its credentials in workspace.yml\n")
    state = json.loads(out)["state"]
    assert state.startswith("Unreachable: datastore 'az'")
    assert "tried: its account key" in state


def test_notices_about_sas_tokens(command, folder, azurite: Azurite) -> None:
    from azure.storage.blob import generate_container_sas

    named, other = azurite.container(), azurite.container()
    until = datetime.now(timezone.utc) + timedelta(hours=1)
    sas = generate_container_sas(azurite.account, other, account_key=azurite.key, permission="rwl", expiry=until)
    with azurite.client(other) as client:
        client.upload_blob("in/a.csv", b"a\n1\n")
    with azurite.client(named) as client:
        client.upload_blob("b.csv", b"a\n2\n")
    place = f"account_name: {azurite.account}, container_name: {named}, endpoint: '{azurite.endpoint}'"
    (folder / "workspace.yml").write_text(
        f"datastores: {{az: {{type: azure_blob, {place}, credentials: {{account_key: '{azurite.key}'}}}}}}"
    )
    rows = f"'{azurite.endpoint}/{other}/out/rows.txt?{sas}'"
    (folder / "in" / "MLTable").write_text(
        f"paths:\n- file: '{azurite.endpoint}/{other}/in/a.csv?{sas}'\n- file: '{azurite.endpoint}/{named}/b.csv?{sas}'\n"
        "transformations: [{read_delimited: {delimiter: ','}}]\n"
    )
    job = (folder / "job.yml").read_text().replace("uri_folder", "mltable").replace("out/rows.txt", rows)
    (folder / "job.yml").write_text(job.replace('mini_batch_size: "1"', 'mini_batch_size: "1kb"'))
    status, out, err = command("job", "validate", "-f", "job.yml")
    assert status == 0, err
    said = out + err
    assert said.count(f"the SAS for {azurite.endpoint}/{other} is kept only while the job runs") == 1
    assert said.count(f"the container '{named}' is not used: the datastore 'az' of workspace.yml covers it") == 1
    assert "sig=" not in said


def test_a_storage_that_is_not_there(command, folder, monkeypatch) -> None:
    monkeypatch.setattr("runner.workspace.datastores.CHECK_SECONDS", 0.2)
    monkeypatch.setattr("runner.workspace.datastores.SILENCE", 0.2)
    az = "{type: azure_blob, account_name: acc, container_name: data, endpoint: 'http://127.0.0.1:9/acc', credentials: {account_key: a2V5}}"
    (folder / "workspace.yml").write_text(f"datastores: {{az: {az}}}")
    status, out, err = command("datastore", "show", "az")
    assert (status, "next: check the endpoint" in err) == (1, True)
    assert re.fullmatch(r"Unreachable: datastore 'az' could not be reached for . s: connection refused", json.loads(out)["state"])
    for words in (("upload", "az", "-s", "in"), ("upload", "az", "-s", "in/0.txt"), ("download", "az", "-s", "x")):
        status, _, err = command("datastore", *words)
        assert status == 2
        assert re.search(r"could not be reached for . s: connection refused\n  next: try again", err), err
