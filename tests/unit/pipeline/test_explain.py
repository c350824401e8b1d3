from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import cast

from runner.engine.session import Verdict
from runner.model.batch import ErrorRecord
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


COMMAND = Step(name="job.train", step="train", command="python train.py")


def test_a_command_is_told_by_its_end_and_its_last_words() -> None:
    error = ErrorRecord(kind="command", message="the command ended with status 3: oh\n\nwell\noh", log="/l/err.txt")
    verdict = Verdict(status="Failed", code="threshold", message="1 mini-batch has failed", failures=((0, error),))
    told = explain(verdict, COMMAND, PATHS)
    mended = "(with --code if you have mended its code; if the job file, create a new job)"
    assert told["message"].splitlines() == [
        f"the command ended with status 3: oh; log: /l/err.txt; go on with: runner job resume -n job {mended}",
        "",
        "well",
        "oh",
    ]
    assert (told["code"], told["log"]) == ("command", "/l/err.txt")


def test_a_command_that_was_killed_is_told_with_the_end_of_its_stderr() -> None:
    error = ErrorRecord(kind="command", message="the command took longer than 1 s (limits.timeout)", traceback="warming up\n", log="/l")
    told = explain(Verdict(status="Failed", code="threshold", failures=((0, error),)), COMMAND, PATHS)["message"].splitlines()
    assert told[0].startswith("the command took longer than 1 s (limits.timeout); log: /l; go on with: ")
    assert told[1:] == ["", "warming up"]


def test_a_command_that_is_there_whenever_an_instance_is_lost() -> None:
    error = ErrorRecord(kind="lost", message="was running each time when one of 4 instances was lost")
    told = explain(Verdict(status="Failed", code="threshold", failures=((0, error),)), COMMAND, PATHS)["message"]
    assert told.startswith("the command was running each time when one of 4 instances was lost; log: /w/logs; go on with: ")
