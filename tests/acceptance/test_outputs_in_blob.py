"""Rows and files in blob storage on bad days: it does not answer, it forgets, somebody else writes there."""

from __future__ import annotations

import re
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from runner.client import Client
from runner.errors import UserError
from runner.spec.load import read_job
from tests.acceptance.blobs import InBlob, in_blob
from tests.acceptance.jobs import Lab
from tests.acceptance.test_crash import finished_in_journal
from tests.fault_proxy import FaultProxy

pytestmark = pytest.mark.needs("azurite")

COUNT = 60
WIDTH = 400_000
SCRIPT = f"""
import os, time
from ledger import note

def run(mini_batch):
    names = [os.path.basename(path) for path in mini_batch]
    while names[0] == "f00050.txt" and not os.path.exists(os.environ["LEDGER"] + ".go"):
        time.sleep(0.05)
    time.sleep(0.03)
    note(names[0])
    return [name + " " + "x" * {WIDTH} for name in names]
"""
EXPECTED = "".join(f"f{i:05d}.txt {'x' * WIDTH}\n" for i in range(COUNT))


@pytest.fixture
def lab(tmp_path: Path, fault_proxy: FaultProxy) -> InBlob:
    """Its input is local, so that only outputs meet with faults. Its 51st mini-batch waits for `go`."""
    lab = in_blob(Lab, fault_proxy.front)(tmp_path)
    assert isinstance(lab, InBlob)
    lab.files(COUNT)
    lab.script(SCRIPT)
    make(lab)
    return lab


def make(lab: InBlob, **task: str) -> None:
    inputs = {"data": {"type": "uri_folder", "path": str(lab.folder / "input")}}
    lab.job(max_concurrency_per_instance=2, inputs=inputs, retry_settings={"timeout": 600}, task=task)


def go(lab: InBlob) -> None:
    Path(f"{lab.ledger_file}.go").touch()


def begun(lab: InBlob, *words: str) -> subprocess.Popen[str]:
    """A job that has staged some rows, and waits for `go`."""
    process = lab.start(*(words or ("job", "create", "-f", "job.yml", "-n", "job", *lab.local, "--stream")))
    until(lambda: len(finished_in_journal(lab)) >= 49)
    return process


def until(happened: Callable[[], object]) -> None:
    end = time.monotonic() + 60
    while not happened():
        assert time.monotonic() < end
        time.sleep(0.05)


def ended(process: subprocess.Popen[str], lab: InBlob) -> tuple[int, str]:
    out, err = process.communicate(timeout=120)
    lab.fetch()
    return process.returncode, out + err


def test_an_outage_is_waited_for_and_told(lab: InBlob, fault_proxy: FaultProxy) -> None:
    make(lab, program_arguments="--progress_update_timeout 8 --task_overhead_timeout 8")
    process = lab.start("job", "create", "-f", "job.yml", "-n", "job", *lab.local, "--stream")
    until(lambda: len(lab.ledger) > 5)
    with fault_proxy.outage():
        go(lab)  # not before: on a busy machine the job might be over by now
        time.sleep(15)
        assert process.poll() is None, process.communicate()
    status, said = ended(process, lab)
    assert status == 0, said
    assert "waiting for datastore 'az'" in said
    assert "answers again" in said
    assert lab.rows.read_text() == EXPECTED
    assert len(lab.ledger) == COUNT


def test_a_job_is_cancelled_during_an_outage_and_goes_on_later(lab: InBlob, fault_proxy: FaultProxy) -> None:
    process = lab.start("job", "create", "-f", "job.yml", "-n", "job", *lab.local, "--stream")
    until(lambda: len(lab.ledger) > 5)
    with fault_proxy.outage():
        go(lab)
        time.sleep(3)
        began = time.monotonic()
        process.terminate()
        process.communicate(timeout=30)
        assert time.monotonic() - began < 12
    finished = finished_in_journal(lab)
    before = lab.ledger
    assert len(finished) >= len(before) - 2  # what was finished is kept, without the storage
    done = lab.run("job", "resume", "-n", "job", "--stream", "-o", "json")
    assert done.status == 0, done.stderr
    assert lab.rows.read_text() == EXPECTED
    assert not {int(name[1:6]) for name in lab.ledger[len(before) :]} & finished


@pytest.mark.parametrize(
    ("silent", "skip"),
    [
        ({"method": "PUT", "query": "comp=block"}, 1),  # all but the check at submission
        ({"method": "PUT", "query": "comp=block"}, 2),  # all but that and the one when the step begins
        ({"method": "GET", "path": "/f000"}, 0),
    ],
)
def test_a_job_is_cancelled_while_a_storage_takes_requests_and_does_not_answer(
    lab: InBlob, fault_proxy: FaultProxy, silent: dict[str, str], skip: int
) -> None:
    if silent["method"] == "GET":
        lab.job(max_concurrency_per_instance=2, retry_settings={"timeout": 600})  # its input is in the container, too
    fault_proxy.slow(delay=55, times=None, skip=skip, **silent)
    go(lab)
    process = lab.start("job", "create", "-f", "job.yml", "-n", "job", *lab.local, "--stream")
    until(lambda: fault_proxy.count(**silent) > skip)
    time.sleep(1)
    began = time.monotonic()
    process.terminate()
    _, said = process.communicate(timeout=50)
    assert time.monotonic() - began < 8, said
    assert "Traceback" not in said
    assert lab.run("job", "show", "-n", "job", "-o", "json").job["status"] == "Canceled"
    fault_proxy.forget()
    done = lab.run("job", "resume", "-n", "job", "--stream", "-o", "json")
    assert done.status == 0, done.stderr
    assert lab.rows.read_text() == EXPECTED


def test_whoever_validates_a_job_does_not_wait_long(lab: InBlob, fault_proxy: FaultProxy, monkeypatch: pytest.MonkeyPatch) -> None:
    """The check of the input's address gets an answer, its listing does not."""
    monkeypatch.setattr("runner.spec.blobs.CHECK_SECONDS", 2.0)
    lab.job(max_concurrency_per_instance=2)
    lab.send()
    assert lab.run("job", "validate", "-f", "job.yml", *lab.local).status == 0
    listings = fault_proxy.count(method="GET", query="input")
    fault_proxy.forget()
    fault_proxy.answer(503, "ServerBusy", times=None, skip=listings - 1, method="GET", query="input")
    client = Client(lab.folder)
    began = time.monotonic()
    with pytest.raises(UserError, match=r"cannot be listed: datastore .az. did not answer for . s: 503"):
        client.validate(read_job(lab.folder / "job.yml"), local=bool(lab.local))
    assert time.monotonic() - began < 8


def test_an_answer_to_the_commit_that_is_lost(lab: InBlob, fault_proxy: FaultProxy) -> None:
    go(lab)
    fault_proxy.lose_answer(query="comp=blocklist", method="PUT")
    done = lab.score()
    assert done.status == 0, done.stderr
    assert fault_proxy.count(query="comp=blocklist", method="PUT") == 2
    assert lab.rows.read_text() == EXPECTED


def test_a_second_writer(lab: InBlob) -> None:
    process = begun(lab)
    with lab.azurite.client(lab.container) as client:
        client.get_blob_client(f"{lab.prefix}/out/rows.txt").commit_block_list([])  # which drops what is staged
        client.upload_blob(f"{lab.prefix}/out/rows.txt", b"of somebody else", overwrite=True)
    go(lab)
    status, said = ended(process, lab)
    assert status == 1
    assert "written by somebody else" in said
    assert "job resume" in said
    assert "Traceback" not in said
    assert lab.rows.read_text() == "of somebody else"
    done = lab.run("job", "resume", "-n", "job", "--stream", "-o", "json")
    assert done.status == 0, done.stderr
    assert lab.rows.read_text() == EXPECTED


def test_blocks_that_vanish_are_made_again_by_the_same_run(lab: InBlob) -> None:
    process = begun(lab)
    with lab.azurite.client(lab.container) as client:
        client.get_blob_client(f"{lab.prefix}/out/rows.txt").commit_block_list([])
        client.delete_blob(f"{lab.prefix}/out/rows.txt")
    go(lab)
    status, said = ended(process, lab)
    assert status == 0, said
    assert "are gone" in said
    assert lab.rows.read_text() == EXPECTED
    assert len(lab.ledger) > COUNT


def test_a_permission_that_is_taken_away_loses_nothing(lab: InBlob, fault_proxy: FaultProxy) -> None:
    go(lab)
    fault_proxy.answer(403, "AuthorizationPermissionMismatch", method="PUT", query="comp=block", times=None, skip=2)
    done = lab.score()
    assert done.status == 1
    assert "datastore 'az'" in done.stderr
    assert "does not let us write" in done.stderr
    fault_proxy.forget()
    finished, before = finished_in_journal(lab), len(lab.ledger)
    assert finished
    done = lab.run("job", "resume", "-n", "job", "--stream", "-o", "json")
    assert done.status == 0, done.stderr
    assert lab.rows.read_text() == EXPECTED
    assert not {int(name[1:6]) for name in lab.ledger[before:]} & finished


def test_finished_in_part_the_blob_says_so_and_the_job_goes_on(lab: InBlob) -> None:
    process = begun(lab)
    process.terminate()
    process.communicate(timeout=60)
    finished = lab.run("job", "finish", "--partial", "-n", "job")
    assert finished.status == 0, finished.stderr
    blob = lab.azurite.client(lab.container).get_blob_client(f"{lab.prefix}/out/rows.txt")
    assert blob.get_blob_properties().metadata["runner_incomplete"] == "true"
    rows = lab.rows.read_text().splitlines(keepends=True)
    assert rows == [line for line in EXPECTED.splitlines(keepends=True) if line in set(rows)]


def test_a_table_and_no_rows(lab: InBlob) -> None:
    lab.script("def run(mini_batch):\n    return []\n")
    outputs = {"rows": {"type": "mltable", "path": "table"}}
    lab.job(outputs=outputs, inputs={"data": {"type": "uri_folder", "path": str(lab.folder / "input")}})
    done = lab.score()
    assert done.status == 0, done.stderr
    assert (lab.folder / "table" / "parallel_run_step.txt").read_bytes() == b""
    assert "type: mltable" in (lab.folder / "table" / "MLTable").read_text()


@pytest.mark.parametrize("where", ["folder", "blob"])
def test_an_output_in_the_split_input_is_told_of_before_the_job_runs(where: str, lab: InBlob) -> None:
    lab.script()
    top = str(lab.folder / "input") if where == "folder" else "azureml://datastores/az/paths/in6"
    with lab.azurite.client(lab.container) as client:
        client.upload_blob("in6/a.txt", "a\n")
    lab.job(inputs={"data": {"type": "uri_folder", "path": top}}, outputs={"rows": {"type": "uri_folder", "path": f"{top}/sub"}})
    said = "the output 'rows' lies inside the input 'data': a later run will take it for an item"
    assert said in lab.run("job", "validate", "-f", "job.yml", "--local").stdout
    created = lab.run("job", "create", "-f", "job.yml", "-n", "job", "--local")
    assert created.status == 0, created.stderr
    assert f"Warning: {said}" in created.stderr
    assert lab.run("job", "stream", "job").status == 0


APPENDING = """
import argparse, os
from ledger import note

def init():
    global FOLDER
    parser = argparse.ArgumentParser()
    parser.add_argument("--files")
    FOLDER = parser.parse_known_args()[0].files

def run(mini_batch):
    name = os.path.basename(mini_batch[0])
    if name == "f00007.txt" and not os.path.exists(os.environ["LEDGER"] + ".go"):
        raise ValueError("not yet")
    note(name)
    with open(os.path.join(FOLDER, "all.txt"), "a") as file:
        file.write(name + chr(10))
    return [name]
"""


def with_files(lab: InBlob, script: str, *, kind: str = "uri_folder", path: str = "files", **keys: object) -> None:
    lab.script(script)
    lab.job(
        max_concurrency_per_instance=1,
        mini_batch_error_threshold=0,
        retry_settings={"max_retries": 0},
        inputs={"data": {"type": "uri_folder", "path": str(lab.folder / "input")}},
        outputs={"files": {"type": kind, "path": path}},
        task={"program_arguments": "--files ${{outputs.files}}", "append_row_to": None},
        **keys,
    )


def test_a_file_that_scripts_append_to_goes_on_where_it_was(lab: InBlob) -> None:
    with_files(lab, APPENDING)
    assert lab.score().status != 0
    before = (lab.folder / "files" / "all.txt").read_text()
    assert before
    go(lab)
    done = lab.run("job", "resume", "-n", "job", "--stream", "-o", "json")
    assert done.status == 0, done.stderr
    rows = (lab.folder / "files" / "all.txt").read_text()
    assert rows.startswith(before)
    assert set(rows.split()) == {f"f{number:05d}.txt" for number in range(COUNT)}


TOGETHER = """
import argparse, os, time
from ledger import meet, note

def init():
    global FOLDER
    parser = argparse.ArgumentParser()
    parser.add_argument("--files")
    FOLDER = parser.parse_known_args()[0].files

def run(mini_batch):
    meet(2)
    name = os.path.basename(mini_batch[0])
    note(name)
    time.sleep(0.05)
    instance = FOLDER.split("/")[-3]  # each has a folder of its own
    for written in ("all.txt", instance + ".txt"):
        with open(os.path.join(FOLDER, written), "a") as file:
            file.write(name + chr(10))
    return [name]
"""


def test_two_instances_write_the_same_name(lab: InBlob) -> None:
    with_files(lab, TOGETHER, resources={"instance_count": 2})
    done = lab.score()
    assert done.status == 0, done.stderr
    assert re.search(r"'all\.txt': written by node_[01] and by node_[01]; the upload of node_([01]) came last and is kept", done.stderr)
    found = {path.name: set(path.read_text().split()) for path in (lab.folder / "files").iterdir()}
    rows = found.pop("all.txt")
    assert len(found) == 2
    assert rows in found.values()
    assert set.union(*found.values()) == {f"f{number:05d}.txt" for number in range(COUNT)}


def test_what_an_instance_wrote_that_is_no_longer_there_is_appended_to(lab: InBlob) -> None:
    with_files(lab, APPENDING)
    assert lab.score().status != 0
    before = (lab.folder / "files" / "all.txt").read_text()
    with lab.azurite.client(lab.container) as client:  # as if node_5 had taken the place of a lost instance
        blob = client.get_blob_client(f"{lab.prefix}/files/all.txt")
        blob.set_blob_metadata({**blob.get_blob_properties().metadata, "runner_node": "node_5"})
    go(lab)
    done = lab.run("job", "resume", "-n", "job", "--stream", "-o", "json")
    assert done.status == 0, done.stderr
    rows = (lab.folder / "files" / "all.txt").read_text()
    assert rows.startswith(before)
    assert set(rows.split()) == {f"f{number:05d}.txt" for number in range(COUNT)}
    assert "written by" not in done.stderr


def test_links_are_not_uploaded(lab: InBlob) -> None:
    (lab.folder / "secret").mkdir()
    (lab.folder / "secret" / "key.txt").write_text("the key")
    script = APPENDING.replace("    note(name)\n", f"""    note(name)
    for link, target in (("link.txt", "/key.txt"), ("folder", "")):
        if not os.path.lexists(os.path.join(FOLDER, link)):
            os.symlink({str(lab.folder / "secret")!r} + target, os.path.join(FOLDER, link))
""")  # fmt: skip
    with_files(lab, script)
    go(lab)
    done = lab.score()
    assert done.status == 0, done.stderr
    assert sorted(path.name for path in (lab.folder / "files").iterdir()) == ["all.txt"]
    assert "Warnings (1)" in done.stderr
    assert "'folder', 'link.txt'" in done.stderr


@pytest.mark.parametrize(
    ("made", "said"),
    [("FOLDER + chr(47) + chr(10) + 'x'", "no blob can have the name"), ("FOLDER + '/a' * 600 + '/x'", "no blob can have the name")],
)
def test_names_that_no_blob_can_have(lab: InBlob, made: str, said: str) -> None:
    script = APPENDING.replace('    note(name)\n', f"""    note(name)
    os.makedirs(os.path.dirname({made}), exist_ok=True)
    open({made}, "w").close()
""")  # fmt: skip
    with_files(lab, script)
    go(lab)
    done = lab.score()
    assert done.status == 1
    assert said in done.stderr
    assert "Traceback" not in done.stderr
    assert not finished_in_journal(lab)


def test_an_output_that_is_a_file_is_made_a_folder(lab: InBlob) -> None:
    script = APPENDING.replace("    note(name)\n", "    note(name)\n    os.makedirs(FOLDER, exist_ok=True)\n")
    with_files(lab, script, kind="uri_file", path="report/one.txt")
    go(lab)
    done = lab.score()
    assert done.status == 1
    assert "is an output of type uri_file, and the script has made a folder of it" in done.stderr
