from __future__ import annotations

from pathlib import Path

import pytest

from runner.model.job import JobInput, JobOutput, PipelineJob, Step
from runner.workspace.config import Workspace
from runner.workspace.jobs import JobStore, new_record
from runner.workspace.records import write_json


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    workspace = Workspace(root=tmp_path / "ws")
    workspace.make()
    return workspace


@pytest.fixture
def store(workspace: Workspace) -> JobStore:
    return JobStore(workspace)


@pytest.fixture
def make_job(workspace: Workspace):
    """Puts a job of this name and status into the workspace, without an owner."""

    def make(name: str, status: str = "Completed", *, tags=None, created="2026-01-01T00:00:00.000Z", steps=()):
        fields = {"name": name, "tags": tags or {}}
        if steps:
            job = PipelineJob(**fields, steps={step: Step(name=f"{name}.{step}", step=step) for step in steps})
        else:
            outputs = {"rows": JobOutput(type="uri_file", path=str(workspace.data_folder(name) / "rows" / "rows.txt"))}
            inputs = {"images": JobInput(type="uri_folder", path="/data/images"), "alpha": JobInput(type="number", value=0.5)}
            job = Step(**fields, inputs=inputs, outputs=outputs)
        paths = workspace.job_paths(name)
        paths.root.mkdir()
        data = new_record(job, paths, local=True, python=None).to_json() | {"status": status, "created_at": created}
        if status in ("Completed", "Failed", "Canceled"):
            data |= {"started_at": created, "ended_at": created}
        write_json(paths.record, data)
        return paths

    return make
