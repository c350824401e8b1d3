from __future__ import annotations

import csv
import time
from dataclasses import replace

import pytest

from runner.model.batch import ErrorRecord, Progress
from runner.model.events import (
    AttemptFailed,
    BatchesFinished,
    InitFailed,
    InstanceEnded,
    InstanceStarted,
    JobEnded,
    Message,
    Progressed,
    StatusChanged,
    WorkerEnded,
    WorkerReady,
    WorkerStarted,
)
from runner.report.files import TextFiles
from runner.report.logs import COLUMNS, LogTree

AT = 1_800_000_000.0
ERROR = ErrorRecord(
    kind="exception",
    type="ValueError",
    message="bad pixel, really",
    traceback="Traceback (most recent call last):\n  …\nValueError: bad pixel, really",
    file="score.py",
    line=12,
    item="img 7.png",
    log="/logs/user/x.txt",
)


@pytest.fixture
def tree(tmp_path):
    tree = LogTree(tmp_path / "logs", name="job1", outputs={"rows": "/out/rows.txt"})
    yield tree
    tree.close()


def _failed(index=5, attempt=1, final=False):
    return AttemptFailed(
        at=AT + 2, node="node_0", process="process000", index=index, attempt=attempt, attempts=3, final=final, seconds=0.25, error=ERROR
    )


def test_what_to_do_about_a_broken_input_is_said(tree):
    broken = ErrorRecord(kind="input", type="InputError", message="a.csv:9: 'x' is not a number\n  next: mend it")
    tree(replace(_failed(final=True), error=broken))
    tree.close()
    assert "'x' is not a number\nnext: mend it\n" in next(tree.logs.glob("job_error.*.txt")).read_text()


def _run(tree, status="Completed", message="", failed=1):
    tree(StatusChanged(at=AT, status="Preparing"))
    tree(StatusChanged(at=AT + 1, status="Running"))
    tree(InstanceStarted(at=AT + 1, node="node_0", workers=2, host="box"))
    tree(WorkerStarted(at=AT + 1, node="node_0", process="process000", pid=1))
    tree(WorkerReady(at=AT + 1, node="node_0", process="process000", seconds=0.5))
    tree(Message(at=AT + 1, level="WARNING", text="an odd thing", source="inputs"))
    tree(Message(at=AT + 1, level="DEBUG", text="not at INFO"))
    tree(_failed(index=1))
    tree(BatchesFinished(at=AT + 2, node="node_0", process="process000", rows=[(0, 10, 10, 1_500_000), (1, 10, 9, 2_000_000_000)]))
    tree(_failed(attempt=3, final=True))
    progress = Progress(total=3, listed=True, succeeded=2, failed=failed, retries=3, items=30, items_failed=10 * failed)
    tree(Progressed(at=AT + 3, progress=progress))
    tree(WorkerEnded(at=AT + 3, node="node_0", process="process000", how="done"))
    tree(InstanceEnded(at=AT + 3, node="node_0"))
    tree(JobEnded(at=AT + 4, status=status, code="x", message=message, error=ERROR if status == "Failed" else None))
    tree.close()


def test_layout(tree):
    _run(tree)
    logs = tree.logs
    names = {str(path.relative_to(logs)) for path in logs.rglob("*") if path.is_file()}
    assert {name for name in names if "2027" not in name and not name.startswith(("job_progress", "job_error"))} == {
        "job_result.txt",
        "sys/master_role.txt",
        "sys/error/node_0/process000.txt",
        "sys/job_report/processed_mini-batches.csv",
        "sys/node/node_0/_main.txt",
        "sys/node/node_0/process000.txt",
    }
    assert len(list(logs.glob("job_progress_overview.*.txt"))) == 1
    assert len(list(logs.glob("job_error.*.txt"))) == 1
    assert (logs / "perf").resolve() == (logs / "sys" / "perf").resolve()
    assert (logs / "user" / "entry_script_log").is_dir()


def test_csv_report(tree):
    _run(tree)
    rows = list(csv.reader((tree.logs / "sys/job_report/processed_mini-batches.csv").read_text().splitlines()))
    assert tuple(rows[0]) == COLUMNS
    finished = "2027-01-15T08:00:02.000Z"
    assert rows[1] == ["0", "Succeeded", "10", "10", "1", "0.001500", "node_0", "process000", finished, ""]
    assert rows[2] == ["1", "Succeeded", "10", "9", "2", "2.000000", "node_0", "process000", finished, ""]
    assert rows[3] == ["5", "Failed", "", "0", "3", "0.250000", "node_0", "process000", finished, "ValueError"]


def test_system_logs_tell_the_story(tree):
    _run(tree)
    master = (tree.logs / "sys/master_role.txt").read_text()
    assert "2027-01-15T08:00:01.000Z INFO    Running" in master
    assert "WARNING inputs: an odd thing" in master
    assert "not at INFO" not in master
    process = (tree.logs / "sys/node/node_0/process000.txt").read_text()
    assert "init() took 0.500 s" in process
    assert "mini-batch 5, attempt 3 of 3 failed after 0.250 s: ValueError: bad pixel, really (score.py:12)" in process
    assert "ended: done" in process


def test_errors_are_written_out(tree):
    _run(tree)
    error = next(tree.logs.glob("job_error.*.txt")).read_text()
    assert "item: img 7.png" in error
    assert "Traceback" in error
    assert error.count("mini-batch 5") == 1
    assert "mini-batch 1," not in error  # a further attempt succeeded


def test_result_is_loud_about_tolerated_failures(tree):
    _run(tree)
    page = tree.result.read_text()
    assert page.startswith("Job job1: Completed\n")
    assert "ATTENTION: 1 of 3 mini-batches and 10 of 30 items failed" in page
    assert "1  ValueError: bad pixel, really (score.py:12)" in page
    assert "first: mini-batch 5, item img 7.png, log /logs/user/x.txt" in page
    assert "2.000 s  mini-batch 1 (node_0 process000)" in page
    assert "Output rows: /out/rows.txt" in page
    assert "an odd thing" in page
    assert f"Logs: {tree.logs}" in page


def test_result_of_a_failed_job_shows_the_users_own_exception(tree):
    _run(tree, "Failed", "mini-batch 5, item img 7.png: ValueError: bad pixel, really (score.py:12); log: /logs/user/x.txt; go on with: …")
    page = tree.result.read_text()
    assert page.splitlines()[2].startswith("mini-batch 5, item img 7.png: ValueError")
    assert "Traceback (most recent call last)" in page
    assert "Output rows" not in page


def test_quiet_success_has_no_errors(tree):
    tree(StatusChanged(at=AT, status="Running"))
    tree(Progressed(at=AT, progress=Progress(total=1, listed=True, succeeded=1, items=3)))
    tree(JobEnded(at=AT, status="Completed", code="completed", message=""))
    tree.close()
    assert not list(tree.logs.glob("job_error*"))
    assert "ATTENTION" not in tree.result.read_text()


def test_init_failures(tree):
    tree(InitFailed(at=AT, node="node_0", process="process001", error=ERROR))
    tree.close()
    assert "node_0 process001: init() failed: ValueError" in (tree.logs / "sys/master_role.txt").read_text()
    assert list(tree.logs.glob("job_error*"))


def test_a_resumed_job_goes_on_in_the_same_report(tmp_path):
    for first in (0, 1):
        tree = LogTree(tmp_path, name="j")
        tree(BatchesFinished(at=AT, node="node_0", process="process000", rows=[(first, 1, 1, 1)]))
        tree.close()
    lines = (tmp_path / "sys/job_report/processed_mini-batches.csv").read_text().splitlines()
    assert [line.split(",")[0] for line in lines] == ["mini_batch", "0", "1"]


def test_finished_mini_batches_cost_next_to_nothing(tree):
    rows = [(index, 1, 1, 1000 + index % 7) for index in range(1000)]
    event = BatchesFinished(at=AT, node="node_0", process="process000", rows=rows)
    best = 1.0
    for _ in range(30):
        begin = time.thread_time()
        tree(event)
        best = min(best, time.thread_time() - begin)
    assert best / len(rows) < 2e-6  # measured: 0.5 µs


def test_lines_are_on_disk_soon_without_further_events(tmp_path):
    files = TextFiles()
    files.add(tmp_path / "a" / "b.txt", "hello\n")
    deadline = time.monotonic() + 5
    while not (tmp_path / "a" / "b.txt").exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    assert (tmp_path / "a" / "b.txt").read_text() == "hello\n"
    files.close()


def test_long_logs_keep_head_and_tail(tmp_path):
    files = TextFiles(cap=1000)
    for number in range(100_000):
        files.add(tmp_path / "log.txt", f"line {number}\n")
    files.close()
    text = (tmp_path / "log.txt").read_text()
    assert text.startswith("line 0\n")
    assert text.endswith("line 99999\n")
    assert "characters left out" in text
    assert len(text) < 300_000


def test_a_full_disk_is_not_the_jobs_end(tmp_path):
    (tmp_path / "file").write_text("")
    files = TextFiles()
    files.add(tmp_path / "file" / "log.txt", "lost\n")
    files.close()
    assert files.error is not None


def test_of_a_command_no_mini_batches_are_told(tmp_path):
    tree = LogTree(tmp_path / "logs", name="train", outputs={"model": "/out"}, command=True)
    error = ErrorRecord(kind="command", message="the command ended with status 3: oh\n\nwell\noh", log="/l")
    tree(StatusChanged(at=AT, status="Running"))
    tree(BatchesFinished(at=AT, node="node_0", process="process000", rows=[(0, 0, 0, 10)]))
    tree(replace(_failed(final=True), error=error))
    tree(JobEnded(at=AT + 3, status="Failed", code="command", message=f"{error.message}\n", error=error))
    tree.close()
    texts = {path.name.partition(".")[0]: path.read_text() for path in tree.logs.rglob("*.*") if path.is_file()}
    assert set(texts) == {"master_role", "process000", "job_error", "job_result"}
    assert "mini-batch" not in "".join(texts.values())
    assert texts["job_result"].splitlines()[:3] == ["Job train: Failed", "", "the command ended with status 3: oh"]
    assert "  time          3.0 s" in texts["job_result"].splitlines()
