from __future__ import annotations

import json
import os
import socket
import threading
import time
from dataclasses import replace
from types import SimpleNamespace

import pytest

from runner.errors import JobConflict, UserError
from runner.model.batch import Progress
from runner.model.events import STORAGE, JobEnded, Message, Progressed, StatusChanged
from runner.workspace.control import ControlServer, subscribe
from runner.workspace.jobs import JobStore
from runner.workspace.keeper import RecordKeeper
from runner.workspace.locks import take_lock
from runner.workspace.names import check_name, generate_name
from runner.workspace.records import JobRecord, interrupted


def test_generated_names_are_valid_and_differ():
    names = {generate_name() for _ in range(200)}
    assert len(names) == 200
    assert all(check_name(name) == name and name.count("_") == 2 for name in names)


@pytest.mark.parametrize("name", ["", "-x", ".x", "a b", "a/b", "é", "x" * 256, "a\n"])
def test_bad_names(name):
    with pytest.raises(UserError, match="cannot be the name of a job"):
        check_name(name)


def test_record_shows_the_documented_fields(store, make_job):
    make_job("one", tags={"team": "blue"})
    shown = store.get("one").to_json()
    json.dumps(shown)
    expected = {"name", "type", "status", "display_name", "experiment_name", "tags", "description", "properties", "inputs", "outputs"}
    assert expected | {"created_at", "started_at", "ended_at", "progress", "error", "logs"} <= set(shown)
    assert shown["outputs"]["rows"]["path"].endswith("/azureml/one/rows/rows.txt")
    assert shown["inputs"] == {
        "images": {"type": "uri_folder", "path": "/data/images", "uri": None, "mode": "ro_mount"},
        "alpha": {"type": "number", "value": 0.5},
    }
    assert set(shown["progress"]["mini_batches"]) >= {"total", "succeeded", "failed"}
    assert set(shown["progress"]["items"]) == {"total", "succeeded", "failed"}
    assert JobRecord.from_json(shown) == store.get("one")


def test_unfinished_job_without_owner_is_interrupted(store, make_job):
    make_job("lost", "Running")
    job = store.get("lost")
    assert job.status == "Failed"
    assert job.error["code"] == "interrupted"
    assert "runner job resume lost" in job.error["message"]


def test_steps_of_an_interrupted_pipeline_that_had_not_begun():
    steps = {
        "done": JobRecord(name="p.done", type="command", status="Completed", started_at="x"),
        "runs": JobRecord(name="p.runs", type="command", status="Running", started_at="x", parent="p"),
        "waits": JobRecord(name="p.waits", type="command", status="Queued"),
    }
    shown = interrupted(JobRecord(name="p", type="pipeline", status="Running", jobs=steps)).jobs
    assert [one.status for one in shown.values()] == ["Completed", "Failed", "NotRun"]
    assert "interrupted" in shown["waits"].reason


def test_unfinished_job_with_owner_shows_its_latest_counts(store, make_job):
    paths = make_job("alive", "Running")
    lock = store.take("alive")
    keeper = RecordKeeper(paths, store.get("alive"))
    keeper(Progressed(at=time.time(), progress=Progress(total=7, succeeded=3, items=30, items_failed=1)))
    job = store.get("alive")
    assert (job.status, job.progress.succeeded, job.progress.total) == ("Running", 3, 7)
    with pytest.raises(JobConflict, match="running in another process"):
        JobStore(store.workspace).take("alive")
    lock.release()


def test_the_owner_of_a_job_that_has_ended_is_waited_for(store, make_job):
    """Its record says so a moment before the owner has gone."""
    make_job("done", "Completed")
    lock = store.take("done")
    leaving = threading.Timer(0.3, lock.release)
    leaving.start()
    JobStore(store.workspace).take("done").release()
    leaving.join()


def test_keeper_writes_the_last_counts_when_they_are_said_again(store, make_job, monkeypatch):
    """Not those that come too soon; and nothing that stands there already."""
    paths = make_job("slow", "Running")
    keeper, written = RecordKeeper(paths, store.get("slow")), []
    for moment, succeeded in ((100.0, 1), (100.9, 2), (101.5, 2), (103.0, 2)):
        monkeypatch.setattr("runner.workspace.keeper.time", SimpleNamespace(monotonic=lambda moment=moment: moment))
        keeper(Progressed(at=moment, progress=Progress(total=7, succeeded=succeeded)))
        written.append((json.loads(paths.progress.read_text())[""]["mini_batches"]["succeeded"], paths.progress.stat().st_ino))
    assert [succeeded for succeeded, _ in written] == [1, 1, 2, 2]
    assert written[2] == written[3]


def test_keeper_writes_statuses_and_the_end(store, make_job):
    paths = make_job("two", "Preparing")
    keeper = RecordKeeper(paths, store.take("two") and store.get("two"))
    keeper(StatusChanged(at=1_800_000_000, status="Running"))
    assert json.loads(paths.record.read_text())["started_at"] == "2027-01-15T08:00:00.000Z"
    keeper(StatusChanged(at=1_800_000_001, status="Completed"))
    assert json.loads(paths.record.read_text())["status"] == "Running"
    keeper(JobEnded(at=1_800_000_001, status="Completed", code="completed", message=""))
    done = keeper.finish("Completed", progress=Progress(total=1, succeeded=1), error={}, incomplete=False)
    assert store.get("two") == done
    assert done.ended_at


def test_keeper_says_what_a_job_waits_for(store, make_job):
    paths = make_job("waits", "Running")
    keeper = RecordKeeper(paths, store.get("waits"))
    waits = Message(at=time.time(), level="WARNING", text="waiting for datastore 'az', which never answers again", source=STORAGE)
    for event, reason in ((waits, waits.text), (replace(waits, source="node_0", text="x"), waits.text), (replace(waits, over=True), "")):
        keeper(event)
        assert json.loads(paths.record.read_text()).get("reason", "") == reason


def test_keeper_follows_the_steps_of_a_pipeline(store, make_job):
    paths = make_job("pipe", "Preparing", steps=("prep", "score"))
    lock = store.take("pipe")
    keeper = RecordKeeper(paths, store.get("pipe"))
    keeper(StatusChanged(at=1_800_000_000, status="Running", step="prep"))
    keeper(Progressed(at=1_800_000_000, progress=Progress(total=2, succeeded=1), step="prep"))
    keeper(JobEnded(at=1_800_000_001, status="Failed", code="threshold", message="boom", step="prep"))
    prep = store.get("pipe.prep")
    assert (prep.status, prep.error["message"], prep.progress.total, prep.parent) == ("Failed", "boom", 2, "pipe")
    assert store.get("pipe").status == "Preparing"
    assert [job.name for job in store.find(parent="pipe")] == ["pipe.prep", "pipe.score"]
    lock.release()


def test_list_filters(store, make_job):
    make_job("a", tags={"k": "1"}, created="2026-01-01T00:00:00.000Z")
    make_job("b", "Failed", tags={"k": "2"}, created="2026-01-02T00:00:00.000Z")
    make_job("c", created="2026-01-03T00:00:00.000Z")
    assert [job.name for job in store.find()] == ["c", "b", "a"]
    assert [job.name for job in store.find(tag="k")] == ["b", "a"]
    assert [job.name for job in store.find(tag="k=1")] == ["a"]
    assert [job.name for job in store.find(status="Failed")] == ["b"]
    with pytest.raises(UserError, match="did you mean 'Failed'"):
        store.find(status="Faild")


def test_unknown_job_suggests(store, make_job):
    make_job("brave_apple_123456")
    with pytest.raises(UserError, match="did you mean 'brave_apple_123456'"):
        store.get("brave_aple_123456")


def test_a_step_is_no_job_of_its_own(store, make_job):
    make_job("night", steps=("score",))
    assert store.get("night.score").parent == "night"
    with pytest.raises(UserError, match=r"'night.score' is a step of the pipeline night(.|\n)*name the pipeline: night"):
        store.paths("night.score")


def test_draft_is_published_in_one_step_and_conflicts_are_found(store):
    with store.draft("new") as (draft, lock):
        assert store.names() == []
        draft.record.write_text("{}")
        final = store.publish(draft, "new")
        assert store.names() == ["new"]
        assert store.is_running("new")
    assert final.root.is_dir()
    lock.release()
    with pytest.raises(JobConflict, match="taken"):
        store.check_free("new")
    with pytest.raises(JobConflict, match="taken"), store.draft("new") as (draft, _lock):
        store.publish(draft, "new")
    assert list(store.workspace.drafts.iterdir()) == []


def test_cancel_wakes_the_owner(store, make_job):
    paths = make_job("busy", "Running")
    lock = store.take("busy")
    heard = threading.Event()
    server = ControlServer(paths.control, heard.set)
    server.start()
    try:
        assert store.cancel("busy")
        assert heard.wait(5)
        assert paths.cancel.exists()
    finally:
        server.close()
        lock.release()
    with pytest.raises(UserError, match="ended already"):
        store.cancel("busy")


def test_streaming_from_the_latest_state_on(store, make_job):
    paths = make_job("x" * 200, "Running")  # far beyond what a socket's path may have
    server = ControlServer(paths.control, lambda: None)
    server.start()
    assert paths.control.stat().st_mode & 0o777 == 0o600
    server(StatusChanged(at=1.0, status="Running"))
    server(Progressed(at=2.0, progress=Progress(total=1)))
    events = subscribe(paths.control)
    assert [next(events), next(events)] == [StatusChanged(at=1.0, status="Running"), Progressed(at=2.0, progress=Progress(total=1))]
    server(Progressed(at=3.0, progress=Progress(total=2)))
    server(JobEnded(at=4.0, status="Completed", code="completed", message="done"))
    server.close()
    assert [type(event).__name__ for event in events] == ["Progressed", "JobEnded"]
    assert subscribe(paths.control) is None


def test_closing_ends_connections_that_follow_nothing(tmp_path):
    server = ControlServer(tmp_path / "control.sock", lambda: None)
    server.start()
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(5)
        connection.connect(str(tmp_path / "control.sock"))
        connection.sendall(b'{"command": "cancel"}\n')
        assert connection.recv(100)
        server.close()  # an open socket that is left behind would be a warning, thus an error
        assert connection.recv(1) == b""


def test_a_listener_that_does_not_read_holds_nothing_up(store, make_job):
    paths = make_job("slow", "Running")
    server = ControlServer(paths.control, lambda: None)
    server.start()
    events = subscribe(paths.control)
    server(StatusChanged(at=1.0, status="Running"))
    next(events)
    begin = time.monotonic()
    for _ in range(3000):
        server(JobEnded(at=4.0, status="Completed", code="completed", message="x" * 10_000))
    assert time.monotonic() - begin < 5
    server.close()


def test_lock_survives_in_a_copy_of_its_handle(tmp_path):
    lock = take_lock(tmp_path / "lock")
    copy = os.dup(lock.handle)
    lock.hand_over()
    assert take_lock(tmp_path / "lock") is None
    os.close(copy)
    again = take_lock(tmp_path / "lock")
    assert again is not None
    again.release()


def test_the_steps_of_a_pipeline_were_created_as_it_was(store, make_job):
    make_job("all", steps=("a", "b"))
    assert [store.get(name).local for name in ("all", "all.a", "all.b")] == [True, True, True]


def test_what_another_user_has_put_into_a_folder_keeps_nobody_from_listing(store, make_job):
    make_job("good")
    for name, text in (("a", "[]"), ("b", "[" * 100_000), ("c", "{}"), ("d", '{"name": "d", "jobs": 1}')):
        make_job(name).record.write_text(text)
    pipe = make_job("e").record
    pipe.unlink()
    os.mkfifo(pipe)
    assert [job.name for job in store._all()] == ["good"]
