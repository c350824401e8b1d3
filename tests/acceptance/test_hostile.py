"""File names, contents and places that nobody wishes for."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.acceptance.jobs import Lab

NAMES = [
    b"plain.txt", b"two words.txt", b"a,b",
    b"quote'\".txt", b"new\nline.txt", b"tab\t.txt", "ünïcode-\N{SNOWMAN}.txt".encode(), b"bad-\xff\xfe.bin",
    b"-leading", b"--help", b"$HOME", b"`ls`", b"a;b", b"*", b"%s", b"{0}", b"\\", b"n" * 255, b" ", b"~", b"#x",
]  # fmt: skip


@pytest.fixture
def lab(tmp_path: Path, anywhere: Callable[[Path], Lab]) -> Lab:
    return anywhere(tmp_path)


@pytest.mark.on_cluster
@pytest.mark.not_in_blob("names of blobs are text")
def test_hostile_file_names(lab: Lab) -> None:
    folder = os.fsencode(lab.folder / "input")
    os.mkdir(folder)
    for number, name in enumerate(NAMES):
        with open(os.path.join(folder, name), "wb") as file:
            file.write(b"%d" % number)
    lab.script("def run(b):\n    return [open(path).read() for path in b]\n")
    lab.job()
    done = lab.score()
    assert done.status == 0, done.stderr
    expected = [str(NAMES.index(name)) for name in sorted(NAMES)]
    assert lab.rows.read_text().split() == expected


@pytest.mark.not_in_blob("names of blobs are text")
def test_rows_may_hold_undecodable_names(lab: Lab) -> None:
    os.mkdir(lab.folder / "input")
    with open(os.path.join(os.fsencode(lab.folder / "input"), b"bad-\xff.bin"), "wb"):
        pass
    lab.script()
    lab.job()
    assert lab.score().status == 0
    assert lab.rows.read_bytes() == b"bad-\xff.bin\n"


@pytest.mark.on_cluster
@pytest.mark.not_in_blob("there are no empty folders")
def test_an_empty_folder_is_an_error_that_says_so(lab: Lab) -> None:
    (lab.folder / "input").mkdir()
    lab.script()
    lab.job()
    done = lab.score()
    assert done.status == 2
    assert "there is no file in" in done.stderr
    assert "Traceback" not in done.stderr
    lab.files(1)
    assert lab.score().status == 0  # under the same name: the refused job is gone


def test_empty_files_are_items_like_others(lab: Lab) -> None:
    folder = lab.files(3)
    for path in folder.iterdir():
        path.write_text("")
    lab.script()
    lab.job()
    assert lab.score().status == 0
    assert len(lab.rows.read_text().split()) == 3


@pytest.mark.in_processes  # containers cannot delete their inputs
@pytest.mark.not_in_blob("it is about local files: test_blob_inputs.py")
def test_a_file_that_vanishes_fails_its_mini_batch_only(lab: Lab) -> None:
    folder = lab.files(4)
    lab.script(
        "import os\n\ndef run(b):\n    return [open(p).read().strip() for p in b]\n\n"
        "def init():\n    p = os.environ['GONE']\n    os.path.exists(p) and os.unlink(p)\n"
    )
    lab.job(environment_variables={"GONE": str(folder / "f00002.txt"), "LEDGER": "x"}, max_concurrency_per_instance=1)
    done = lab.score()
    assert done.status == 0
    assert lab.rows.read_text().split() == ["0", "1", "3"]


@pytest.mark.on_cluster
def test_two_jobs_that_write_to_one_output(lab: Lab, eventually: Callable[..., object]) -> None:
    lab.files(3)
    lab.script(
        "import os, time\nfrom ledger import note\n\ndef run(b):\n    note('begun')\n"
        "    while not os.path.exists(os.environ['LEDGER'] + '.go'):\n        time.sleep(0.05)\n    return [1]\n"
    )
    lab.job(max_concurrency_per_instance=1)
    first = lab.start("job", "create", "-f", "job.yml", "-n", "first", *lab.local, "--stream")
    try:
        eventually(lambda: lab.ledger, timeout=60)
        second = lab.score(name="second")
        assert second.status == 2, second
        assert "first" in second.stderr
        assert "Traceback" not in second.stderr
    finally:
        Path(f"{lab.ledger_file}.go").touch()
        first.communicate()
    assert first.returncode == 0
    assert lab.score(name="third").status == 0


def test_an_output_folder_without_permission(lab: Lab) -> None:
    lab.files(3)
    lab.script()
    lab.job(outputs={"rows": {"type": "uri_file", "path": "/proc/nowhere/rows.txt"}})
    done = lab.score()
    assert done.status in (1, 2)
    assert "Traceback" not in done.stderr
    assert "/proc/nowhere" in done.stderr


@pytest.mark.needs("tmpfs")
@pytest.mark.on_this_machine("what is mounted here is not mounted in the nodes")
@pytest.mark.not_in_blob("it is about local disks")
def test_a_full_disk(lab: Lab) -> None:
    lab.files(200)
    lab.script("def run(b):\n    return ['x' * 100_000]\n")
    lab.settings("defaults:\n  free_space_floor: 0\n")
    small = lab.folder / "small"
    small.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", str(small)], check=True)
    try:
        lab.job(outputs={"rows": {"type": "uri_file", "path": "small/rows.txt"}})
        done = lab.score()
        assert done.status in (1, 2), done
        assert "Traceback" not in done.stderr
        assert "space" in done.stderr.lower()
        assert not [path for path in small.iterdir() if path.is_file()]
    finally:
        subprocess.run(["umount", str(small)], check=True)
    small.rmdir()
    done = lab.run("job", "resume", "-n", "job", "--stream", "-o", "json")
    assert done.status == 0, done.stderr  # nothing that was computed is lost: only the output had to be written again
    assert (lab.folder / "small" / "rows.txt").stat().st_size == 200 * 100_001


@pytest.mark.needs("tmpfs")
@pytest.mark.on_this_machine("what is mounted here is not mounted in the nodes")
def test_a_full_disk_under_the_workspace(lab: Lab, tmp_path: Path) -> None:
    small = tmp_path / "disk"
    small.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=6m", "tmpfs", str(small)], check=True)
    try:
        full = Lab(small)
        full.files(100)
        full.script("def run(b):\n    return ['x' * 100_000]\n")
        full.job()
        (small / "workspace.yml").write_text("defaults:\n  free_space_floor: 0\n")
        done = full.score()
        assert done.status in (1, 2), done
        assert "Traceback" not in done.stderr, done.stderr
        assert "space" in done.stderr.lower(), done.stderr
    finally:
        subprocess.run(["umount", str(small)], check=True)
