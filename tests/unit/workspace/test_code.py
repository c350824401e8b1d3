"""Snapshots of a job's code, renewed as a whole or not at all."""

from __future__ import annotations

from pathlib import Path

import pytest

from runner.errors import UserError
from runner.model.job import PipelineJob, Step
from runner.model.paths import JobPaths
from runner.workspace.code import check_code, copy_code, renew_code, settle_code

SCRIPT = "def run(mini_batch):\n    return mini_batch\n"


@pytest.fixture
def step(tmp_path: Path) -> Step:
    (tmp_path / "src").mkdir()
    (tmp_path / "src" / "score.py").write_text(SCRIPT)
    return Step(name="one", code=str(tmp_path / "src"), entry_script="score.py")


@pytest.fixture
def paths(tmp_path: Path, step: Step) -> JobPaths:
    paths = JobPaths(tmp_path / "job", tmp_path / "logs")
    copy_code(step, paths, limit=None)
    return paths


def _names(paths: JobPaths) -> list[str]:
    return sorted(path.name for path in paths.root.iterdir())


def test_renewed_as_a_whole(step, paths):
    Path(step.code, "score.py").write_text(SCRIPT + "# mended\n")
    Path(step.code, "lib.py").touch()
    renew_code(step, paths, limit=None)
    assert (paths.code / "score.py").read_text().endswith("# mended\n")
    assert (paths.code / "lib.py").exists()
    assert _names(paths) == ["code"]


def test_a_renewal_that_fails_leaves_the_old_one(step, paths, monkeypatch):
    Path(step.code, "score.py").write_text(SCRIPT + "# mended\n")
    with pytest.raises(UserError, match="allow-large-snapshot"):
        renew_code(step, paths, limit=1)
    rename = Path.rename

    def fail(path, target):
        if path.name == "code.new":
            raise OSError("disk full")
        return rename(path, target)

    monkeypatch.setattr(Path, "rename", fail)
    with pytest.raises(OSError, match="disk full"):
        renew_code(step, paths, limit=None)
    assert (paths.code / "score.py").read_text() == SCRIPT
    assert _names(paths) == ["code"]


@pytest.mark.parametrize("moved", [False, True])
def test_what_a_killed_renewal_left(step, paths, moved):
    """Killed while the new one was made, or between the two renamings."""
    (paths.root / "code.new").mkdir()
    if moved:
        paths.code.rename(paths.root / "code.old")
    settle_code(paths)
    assert (paths.code / "score.py").read_text() == SCRIPT
    assert _names(paths) == ["code"]


def test_steps_of_a_pipeline(step, tmp_path):
    job = PipelineJob(name="all", steps={"a": step, "b": step})
    paths = JobPaths(tmp_path / "pipeline", tmp_path / "logs")
    copy_code(job, paths, limit=None)
    Path(step.code, "score.py").write_text(SCRIPT + "# mended\n")
    paths.step("b").code.rename(paths.step("b").root / "code.old")
    settle_code(paths)
    renew_code(job, paths, limit=None)
    assert all(paths.step(name).code.joinpath("score.py").read_text().endswith("# mended\n") for name in "ab")


def test_code_that_cannot_be_taken(step):
    Path(step.code, ".amlignore").write_text("score.py\n")
    with pytest.raises(UserError, match="left out of the snapshot"):
        copy_code(step, JobPaths(Path(step.code), Path(step.code)), limit=None)
    Path(step.code, "score.py").write_text("x = 1\n")
    with pytest.raises(UserError, match="defines no `run`"):
        check_code(step)
    Path(step.code, "score.py").unlink()
    with pytest.raises(UserError, match="cannot be read"):
        check_code(step)
    Path(step.code, ".amlignore").unlink()
    Path(step.code).rmdir()
    with pytest.raises(UserError, match="is gone"):
        check_code(step)


@pytest.mark.parametrize(
    ("text", "withheld"),
    [
        ("path: https://a.blob.core.windows.net/c/x?sv=1&sig=abc", True),
        ("credentials: {account_key: abc}", True),
        ("credentials:\n  sas_token: 'abc'", True),
        ("credentials:\n  'client_secret' : abc", True),
        ("x: AccountName=a;AccountKey=b", True),
        ("credentials: {account_key: {env: KEY}}", False),
        ("credentials:\n  account_key:\n    file: key", False),
        ("path: azureml://datastores/az/paths/x", False),
    ],
)
def test_files_with_a_credential_are_left_out_of_the_snapshot(tmp_path, text, withheld) -> None:
    code = tmp_path / "code"
    code.mkdir()
    (code / "score.py").write_text("def run(mini_batch):\n    return []\n")
    (code / "job.yml").write_text(text)
    said: list[str] = []
    paths = JobPaths(tmp_path / "job", tmp_path / "logs")
    copy_code(Step(name="j", code=str(code), entry_script="score.py"), paths, limit=None, say=said.append)
    assert (paths.code / "job.yml").exists() != withheld
    assert said == ([f"left out of the snapshot of the code, for a credential is in it: {code / 'job.yml'}"] if withheld else [])
