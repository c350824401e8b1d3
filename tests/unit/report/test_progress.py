from __future__ import annotations

import io
import subprocess
import sys

import pytest

from runner.model.batch import ErrorRecord, Progress
from runner.model.events import AttemptFailed, InstanceStarted, JobEnded, Message, Progressed, StatusChanged
from runner.report.page import duration
from runner.report.progress import PlainProgress, Speed, TerminalProgress, counts, progress_view


def _attempt(number):
    error = ErrorRecord(kind="exception", type="KeyError", message="'a'", file="score.py", line=3, log="/l")
    return AttemptFailed(at=1, node="n", process="p", index=number, attempt=1, attempts=3, final=False, seconds=0, error=error)


def test_counts_tell_whether_the_total_is_known():
    speed = Speed()
    speed.started(0.0)
    speed.update(10.0, Progress(total=50, succeeded=10, items=100))
    assert counts(Progress(total=50, succeeded=10, items=100), speed) == "10 of 50 so far (listing…) mini-batches, 10 items/s"
    done = Progress(total=50, listed=True, succeeded=9, failed=1, retries=2, items=100)
    speed.update(10.0, done)
    assert counts(done, speed) == "10 of 50 mini-batches (20 %), 1 failed, 2 retries, 10 items/s, 40.0 s left"


def test_what_has_not_run_has_no_speed():
    speed, taken = Speed(), Progress(total=50, listed=True, succeeded=50, items=100)
    speed.update(10.0, taken)
    assert counts(taken, speed) == "50 of 50 mini-batches (100 %)"


def test_what_an_earlier_run_did_does_not_count_as_speed():
    speed = Speed()
    speed.update(0.0, Progress(total=100, listed=True, succeeded=90, items=900))
    speed.update(10.0, Progress(total=100, listed=True, succeeded=95, items=950))
    assert speed.items == 5
    assert speed.remaining == 10


def test_plain_lines_where_there_is_no_terminal(monkeypatch):
    clock = [100.0]
    monkeypatch.setattr("runner.report.progress.time.monotonic", lambda: clock[0])
    stream = io.StringIO()
    view = progress_view(stream)
    assert isinstance(view, PlainProgress)
    view(StatusChanged(at=0, status="Running"))
    for second in range(300):
        clock[0] += 1
        view(Progressed(at=second, progress=Progress(total=1000, listed=True, succeeded=second)))
    view(Message(at=1, level="WARNING", text="look"))
    view(Message(at=1, level="INFO", text="hush"))
    view(Progressed(at=301, progress=Progress(total=1000, listed=True, succeeded=299)))
    text = stream.getvalue()
    assert "Running" in text
    assert "Warning: look" in text
    assert "hush" not in text
    assert 5 < text.count("mini-batches") < 25


def test_it_is_said_where_instances_run_unless_that_is_here(monkeypatch):
    monkeypatch.setattr("runner.report.page.socket.gethostname", lambda: "here")
    stream = io.StringIO()
    view = PlainProgress(stream)
    view(InstanceStarted(at=0, node="node_0", workers=2, host="here"))
    assert stream.getvalue() == ""
    for number in range(20):
        view(InstanceStarted(at=0, node=f"node_{number}", workers=1, host=f"there-{number}"))
    lines = stream.getvalue().splitlines()
    assert lines[0].endswith("node_0 runs on there-0 with 1 process")
    assert len(lines) == 9
    assert "sys/master_role.txt" in lines[-1]


def test_failed_attempts_are_shown_a_few_times():
    stream = io.StringIO()
    view = PlainProgress(stream)
    for number in range(20):
        view(_attempt(number))
    assert stream.getvalue().count("KeyError: 'a' (score.py:3); log: /l") == 5
    assert stream.getvalue().count("only counted here") == 1


def test_a_reader_that_has_gone_does_not_matter():
    stream = io.StringIO()
    view = PlainProgress(stream)
    stream.close()
    view(StatusChanged(at=0, status="Running"))


def test_bar_on_a_terminal():
    class Terminal(io.StringIO):
        def isatty(self):
            return True

    stream = Terminal()
    view = progress_view(stream)
    assert isinstance(view, TerminalProgress)
    view(StatusChanged(at=0, status="Running"))
    view(Progressed(at=1, progress=Progress(total=10, listed=True, succeeded=4, items=40)))
    view(Message(at=1, level="WARNING", text="[bold]look"))
    view(StatusChanged(at=1, status="Finalizing"))
    view.close()
    assert "Warning: [bold]look" in stream.getvalue()
    assert "4 of 10 mini-batches (40 %)" in stream.getvalue()


def test_rich_is_loaded_for_terminals_only():
    code = (
        "import sys, io; from runner.report.progress import progress_view; progress_view(io.StringIO());"
        "sys.exit(any(m == 'rich' or m.startswith('rich.') for m in sys.modules))"
    )
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


def test_durations():
    assert [duration(s) for s in (0.44, 59.94, 60, 3725)] == ["0.4 s", "59.9 s", "1 min 0 s", "1 h 2 min"]


class Terminal(io.StringIO):
    def isatty(self):
        return True


def _narrow_view(monkeypatch, columns):
    monkeypatch.setenv("COLUMNS", str(columns))
    stream = Terminal()
    return stream, progress_view(stream)


def test_a_narrow_terminal_shows_what_matters_first(monkeypatch):
    stream, view = _narrow_view(monkeypatch, 60)
    view(StatusChanged(at=0, status="Running", step="first_step_with_a_long_name"))
    progress = Progress(total=1000, listed=True, succeeded=499, failed=1, items=500)
    view(Progressed(at=10, progress=progress, step="first_step_with_a_long_name"))
    view.close()
    lines = [line for line in stream.getvalue().splitlines() if "500/1,000" in line]
    assert "500/1,000, 1 failed, 10.0 s left, 50 items/s" in lines[-1]
    assert "…" in lines[-1]  # the rest is cut off, and nothing wraps


def test_the_bar_of_a_finished_pipeline_stands_still(monkeypatch):
    _, view = _narrow_view(monkeypatch, 120)
    view(StatusChanged(at=0, status="Running"))
    view(StatusChanged(at=0, status="NotRun", step="second"))
    (pipeline, step) = view._bar.tasks
    assert (pipeline.finished, step.finished) == (False, True)
    view(JobEnded(at=1, status="Completed", code="completed", message=""))
    assert pipeline.finished
    assert pipeline.description == "Completed"
    view.close()


@pytest.mark.parametrize("stream", [io.StringIO(), Terminal()])
def test_messages_cannot_move_the_cursor(stream):
    view = progress_view(stream)
    view(Message(at=1, level="WARNING", text="column 'a\x1b[2Jb\rc\x00'\n  next: mend"))
    view.close()
    assert "Warning: column 'a\\x1b[2Jb\\rc\\x00'\n  next: mend" in stream.getvalue()


def test_steps_side_by_side_have_paces_and_speeds_of_their_own(monkeypatch):
    """The counts of one neither keep those of another from being shown, nor change its speed."""
    clock = [100.0]
    monkeypatch.setattr("runner.report.progress.time.monotonic", lambda: clock[0])
    stream = io.StringIO()
    view = PlainProgress(stream)
    for step in ("one", "two"):
        view(StatusChanged(at=0, step=step, status="Running"))
    clock[0] += 10
    view(Progressed(at=10, step="one", progress=Progress(total=10, listed=True, succeeded=5, items=100)))
    view(Progressed(at=10, step="two", progress=Progress(total=10, listed=True, succeeded=2, items=10)))
    lines = [line.partition(" ")[2] for line in stream.getvalue().splitlines()[2:]]
    assert lines == [
        "one: 5 of 10 mini-batches (50 %), 10 items/s, 10.0 s left",
        "two: 2 of 10 mini-batches (20 %), 1 items/s, 40.0 s left",
    ]


def test_a_step_that_has_failed_says_so_at_once():
    stream = io.StringIO()
    view = PlainProgress(stream)
    error = ErrorRecord(kind="command", message="the command ended with status 3: oh")
    view(AttemptFailed(at=1, step="train", node="n", process="p", index=0, attempt=1, attempts=1, final=True, seconds=0, error=error))
    view(JobEnded(at=1, step="train", status="Failed", code="command", message="the command ended with status 3: oh; log: /l\n\nwell\noh"))
    view(JobEnded(at=1, step="other", status="Completed", code="completed", message=""))
    assert [line.partition(" ")[2] for line in stream.getvalue().splitlines()] == ["train: the command ended with status 3: oh; log: /l"]
