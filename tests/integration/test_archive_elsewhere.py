"""What a machine makes of the archive that another one has written."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from runner.client import Client
from runner.engine.journal import Journal
from runner.errors import UserError
from runner.model.events import Event, Message, Progressed, StatusChanged
from runner.storage.blob import BlobContainer
from runner.storage.problems import BlobMissing
from runner.workspace.archive import archive as archives
from runner.workspace.archive import ownership
from runner.workspace.archive.copier import Copier, pack
from runner.workspace.archive.fetching import unpack
from runner.workspace.archive.following import Follower
from runner.workspace.archive.ownership import Ownership
from runner.workspace.archive.places import places_of
from runner.workspace.config import Workspace, find_workspace
from runner.workspace.records import JobRecord, write_json
from tests.azurite import Azurite

SETTINGS = """
datastores:
  az:
    type: azure_blob
    account_name: {account}
    container_name: {container}
    endpoint: {endpoint}
    credentials: {{account_key: "{key}"}}
default_datastore: az
"""


class Machine:
    """A workspace, with jobs that seem to have run there."""

    def __init__(self, folder: Path, azurite: Azurite, container: str, endpoint: str = "") -> None:
        folder.mkdir()
        values = {"account": azurite.account, "key": azurite.key, "container": container, "endpoint": endpoint or azurite.endpoint}
        (folder / "workspace.yml").write_text(SETTINGS.format(**values))
        self.said: list[str] = []
        self.container = BlobContainer(azurite.store(container))
        self.folder = folder

    @property
    def workspace(self) -> Workspace:
        return find_workspace(self.folder)

    @property
    def client(self) -> Client:
        return Client(self.folder, say=self.said.append)

    def job(self, name: str, status: str = "Failed", *, archived: bool = True, ended: bool = True) -> Ownership | None:
        """Its folder, and its archive."""
        self.workspace.make()
        paths = self.workspace.job_paths(name)
        for folder in (paths.root, paths.code, paths.logs / "sys"):
            folder.mkdir(parents=True)
        (paths.code / "score.py").write_text("x\n")
        (paths.logs / "sys" / "master_role.txt").write_text("2026-01-01T00:00:00.000Z INFO    Preparing\n")
        write_json(paths.spec, {"name": name})
        error = {"message": "broken", "code": "internal", "log": ""} if status == "Failed" else None
        record = JobRecord(
            name=name, type="parallel", status=status, logs=str(paths.logs), error=error, created_at="2026-01-01T00:00:00.000Z"
        )
        write_json(paths.record, record.to_json())
        Journal(paths.journal).close()
        if not archived:
            return None
        places = places_of(name)
        owner = ownership.claim(self.container, places.owner, name)
        ownership.remember(paths.ownership, owner)
        copier = Copier(paths, places, self.container, {}, still_mine=lambda: None)
        copier.copy()
        copier.copy_record()
        copier.close()
        if ended:
            owner.release()
        return owner


@pytest.fixture
def two(tmp_path: Path, azurite: Azurite) -> tuple[Machine, Machine]:
    container = azurite.container()
    return Machine(tmp_path / "a", azurite, container), Machine(tmp_path / "b", azurite, container)


def statuses(machine: Machine) -> dict[str, str]:
    return {record.name: record.status for record in machine.client.list()}


def test_jobs_of_all_machines_are_listed(two: tuple[Machine, Machine]) -> None:
    a, b = two
    a.job("one", "Completed")
    b.job("two")
    b.job("three", archived=False)  # of a time when the default datastore was another
    assert statuses(a) == {"one": "Completed", "two": "Failed"}
    assert statuses(b) == {"one": "Completed", "two": "Failed", "three": "Failed"}
    assert b.client.get("one").logs == "azureml://datastores/az/paths/azureml/one/logs"
    assert b.client.get("two").logs == str(b.workspace.job_paths("two").logs)


def test_what_others_put_there_is_no_job(two: tuple[Machine, Machine]) -> None:
    a, _ = two
    for name in ("x/job.json", "x/owner.json", "y/journal.log"):
        a.container.put(f".runner/jobs/{name}", b"[1")
    assert statuses(a) == {}
    with pytest.raises(UserError, match="there is no job 'x'"):
        a.client.get("x")


def test_a_job_that_was_cut_short_before_it_had_a_record(two: tuple[Machine, Machine]) -> None:
    a, b = two
    ownership.claim(a.container, places_of("early").owner, "early").release()
    assert b.client.get("early").error is not None
    with pytest.raises(UserError, match="not complete"):
        b.client.resume("early")
    b.client.delete("early")
    assert statuses(b) == {}


def test_a_datastore_that_does_not_answer(
    two: tuple[Machine, Machine], tmp_path: Path, azurite: Azurite, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(archives, "ANSWER", 0.2)
    cut_off = Machine(tmp_path / "c", azurite, "gone", endpoint="http://127.0.0.1:9/devstoreaccount1")
    cut_off.job("one", archived=False)
    write_json(cut_off.workspace.job_paths("one").ownership, {"id": "x", "epoch": 1, "etag": ""})
    assert statuses(cut_off) == {"one": "Failed"}
    assert any("what is shown is what this machine knows" in text for text in cut_off.said)
    assert cut_off.client.get("one").status == "Failed"
    with pytest.raises(UserError, match="could not be reached"):
        cut_off.client.get("two")
    with pytest.raises(UserError, match="could not be reached"):
        cut_off.client.resume("one")


def test_a_job_that_has_gone_on_elsewhere_is_that_of_the_other(two: tuple[Machine, Machine]) -> None:
    a, _ = two
    a.job("one")
    seen = ownership.look(a.container, places_of("one").owner)
    assert seen is not None
    ownership.take_over(a.container, places_of("one").owner, seen)
    running = JobRecord(name="one", type="parallel", status="Running")
    a.container.put(places_of("one").record, running.to_bytes())
    assert statuses(a) == {"one": "Running"}
    with pytest.raises(UserError, match="runs as"):
        a.client.resume("one")
    with pytest.raises(UserError, match="runs as"):
        a.client.delete("one")
    assert a.workspace.job_paths("one").record.exists()


def test_pruning_removes_what_this_machine_has_made(two: tuple[Machine, Machine]) -> None:
    a, b = two
    a.job("mine")
    b.job("theirs")
    client = a.client
    removed = [one.name for one in client.prune(client.plan_prune(keep=0), say=a.said.append) if one.kind == "job"]
    assert removed == ["mine"]
    assert statuses(b) == {"theirs": "Failed"}
    with pytest.raises(BlobMissing):
        a.container.info(places_of("mine").owner)


def test_a_complete_job_brings_its_archive_up_to_date(two: tuple[Machine, Machine], monkeypatch: pytest.MonkeyPatch) -> None:
    a, b = two
    a.job("one", "Running", ended=False)
    paths = a.workspace.job_paths("one")
    write_json(paths.record, replace(JobRecord(name="one", type="parallel", status="Completed"), logs=str(paths.logs)).to_json())
    assert statuses(b) == {"one": "Running"}
    assert a.client.resume("one").status == "Completed"
    assert statuses(b) == {"one": "Completed"}
    with pytest.raises(UserError, match="it is complete"):
        a.client.resume("one")


@pytest.mark.parametrize("name", ["../x", "a/b", ""])
def test_names_do_not_lead_elsewhere(two: tuple[Machine, Machine], name: str) -> None:
    for act in (two[0].client.cancel, two[0].client.stream, two[0].client.resume, two[0].client.delete):
        with pytest.raises(UserError, match="name"):
            act(name)


# Following


def test_what_is_new_is_told(two: tuple[Machine, Machine]) -> None:
    a, b = two
    owner = a.job("one", "Running", ended=False)
    assert owner is not None
    archive = b.client.store.elsewhere.archive
    assert archive is not None
    told: list[Event] = []
    follower = Follower(archive, "one", told.append)
    follower.look()
    assert [event.text for event in told if isinstance(event, Message)] == ["2026-01-01T00:00:00.000Z INFO    Preparing"]
    assert [event.status for event in told if isinstance(event, StatusChanged)] == ["Running"]
    assert any(isinstance(event, Progressed) for event in told)
    told.clear()
    log = places_of("one").logs + "sys/master_role.txt"
    a.container.put(log, a.container.read(log) + b"2026-01-01T00:00:01.000Z WARNING low on ideas\nhalf a li")
    follower.look()
    follower.look()
    lines = [event for event in told if isinstance(event, Message)]
    assert [(event.level, event.text[-12:]) for event in lines] == [("WARNING", "low on ideas")]
    assert not [event for event in told if isinstance(event, StatusChanged)]


# Code


def test_code_is_packed_and_unpacked(tmp_path: Path) -> None:
    folder = tmp_path / "code"
    (folder / "sub").mkdir(parents=True)
    (folder / "run me.sh").write_text("x")
    (folder / "run me.sh").chmod(0o755)
    (folder / "sub" / "ü.py").write_text("y")
    with open(tmp_path / "code.tar", "w+b") as out:
        first = pack(folder, out)
    with io.BytesIO() as out:
        assert pack(folder, out) == first
        (folder / "sub" / "ü.py").write_text("z")
        assert pack(folder, out) != first
    unpack(tmp_path / "code.tar", tmp_path / "copy")
    assert (tmp_path / "copy" / "run me.sh").stat().st_mode & 0o777 == 0o755
    assert (tmp_path / "copy" / "sub" / "ü.py").read_text() == "y"


def evil_link(tar: tarfile.TarFile) -> None:
    member = tarfile.TarInfo("link")
    member.type, member.linkname = tarfile.SYMTYPE, "/etc"
    tar.addfile(member)


def evil_name(name: str) -> Callable[[tarfile.TarFile], None]:
    return lambda tar: tar.addfile(tarfile.TarInfo(name))


@pytest.mark.parametrize("put", [evil_link, evil_name("../x"), evil_name("/tmp/x"), evil_name("a/../../x")])
def test_nothing_leaves_the_folder(tmp_path: Path, put: Callable[[tarfile.TarFile], None]) -> None:
    with tarfile.open(tmp_path / "code.tar", "w") as tar:
        put(tar)
    with pytest.raises(UserError, match="which no job puts there"):
        unpack(tmp_path / "code.tar", tmp_path / "code")
