"""What happens when user code fails: through the command line, as a user sees it."""

from __future__ import annotations

import contextlib
import csv
import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.acceptance.jobs import Lab


@pytest.fixture
def lab(tmp_path: Path, anywhere: Callable[[Path], Lab]) -> Lab:
    return anywhere(tmp_path)


FAIL_ON = """
import os
from ledger import note

def run(mini_batch):
    name = os.path.basename(mini_batch[0])
    note(name)
    if name == "f00003.txt":
        {what}
    return [name]
"""


def fails_with(lab: Lab, what: str, **keys: object) -> None:
    lab.files(8)
    lab.script(FAIL_ON.format(what=what))
    lab.job(retry_settings={"max_retries": 2, "timeout": 60}, **keys)


EVERY_OTHER = "".join(f"f{i:05d}.txt\n" for i in range(8) if i != 3)


@pytest.mark.parametrize(
    ("what", "said"),
    [
        ("raise ValueError('no such digit')", "ValueError: no such digit (score.py:9)"),
        pytest.param("os._exit(3)", "exit status 3", marks=pytest.mark.on_cluster),
        ("os.kill(os.getpid(), 9)", "SIGKILL"),
        ("import ctypes; ctypes.string_at(0)", "SIGSEGV"),
        ("raise SystemExit(4)", "SystemExit: 4"),
        ("return None", "run() returned None"),
        ("return 'a text'", "str"),
        ("return {'a': 1}", "dict"),
        ("return 7", "int"),
        ("raise KeyboardInterrupt", "KeyboardInterrupt"),
        ("raise MemoryError", "MemoryError"),
        ("return (1 / 0 for _ in range(3))", "ZeroDivisionError"),
        ("return [object()] + 3 * [open(os.devnull)][1:] and 1 / 0", "ZeroDivisionError"),
    ],
)
def test_a_mini_batch_is_tried_again_and_then_given_up(lab: Lab, what: str, said: str) -> None:
    fails_with(lab, what)
    done = lab.score()
    assert done.status == 0, done.stderr
    assert lab.ledger.count("f00003.txt") == 3
    assert lab.rows.read_text() == EVERY_OTHER
    assert done.counts == (8, 7, 1)
    assert done.job["progress"]["items"]["failed"] == 1
    assert "1 " in done.stderr
    assert "failed" in done.stderr  # said loudly, since the defaults let it pass
    assert any(said in path.read_text(errors="replace") for path in lab.logs().rglob("*.txt")), said


@pytest.mark.on_cluster
def test_a_threshold_fails_the_job_and_says_all_that_matters_in_one_line(lab: Lab) -> None:
    fails_with(lab, "raise ValueError('no such digit')", mini_batch_error_threshold=0)
    done = lab.score()
    assert done.status == 1
    error = done.job["error"]
    first = error["message"].splitlines()[0]
    for part in ("mini-batch 3", "f00003.txt", "ValueError: no such digit", "score.py:9", error["log"], "runner job resume -n job"):
        assert part in first
    assert "Traceback (most recent call last)" in error["message"]
    assert "runner/engine" not in done.stderr
    assert first.split(";")[0] in done.stderr
    assert Path(error["log"]).exists()
    assert not lab.rows.exists()


# For one worker: what comes after the last failure does not begin before the worker is stopped for it.
HELD = """
    while name > "f00003.txt" and not os.path.exists(os.environ["LEDGER"] + ".mended"):
        if open(os.environ["LEDGER"]).read().count("f00003.txt") < 3:
            break
        time.sleep(0.05)
    note(name)
"""


@pytest.mark.on_cluster
@pytest.mark.in_blob
def test_what_succeeded_before_a_threshold_is_kept_and_resumed(lab: Lab) -> None:
    what = "assert os.path.exists(os.environ['LEDGER'] + '.mended')"
    fails_with(lab, what, mini_batch_error_threshold=0)
    lab.script(FAIL_ON.format(what=what).replace("import os", "import os, time").replace("    note(name)\n", HELD))
    done = lab.score("--set", "max_concurrency_per_instance=1")
    assert done.status == 1, done.stderr
    before = lab.ledger
    assert before.count("f00003.txt") == 3, done.stderr
    Path(f"{lab.ledger_file}.mended").touch()
    done = lab.run("job", "resume", "-n", "job", "--stream", "-o", "json")
    assert done.status == 0, done.stderr
    assert lab.rows.read_text() == "".join(f"f{i:05d}.txt\n" for i in range(8))
    again = lab.ledger[len(before) :]
    assert "f00003.txt" in again
    assert not set(again) & set(before) - {"f00003.txt"}  # what was finished did not run again


@pytest.mark.on_cluster
@pytest.mark.in_blob
def test_a_partial_result_can_be_published(lab: Lab) -> None:
    fails_with(lab, "raise ValueError('x')", mini_batch_error_threshold=0)
    lab.score("--set", "max_concurrency_per_instance=1")
    done = lab.run("job", "finish", "-n", "job", "--partial", "-o", "json")
    assert done.status == 0, done.stderr
    ran, rows = lab.ledger, lab.rows.read_text().splitlines()
    before = ran[: len(ran) - 1 - ran[::-1].index("f00003.txt")]  # what starts after the last failure comes too late to count
    assert rows == sorted(rows)
    assert set(before) - {"f00003.txt"} <= set(rows) <= set(ran) - {"f00003.txt"}
    assert "incomplete" in (done.stdout + done.stderr)


TIME_OUT = """
import os, signal, subprocess, sys, time
from ledger import note

def run(mini_batch):
    name = os.path.basename(mini_batch[0])
    if name == "f00001.txt":
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"], start_new_session=True)
        note("child %d" % child.pid)
        time.sleep(600)
    return [name]
"""


@pytest.mark.on_cluster
def test_a_time_out_kills_the_process_and_what_it_started_and_names_the_line(lab: Lab) -> None:
    lab.files(4)
    lab.script(TIME_OUT)
    lab.job(retry_settings={"max_retries": 1, "timeout": 1}, max_concurrency_per_instance=2)
    done = lab.score()
    assert done.status == 0, done.stderr
    assert lab.rows.read_text() == "f00000.txt\nf00002.txt\nf00003.txt\n"
    children = [int(line.split()[1]) for line in lab.ledger]
    assert len(children) == 2
    assert not alive(lab)
    log = "".join(path.read_text(errors="replace") for path in lab.logs().rglob("*.txt"))
    assert "run() took longer than 1 s (retry_settings.timeout); it was at score.py:11" in log


def alive(lab: Lab) -> list[int]:
    """Processes that scripts of this lab have started, in containers too: all inherit the name of its ledger."""
    mark = os.fsencode(f"LEDGER={lab.ledger_file}")
    found = []
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            with contextlib.suppress(OSError):
                if mark in (folder / "environ").read_bytes().split(b"\0"):
                    found.append(int(folder.name))
    return found


def test_too_few_rows_fail_only_with_an_error_threshold(lab: Lab) -> None:
    lab.files(4)
    lab.script("import os\n\ndef run(mini_batch):\n    return [os.path.basename(p) for p in mini_batch][1:]\n")
    lab.job(mini_batch_size=2)
    done = lab.score(name="lenient")
    assert done.status == 0
    assert done.job["progress"]["items"]["failed"] == 0
    lab.job(mini_batch_size=2, error_threshold=5)
    done = lab.score(name="strict")
    assert done.status == 1  # none of the mini-batches succeeded
    assert done.counts == (2, 0, 2)
    assert done.job["progress"]["items"]["failed"] == 2
    lab.script("import os\n\ndef run(b):\n    return [os.path.basename(p) for p in b][('00000' in b[0]):]\n")
    lab.job(mini_batch_size=2, error_threshold=1)
    done = lab.score(name="kept")
    assert done.status == 0, done.stderr
    assert lab.rows.read_text() == "f00001.txt\nf00002.txt\nf00003.txt\n"  # the rows of the last attempt are kept
    lab.job(mini_batch_size=2, error_threshold=0)
    assert lab.score(name="crossed").status == 1


@pytest.mark.on_cluster
def test_percent_is_judged_at_the_end(lab: Lab) -> None:
    fails_with(lab, "raise ValueError('x')", task={"program_arguments": "--allowed_failed_percent 10"})
    done = lab.score()
    assert done.status == 1
    assert "12.5 % of the mini-batches have failed, allowed_failed_percent is 10" in done.job["error"]["message"]
    assert len(set(lab.ledger)) == 8
    fails_with(lab, "raise ValueError('x')", task={"program_arguments": "--allowed_failed_percent 13"})
    assert lab.score(name="lenient").status == 0


def test_a_job_of_which_nothing_succeeds_has_failed(lab: Lab) -> None:
    lab.files(3)
    lab.script("def run(mini_batch):\n    raise RuntimeError('never')\n")
    lab.job()
    done = lab.score()
    assert done.status == 1
    assert "none of the 3 mini-batches succeeded" in done.job["error"]["message"]


@pytest.mark.parametrize(
    "body",
    [pytest.param("raise ValueError('no model')", marks=pytest.mark.on_cluster), "import os; os._exit(7)", "import sys; sys.exit(2)"],
)
def test_a_failing_init_gives_up_the_instance(lab: Lab, body: str) -> None:
    lab.files(3)
    lab.script(f"from ledger import note\n\ndef init():\n    note('init')\n    {body}\n\ndef run(mini_batch):\n    return []\n")
    lab.job(max_concurrency_per_instance=2)
    done = lab.score()
    assert done.status == 1
    assert 6 <= len(lab.ledger) <= 8  # 3 × 2 processes, and what was under way
    assert "init()" in done.job["error"]["message"].splitlines()[0]
    if "no model" in body:
        assert "ValueError: no model (score.py:5)" in done.job["error"]["message"].splitlines()[0]


@pytest.mark.on_cluster
def test_an_init_that_hangs_ends_the_job_and_says_where(lab: Lab) -> None:
    lab.files(3)
    lab.script("import time\n\ndef init():\n    time.sleep(600)\n\ndef run(mini_batch):\n    return []\n")
    lab.job(task={"program_arguments": "--first_task_creation_timeout 2"})
    done = lab.score(timeout=60)
    assert done.status == 1
    assert "init() has not returned within 2 s (first_task_creation_timeout); it was at score.py:4" in done.job["error"]["message"]


@pytest.mark.on_cluster
def test_no_progress_ends_the_job(lab: Lab) -> None:
    lab.files(3)
    lab.script("import time\n\ndef run(mini_batch):\n    time.sleep(600)\n")
    lab.job(task={"program_arguments": "--progress_update_timeout 2"}, retry_settings={"timeout": 100})
    done = lab.score(timeout=60)
    assert done.status == 1
    assert "2 s (progress_update_timeout)" in done.job["error"]["message"]


def test_a_long_mini_batch_does_not_hold_up_those_behind_it(lab: Lab) -> None:
    lab.files(400)
    lab.script(
        "import os, time\nfrom ledger import note\n\ndef run(b):\n    name = os.path.basename(b[0])\n"
        "    note(name)\n    while name == 'f00150.txt' and open(os.environ['LEDGER']).read().count('end ') < 399:\n"
        "        time.sleep(0.05)\n    note('end ' + name)\n    return [name]\n"
    )
    lab.job(max_concurrency_per_instance=2)
    done = lab.score()
    assert done.status == 0, done.stderr
    ledger = lab.ledger
    assert ledger.index("end f00150.txt") == len(ledger) - 1
    assert len(ledger) == 800  # it was not begun twice: those that it held up it would have waited for until its time was over


def test_the_report_has_a_line_for_each_mini_batch(lab: Lab) -> None:
    fails_with(lab, "raise ValueError('x')")
    lab.score()
    with open(lab.logs() / "sys" / "job_report" / "processed_mini-batches.csv", newline="") as file:
        rows = list(csv.reader(file))
    assert len(rows) == 9


def test_a_worker_that_dies_between_mini_batches_costs_nothing(lab: Lab) -> None:
    lab.files(30)
    lab.script(
        "import os, threading, time\nfrom ledger import note\nfirst = not os.path.exists(os.environ['LEDGER'])\n\n"
        "def run(b):\n    note(os.path.basename(b[0]))\n    return [os.path.basename(b[0])]\n"
    )
    lab.job(retry_settings={"max_retries": 0})
    done = lab.score()
    assert done.status == 0
    assert lab.rows.read_text() == "".join(f"f{i:05d}.txt\n" for i in range(30))


DIES_READING = """
import os, sys

def init():
    reader = sys.modules["_parallel_agent.batches"].FileBatches
    load = reader.load

    def crash(self, line):
        if "f00002.txt" in str(line):
            os._exit(9)
        return load(self, line)

    reader.load = crash

def run(mini_batch):
    return [os.path.basename(path) for path in mini_batch]
"""


@pytest.mark.in_processes
def test_a_mini_batch_that_kills_its_reader_is_given_up_in_the_end(lab: Lab) -> None:
    """A few losses are forgiven, since a worker may be killed from outside while it waits."""
    lab.files(5)
    lab.script(DIES_READING)
    lab.job(retry_settings={"max_retries": 1}, max_concurrency_per_instance=1)
    done = lab.score()
    assert done.status == 0, done.stderr
    assert done.counts == (5, 4, 1)
    assert "ended while this mini-batch was handed to it: exit status 9" in done.stderr


HOSTILE = """
import os, signal, subprocess, sys, time
from ledger import note

CHILD = "import os, time; os.setsid(); os.fork() and os._exit(0); from ledger import note; note('pid %d' % os.getpid()); time.sleep(600)"

def run(mini_batch):
    for number in range(1, 31):
        try:
            signal.signal(number, signal.SIG_IGN)
        except (OSError, ValueError):
            pass
    subprocess.Popen([sys.executable, "-c", CHILD])
    note("pid %d" % os.getpid())
    time.sleep(600)
"""


@pytest.mark.on_this_machine("on a cluster no command owns the job")
def test_killed_driver_leaves_nothing_behind(lab: Lab) -> None:
    lab.files(4)
    lab.script(HOSTILE)
    lab.job(max_concurrency_per_instance=2)
    process = lab.start("job", "create", "-f", "job.yml", "-n", "job", *lab.local, "--stream")
    try:
        until(lambda: len(lab.ledger) >= 4)
        process.kill()
        process.wait()
        until(lambda: not alive(lab), seconds=5)
    finally:
        process.communicate()
        for pid in alive(lab):
            os.kill(pid, 9)


def until(condition, seconds: float = 30) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.02)
