from pathlib import Path

from runner.model.batch import ErrorRecord, Progress
from runner.model.events import JobEnded, Progressed, StatusChanged
from runner.report.page import render
from runner.report.summary import Summary


def summary(status: str, message: str = "", error: ErrorRecord | None = None, reason: str = "") -> Summary:
    told = Summary()
    told(StatusChanged(at=1.0, status="Running"))
    if status == "NotRun":
        told = Summary()
    else:
        told(JobEnded(at=3.0, status=status, code="command", message=message, error=error))
    told(StatusChanged(at=3.0, status=status, reason=reason))
    return told


def test_each_failed_step_is_told_of_once_and_what_others_waited_for() -> None:
    broken = ErrorRecord(kind="exception", type="ValueError", message="bad pixel", file="score.py", line=12, log="logs/score/0.txt")
    steps = {
        "prepare": summary("Failed", "the command ended with status 3: oh; log: x"),
        "score": summary("Failed", "mini-batch 3: …", broken),
        "count": summary("Failed", "an image is missing\nallowed: another"),
        "view": summary("NotRun", reason="step 'prepare' has not completed"),
    }
    whole = summary("Failed", "step 'prepare': the command ended with status 3: oh; log: x")
    text = render("job", whole, outputs={}, logs=Path("logs"), steps=steps)
    assert text.splitlines()[:11] == [
        "Job job: Failed",
        "",
        "step 'prepare': the command ended with status 3: oh; log: x",
        "",
        "  prepare  Failed      2.0 s",
        "  score    Failed      2.0 s",
        "           ValueError: bad pixel (score.py:12)",
        "           log: logs/score/0.txt",
        "  count    Failed      2.0 s",
        "           an image is missing",
        "  view     NotRun      step 'prepare' has not completed",
    ]


def test_a_step_that_has_the_results_of_another_job_has_its_counts() -> None:
    taken = Summary()
    taken(Progressed(at=1.0, progress=Progress(total=36, succeeded=36, items=72, listed=True)))
    taken(StatusChanged(at=1.0, status="Completed", reason="taken from p1.score", reused_from="p1.score"))
    command = Summary()
    command(StatusChanged(at=1.0, status="Completed", reason="completed in an earlier run of this job"))
    text = render("job", summary("Completed"), outputs={}, logs=Path("logs"), steps={"score": taken, "count": command})
    assert text.splitlines()[2:4] == [
        "  score  Completed   36 of 36 mini-batches succeeded, taken from p1.score",
        "  count  Completed   completed in an earlier run of this job",
    ]
