"""What was found by trying to break jobs: scripts, kills and places at bad moments."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.acceptance.jobs import Lab


@pytest.fixture
def lab(tmp_path: Path) -> Lab:
    return Lab(tmp_path)


def test_a_job_that_ends_while_a_worker_is_being_prepared(lab: Lab) -> None:
    lab.files(2)
    lab.script("import os\n\ndef run(b):\n    if b[0].endswith('f00000.txt'):\n        os._exit(3)\n    return ['x']\n")
    for number in range(300):  # so that copying the code for the replacement takes longer than what is left of the job
        (lab.folder / "code" / f"module{number}.py").write_text("#" * 20_000)
    lab.job(retry_settings={"max_retries": 0}, max_concurrency_per_instance=2)
    for attempt in range(3):
        done = lab.score(name=f"job{attempt}")
        assert done.status == 0, done.stderr
        assert lab.rows.read_text() == "x\n"
