"""`runner job validate` of bad job files: exit status 2, one clear message with its place, no traceback, nothing left behind.

The whole table runs in-process in tests/unit/spec/test_bad_jobs.py; here a sample of it goes through the command line.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.acceptance.bad_jobs import BAD_JOBS, BadJob

ROOT = Path(__file__).parents[2]
EVERY = 12  # the sample: every twelfth row, and those that only the command line can get wrong
ALWAYS = (
    *("set-out-of-range", "environment-image", "compute-unknown", "script-syntax", "empty-file", "name-invalid", "too-deep"),
    "docker-args-mount-outside",
)
SAMPLE = [row for number, row in enumerate(BAD_JOBS) if number % EVERY == 0 or row.id in ALWAYS]


def validate(job: Path, row: BadJob, folder: Path) -> subprocess.CompletedProcess[str]:
    local = ["--local"] if row.local else []
    words = [sys.executable, "-m", "runner", "job", "validate", "-f", job.name, *row.arguments, *local]
    # Wide, so that no line of a message is broken.
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "COLUMNS": "400", "NO_COLOR": "1"}
    environment.pop("RUNNER_WORKSPACE", None)
    return subprocess.run(words, cwd=folder, env=environment, capture_output=True, text=True, timeout=60, check=False)


@pytest.mark.parametrize("row", SAMPLE, ids=lambda row: row.id)
def test_bad_job_file(row: BadJob, tmp_path: Path) -> None:
    job = row.write(tmp_path)
    before = {path for path in tmp_path.rglob("*") if ".runner" not in path.parts}
    done = validate(job, row, tmp_path)
    said = " ".join(done.stderr.split())
    assert done.returncode == 2, done
    assert "Traceback" not in done.stderr
    assert not done.stdout.strip()
    for piece in row.says:
        assert " ".join(piece.split()) in said
    assert row.place(tmp_path) in said.replace(f"{tmp_path}/", "")
    assert {path for path in tmp_path.rglob("*") if ".runner" not in path.parts} == before
    assert not list(tmp_path.glob(".runner/jobs/*"))


def test_a_missing_job_file(tmp_path: Path) -> None:
    done = validate(tmp_path / "nope.yml", BAD_JOBS[0], tmp_path)
    assert done.returncode == 2
    assert "nope.yml: no such file" in done.stderr
    assert "Traceback" not in done.stderr
