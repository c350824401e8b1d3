"""Every row of the table of bad job files, in-process: one clear message each, with its place, and nothing written."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from runner.errors import UserError, UserErrors
from runner.spec.load import read_job
from runner.spec.resolve import ResolveContext, resolve
from tests.acceptance.bad_jobs import BAD_JOBS, BadJob


def context(folder: Path, *, local: bool = False) -> ResolveContext:
    return ResolveContext(name="job_1", root=folder, datastores={"workspaceblobstore": folder / ".runner" / "datastore"}, local=local)


def submit(path: Path, row: BadJob) -> None:
    """What the command line does with a job file."""
    loaded = read_job(path, [text for text in row.arguments if text != "--set"])
    where = context(path.parent, local=row.local)
    resolve(loaded, replace(where, name=loaded.name or where.name))


def test_the_unchanged_files_are_good(tmp_path: Path) -> None:
    good = BadJob(id="good", says=(), edits="pipeline.yml")
    submit(good.write(tmp_path), good)
    for name in ("job.yml", "command.yml", "steps.yml", "outer.yml"):
        submit(tmp_path / name, good)


@pytest.mark.parametrize("row", BAD_JOBS, ids=lambda row: row.id)
def test_bad_job(row: BadJob, tmp_path: Path) -> None:
    path = row.write(tmp_path)
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(UserError) as caught:
        submit(path, row)
    error = caught.value
    errors = list(error.errors) if isinstance(error, UserErrors) else [error]
    text = str(error)
    for piece in row.says:
        assert piece in text
    assert len(errors) == row.mistakes, text
    assert row.place(tmp_path) in text.replace(f"{tmp_path}/", ""), text
    for one in errors:
        assert one.place is not None, text
        assert one.allowed or one.todo or "stands" in one.problem or "not" in one.problem, text
    assert sorted(tmp_path.rglob("*")) == before
