from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import cast

from runner.engine.session import Verdict
from runner.model.job import Step
from runner.model.paths import JobPaths
from runner.pipeline.explain import explain

STEP = cast("Step", SimpleNamespace(name="job", step=None))
PATHS = JobPaths(Path("/w/jobs/job"), Path("/w/logs"))


def test_nodes_of_a_cluster_that_start_nothing_may_be_mended() -> None:
    text = "no instance could be started on n1, n2: the image x:1 is not there\n  next: load it"
    error = explain(Verdict(status="Failed", code="nodes", message=text), STEP, PATHS)
    assert error["message"].splitlines() == [
        "no instance could be started on n1, n2: the image x:1 is not there; go on with: runner job resume -n job",
        "  next: load it",
    ]


def test_what_is_wrong_in_the_job_file_is_not_mended_by_going_on() -> None:
    assert explain(Verdict(status="Failed", code="launch", message="no such image"), STEP, PATHS)["message"] == "no such image"
