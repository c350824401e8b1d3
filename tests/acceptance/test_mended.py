"""A job that failed because of its script goes on with the mended one."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from tests.acceptance.conftest import IN_PROCESSES_OR_ON_A_CLUSTER
from tests.acceptance.jobs import Lab

FAILING = """
import os, time
from ledger import note

MENDED = False

def run(mini_batch):
    name = os.path.basename(mini_batch[0])
    while name > "f00003.txt" and not MENDED and "f00003.txt" in open(os.environ["LEDGER"]).read():
        time.sleep(0.05)  # for the one worker: nothing begins between the failure and the job's end
    note(name)
    if name == "f00003.txt":
        raise ValueError("no such digit")
    return [name]
"""
MENDED = FAILING.replace("MENDED = False", "MENDED = True").replace('raise ValueError("no such digit")', 'name = "three"')


pytestmark = IN_PROCESSES_OR_ON_A_CLUSTER


@pytest.fixture
def failed(tmp_path: Path, anywhere: Callable[[Path], Lab]) -> Lab:
    """A job that has failed at its fourth file, with three of them finished at least."""
    lab = anywhere(tmp_path)
    lab.files(8)
    lab.script(FAILING)
    lab.job(retry_settings={"max_retries": 0}, mini_batch_error_threshold=0, max_concurrency_per_instance=1)
    done = lab.score()
    assert done.status == 1
    assert "runner job resume -n job (with --code if you have mended the script)" in done.job["error"]["message"].splitlines()[0]
    return lab


@pytest.mark.on_cluster
def test_a_mended_script_goes_on_where_the_job_failed(failed: Lab) -> None:
    before = failed.ledger
    failed.script(MENDED)
    assert failed.run("job", "resume", "-n", "job", "--stream").status == 1  # with the code that it has
    between = failed.ledger
    done = failed.run("job", "resume", "-n", "job", "--code", "--stream", "-o", "json")
    assert done.status == 0, done.stderr
    assert failed.rows.read_text() == "".join("three\n" if i == 3 else f"f{i:05d}.txt\n" for i in range(8))
    assert "f00003.txt" in failed.ledger[len(between) :]
    assert not set(failed.ledger[len(between) :]) & set(before) - {"f00003.txt"}
    assert {path.name for path in Path(failed.state, "jobs/job").glob("code*")} - {"code.sha256"} == {"code"}


@pytest.mark.in_processes
def test_in_the_background_and_with_another_interpreter(failed: Lab) -> None:
    failed.script(MENDED)
    mine = os.path.relpath(sys.executable, failed.folder)
    assert "is no Python" in failed.run("job", "resume", "-n", "job", "--python", "./yours").stderr
    assert failed.run("job", "resume", "-n", "job", "--code", "--python", mine).status == 0
    done = failed.run("job", "stream", "-n", "job", "-o", "json")
    assert done.status == 0, done.stderr
    assert done.job["python"] == sys.executable


def test_a_script_that_is_not_mended_leaves_the_job_as_it_was(failed: Lab) -> None:
    snapshot = Path(failed.state, "jobs/job/code/score.py")
    failed.script("def run(mini_batch:\n")
    done = failed.run("job", "resume", "-n", "job", "--code")
    assert done.status == 2
    assert "score.py:1: syntax error" in done.stderr
    Path(failed.folder, "code/score.py").unlink()
    assert failed.run("job", "resume", "-n", "job", "--code").status == 2
    assert snapshot.read_text() == FAILING
    assert failed.run("job", "show", "-n", "job", "-o", "json").job["status"] == "Failed"


def test_every_step_of_a_pipeline_gets_the_mended_code(tmp_path: Path, anywhere: Callable[[Path], Lab]) -> None:
    lab = anywhere(tmp_path)
    lab.files(4)
    lab.script(FAILING)
    step = yaml.safe_load(lab.job(retry_settings={"max_retries": 0}, mini_batch_error_threshold=0).read_text())
    first = {**step, "inputs": {"data": "${{parent.inputs.data}}"}, "outputs": {"rows": {"type": "uri_folder"}}}
    second = {**first, "inputs": {"data": "${{parent.jobs.first.outputs.rows}}"}}
    pipeline = {"type": "pipeline", "inputs": step["inputs"], "jobs": {"first": first, "second": second}}
    Path(lab.folder, "job.yml").write_text(yaml.safe_dump(pipeline))
    assert lab.score().status == 1
    lab.script(MENDED)
    done = lab.run("job", "resume", "-n", "job", "--code", "--stream", "-o", "json")
    assert done.status == 0, done.stderr
    for name in ("first", "second"):
        assert Path(lab.state, "jobs/job/steps", name, "code/score.py").read_text() == MENDED
