"""`runner job …` as a user types it."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml

from tests.acceptance.conftest import RUNNER

SLOW = """
    import os, time

    def run(mini_batch):
        open(os.environ["STARTED"], "a").close()
        while not os.path.exists(os.environ["GO_ON"]):
            time.sleep(0.02)
        return mini_batch
"""
FAILING = """
    def run(mini_batch):
        if mini_batch[0].endswith("00001.txt"):
            raise ValueError("bad pixel")
        return mini_batch
"""


@pytest.fixture
def slow(project):
    """A project whose mini-batches wait for the file `go_on`."""
    project.script(SLOW)
    project.environment |= {"STARTED": str(project.folder / "started"), "GO_ON": str(project.folder / "go_on")}
    return project


# Without a job


def test_help_is_quick_and_light():
    code = "import sys, runner.cli.app as a; sys.argv = ['runner', '--help']; s = a.run(); print(s, *sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = set(done.stdout.split())
    assert "Commands:" in done.stdout
    heavy = {"pyarrow", "pandas", "numpy", "ray", "docker", "azure", "rich", "yaml", "pydantic", "pathspec"}
    assert heavy & {name.partition(".")[0] for name in loaded} == set()
    assert min(_cpu_seconds([sys.executable, "-m", "runner.cli", "--help"]) for _ in range(3)) < 0.4


def _cpu_seconds(command, **options):
    """Of the command and of the children that it waited for: unlike the time on the clock, it does not depend on what else runs."""
    before = os.times()
    subprocess.run(command, capture_output=True, check=True, **options)
    after = os.times()
    return after.children_user + after.children_system - before.children_user - before.children_system


def test_version(project):
    assert project.run("--version").stdout.startswith("runner ")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["jbo"], "did you mean 'job'?"),
        (["job", "crate"], "did you mean 'create'?"),
        (["job", "create", "--steam"], "--stream"),
        (["job", "create"], "give one: -f job.yml"),
        (["job", "create", "-f", "no.yml"], "no.yml: no such file"),
        (["job", "create", "-f", "job.yml", "-n", "a/b"], "'a/b' is not a name of a job"),
        (["job", "create", "-f", "job.yml", "--workspace", "job.yml"], "is not a folder"),
        (["job", "create", "-f", "job.yml", "-o", "xml"], ": 'xml' is not one of 'json', 'yaml', 'table'"),
        (["job", "create", "-f", "job.yml", "-n", ""], "'' is not a name of a job"),
        (["compute", "show"], "no compute is named"),
        (["job", "create", "-f", "job.yml", "--set", "mini_batch_sise=2"], "did you mean 'mini_batch_size'"),
        (["job", "show", "x"], "no workspace"),
        (["job", "prune"], "--keep 30d"),
        (["job", "prune", "--keep", "ever"], "12h, 30d"),
        (["compute", "show", "gpu"], "allowed: local"),
        (["job", "finish", "x"], "--partial"),
    ],
)
def test_wrong_requests(project, words, message):
    result = project.run(*words)
    assert result.status == 2
    assert result.stderr.startswith("Error: ")
    assert message in result.stderr
    assert "Traceback" not in result.stderr
    assert result.stdout == ""
    assert not (project.folder / ".runner").exists()


def test_computes(project):
    assert project.run("compute", "list", "-o", "json").job[0]["name"] == "local"
    assert "local" in project.run("compute", "show", "local", "-o", "table").stdout


# Making jobs


def test_streamed(project):
    result = project.stream("-n", "one")
    job = result.job
    assert (job["name"], job["type"], job["status"]) == ("one", "parallel", "Completed")
    assert job["progress"]["mini_batches"] | {"retries": 0} == {"total": 3, "succeeded": 3, "failed": 0, "retries": 0, "listed": True}
    assert job["progress"]["items"] == {"total": 3, "succeeded": 3, "failed": 0}
    assert job["error"] is None
    assert project.rows(job) == ["00000.txt", "00001.txt", "00002.txt"]
    assert "Job one: Completed" in result.stderr
    assert job == project.show("one")


def test_the_whole_process_takes_less_than_a_second(project):
    """The clock is looked at in `benchmarks/`."""
    command = [sys.executable, "-m", "runner.cli", "job", "create", "-f", "job.yml", "--local", "--stream"]
    assert min(_cpu_seconds(command, cwd=project.folder) for _ in range(3)) < 1.0


def test_formats(project):
    project.stream("-n", "one")
    assert yaml.safe_load(project.run("job", "show", "one", "-o", "yaml").stdout) == project.show("one")
    assert "Completed" in project.run("job", "show", "one", "-o", "table").stdout
    assert [job["name"] for job in project.run("job", "list", "-o", "json").job] == ["one"]
    listed = project.run("job", "list").stdout.splitlines()
    assert re.fullmatch(r"one +parallel +Completed +3/3 +\d{4}-\d\d-\d\d \d\d:\d\d:\d\d", listed[-1])


def test_set_name_and_workspace(project, tmp_path):
    place = tmp_path / "other"
    job = project.stream("--set", "mini_batch_size=2", "--set", "tags.team=blue", "--workspace", str(place)).job
    assert job["progress"]["mini_batches"]["total"] == 2
    assert job["tags"] == {"team": "blue"}
    assert Path(job["logs"]).is_relative_to(place)
    assert not (project.folder / ".runner").exists()
    listed = project.run("job", "list", "--tag", "team=blue", "-o", "json", RUNNER_WORKSPACE=str(place)).job
    assert [one["name"] for one in listed] == [job["name"]]
    assert job["name"].count("_") == 2


def test_found_from_below(project):
    project.stream("-n", "one")
    below = project.folder / "src"
    assert project.run("job", "show", "-n", "one", cwd=below).status == 0


def test_validate_prints_the_plan_and_leaves_nothing(project):
    project.script("raise SystemExit('user code ran')\ndef run(mini_batch):\n    return mini_batch\n")
    project.job(task={"program_arguments": "--alpha 'a b'"})
    result = project.run("job", "validate", "-f", "job.yml", "--local")
    assert result.status == 0, result.stderr
    for text in ("mini-batches", "3 files", "'--alpha' 'a b'", "2 on 1 instance", "rows"):
        assert text in result.stdout
    assert not (project.folder / ".runner").exists()
    plan = project.run("job", "validate", "-f", "job.yml", "--local", "-o", "json").job
    assert plan["steps"][0]["mini_batches"] == 3


def test_a_failed_job_tells_the_users_own_error(project):
    project.script(FAILING)
    project.job(mini_batch_error_threshold=0, retry_settings={"max_retries": 0})
    result = project.stream("-n", "one", status=1)
    for text in ("mini-batch 1", "00001.txt", "ValueError: bad pixel", "score.py:4", "runner job resume"):
        assert text in result.stderr
    job = result.job
    assert job["status"] == "Failed"
    assert "ValueError: bad pixel" in job["error"]["message"]
    assert Path(job["error"]["log"]).exists()
    assert not Path(job["outputs"]["rows"]["path"]).exists()


def test_tolerated_failures_are_said_loudly(project):
    project.script(FAILING)
    project.job(retry_settings={"max_retries": 1})
    result = project.stream()
    assert "ATTENTION: 1 of 3 mini-batches" in result.stderr
    assert project.rows(result.job) != []


def test_a_name_can_be_taken_once(project):
    project.stream("-n", "one")
    result = project.stream("-n", "one", status=2)
    assert "taken" in result.stderr


def test_snapshot(project):
    """What is edited after submission does not matter; what .amlignore leaves out is not there."""
    project.script("x = 1\n", "big.py")
    (project.folder / "src" / ".amlignore").write_text("big.py\n")
    job = project.stream("-n", "one").job
    code = project.folder / ".runner" / "jobs" / "one" / "code"
    assert sorted(path.name for path in code.iterdir()) == [".amlignore", "score.py"]
    (project.folder / "src" / "large.bin").write_bytes(b"")
    (project.folder / "workspace.yml").write_text("defaults: {max_snapshot: 10}\n")
    refused = project.stream(status=2)
    assert "--allow-large-snapshot" in refused.stderr
    assert project.stream("--allow-large-snapshot").job["status"] == job["status"]


# In the background


def test_background(slow):
    begin = time.monotonic()
    result = slow.run("job", "create", "-f", "job.yml", "--local", "-n", "one", "-o", "json")
    assert result.status == 0, result.stderr
    assert time.monotonic() - begin < 5
    assert result.job["status"] in ("Preparing", "Running")
    assert slow.show("one")["status"] in ("Preparing", "Running")
    follower = slow.start("job", "stream", "-n", "one", "-o", "json")
    time.sleep(0.5)
    (slow.folder / "go_on").touch()
    stdout, stderr = follower.communicate(timeout=30)
    assert follower.returncode == 0, stderr
    assert json.loads(stdout)["status"] == "Completed"
    assert "Job one: Completed" in stderr
    assert "Job one: Completed" in slow.run("job", "stream", "one").stderr


def test_cancel_and_resume(slow, eventually):
    slow.run("job", "create", "-f", "job.yml", "--local", "-n", "one")
    eventually((slow.folder / "started").exists)
    assert slow.run("job", "delete", "one").status == 2
    assert "running in another process" in slow.run("job", "resume", "one").stderr
    asked = slow.run("job", "cancel", "-n", "one")
    assert (asked.status, asked.job["status"]) == (0, "CancelRequested")
    eventually(lambda: slow.show("one")["status"] == "Canceled")
    assert slow.run("job", "stream", "one").status == 130
    assert slow.run("job", "cancel", "one").status == 2
    (slow.folder / "go_on").touch()
    result = slow.run("job", "resume", "-n", "one", "--stream", "-o", "json")
    assert result.status == 0, result.stderr
    assert len(slow.rows(result.job)) == 3
    assert "it is complete" in slow.run("job", "resume", "one").stderr


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_interrupting_an_attached_job_cancels_it(slow, eventually, number):
    process = slow.start("job", "create", "-f", "job.yml", "--local", "--stream", "-n", "one", "-o", "json")
    eventually((slow.folder / "started").exists)
    process.send_signal(number)
    stdout, stderr = process.communicate(timeout=30)
    assert process.returncode == 130, stderr
    assert json.loads(stdout)["status"] == "Canceled"
    assert "Traceback" not in stderr


def test_interrupting_a_follower_leaves_the_job_alone(slow, eventually):
    slow.run("job", "create", "-f", "job.yml", "--local", "-n", "one")
    eventually((slow.folder / "started").exists)
    process = slow.start("job", "stream", "one")
    assert process.stderr.readline()  # it follows
    process.send_signal(signal.SIGINT)
    _, stderr = process.communicate(timeout=30)
    assert process.returncode == 130
    assert "Come back with `runner job stream one`" in stderr
    assert slow.show("one")["status"] == "Running"
    (slow.folder / "go_on").touch()
    assert slow.run("job", "stream", "one").status == 0


def test_a_killed_owner_shows_as_interrupted_and_can_be_resumed(slow, eventually):
    process = slow.start("job", "create", "-f", "job.yml", "--local", "--stream", "-n", "one")
    eventually((slow.folder / "started").exists)
    process.kill()
    process.communicate()
    job = slow.show("one")
    assert (job["status"], job["error"]["code"]) == ("Failed", "interrupted")
    assert "runner job resume one" in job["error"]["message"]
    (slow.folder / "go_on").touch()
    assert slow.run("job", "resume", "one", "--stream").status == 0


def test_two_jobs_with_one_output(slow, eventually):
    slow.job(outputs={"rows": {"type": "uri_file", "path": "out/rows.txt"}})
    slow.run("job", "create", "-f", "job.yml", "--local", "-n", "first")
    eventually((slow.folder / "started").exists)
    result = slow.stream("-n", "second", status=2)
    assert "job first is writing to" in result.stderr
    assert "second" not in slow.run("job", "list").stdout
    (slow.folder / "go_on").touch()
    assert slow.run("job", "stream", "first").status == 0
    slow.stream("-n", "second")


# Afterwards


def test_download_delete_prune(project, tmp_path):
    project.stream("-n", "one")
    project.stream("-n", "two")
    target = tmp_path / "copies"
    assert project.run("job", "download", "-n", "one", "--all", "-p", str(target)).status == 0
    assert (target / "artifacts" / "logs" / "job_result.txt").is_file()
    assert len(list((target / "named-outputs" / "rows").iterdir())) == 1
    again = project.run("job", "download", "-n", "one", "--all", "-p", str(target))
    assert (again.status, again.stderr) == (0, "")
    assert "one is removed" in project.run("job", "delete", "-n", "one").stderr
    assert not (project.folder / ".runner" / "datastore" / "azureml" / "one").exists()
    dry = project.run("job", "prune", "--max-size", "0", "--dry-run", "-o", "json")
    assert {"two"} == {entry["name"] for entry in dry.job if entry["kind"] == "job"}
    assert project.show("two")["status"] == "Completed"
    assert project.run("job", "prune", "--max-size", "0").status == 0
    assert project.run("job", "list", "-o", "json").job == []


@pytest.mark.parametrize(("answer", "left"), [("n", ["one"]), ("y", [])])
def test_prune_asks_on_a_terminal(project, answer, left):
    project.stream("-n", "one")
    terminal, inner = os.openpty()
    command = [sys.executable, "-m", "runner.cli", "job", "prune", "--max-size", "0"]
    process = subprocess.Popen(command, cwd=project.folder, stdin=inner, stdout=inner, stderr=subprocess.PIPE)
    os.write(terminal, f"{answer}\n".encode())
    _, stderr = process.communicate(timeout=60)
    shown = os.read(terminal, 65536)
    os.close(inner)
    os.close(terminal)
    assert b"Remove jobs with their logs and outputs (one)" in shown
    assert (process.returncode, b"cancelled" in stderr) == ((130, True) if left else (0, False))
    assert [job["name"] for job in project.run("job", "list", "-o", "json").job] == left


@pytest.mark.parametrize(("words", "told"), [((), False), (("-o", "json"), True)])
def test_on_a_terminal_the_page_is_enough(project, words, told):
    terminal, inner = os.openpty()
    with subprocess.Popen(
        [*RUNNER, "job", "create", "-f", "job.yml", "--local", "--stream", *words],
        cwd=project.folder, stdout=inner, stderr=subprocess.PIPE, stdin=subprocess.DEVNULL,
    ) as process:  # fmt: skip
        _, stderr = process.communicate(timeout=60)
    os.close(inner)
    try:
        printed = os.read(terminal, 65536)
    except OSError:  # nothing
        printed = b""
    os.close(terminal)
    assert process.returncode == 0
    assert b": Completed\n" in stderr
    assert (b'"status": "Completed"' in printed) is told


def test_finish_partial(project):
    project.script(FAILING)
    project.job(mini_batch_error_threshold=0, retry_settings={"max_retries": 0}, max_concurrency_per_instance=1)
    project.stream("-n", "one", status=1)
    result = project.run("job", "finish", "-n", "one", "--partial", "-o", "json")
    assert result.status == 0, result.stderr
    assert result.job["incomplete"] is True
    rows = [row.rsplit("/", 1)[-1] for row in project.rows(result.job)]
    assert rows in (["00000.txt"], ["00000.txt", "00002.txt"])  # the last one may have been done when the job failed


def test_a_reader_that_goes_away(project):
    project.stream("-n", "one")
    process = project.start("job", "show", "one")
    process.stdout.close()
    assert process.wait(30) in (0, 1)
    assert "Traceback" not in process.stderr.read()
    process.stderr.close()
