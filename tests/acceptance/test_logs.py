"""The logs of a job, as Azure lays them out."""

from __future__ import annotations

import csv
import os
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.acceptance.jobs import Lab

MEGABYTE = 1 << 20


@pytest.fixture
def lab(tmp_path: Path, anywhere: Callable[[Path], Lab]) -> Lab:
    return anywhere(tmp_path)


def names(folder: Path) -> set[str]:
    """Of all files below, with `*` for moments."""
    found = (os.path.relpath(path, folder) for path in folder.rglob("*") if path.is_file())
    return {re.sub(r"\.\d[\d_T:.-]+Z?\.txt$", ".*.txt", name) for name in found if not name.startswith("perf/")}


SPEAK = """
import ctypes, logging, os, subprocess, sys
from azureml_user.parallel_run import EntryScript
from ledger import meet

def init():
    print("init speaks")

def run(mini_batch):
    meet(2)
    name = os.path.basename(mini_batch[0])
    print("print", name)
    logging.warning("logging %s", name)
    ctypes.CDLL(None).puts(b"from C")
    ctypes.CDLL(None).fflush(None)
    subprocess.run(["sh", "-c", "echo a child; echo its error >&2"], check=True)
    EntryScript().logger.info("the log of %s", name)
    with open(os.path.join(EntryScript().log_dir, "of_my_own.txt"), "a") as file:
        file.write(name)
    if name == "f00002.txt":
        raise ValueError("a bad one")
    return [name] * int(name[1:6])
"""


@pytest.mark.on_cluster
@pytest.mark.not_in_blob("what is printed names local paths")
def test_the_layout_and_what_stands_where(lab: Lab) -> None:
    lab.files(4)
    lab.script(SPEAK)
    lab.job(max_concurrency_per_instance=1, resources={"instance_count": 2}, retry_settings={"max_retries": 1})
    done = lab.score()
    assert done.status == 0, done.stderr
    logs = Path(done.job["logs"])
    assert logs == lab.logs()
    expected = {
        "job_progress_overview.*.txt",
        "job_result.txt",
        "job_error.*.txt",
        "sys/master_role.txt",
        "sys/job_report/processed_mini-batches.csv",
    }
    for node in ("node_0", "node_1"):
        expected |= {f"sys/node/{node}/_main.txt", f"sys/node/{node}/process000.txt"}
        expected |= {f"user/{kind}/{node}/process000.{kind}.txt" for kind in ("stdout", "stderr")}
        expected |= {f"user/entry_script_log/{node}/process000.log.txt"}
    assert expected <= names(logs), sorted(names(logs))
    assert (logs / "perf").is_symlink()
    assert list((logs / "perf").rglob("*.csv"))

    stdout = "".join(path.read_text() for path in (logs / "user" / "stdout").rglob("*.txt"))
    for number in range(4):
        assert f"print f{number:05d}.txt" in stdout
    assert stdout.count("from C") == stdout.count("a child") == 5  # four, and one again
    stderr = "".join(path.read_text() for path in (logs / "user" / "stderr").rglob("*.txt"))
    assert "WARNING:root:logging f00001.txt" in stderr
    assert "its error" in stderr
    log = "".join(path.read_text() for path in (logs / "user" / "entry_script_log").rglob("*.txt"))
    assert re.search(r"\|INFO\|\d+\|the log of f00003\.txt", log)
    assert list(logs.rglob("of_my_own.txt"))

    error = next(logs.glob("job_error.*")).read_text()
    for part in ("mini-batch 2", "f00002.txt", "ValueError: a bad one", "score.py", "attempt 2 of 2"):
        assert part in error
    assert "Traceback" in "".join(path.read_text() for path in (logs / "sys" / "error").rglob("*.txt"))
    result = (logs / "job_result.txt").read_text()
    assert "Job job: Completed" in result
    assert "ATTENTION" in result
    assert str(lab.rows) in result
    overview = next(logs.glob("job_progress_overview.*")).read_text()
    assert "4 of 4 mini-batches processed, 1 failed" in overview.splitlines()[-1]
    report = list(csv.DictReader((logs / "sys" / "job_report" / "processed_mini-batches.csv").read_text().splitlines()))
    assert sorted(row["mini_batch"] for row in report) == ["0", "1", "2", "3"]
    by_number = {row["mini_batch"]: row for row in report}
    assert (by_number["3"]["items"], by_number["3"]["returned"], by_number["3"]["status"]) == ("1", "3", by_number["0"]["status"])
    assert by_number["2"]["attempts"] == "2"
    assert by_number["2"]["status"] != by_number["0"]["status"]
    assert by_number["2"]["error"] == "ValueError"


TROUBLE = """
import os

def run(mini_batch):
    name = os.path.basename(mini_batch[0])
    mark = os.environ["LEDGER"] + name
    if name[5] in "13" and not os.path.exists(mark):
        open(mark, "w").close()
        os._exit(1) if name[5] == "1" else 1 / 0
    if name == "f00027.txt":
        assert os.path.exists(os.environ["LEDGER"] + "mended")
    return [name]
"""


@pytest.mark.on_cluster
def test_each_mini_batch_stands_once_in_the_report_whatever_happened(lab: Lab) -> None:
    """Failures, killed workers, and a second run of the job."""
    lab.files(40)
    lab.script(TROUBLE)
    lab.job(max_concurrency_per_instance=2, retry_settings={"max_retries": 1}, mini_batch_error_threshold=0)
    assert lab.score().status == 1
    Path(f"{lab.ledger_file}mended").touch()
    done = lab.run("job", "resume", "-n", "job", "--stream", "-o", "json")
    assert done.status == 0, done.stderr
    text = (lab.logs() / "sys" / "job_report" / "processed_mini-batches.csv").read_text()
    report = list(csv.DictReader(text.splitlines()))
    assert sorted(int(row["mini_batch"]) for row in report) == list(range(40)), text
    assert len({row["status"] for row in report}) == 1
    assert lab.rows.read_text().splitlines() == [f"f{number:05d}.txt" for number in range(40)]


TALK = """
import os, sys

def run(mini_batch):
    print("begin", os.path.basename(mini_batch[0]))
    for number in range(50):
        sys.stdout.write(("%07d\\n" % number) * (1 << 17))
    print("end", os.path.basename(mini_batch[0]))
    return mini_batch
"""


def test_a_script_that_says_too_much(lab: Lab) -> None:
    """Of 100 MB the head and the tail are kept; nothing else suffers."""
    lab.files(2)
    lab.script(TALK)
    lab.job(max_concurrency_per_instance=1)
    done = lab.score()
    assert done.status == 0, done.stderr
    path = lab.logs() / "user" / "stdout" / "node_0" / "process000.stdout.txt"
    size = path.stat().st_size
    assert 16 * MEGABYTE < size <= 64 * MEGABYTE
    with path.open() as file:
        assert file.readline() == "begin f00000.txt\n"
        file.seek(size - 1000)
        assert file.read().endswith("end f00001.txt\n")
    du = sum(one.stat().st_size for one in lab.logs().rglob("*") if one.is_file())
    assert du < 70 * MEGABYTE
