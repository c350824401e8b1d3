"""SIGKILL of everything at every boundary on the way of rows and files into blob storage, then `job resume`."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import pytest

from tests.acceptance.blobs import InBlob, in_blob
from tests.acceptance.jobs import Lab
from tests.acceptance.test_crash import finished_in_journal
from tests.azurite import Azurite

COUNT = 40
PASSAGES = 2  # of each boundary at which a run is killed
WIDTHS = [4_500_000 if i == 5 else 20_000 if i < 30 else 5 for i in range(COUNT)]  # of rows: one is large enough for a block by itself
LATE = 33  # comes after all others were flushed, and is small
SCRIPT = """
import argparse, os, time
from ledger import note

def init():
    global FOLDER
    parser = argparse.ArgumentParser()
    parser.add_argument("--files")
    FOLDER = parser.parse_known_args()[0].files

def run(mini_batch):
    names = [os.path.basename(path) for path in mini_batch]
    number = int(names[0][1:6])
    time.sleep(1.6 if number == LATE else 0.05)
    os.makedirs(os.path.join(FOLDER, str(number % 3)), exist_ok=True)
    with open(os.path.join(FOLDER, str(number % 3), names[0]), "w") as file:
        file.write("of " + names[0])
    note(" ".join(names))
    return [name + " " + "x" * WIDTHS[number] for name in names]
""".replace("WIDTHS", repr(WIDTHS)).replace("LATE", str(LATE))
BROKEN = """
_run = run

def run(mini_batch):
    if "f00020" in mini_batch[0] and not os.path.exists(MENDED):
        raise ValueError("broken")
    return _run(mini_batch)
"""
EXPECTED = "".join(f"f{i:05d}.txt {'x' * WIDTHS[i]}\n" for i in range(COUNT))
FILES = {f"{i % 3}/f{i:05d}.txt": f"of f{i:05d}.txt" for i in range(COUNT)}
BOUNDARIES = {
    "part.begun", "part.written", "part.synced", "block.staged", "block.joined", "blocks.ready", "commit.before", "commit.done",
    "files.before", "files.uploaded", "journal.before", "journal.written", "journal.synced",
}  # fmt: skip


def made(folder: Path, azurite: Azurite) -> InBlob:
    folder.mkdir(parents=True, exist_ok=True)
    lab = in_blob(Lab, azurite)(folder)
    assert isinstance(lab, InBlob)
    lab.files(COUNT)
    lab.script(SCRIPT)
    lab.job(
        max_concurrency_per_instance=2,
        outputs={"rows": {"type": "uri_file", "path": "out/rows.txt"}, "files": {"type": "uri_folder", "path": "files"}},
        task={"program_arguments": "--files ${{outputs.files}}"},
    )
    return lab


def uploaded(lab: InBlob) -> dict[str, str]:
    return {path.relative_to(lab.folder / "files").as_posix(): path.read_text() for path in (lab.folder / "files").rglob("*.txt")}


@pytest.mark.needs("azurite")
def test_every_boundary(tmp_path: Path, azurite: Azurite) -> None:
    plain, log = made(tmp_path / "plain", azurite), tmp_path / "passages"
    done = plain.score(RUNNER_FAILPOINT_LOG=str(log))
    assert done.status == 0, done.stderr
    assert plain.rows.read_text() == EXPECTED
    assert uploaded(plain) == FILES
    counts = Counter(log.read_text().split())
    assert not BOUNDARIES - counts.keys()
    for name in sorted(BOUNDARIES):
        for number in range(1, min(counts[name], PASSAGES) + 1):
            check(made(tmp_path / f"{name}-{number}", azurite), f"{name}:{number}")


def check(lab: InBlob, place: str) -> None:
    killed = lab.score(RUNNER_FAILPOINT=place)
    if killed.status == 0:  # this run had fewer passages: nothing was killed
        return
    assert killed.status == -9, (place, killed)
    finished, ledger = finished_in_journal(lab), len(lab.ledger)
    assert not lab.rows.exists() or lab.rows.read_text() == EXPECTED, place
    found = uploaded(lab)
    for index in finished:  # done only when its files are there
        assert f"{index % 3}/f{index:05d}.txt" in found, (place, index)
    done = lab.run("job", "resume", "-n", "job", "--stream", "-o", "json")
    assert done.status == 0, (place, done.stderr)
    assert lab.rows.read_text() == EXPECTED, place
    assert uploaded(lab) == FILES, place
    assert not {int(line[1:6]) for line in lab.ledger[ledger:]} & finished, place
    assert done.counts == (COUNT, COUNT, 0), place


@pytest.mark.needs("azurite")
def test_a_job_that_fails_is_finished_in_part_and_goes_on(tmp_path: Path, azurite: Azurite) -> None:
    lab = made(tmp_path, azurite)
    mended = tmp_path / "mended"
    lab.script(SCRIPT + BROKEN.replace("MENDED", repr(str(mended))))
    lab.job(
        max_concurrency_per_instance=2, mini_batch_error_threshold=0, retry_settings={"max_retries": 0},
        outputs={"rows": {"type": "uri_file", "path": "out/rows.txt"}, "files": {"type": "uri_folder", "path": "files"}},
        task={"program_arguments": "--files ${{outputs.files}}"},
    )  # fmt: skip
    assert lab.score().status != 0
    assert not lab.rows.exists()
    finished = lab.run("job", "finish", "--partial", "-n", "job")
    assert finished.status == 0, finished.stderr
    rows = lab.rows.read_text().splitlines()
    assert rows == [line for line in EXPECTED.splitlines() if line in set(rows)]
    blob = lab.azurite.client(lab.container).get_blob_client(f"{lab.prefix}/out/rows.txt")
    assert blob.get_blob_properties().metadata["runner_incomplete"] == "true"
    mended.touch()
    shown = json.loads(lab.run("job", "show", "-n", "job", "-o", "json").stdout)
    assert shown["status"] == "Completed"
