from __future__ import annotations

import json
import os
import signal
import threading
import time

import pytest

from runner.client import Client, exit_status
from runner.errors import JobConflict, UserError
from runner.interrupts import cancelled_by_signals
from runner.pipeline.options import Cancellation
from runner.spec.load import read_job


def _submit(client: Client, **options):
    return client.submit(read_job("job.yml"), stream=True, **options)


def test_a_streamed_job(client, pretending, pretend, folder):
    pretending(pretend())
    seen = []
    record = _submit(client, name="one", watch=seen.append)
    assert (record.name, record.status, exit_status(record)) == ("one", "Completed", 0)
    assert record == client.get("one")
    assert record.progress.succeeded == 3
    assert record.started_at
    assert record.ended_at
    assert record.error is None
    assert record.outputs["rows"]["path"] == str(folder / "out" / "rows.txt")
    assert type(seen[0]).__name__ == "StatusChanged"
    page = (client.workspace.data_folder("one") / "logs" / "job_result.txt").read_text()
    assert page.startswith("Job one: Completed")
    assert "a notice" in page
    paths = client.store.paths("one")
    assert (paths.code / "score.py").is_file()
    assert not client.store.is_running("one")
    assert not paths.control.exists()
    assert not paths.progress.exists()
    assert not list(folder.glob("out/.runner*"))


def test_a_failed_job(client, pretending, pretend):
    pretending(pretend("Failed", "threshold", "mini-batch 1: ValueError: bad"))
    record = _submit(client)
    assert exit_status(record) == 1
    assert record.error == {"log": record.logs, "message": "mini-batch 1: ValueError: bad", "code": "threshold"}


def test_what_the_run_refuses_before_it_runs_is_a_wrong_request(client, pretending):
    def run(observe, cancel, _confirm=None):
        raise UserError("no such column")

    pretending(run)
    with pytest.raises(UserError, match="no such column"):
        _submit(client, name="one")
    assert client.list() == []  # nothing half-written: the name is free


def test_a_bug_is_recorded_and_raised(client, pretending, pretend):
    def boom(observe, cancel, _confirm=None):
        raise ZeroDivisionError("oops")

    pretending(pretend(before=boom))
    with pytest.raises(ZeroDivisionError):
        _submit(client, name="one")
    record = client.get("one")
    assert (record.status, record.error["code"]) == ("Failed", "internal")
    assert not client.store.is_running("one")


def test_names_are_unique(client, pretending, pretend):
    pretending(pretend())
    _submit(client, name="one")
    with pytest.raises(JobConflict, match="taken"):
        _submit(client, name="one")
    assert client.store.names() == ["one"]


def test_two_jobs_cannot_write_to_one_output(client, pretending, pretend):
    started, go_on = threading.Event(), threading.Event()

    def wait(observe, cancel):
        started.set()
        assert go_on.wait(10)

    pretending(pretend(before=wait))
    first = threading.Thread(target=_submit, args=(client,), kwargs={"name": "first"})
    first.start()
    assert started.wait(10)
    try:
        with pytest.raises(JobConflict, match="job first is writing to"):
            _submit(client, name="second")
        assert client.store.names() == ["first"]
        assert client.get("first").status == "Running"
    finally:
        go_on.set()
        first.join()


def test_cancelled_from_another_process(client, pretending, pretend):
    def run(observe, cancel, _confirm=None):
        asked = threading.Event()
        cancel.on_request(asked.set)
        threading.Thread(target=client.cancel, args=("one",)).start()
        assert asked.wait(10)
        return pretend("Canceled", "cancelled", "cancelled")(observe, cancel)

    pretending(run)
    assert exit_status(_submit(client, name="one")) == 130
    assert not client.store.paths("one").cancel.exists()


def test_cancelled_by_a_signal_of_its_own_process(client, pretending, pretend):
    def run(observe, cancel, _confirm=None):
        asked = threading.Event()
        cancel.on_request(asked.set)
        os.kill(os.getpid(), signal.SIGINT)
        assert asked.wait(10)
        return pretend("Canceled", "cancelled", "cancelled")(observe, cancel)

    before = signal.getsignal(signal.SIGINT)
    pretending(run)
    assert _submit(client, name="one").status == "Canceled"
    assert signal.getsignal(signal.SIGINT) is before


def test_a_second_signal_gives_up():
    cancel, given_up = Cancellation(), threading.Event()
    before = signal.getsignal(signal.SIGTERM)
    with cancelled_by_signals(cancel, give_up=given_up.set):
        os.kill(os.getpid(), signal.SIGTERM)
        deadline = time.monotonic() + 10
        while not cancel.requested and time.monotonic() < deadline:
            time.sleep(0.01)
        assert not given_up.is_set()
        os.kill(os.getpid(), signal.SIGTERM)
        assert given_up.wait(10)
    assert signal.getsignal(signal.SIGTERM) is before


def test_validate_says_that_a_name_is_taken(client, pretending, pretend):
    pretending(pretend())
    _submit(client, name="one")
    with pytest.raises(JobConflict, match="`name`: the name 'one' is taken"):
        client.validate(read_job("job.yml"), name="one")
    _, plans = client.validate(read_job("job.yml"))
    assert [plan.mini_batches for plan in plans] == [3]


def test_resume(client, pretending, pretend):
    options = pretending(pretend("Failed", "threshold", "bad"))
    _submit(client, name="one")
    assert client.resume("one", stream=True).status == "Failed"
    pretending(pretend())
    assert client.resume("one", stream=True).status == "Completed"
    assert options[1] == {"resume": True, "retry_failed": True}
    with pytest.raises(UserError, match="it is complete"):
        client.resume("one", stream=True)


def test_resume_of_an_interrupted_job_keeps_its_failures(client, pretending, pretend):
    options = pretending(pretend("Failed", "threshold", "bad"))
    _submit(client, name="one")
    paths = client.store.paths("one")
    data = json.loads(paths.record.read_text())
    paths.record.write_text(json.dumps(data | {"status": "Running", "error": None}))
    paths.cancel.touch()
    assert client.get("one").error["code"] == "interrupted"
    client.resume("one", stream=True)
    assert options[1] == {"resume": True, "retry_failed": False}


def test_too_little_space(folder, pretending, pretend):
    (folder / "workspace.yml").write_text("defaults: {free_space_floor: 9000TB}\n")
    with pytest.raises(UserError, match=r"are free on the file system(.|\n)*free_space_floor"):
        _submit(Client())
    assert Client().store.names() == []


def test_an_ignored_entry_script(client, folder):
    (folder / "src" / ".amlignore").write_text("score.*\n")
    with pytest.raises(UserError, match="left out of the snapshot"):
        _submit(client)
    assert client.store.names() == []
    assert list(client.workspace.drafts.iterdir()) == []


def test_streaming_from_another_thread(client, pretending, pretend):
    started, go_on = threading.Event(), threading.Event()

    def wait(observe, cancel):
        started.set()
        assert go_on.wait(10)

    pretending(pretend(before=wait))
    owner = threading.Thread(target=_submit, args=(client,), kwargs={"name": "one"})
    owner.start()
    assert started.wait(10)
    seen = []
    threading.Thread(target=lambda: (time.sleep(0.2), go_on.set())).start()
    assert client.stream("one", seen.append).status == "Completed"
    owner.join()
    kinds = [type(event).__name__ for event in seen]
    assert kinds[0] == "StatusChanged"
    assert kinds[-1] == "JobEnded"


def test_computes(client):
    assert [compute["name"] for compute in client.computes()] == ["local"]
    with pytest.raises(UserError, match=r"no compute 'locl'(.|\n)*did you mean 'local'"):
        client.compute("locl")
