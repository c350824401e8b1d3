"""Every row of the table of bad job files, in-process: one clear message each, with its place, and nothing else."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest

from runner.errors import UserError, UserErrors
from runner.spec.load import read_job
from runner.spec.resolve import ResolveContext, resolve


def table() -> ModuleType:
    path = Path(__file__).parents[2] / "acceptance" / "bad_jobs.py"
    spec = importlib.util.spec_from_file_location("runner_tests_bad_jobs", path)
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


TABLE = table()


def context(folder: Path, *, local: bool = False) -> ResolveContext:
    return ResolveContext(name="job_1", root=folder, datastores={"workspaceblobstore": folder / ".runner" / "datastore"}, local=local)


def test_the_unchanged_files_are_good(tmp_path: Path) -> None:
    good = TABLE.BadJob(id="good", says=(), edits="pipeline.yml")
    assert good.write(tmp_path) == tmp_path / "pipeline.yml"
    for name in ("job.yml", "pipeline.yml"):
        resolve(read_job(tmp_path / name), context(tmp_path))


@pytest.mark.parametrize("row", TABLE.BAD_JOBS, ids=lambda row: row.id)
def test_bad_job(row: object, tmp_path: Path) -> None:
    bad = TABLE.BadJob(**{name: getattr(row, name) for name in row.__dataclass_fields__})  # type: ignore[attr-defined]
    path = bad.write(tmp_path)
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(UserError) as caught:
        loaded = read_job(path, [text for text in bad.arguments if text != "--set"])
        where = context(tmp_path, local=bad.local)
        resolve(loaded, where if loaded.name is None else ResolveContext(**{**vars(where), "name": loaded.name}))
    error = caught.value
    errors = list(error.errors) if isinstance(error, UserErrors) else [error]
    text = str(error)
    for piece in bad.says:
        assert piece in text
    assert len(errors) == bad.mistakes, text
    assert bad.place(tmp_path) in text.replace(f"{tmp_path}/", ""), text
    for one in errors:
        assert one.place is not None, text
        assert one.allowed or one.todo or "stands" in one.problem or "not" in one.problem, text
    assert sorted(tmp_path.rglob("*")) == before
