"""A job that the previous release has begun goes on with this one, from its journal."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from tests.acceptance.jobs import Lab

RELEASES = Path(__file__).parents[1] / "data"
MOMENT = 1_700_000_000  # of the files' last change, which the manifest has


@pytest.mark.parametrize("release", sorted(path.name for path in RELEASES.glob("release-*")))
def test_a_job_of_an_earlier_release_goes_on(tmp_path: Path, release: str) -> None:
    lab = Lab(tmp_path)
    (tmp_path / "input").mkdir()
    for number in range(12):
        path = tmp_path / "input" / f"f{number:02d}.txt"
        path.write_text(f"{number}\n")
        os.utime(path, (MOMENT, MOMENT))
    job = tmp_path / ".runner" / "jobs" / "old"
    shutil.copytree(RELEASES / release, job)
    shutil.copytree(job / "code", tmp_path / "code")
    for name in ("job.json", "spec.json"):
        (job / name).write_text((job / name).read_text().replace("{ROOT}", str(tmp_path)))
    before = sorted((job / "parts").iterdir())
    assert before, "some mini-batches are done"
    done = lab.run("job", "resume", "old", "--stream", "-o", "json")
    assert done.status == 0, done.stderr
    assert lab.rows.read_text().splitlines() == [f"f{number:02d}.txt" for number in range(12)]
    csv = (lab.logs("old") / "sys" / "job_report" / "processed_mini-batches.csv").read_text()
    assert csv.count("Succeeded") < 12, "what was finished has not run again"
