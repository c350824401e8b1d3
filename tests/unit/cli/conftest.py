"""A workspace, a job file, and a pipeline package that only pretends to run: the real one is tested elsewhere."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from runner.client import Client
from runner.model.batch import Progress
from runner.model.events import JobEnded, Message, Progressed, StatusChanged
from runner.pipeline.options import RunResult

JOB = """
type: parallel
inputs: {data: {type: uri_folder, path: in}}
outputs: {rows: {type: uri_file, path: out/rows.txt}}
input_data: ${{inputs.data}}
mini_batch_size: "1"
tags: {team: blue}
task: {type: run_function, code: src, entry_script: score.py, append_row_to: "${{outputs.rows}}"}
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch) -> Path:
    """The current folder: a job file, a script, three files."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("RUNNER_WORKSPACE", raising=False)
    (tmp_path / "src").mkdir()
    (tmp_path / "src" / "score.py").write_text("def run(mini_batch):\n    return mini_batch\n")
    (tmp_path / "in").mkdir()
    for number in range(3):
        (tmp_path / "in" / f"{number}.txt").write_text("x")
    (tmp_path / "job.yml").write_text(JOB)
    return tmp_path


@pytest.fixture
def client(folder: Path) -> Client:
    return Client()


def _pretend(status="Completed", code="completed", message="", before=lambda observe, cancel: None):
    """A run that publishes what the real one does, and ends as told."""

    def run(observe, cancel, _confirm=None):
        progress = Progress(total=3, listed=True, succeeded=3, items=3, items_listed=3)
        observe(StatusChanged(at=time.time(), status="Preparing"))
        observe(StatusChanged(at=time.time(), status="Running"))
        observe(Message(at=time.time(), level="WARNING", text="a notice"))
        before(observe, cancel)
        observe(Progressed(at=time.time(), progress=progress))
        observe(JobEnded(at=time.time(), status=status, code=code, message=message))
        error = {"message": message, "code": code} if status != "Completed" else {}
        return RunResult(status=status, progress=progress, error=error)

    return run


@pytest.fixture
def pretend():
    return _pretend


@pytest.fixture
def pretending(monkeypatch):
    """Puts a pretended run in the place of the real one; returns the options that runs were started with."""
    seen = []

    def use(run):
        def run_of(job, workspace, record, **options):
            seen.append(options)
            return run

        monkeypatch.setattr("runner.owner.run_of", run_of)
        return seen

    return use
