"""SIGKILL of everything at every boundary, then `job resume`: the same bytes, and finished mini-batches do not run again."""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.acceptance.jobs import Lab

COUNT = 40
SCRIPT = """
import os, time
from ledger import note

def run(mini_batch):
    names = [os.path.basename(path) for path in mini_batch]
    time.sleep(0.06)
    note(" ".join(names))
    return [name + " " + "x" * 50 for name in names]
"""
BY_CHANCE = """
import random

_run = run

def run(mini_batch):
    chance = random.random()
    if chance < 0.1:
        os.kill(os.getpid(), 9)
    if chance < 0.2:
        raise ValueError("by chance")
    return _run(mini_batch)
"""
EXPECTED = "".join(f"f{i:05d}.txt {'x' * 50}\n" for i in range(COUNT))


@pytest.fixture
def lab(tmp_path: Path, anywhere: Callable[[Path], Lab]) -> Lab:
    lab = anywhere(tmp_path)
    lab.files(COUNT)
    lab.script(SCRIPT)
    lab.job(max_concurrency_per_instance=2)
    return lab


def boundaries(tmp: Path) -> list[tuple[str, int]]:
    """How often each boundary is passed in a run without faults."""
    lab = Lab(tmp)
    tmp.mkdir(exist_ok=True)
    lab.files(COUNT)
    lab.script(SCRIPT)
    lab.job(max_concurrency_per_instance=2)
    log = tmp / "passages"
    assert lab.score(RUNNER_FAILPOINT_LOG=str(log)).status == 0
    counts = Counter(log.read_text().split())
    return [(name, number) for name, count in counts.items() for number in range(1, min(count, 6) + 1)]


def finished_in_journal(lab: Lab) -> set[int]:
    from runner.engine.journal import read_segments

    path = lab.state / "jobs" / "job" / "journal.log"
    return {i for s in read_segments(path) for i in range(s.first, s.last + 1)} if path.exists() else set()


def test_every_boundary(tmp_path: Path) -> None:
    places = boundaries(tmp_path / "plain")
    names = {name for name, _ in places}
    assert {
        "manifest.written", "manifest.synced", "part.begun", "part.written", "part.synced",
        "journal.before", "journal.written", "journal.synced", "output.written", "output.synced", "output.renamed",
    } <= names  # fmt: skip
    for name, number in places:
        folder = tmp_path / f"{name}-{number}"
        folder.mkdir()
        check_boundary(Lab(folder), f"{name}:{number}")


def check_boundary(lab: Lab, place: str) -> None:
    lab.files(COUNT)
    lab.script(SCRIPT)
    lab.job(max_concurrency_per_instance=2)
    killed = lab.score(RUNNER_FAILPOINT=place)
    if killed.status == 0:  # this run had fewer passages: nothing was killed
        return
    assert killed.status == -9, (place, killed)
    done_before, ledger_before = finished_in_journal(lab), len(lab.ledger)
    shown = json.loads(lab.run("job", "show", "-n", "job", "-o", "json").stdout)
    assert shown["status"] == "Failed", place
    assert not lab.rows.exists() or lab.rows.read_text() == EXPECTED, place
    done = lab.run("job", "resume", "-n", "job", "--stream", "-o", "json")
    assert done.status == 0, (place, done.stderr)
    assert lab.rows.read_text() == EXPECTED, place
    again = {int(line[1:6]) for line in lab.ledger[ledger_before:]}
    assert not again & done_before, place
    assert done.counts == (COUNT, COUNT, 0), place
    assert [path.name for path in lab.rows.parent.iterdir()] == ["rows.txt"], place


@pytest.mark.on_this_machine("on a cluster no command owns the job")
def test_killed_twice_then_resumed(lab: Lab) -> None:
    assert lab.score(RUNNER_FAILPOINT="part.synced:1").status == -9
    assert lab.run("job", "resume", "-n", "job", "--stream", RUNNER_FAILPOINT="part.written:1").status == -9
    assert lab.run("job", "resume", "-n", "job", "--stream").status == 0
    assert lab.rows.read_text() == EXPECTED


@pytest.mark.on_this_machine("on a cluster no command owns the job")
def test_changed_and_missing_files_are_named_on_resume(lab: Lab) -> None:
    assert lab.score(RUNNER_FAILPOINT="journal.synced:2").status == -9
    (lab.folder / "input" / "f00007.txt").write_text("changed since")
    (lab.folder / "input" / "f00011.txt").unlink()
    done = lab.run("job", "resume", "-n", "job", "--stream")
    assert done.status == 2
    assert "f00007.txt" in done.stderr
    assert "f00011.txt" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.on_this_machine("on a cluster no command owns the job")
def test_new_files_are_ignored_on_resume_with_a_warning(lab: Lab) -> None:
    assert lab.score(RUNNER_FAILPOINT="journal.synced:2").status == -9
    (lab.folder / "input" / "a-new-one.txt").write_text("new")
    (lab.folder / "input" / "z-new-one.txt").write_text("new")
    done = lab.run("job", "resume", "-n", "job", "--stream")
    assert done.status == 0, done.stderr
    assert "not part of this job" in done.stderr or "ignored" in done.stderr
    assert lab.rows.read_text() == EXPECTED


@pytest.mark.on_this_machine("on a cluster no command owns the job")
def test_two_processes_cannot_resume_one_job(lab: Lab) -> None:
    lab.script("import time\nfrom ledger import note\n\ndef run(b):\n    note('run')\n    time.sleep(0.5)\n    return [1]\n")
    assert lab.score(RUNNER_FAILPOINT="journal.synced:2").status == -9
    before = len(lab.ledger)
    first = lab.start("job", "resume", "-n", "job", "--stream")
    try:
        end = time.monotonic() + 30
        while len(lab.ledger) == before:
            assert time.monotonic() < end, "it does not run"
            time.sleep(0.05)
        second = lab.run("job", "resume", "-n", "job", "--stream")
        assert second.status == 2, second
        assert "is running" in second.stderr or "in use" in second.stderr or "owner" in second.stderr
    finally:
        first.communicate()
    assert first.returncode == 0


@pytest.mark.parametrize("workers", [1, 2, 8])
def test_the_same_bytes_with_any_number_of_workers(lab: Lab, workers: int) -> None:
    lab.job(max_concurrency_per_instance=workers, resources={"instance_count": 2 if workers == 8 else 1})
    assert lab.score().status == 0
    assert lab.rows.read_text() == EXPECTED


def test_the_same_bytes_with_killed_workers_and_retries(lab: Lab) -> None:
    lab.script(SCRIPT + BY_CHANCE)
    lab.job(max_concurrency_per_instance=2, retry_settings={"max_retries": 20})
    done = lab.score()
    assert done.status == 0, done.stderr
    assert lab.rows.read_text() == EXPECTED


STUCK = """
import os, time
from ledger import note

def run(mini_batch):
    name = os.path.basename(mini_batch[0])
    note(name)
    if name == "f00030.txt" and not os.path.exists(os.environ["LEDGER"] + ".mended"):
        time.sleep(600)
    return [name]
"""


@pytest.mark.on_this_machine("on a cluster no command owns the job")
@pytest.mark.not_in_blob("files that are fetched first run first")
def test_what_is_finished_is_durable_while_a_long_mini_batch_runs_in_the_same_frame(lab: Lab) -> None:
    lab.files(100)
    lab.script(STUCK)
    lab.job(max_concurrency_per_instance=1, retry_settings={"timeout": 600})
    process = lab.start("job", "create", "-f", "job.yml", "-n", "job", *lab.local, "--stream")
    try:
        end = time.monotonic() + 20
        while not set(range(30)) <= finished_in_journal(lab):
            assert time.monotonic() < end, finished_in_journal(lab)
            time.sleep(0.1)
    finally:
        process.kill()
        process.communicate()
    before = lab.ledger
    Path(f"{lab.ledger_file}.mended").touch()
    done = lab.run("job", "resume", "-n", "job", "--stream", "-o", "json")
    assert done.status == 0, done.stderr
    assert lab.rows.read_text() == "".join(f"f{i:05d}.txt\n" for i in range(100))
    assert set(lab.ledger[len(before) :]) & set(before) == {"f00030.txt"}


SLOW = """
import os, time
from ledger import note

def run(mini_batch):
    name = os.path.basename(mini_batch[0])
    note(name)
    time.sleep(0.05)
    note("end")
    return [name]
"""


@pytest.mark.in_processes
@pytest.mark.not_in_blob("the journal is the same")
def test_what_counts_as_finished_never_runs_again(lab: Lab) -> None:
    """After the death of all at once; what had ended in the last second may, and does not count before."""
    lab.files(120)
    lab.script(SLOW)
    lab.job(max_concurrency_per_instance=2)
    process = lab.start("job", "create", "-f", "job.yml", "-n", "job", *lab.local, "--stream")
    try:
        until = time.monotonic() + 20
        while lab.ledger.count("end") < 60:
            assert time.monotonic() < until
            time.sleep(0.02)
    finally:
        process.kill()
        process.communicate()
    before = lab.ledger
    counted = lab.run("job", "show", "-n", "job", "-o", "json").job["progress"]["mini_batches"]["succeeded"]
    assert counted <= len(finished_in_journal(lab))
    assert before.count("end") - len(finished_in_journal(lab)) < 2 / 0.05 * 2  # of two seconds and two workers: one and some patience
    done = lab.run("job", "resume", "-n", "job", "--stream", "-o", "json")
    assert done.status == 0, done.stderr
    names = [line for line in lab.ledger if line != "end"]
    assert len(names) - len(set(names)) <= len([line for line in before if line != "end"]) - counted
    assert lab.rows.read_text() == "".join(f"f{i:05d}.txt\n" for i in range(120))
