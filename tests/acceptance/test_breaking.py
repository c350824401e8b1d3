"""What was found by trying to break jobs: scripts, kills and places at bad moments."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from runner.cli import app
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


def test_a_mini_batch_that_kills_its_instance_fails_alone(lab: Lab) -> None:
    lab.files(8)
    lab.script(
        "import os\n\ndef run(b):\n    if b[0].endswith('f00003.txt'):\n"
        "        os.kill(os.getppid(), 9)\n        os._exit(1)\n    return ['x']\n"
    )
    lab.job(max_concurrency_per_instance=2)
    done = lab.score()
    assert done.status == 0, done.stderr
    assert done.counts == (8, 7, 1)
    assert done.job["progress"]["items"]["failed"] == 1
    assert lab.rows.read_text() == 7 * "x\n"


def broken_python(lab: Lab, times: int) -> str:
    """An interpreter that dies, so many times, before the agent can say hello."""
    path = lab.folder / "python"
    path.write_text(
        f'#!/bin/sh\ncase "$1" in\n*/runner/worker)\n  echo x >> {lab.folder}/starts\n'
        f'  [ "$(wc -l < {lab.folder}/starts)" -le {times} ] && exit 3;;\nesac\nexec {sys.executable} "$@"\n'
    )
    path.chmod(0o755)
    return str(path)


def test_a_keeper_that_dies_before_it_says_hello_is_replaced(lab: Lab) -> None:
    lab.files(3)
    lab.script()
    lab.job()
    done = lab.score("--python", broken_python(lab, 2), timeout=30)
    assert done.status == 0, done.stderr
    assert done.counts == (3, 3, 0)


def test_a_python_that_cannot_start_the_agent_ends_the_job(lab: Lab) -> None:
    lab.files(3)
    lab.script()
    lab.job()
    done = lab.score("--python", broken_python(lab, 1000), timeout=30)
    assert done.status == 1
    assert "the keeper of the workers has died" in done.job["error"]["message"]
    assert "_keeper.txt" in done.job["error"]["message"]


@pytest.mark.parametrize("closed", [(0,), (1,), (2,), (0, 1, 2)])
def test_closed_standard_streams(lab: Lab, closed: tuple[int, ...]) -> None:
    lab.files(3)
    lab.script()
    lab.job()
    command = lab.command("job", "create", "-f", "job.yml", "-n", "job", "--local", "--stream")
    shut = "".join(f" {descriptor}>&-" for descriptor in closed)
    done = subprocess.run(["sh", "-c", f'exec "$@"{shut}', "sh", *command], cwd=lab.folder, env=lab.environment(), timeout=60)
    assert done.returncode == 0
    assert lab.rows.read_text() == "f00000.txt\nf00001.txt\nf00002.txt\n"


def test_nowhere_to_print_to(lab: Lab) -> None:
    (lab.folder / ".runner").mkdir()
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            lab.command("job", "list"), cwd=lab.folder, env=lab.environment(), stdout=full, stderr=subprocess.PIPE, text=True, timeout=60
        )
    assert done.returncode == 1
    assert "Error: [Errno 28] No space left on device" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("text", ["ValueError('bad \\ud800 \\x00 \\x1b[31m')", "ValueError(b[0])"])
def test_errors_that_utf_8_cannot_write(lab: Lab, text: str) -> None:
    (lab.folder / "input").mkdir()
    with open(os.path.join(os.fsencode(lab.folder / "input"), b"bad-\xff.bin"), "wb"):
        pass
    lab.script(f"def run(b):\n    raise {text}\n")
    lab.job(mini_batch_error_threshold=0)
    done = lab.score()
    assert done.status == 1
    assert "bad" in done.job["error"]["message"]
    assert "UnicodeEncodeError" not in done.stderr
    shown = lab.run("job", "show", "-n", "job", "-o", "json")
    assert shown.job["error"]["code"] == "threshold"
    assert lab.run("job", "stream", "-n", "job").status == 1


def test_a_workspace_whose_path_cannot_be_decoded(tmp_path: Path) -> None:
    folder = tmp_path / os.fsdecode(b"bad-\xff")
    folder.mkdir()
    lab = Lab(folder)
    lab.files(3)
    lab.script()
    lab.job(environment_variables=None)
    done = lab.score()
    assert done.status == 0, done.stderr
    assert lab.rows.read_text() == "f00000.txt\nf00001.txt\nf00002.txt\n"


@pytest.mark.needs("tmpfs")
def test_a_job_in_a_read_only_folder(lab: Lab) -> None:
    lab.files(3)
    lab.script()
    lab.job()
    assert lab.score().status == 0
    jobs = lab.folder / ".runner" / "jobs"
    subprocess.run(["mount", "--bind", str(jobs), str(jobs)], check=True)
    try:
        subprocess.run(["mount", "-o", "remount,ro,bind", str(jobs)], check=True)
        for words in (["delete", "-n", "job"], ["prune", "--keep", "0s"]):
            done = lab.run("job", *words)
            assert done.status == 2, done
            assert "Read-only file system" in done.stderr
            assert "Traceback" not in done.stderr
    finally:
        subprocess.run(["umount", str(jobs)], check=True)


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("outputs.rows.path=/dev/null", "'/dev/null' is a device, a pipe or a socket"),
        (f"tags{3000 * '.a'}=1", "the path of an override is not well formed"),
        (f"mini_batch_size={5000 * '9'}", "is not a size of mini-batches"),
        ("mini_batch_size=\N{ARABIC-INDIC DIGIT THREE}", "is not a size of mini-batches"),
    ],
)
def test_overrides_that_make_no_sense(lab: Lab, override: str, said: str) -> None:
    lab.files(3)
    lab.script()
    lab.job()
    done = lab.run("job", "validate", "-f", "job.yml", "--local", "--set", override)
    assert done.status == 2
    assert said in done.stderr
    assert "Traceback" not in done.stderr


def test_refusals_of_the_machine_are_no_bugs(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    class Refused:
        def add_typer(self, *_: object, **__: object) -> None: ...

        def command(self, _name: str) -> Callable[[object], object]:
            return lambda function: function

        def __call__(self, **_: object) -> int:
            raise PermissionError(errno.EACCES, "Permission denied", "/some/where")

    monkeypatch.setattr(app, "app", Refused())
    assert app.run() == app.EXIT_WRONG
    assert capsys.readouterr().err == "Error: [Errno 13] Permission denied: '/some/where'\n"


def test_folders_that_a_script_has_closed_are_removed(lab: Lab) -> None:
    lab.files(1)
    lab.script("import os\n\ndef run(b):\n    os.makedirs('x/y')\n    os.chmod('x', 0)\n    return ['x']\n")
    lab.job()
    assert lab.score().status == 0
    assert lab.run("job", "delete", "-n", "job").status == 0
    assert not list((lab.folder / ".runner" / "jobs").iterdir())


@pytest.mark.needs("tmpfs")
def test_a_disk_too_small_for_the_copies_of_the_code(lab: Lab) -> None:
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=5m", "tmpfs", str(lab.folder)], check=True)
    try:
        lab.files(3)
        lab.script()
        lab.job(max_concurrency_per_instance=3)
        (lab.folder / "code" / "big").write_bytes(os.urandom(1_600_000))
        (lab.folder / "workspace.yml").write_text("defaults:\n  free_space_floor: 0\n")
        done = lab.score()
        assert done.status == 1
        assert "[Errno 28] No space left on device" in done.stderr  # of the copy, or of what is to be told about it
        assert "Traceback" not in done.stderr
    finally:
        subprocess.run(["umount", str(lab.folder)], check=True)
