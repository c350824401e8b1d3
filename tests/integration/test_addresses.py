"""What the storage says of the addresses of a job, and transfers of files, against Azurite."""

from __future__ import annotations

import errno
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest

from runner.errors import UserError
from runner.model.datastore import Credential
from runner.spec.blobs import Blobs
from runner.storage.blob import BlobContainer
from runner.storage.datastores import BlobDatastore, Secret
from runner.storage.problems import StorageRefused
from runner.storage.stores import Stores
from runner.storage.uri import parse_uri
from runner.workspace import transfer as transfers
from runner.workspace.transfer import Moved, is_single, relative_name, transfer
from tests.azurite import Azurite
from tests.fault_proxy import FaultProxy

AZ = "azureml://datastores/az/paths"


def blobs_of(azurite: Azurite, container: str, **fields) -> Blobs:
    given = {"kind": "account_key", "secret": Secret(text=azurite.key), "url": azurite.endpoint, "account": azurite.account} | fields
    return Blobs({"az": BlobDatastore(name="az", container=container, **given)})


def sas(azurite: Azurite, container: str, permission: str) -> str:
    from datetime import datetime, timedelta, timezone

    from azure.storage.blob import generate_container_sas

    expiry = datetime.now(timezone.utc) + timedelta(hours=1)
    return generate_container_sas(azurite.account, container, account_key=azurite.key, permission=permission, expiry=expiry)


@pytest.fixture
def stores(azurite: Azurite) -> Stores:
    return Stores([azurite.store(azurite.container())])


def container_of(stores: Stores) -> BlobContainer:
    return stores.at(AZ)[0]


class TestAddresses:
    def test_what_stands_there(self, azurite: Azurite) -> None:
        name = azurite.container()
        with azurite.client(name) as client:
            for path in ("in/a.txt", "in/deep/b.txt", "top.csv", "marked/x"):
                client.upload_blob(path, b"1")
            client.upload_blob("marked", b"", metadata={"hdi_isfolder": "true"})
        blobs = blobs_of(azurite, name)
        blobs.locate(parse_uri(f"{AZ}/in"), None)
        found = {path: blobs.there(f"{AZ}/{path}") for path in ("in", "in/a.txt", "in/deep", "in/dee", "top.csv", "top", "marked")}
        assert [path for path, kind in found.items() if kind == "folder"] == ["in", "in/deep", "marked"]
        assert [path for path, kind in found.items() if kind == "file"] == ["in/a.txt", "top.csv"]
        assert [path for path, kind in found.items() if kind == "nothing"] == ["in/dee", "top"]
        assert blobs.there(AZ) == "folder"
        blobs.check_writable(f"{AZ}/out/rows.txt", "uri_file")
        blobs.check_writable(f"{AZ}/in", "uri_folder")
        assert blobs.there(f"{AZ}/out") == "nothing"  # the check leaves nothing
        blobs.check_writable(f"{AZ}/top.csv", "uri_file")
        assert blobs.read(AZ, "top.csv") == b"1"

    def test_a_missing_container_and_wrong_credentials_are_found_at_once(self, azurite: Azurite) -> None:
        blobs = blobs_of(azurite, "not-there")
        blobs.locate(parse_uri(AZ + "/x"), None)
        with pytest.raises(StorageRefused, match=r"datastore 'az' \(.*/not-there\): there is no such container"):
            blobs.there(f"{AZ}/x")
        blobs = blobs_of(azurite, azurite.container(), secret=Secret(text="d3Jvbmc="))
        blobs.locate(parse_uri(AZ + "/x"), None)
        with pytest.raises(StorageRefused, match=r"datastore 'az' .* does not let us .*; tried: its account key") as caught:
            blobs.there(f"{AZ}/x")
        assert "d3Jvbmc" not in str(caught.value)

    def test_a_sas_without_the_right_to_write(self, azurite: Azurite) -> None:
        name = azurite.container()
        blobs = blobs_of(azurite, name, kind="sas", secret=Secret(text=sas(azurite, name, "rl")))
        blobs.locate(parse_uri(AZ + "/x"), None)
        assert blobs.there(f"{AZ}/x") == "nothing"
        with pytest.raises(StorageRefused, match=r"does not let us write .*; tried: its SAS token"):
            blobs.check_writable(f"{AZ}/x", "uri_file")

    def test_a_storage_that_does_not_answer(self, azurite: Azurite, monkeypatch) -> None:
        monkeypatch.setattr("runner.spec.blobs.CHECK_SECONDS", 0.2)
        blobs = blobs_of(azurite, "data", url="http://127.0.0.1:9/devstoreaccount1")
        blobs.locate(parse_uri(AZ + "/x"), None)
        with pytest.raises(
            UserError, match=r"datastore 'az' could not be reached for . s: connection refused(.|\n)*check the account's name"
        ):
            blobs.there(f"{AZ}/x")


class TestTransfers:
    def test_there_and_back(self, stores: Stores, tmp_path: Path, monkeypatch) -> None:
        monkeypatch.setattr("runner.workspace.moving.PIECE", 1000)
        tree = tmp_path / "tree"
        content = {"a": b"", "a-b": b"1", "ü ä/%20+.txt": b"x" * 999, "deep/er/big": bytes(range(256)) * 50, "deep/even": b"y" * 2000}
        for name, data in content.items():
            (tree / name).parent.mkdir(parents=True, exist_ok=True)
            (tree / name).write_bytes(data)
        seen: list[Moved] = []
        moved = transfer(str(tree), f"{AZ}/up", stores, watch=seen.append)
        assert (moved.done_files, moved.done_bytes) == (5, sum(map(len, content.values())))
        assert seen[-1] is moved
        assert {blob.path for page in container_of(stores).pages("") for blob in page} == {f"up/{name}" for name in content}
        transfer(f"{AZ}/up", str(tmp_path / "back"), stores)
        assert {name: (tmp_path / "back" / name).read_bytes() for name in content} == content
        transfer(f"{AZ}/up/deep/er/big", str(tmp_path / "one"), stores)
        assert (tmp_path / "one").read_bytes() == content["deep/er/big"]
        assert sorted(path.name for path in tmp_path.rglob(".*")) == []
        assert is_single(f"{AZ}/up/a", stores)
        assert not is_single(f"{AZ}/up", stores)

    def test_names_that_are_no_paths(self, stores: Stores, tmp_path: Path) -> None:
        container_of(stores).put("d/x//y", b"1")
        with pytest.raises(UserError, match="the blob 'd/x//y' cannot be a file: its name is no path"):
            transfer(f"{AZ}/d", str(tmp_path / "new"), stores)
        assert not (tmp_path / "new").exists()

    @pytest.mark.parametrize("name", ["../evil", "a/../../evil", "/etc/passwd", "a/./b", ".", "a/", "", "a\0b"])
    def test_names_that_lead_elsewhere(self, name: str) -> None:
        """The emulator takes none of these; the service takes most."""
        with pytest.raises(UserError, match="its name is no path"):
            relative_name(f"d/{name}", "d/")

    def test_a_name_that_is_file_and_folder(self, stores: Stores, tmp_path: Path) -> None:
        container = container_of(stores)
        container.put("d/a", b"1")
        container.put("d/a/b", b"2")
        with pytest.raises(UserError, match="on a disk a name is a file or a folder"):
            transfer(f"{AZ}/d", str(tmp_path / "new"), stores)
        container.put("d/a", b"")  # stands for the folder
        transfer(f"{AZ}/d", str(tmp_path / "new"), stores)
        assert (tmp_path / "new/a/b").read_bytes() == b"2"

    def test_nothing_there(self, stores: Stores, tmp_path: Path) -> None:
        with pytest.raises(UserError, match=f"there is nothing at '{AZ}/x'"):
            transfer(f"{AZ}/x", str(tmp_path / "x"), stores)
        with pytest.raises(UserError, match="there is nothing at"):
            transfer(str(tmp_path / "x"), f"{AZ}/x", stores)

    def test_one_that_is_interrupted_leaves_no_half_file(self, stores: Stores, tmp_path: Path, monkeypatch) -> None:
        monkeypatch.setattr("runner.workspace.moving.PIECE", 100)
        container_of(stores).put("big", b"z" * 10_000)
        container_of(stores).put("small", b"z")
        (tmp_path / "old").write_text("as it was")

        def interrupt(moved: Moved) -> None:
            if moved.done_bytes > 300:
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            transfer(f"{AZ}/big", str(tmp_path / "old"), stores, watch=interrupt)
        assert [path.name for path in tmp_path.iterdir()] == ["old"]
        assert (tmp_path / "old").read_text() == "as it was"
        assert not [one for one in threading.enumerate() if one.name.startswith("transfer")]

    def test_a_blob_that_changes_meanwhile(self, stores: Stores, tmp_path: Path, monkeypatch) -> None:
        monkeypatch.setattr("runner.workspace.moving.PIECE", 100)
        monkeypatch.setattr(transfers, "THREADS", 1)
        container = container_of(stores)
        container.put("big", b"z" * 1000)

        def change(moved: Moved) -> None:
            if moved.done_bytes == 100:
                container.put("big", b"y" * 1000)

        with pytest.raises(UserError, match="written by somebody else"):
            transfer(f"{AZ}/big", str(tmp_path / "big"), stores, watch=change)
        assert list(tmp_path.iterdir()) == []

    def test_two_uploads_of_one_blob_at_once(self, stores: Stores, tmp_path: Path, monkeypatch) -> None:
        """Who comes later uploads once more; what is there is one of the two files, never some of both."""
        monkeypatch.setattr("runner.workspace.moving.PIECE", 100)
        container = container_of(stores)
        container.check_writable("big")  # its block waits there
        for name in "xy":
            (tmp_path / name).write_bytes(name.encode() * 5_000)
        barrier = threading.Barrier(2)
        moved = [0, 0]

        def meet(number: int, done: Moved) -> None:
            if done.done_bytes > 2000 and not moved[number]:
                moved[number] = 1
                barrier.wait(20)

        with ThreadPoolExecutor(2) as pool:
            both = [
                pool.submit(transfer, str(tmp_path / name), f"{AZ}/big", stores, watch=partial(meet, number))
                for number, name in enumerate("xy")
            ]
            for one in both:
                one.result(60)
        assert container.read("big") in (b"x" * 5_000, b"y" * 5_000)

    def test_somebody_else_who_writes_again_and_again(self, stores: Stores, tmp_path: Path, monkeypatch) -> None:
        monkeypatch.setattr("runner.workspace.moving.PIECE", 100)
        container = container_of(stores)
        (tmp_path / "big").write_bytes(b"x" * 1000)
        commit, tries = container.commit, []

        def late(path: str, blocks: list[str]) -> str:
            tries.append(blocks)
            container.stage(path, "B" * 44, b"another's")
            commit(path, ["B" * 44])
            return commit(path, blocks)

        monkeypatch.setattr(container, "commit", late)
        with pytest.raises(UserError, match=f"somebody else is writing '{AZ}/big'"):
            transfer(str(tmp_path / "big"), f"{AZ}/big", stores)
        assert len(tries) == 2
        assert not set(tries[0]) & set(tries[1])

    def test_long_names(self, stores: Stores, tmp_path: Path) -> None:
        container, longest = container_of(stores), "漢" * 85
        container.put(f"d/{longest}", b"1")
        transfer(f"{AZ}/d/{longest}", str(tmp_path / longest), stores)
        assert (tmp_path / longest).read_bytes() == b"1"
        container.put(f"d/{longest}x", b"1")
        for source in ("d", f"d/{longest}x"):
            with pytest.raises(UserError, match="has more than the 255 bytes of a file's name"):
                transfer(f"{AZ}/{source}", str(tmp_path / "new" / (longest + "x" if "/" in source else "")), stores)
        assert not (tmp_path / "new").exists()

    def test_a_disk_that_takes_nothing(self, stores: Stores, tmp_path: Path, monkeypatch) -> None:
        """No file is left half, and what is told is what went wrong first."""
        container = container_of(stores)
        for name in "abc":
            container.put(f"d/{name}", b"1")
        (tmp_path / "file").write_text("1")
        with pytest.raises(UserError, match="file/below/a cannot be made: Not a directory"):
            transfer(f"{AZ}/d/a", str(tmp_path / "file/below/a"), stores)

        def full(*_: object) -> int:
            raise OSError(errno.ENOSPC, "No space left on device")

        monkeypatch.setattr("os.pwrite", full)
        with pytest.raises(UserError, match=r"new/. cannot be made: No space left on device"):
            transfer(f"{AZ}/d", str(tmp_path / "new"), stores)
        assert list((tmp_path / "new").iterdir()) == []

    def test_one_that_is_interrupted_while_nothing_answers(self, fault_proxy: FaultProxy, tmp_path: Path) -> None:
        stores = Stores([fault_proxy.front.store(fault_proxy.behind.container())])
        for name in "abc":
            container_of(stores).put(f"d/{name}", b"z")
        fault_proxy.slow(delay=20, times=None, method="GET", path="/d/")
        began = time.monotonic()

        def interrupt(_: Moved) -> None:
            if time.monotonic() - began > 1:
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            transfer(f"{AZ}/d", str(tmp_path / "new"), stores, watch=interrupt)
        assert time.monotonic() - began < 4
        assert not (tmp_path / "new").exists()

    def test_between_folders(self, tmp_path: Path) -> None:
        (tmp_path / "a").mkdir()
        (tmp_path / "a/x").write_text("1")
        transfer(str(tmp_path / "a"), str(tmp_path / "b"), Stores())
        assert (tmp_path / "b/x").read_text() == "1"


def test_a_sas_that_comes_with_an_address(azurite: Azurite) -> None:
    """Only datastores know of an emulator: the address is theirs, and so is the credential."""
    name = azurite.container()
    blobs = blobs_of(azurite, name)
    address = blobs.locate(parse_uri(f"{azurite.endpoint}/{name}/a%20b?{sas(azurite, name, 'r')}"), None)
    assert address == f"{AZ}/a b"
    assert [store.credential.kind for store in blobs.used] == ["account_key"]
    store = replace(azurite.store(name), credential=Credential(kind="sas", secret=sas(azurite, name, "racwl")))
    assert Stores([store]).kind(f"{AZ}/a b") == "nothing"
