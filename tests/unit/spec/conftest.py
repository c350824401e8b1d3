"""A folder with a good job's files, and a short way to resolve a job in it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from runner.model.job import PipelineJob, Step
from runner.spec.load import job_from_mapping, read_job
from runner.spec.resolve import ResolveContext, resolve
from tests.acceptance.bad_jobs.row import JOB, BadJob

Resolve = Callable[..., Step]
ResolvePipeline = Callable[..., PipelineJob]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The files of the table of bad jobs, unchanged."""
    BadJob(id="good", says=()).write(tmp_path)
    return tmp_path


@pytest.fixture
def context(folder: Path) -> ResolveContext:
    return ResolveContext(name="job_1", root=folder, datastores={"workspaceblobstore": folder / "store"}, experiment="here")


@pytest.fixture
def step(folder: Path, context: ResolveContext) -> Resolve:
    """step((old, new), …, local=True, overrides=[…]): the good job with these changes, resolved."""

    def make(*changes: tuple[str, str], overrides: tuple[str, ...] = (), **given: object) -> Step:
        text = JOB
        for old, new in changes:
            assert old in text
            text = text.replace(old, new, 1)
        (folder / "job.yml").write_text(text)
        job = resolve(read_job(folder / "job.yml", overrides), replace(context, **given))  # type: ignore[arg-type]
        assert isinstance(job, Step)
        return job

    return make


@pytest.fixture
def from_mapping(folder: Path, context: ResolveContext) -> Callable[..., Step | PipelineJob]:
    def make(data: dict[str, object], **given: object) -> Step | PipelineJob:
        return resolve(job_from_mapping(data, folder), replace(context, **given))  # type: ignore[arg-type]

    return make
