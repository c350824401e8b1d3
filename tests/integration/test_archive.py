"""The archive of a job in a container of blobs: what is copied, in which order, and by whom."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from azure.core.exceptions import ServiceResponseError

from runner.engine.journal import Journal, read_journal
from runner.engine.sole_file import Superseded
from runner.errors import JobConflict
from runner.model.batch import Progress, Segment, Tally
from runner.model.events import StatusChanged
from runner.model.paths import JobPaths
from runner.outputs.rows import PartWriter
from runner.storage.blob import BlobContainer
from runner.storage.problems import BlobChanged, StorageUnavailable
from runner.workspace.archive import archiver, ownership
from runner.workspace.archive.archiver import Archiver
from runner.workspace.archive.copier import Copier
from runner.workspace.archive.growing import SMALL, GrowingBlob
from runner.workspace.archive.places import Places, places_of
from runner.workspace.records import JobRecord, load_record, write_json
from tests.azurite import Azurite

PLACES = places_of("job")


class Watched(BlobContainer):
    """Notes what is written, and can be made to lose answers or to be out of reach."""

    def __init__(self, *args: Any, **more: Any) -> None:
        super().__init__(*args, **more)
        self.writes: list[str] = []
        self.forgetful = self.away = False

    def _try(self, doing: str, path: str, call: Callable[[], Any]) -> Any:
        if self.away:
            raise StorageUnavailable("out of reach")
        return super()._try(doing, path, call)

    def _write(self, path: str, send: Callable[[Any], Any], *more: Any) -> str:
        self.writes.append(path)
        lost, self.forgetful = self.forgetful, False

        def lose(metadata: Any) -> Any:
            nonlocal lost
            answer = send(metadata)
            if lost:
                lost = False
                raise ServiceResponseError("lost")
            return answer

        return super()._write(path, lose, *more)


@pytest.fixture
def container(azurite: Azurite) -> Watched:
    return Watched(azurite.store(azurite.container()))


@pytest.fixture
def paths(tmp_path: Path) -> JobPaths:
    made = JobPaths(tmp_path / "jobs" / "job", tmp_path / "logs")
    for folder in (made.root, made.logs, made.parts, made.code):
        folder.mkdir(parents=True)
    (made.code / "script.py").write_text("print('hello')\n")
    write_json(made.spec, {"name": "job"})
    write_json(made.record, JobRecord(name="job", type="parallel", status="Running", logs=str(made.logs)).to_json())
    return made


def copier_of(paths: JobPaths, container: BlobContainer, places: Places = PLACES) -> Copier:
    known = {info.path: info for page in container.pages("") for info in page}
    return Copier(paths, places, container, known, still_mine=lambda: None)


def file_of(data: bytes) -> Callable[[int, int], bytes]:
    return lambda offset, length: data[offset : offset + length]


def finish(paths: JobPaths, journal: Journal, parts: PartWriter, index: int, rows: bytes) -> None:
    with open(paths.manifest, "ab") as manifest:
        manifest.write(b"item %d\n" % index)
    part, offset, length, crc = parts.append([rows])
    parts.sync()
    tally = Tally(succeeded=1, items=1, returned=1)
    journal.segment(Segment(first=index, last=index, tally=tally, part=part, offset=offset, length=length, crc=crc))
    journal.sync()


# A blob that grows


@pytest.mark.parametrize("step", [7, 1000, SMALL, 3_000_000])
def test_a_blob_grows_with_its_file(container: Watched, step: int) -> None:
    blob, data = GrowingBlob(container=container, path="log"), b""
    for number in range(12):
        data += bytes([number]) * step
        blob.bring(file_of(data), len(data))
        assert blob.etag == container.info("log").etag
    assert container.read("log") == data


def test_an_empty_file_is_an_empty_blob(container: Watched) -> None:
    GrowingBlob(container=container, path="log").bring(file_of(b""), 0)
    assert container.read("log") == b""


@pytest.mark.parametrize("size", [100, 3 * SMALL])
def test_a_file_written_anew_is_sent_anew(container: Watched, size: int) -> None:
    blob = GrowingBlob(container=container, path="log")
    for data in (b"a" * size, b"b" * (size + 1), b"c" * size, b"d" * 5):
        blob.bring(file_of(data), len(data))
        assert container.read("log") == data


@pytest.mark.parametrize("size", [100, 3 * SMALL])
def test_a_successor_goes_on_with_the_blob(container: Watched, size: int) -> None:
    data = os.urandom(size)
    GrowingBlob(container=container, path="log").bring(file_of(data), size)
    info = container.info("log")
    container.writes.clear()
    data += b"more"
    GrowingBlob(container=container, path="log", size=info.size, etag=info.etag, known=True).bring(file_of(data), len(data))
    assert container.read("log") == data
    assert len(container.writes) <= 2


def test_a_successor_whose_file_is_another_sends_it_anew(container: Watched) -> None:
    GrowingBlob(container=container, path="log").bring(file_of(b"a" * 3 * SMALL), 3 * SMALL)
    info = container.info("log")
    data = b"b" * 4 * SMALL
    GrowingBlob(container=container, path="log", size=info.size, etag=info.etag, known=True).bring(file_of(data), len(data))
    assert container.read("log") == data


@pytest.mark.parametrize("size", [100, 3 * SMALL])
def test_a_predecessor_writes_no_more(container: Watched, size: int) -> None:
    blob, data = GrowingBlob(container=container, path="log"), b"a" * size
    blob.bring(file_of(data), size)
    container.touch("log", etag=blob.etag)
    with pytest.raises(BlobChanged):
        blob.bring(file_of(data + b"b"), size + 1)
    assert container.read("log") == data


@pytest.mark.parametrize("size", [100, 3 * SMALL])
def test_an_answer_that_is_lost_is_no_other_owner(container: Watched, size: int) -> None:
    blob, data = GrowingBlob(container=container, path="log"), b"a" * size
    blob.bring(file_of(data), size)
    container.forgetful = True
    blob.bring(file_of(data + b"b"), size + 1)
    assert not container.forgetful
    blob.bring(file_of(data + b"bc"), size + 2)
    assert container.read("log") == data + b"bc"


def test_blocks_that_got_lost_are_staged_again(container: Watched) -> None:
    data = b"a" * 3 * SMALL
    blob = GrowingBlob(container=container, path="log")
    blob.bring(file_of(data), len(data))
    blob._blocks[0] = (blob._name(), len(data))  # which nobody has staged
    data += b"b" * 100
    blob.bring(file_of(data), len(data))
    assert container.read("log") == data


# The order


def test_the_journal_never_speaks_of_what_is_not_there(container: Watched, paths: JobPaths, monkeypatch: pytest.MonkeyPatch) -> None:
    journal, parts = Journal(paths.journal), PartWriter(paths.parts, "0001-node_0")
    finish(paths, journal, parts, 0, b"row 0\n")
    more = iter(range(1, 100))

    def meanwhile(_name: str) -> None:
        finish(paths, journal, parts, next(more), b"a further row\n")

    monkeypatch.setattr("runner.workspace.archive.copier.failpoint", meanwhile)
    copier = copier_of(paths, container)
    for _ in range(5):
        copier.copy()
        archived = container.read(PLACES.journal)
        assert archived.endswith(b"\n")
        (paths.root / "archived.log").write_bytes(archived)
        segments = read_journal(paths.root / "archived.log").segments
        assert segments
        assert len(container.read(PLACES.manifest).splitlines()) >= len(segments)
        for segment in segments:
            assert segment.offset + segment.length <= container.info(PLACES.parts + segment.part).size
    journal.close()


def test_half_a_line_waits(container: Watched, paths: JobPaths) -> None:
    paths.manifest.write_bytes(b"one\ntwo\nthr")
    paths.journal.write_bytes(b"a\nb")
    copier_of(paths, container).copy()
    assert container.read(PLACES.manifest) == b"one\ntwo\n"
    assert container.read(PLACES.journal) == b"a\n"


def test_parts_go_when_the_output_is_published(container: Watched, paths: JobPaths, monkeypatch: pytest.MonkeyPatch) -> None:
    journal, parts = Journal(paths.journal), PartWriter(paths.parts, "0001-node_0")
    finish(paths, journal, parts, 0, b"row\n")
    copier = copier_of(paths, container)
    copier.copy()
    finish(paths, journal, parts, 1, b"row\n")

    def vanish(name: str) -> None:  # after the parts were listed, before the journal is sent
        if name == "archive.parts" and paths.parts.exists():
            journal.published()
            journal.sync()
            for path in paths.parts.iterdir():
                path.unlink()
            paths.parts.rmdir()

    monkeypatch.setattr("runner.workspace.archive.copier.failpoint", vanish)
    copier.copy()
    assert b"published" in container.read(PLACES.journal)
    assert not list(container.pages(PLACES.parts))
    journal.close()


def test_what_is_secret_or_of_this_machine_is_not_copied(container: Watched, paths: JobPaths) -> None:
    for secret in (paths.access, paths.access_key, paths.secret, paths.lock, paths.coordinator, paths.ownership, paths.cancel):
        secret.write_text("canary")
    for folder in (paths.scratch, paths.workers, paths.instance_outputs):
        folder.mkdir()
        (folder / "file").write_text("canary")
    (paths.logs / "link").symlink_to(paths.access)
    (paths.logs / "sys").mkdir()
    (paths.logs / "sys" / "master_role.txt").write_text("a line\n")
    (paths.logs / "perf").symlink_to("sys")
    paths.owner_log.write_text("said\n")
    paths.journal.touch()
    copier = copier_of(paths, container)
    copier.copy()
    copier.copy_record()
    names = [info.path for page in container.pages("") for info in page]
    expected = [PLACES.code, PLACES.journal, PLACES.record, PLACES.spec, PLACES.owner_log, PLACES.logs + "sys/master_role.txt"]
    assert sorted(names) == sorted(expected)
    assert not any(b"canary" in container.read(name) for name in names)


def test_the_record_says_no_more_than_the_journal_has(container: Watched, paths: JobPaths, monkeypatch: pytest.MonkeyPatch) -> None:
    """Mini-batches that end while it is copied are for the next round."""
    paths.journal.write_bytes(b"a\n")
    record = load_record(paths)
    assert record is not None

    def more(_name: str) -> None:
        write_json(paths.record, replace(record, progress=Progress(total=9, succeeded=7)).to_json())

    monkeypatch.setattr("runner.workspace.archive.copier.failpoint", more)
    copier = copier_of(paths, container)
    for succeeded in (record.progress.succeeded, 7):
        copier.copy()
        assert json.loads(container.read(PLACES.record))["progress"]["mini_batches"]["succeeded"] == succeeded


def test_what_has_not_changed_is_not_sent_again(container: Watched, paths: JobPaths) -> None:
    (paths.logs / "log.txt").write_text("a line\n")
    paths.journal.write_bytes(b"a\n")
    copier = copier_of(paths, container)
    copier.copy()
    copier.copy_record()
    container.writes.clear()
    assert not copier.copy()
    copier.copy_record()
    assert not container.writes
    again = copier_of(paths, container)  # of a process that goes on with the job: the code stays what it is
    again.copy()
    assert PLACES.code not in container.writes


def test_the_steps_of_a_pipeline_have_their_own(container: Watched, paths: JobPaths) -> None:
    step = paths.step("score")
    for folder in (step.root, step.code, step.logs):
        folder.mkdir(parents=True)
    step.journal.write_bytes(b"a\n")
    (step.logs / "log.txt").write_text("a line\n")
    copier_of(paths, container).copy()
    assert container.read(".runner/jobs/job/steps/score/journal.log") == b"a\n"
    assert container.read("azureml/job/logs/score/log.txt") == b"a line\n"


# Whose it is


def test_a_name_is_taken_once(container: Watched) -> None:
    ownership.claim(container, PLACES.owner, "job")
    with pytest.raises(JobConflict, match=r"taken by another job in the datastore 'az', by .* on "):
        ownership.claim(container, PLACES.owner, "job")


def test_a_claim_whose_answer_is_lost_is_made(container: Watched) -> None:
    container.forgetful = True
    ownership.claim(container, PLACES.owner, "job").renew()


def test_an_owner_that_is_superseded_finds_out(container: Watched) -> None:
    first = ownership.claim(container, PLACES.owner, "job")
    first.renew()
    container.forgetful = True
    first.renew()
    seen = ownership.look(container, PLACES.owner)
    assert seen is not None
    second = ownership.take_over(container, PLACES.owner, seen)
    assert second.owner.epoch == 2
    for _ in range(2):
        with pytest.raises(Superseded):
            first.renew()
    with pytest.raises(BlobChanged):
        ownership.take_over(container, PLACES.owner, seen)
    second.renew()


def test_a_request_reaches_the_owner(container: Watched) -> None:
    owner = ownership.claim(container, PLACES.owner, "job")
    assert ownership.ask_to_cancel(container, PLACES.owner)
    assert not owner.cancelled
    owner.renew()
    owner.renew()
    assert owner.cancelled
    owner.release()
    assert not ownership.ask_to_cancel(container, PLACES.owner)


def test_who_lives(container: Watched, monkeypatch: pytest.MonkeyPatch) -> None:
    ownership.claim(container, PLACES.owner, "job").renew()
    seen = ownership.look(container, PLACES.owner)
    assert seen is not None
    assert seen.lives
    elsewhere = replace(seen.owner, place="another machine", pid=1)
    assert replace(seen, owner=elsewhere).lives
    assert not replace(seen, owner=elsewhere, age=ownership.SILENT).lives
    assert not replace(seen, owner=replace(seen.owner, pid=2**22 + 1)).lives
    assert not replace(seen, owner=replace(seen.owner, ended=True)).lives


# The thread


class Job:
    """What an owner process has of the archive."""

    def __init__(self, paths: JobPaths, container: BlobContainer, owner: ownership.Ownership) -> None:
        self.said: list[str] = []
        self.cancelled, self.lost = [], []
        self.archiver = Archiver(
            paths,
            PLACES,
            container,
            owner,
            cancel=lambda: self.cancelled.append(1),
            lost=lambda: self.lost.append(1),
            say=self.said.append,
        )
        self.archiver.start()


def wait_for(what: Callable[[], object]) -> None:
    end = time.monotonic() + 20
    while not what():
        assert time.monotonic() < end
        time.sleep(0.02)


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archiver, "ROUND", 0.1)


def read_record(container: BlobContainer) -> dict[str, Any]:
    return dict(json.loads(container.read(PLACES.record)))


def test_a_job_is_there_to_its_end(container: Watched, paths: JobPaths) -> None:
    paths.journal.write_bytes(b"a\n")
    job = Job(paths, container, ownership.claim(container, PLACES.owner, "job"))
    wait_for(lambda: list(container.pages(PLACES.record)))
    with open(paths.journal, "ab") as journal:
        journal.write(b"b\n")
    job.archiver(StatusChanged(at=0, status="Running"))
    wait_for(lambda: container.read(PLACES.journal) == b"a\nb\n")
    (paths.logs / "last.txt").write_text("last\n")
    job.archiver.settle()
    assert container.read(PLACES.logs + "last.txt") == b"last\n"
    assert read_record(container)["status"] == "Running"
    write_json(paths.record, JobRecord(name="job", type="parallel", status="Completed").to_json())
    assert job.archiver.finish()
    assert read_record(container)["status"] == "Completed"
    seen = ownership.look(container, PLACES.owner)
    assert seen is not None
    assert seen.owner.ended
    assert not job.said


def test_nothing_is_asked_while_nothing_happens(container: Watched, paths: JobPaths) -> None:
    job = Job(paths, container, ownership.claim(container, PLACES.owner, "job"))
    wait_for(lambda: list(container.pages(PLACES.record)))
    time.sleep(0.3)
    container.writes.clear()
    time.sleep(1)
    assert len(container.writes) <= 1
    job.archiver.settle()
    job.archiver.finish()


def test_an_outage_costs_rounds(container: Watched, paths: JobPaths) -> None:
    job = Job(paths, container, ownership.claim(container, PLACES.owner, "job"))
    wait_for(lambda: list(container.pages(PLACES.record)))
    container.away = True
    paths.journal.write_bytes(b"a\n")
    job.archiver(StatusChanged(at=0, status="Running"))
    wait_for(lambda: job.said)
    container.away = False
    job.archiver(StatusChanged(at=0, status="Running"))
    wait_for(lambda: len(job.said) == 2)
    assert container.read(PLACES.journal) == b"a\n"
    assert job.said == ["the job goes on, but its archive does not: out of reach", "the archive is up to date again"]
    job.archiver.settle()
    assert job.archiver.finish()


def test_an_archive_that_is_not_complete_says_so(container: Watched, paths: JobPaths) -> None:
    job = Job(paths, container, ownership.claim(container, PLACES.owner, "job"))
    wait_for(lambda: list(container.pages(PLACES.record)))
    container.away = True
    paths.journal.write_bytes(b"a\n")
    job.archiver.settle()
    assert not job.archiver.finish()


def test_a_job_that_is_another_owners_stops(container: Watched, paths: JobPaths) -> None:
    owner = ownership.claim(container, PLACES.owner, "job")
    paths.journal.write_bytes(b"a\n")
    job = Job(paths, container, owner)
    wait_for(lambda: list(container.pages(PLACES.journal)))
    seen = ownership.look(container, PLACES.owner)
    assert seen is not None
    ownership.take_over(container, PLACES.owner, seen)
    container.touch(PLACES.journal, etag=container.info(PLACES.journal).etag)
    with open(paths.journal, "ab") as journal:
        journal.write(b"b\n")
    job.archiver(StatusChanged(at=0, status="Running"))
    wait_for(lambda: job.lost)
    assert container.read(PLACES.journal) == b"a\n"
    for step in (lambda: job.archiver.settle(), job.archiver.owned().__enter__, job.archiver.confirm):
        with pytest.raises(Superseded):
            step()
    assert len(job.lost) == 1


def test_who_has_no_business_there_is_overwritten(container: Watched, paths: JobPaths) -> None:
    paths.journal.write_bytes(b"a\n")
    job = Job(paths, container, ownership.claim(container, PLACES.owner, "job"))
    wait_for(lambda: list(container.pages(PLACES.record)))
    container.put(PLACES.journal, b"something else")
    with open(paths.journal, "ab") as journal:
        journal.write(b"b\n")
    job.archiver(StatusChanged(at=0, status="Running"))
    wait_for(lambda: container.read(PLACES.journal) == b"a\nb\n")
    assert not job.lost
    job.archiver.settle()
    assert job.archiver.finish()


def test_a_request_to_cancel_is_obeyed(container: Watched, paths: JobPaths) -> None:
    owner = ownership.claim(container, PLACES.owner, "job")
    job = Job(paths, container, owner)
    wait_for(lambda: list(container.pages(PLACES.record)))
    assert ownership.ask_to_cancel(container, PLACES.owner)
    owner.renew()
    job.archiver(StatusChanged(at=0, status="Running"))
    wait_for(lambda: job.cancelled)
    job.archiver.settle()
    job.archiver.finish()
