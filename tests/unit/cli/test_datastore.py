"""`runner datastore` and `runner data`, with folders and with Azurite."""

from __future__ import annotations

import json
import sys

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
    assert "is a folder, and the data asset digits:10 is of type uri_file" in command("data", "upload", "digits", "-s", "in")[2]
    assert command("data", "upload", "digits", "-s", "in/0.txt")[0] == 0
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
    state = json.loads(command("datastore", "show", "az")[1])["state"]
    assert state.startswith("Unreachable: datastore 'az'")
    assert "tried: its account key" in state
