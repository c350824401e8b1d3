"""Inputs made of files: what is split, into which mini-batches, in which order."""

from __future__ import annotations

import json
import os
import textwrap
from collections.abc import Callable
from datetime import datetime
from pathlib import Path

import pytest

from tests.acceptance.jobs import Lab

# A row per mini-batch: its number, its keys, and its files below the input.
SHOW = """
import json, os

def run(mini_batch, mini_batch_context):
    root = os.environ["AZURE_ML_INPUT_data"]
    root = os.path.join(root if os.path.isdir(root) else os.path.dirname(root), "")
    names = [path[len(root):] if path.startswith(root) else path for path in mini_batch]
    assert list(mini_batch_context.dataset) == mini_batch
    return [json.dumps([mini_batch_context.minibatch_index, mini_batch_context.partition_key_value, names])]
"""
TREE = ["b.txt", "a/z.txt", "a/b/deep.txt", "a-1.txt", "a.txt", "10.txt", "9.txt", ".hidden", ".secret/x.txt", "B.txt", "ä.txt"]
ORDER = ["10.txt", "9.txt", "B.txt", "a-1.txt", "a.txt", "a/b/deep.txt", "a/z.txt", "b.txt", "ä.txt"]  # `-` and `.` stand before `/`


@pytest.fixture
def lab(tmp_path: Path, anywhere: Callable[[Path], Lab]) -> Lab:
    lab = anywhere(tmp_path)
    lab.script(SHOW)
    return lab


def write(folder: Path, names: list[str]) -> None:
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(name)


def show(lab: Lab, name: str = "job", **keys: object) -> list[tuple[str, object, list[str]]]:
    """Runs the job and gives its mini-batches: number, keys, files."""
    lab.job(**keys)
    done = lab.score(name=name)
    assert done.status == 0, done.stderr
    return [tuple(json.loads(line)) for line in lab.rows.read_text().splitlines()]


def table(lab: Lab, text: str) -> dict[str, object]:
    """`input` becomes a table with this MLTable file; the key `inputs` of a job that has it."""
    (lab.folder / "input").mkdir(exist_ok=True)
    (lab.folder / "input" / "MLTable").write_text(textwrap.dedent(text))
    return {"data": {"type": "mltable", "path": "input"}}


def test_a_folder_is_split_by_count_in_the_order_of_its_paths(lab: Lab) -> None:
    write(lab.folder / "input", TREE)
    batches = show(lab, mini_batch_size=4)
    assert batches == [(str(number), None, ORDER[4 * number : 4 * number + 4]) for number in range(3)]
    batches = show(lab, "usual", mini_batch_size=None)
    assert batches == [("0", None, ORDER)]  # ten files, if nothing else is said


def test_one_file_is_a_list_of_one(lab: Lab) -> None:
    write(lab.folder / "input", ["a.txt"])
    assert show(lab, inputs={"data": {"type": "uri_file", "path": "input/a.txt"}}) == [("0", None, ["a.txt"])]


@pytest.mark.in_blob
def test_files_by_keys_of_their_paths(lab: Lab) -> None:
    names = [f"{user}/{season}/{genre}.txt" for user in ("u2", "u1") for season in ("s1", "s2") for genre in ("rock", "folk")]
    write(lab.folder / "input", names)
    inputs = table(
        lab,
        """
        paths:
          - pattern: ./**/*.txt
        transformations:
          - extract_columns_from_partition_format:
              partition_format: "{user}/{season}/{genre}.txt"
        """,
    )
    batches = show(lab, inputs=inputs, partition_keys=["user", "genre"], mini_batch_size=None)
    expected = [
        ({"user": user, "genre": genre}, [f"{user}/{season}/{genre}.txt" for season in ("s1", "s2")])
        for user in ("u1", "u2")
        for genre in ("folk", "rock")
    ]
    assert [(keys, names) for _, keys, names in batches] == expected
    assert [index for index, _, _ in batches] == ["0", "1", "2", "3"]
    lab.job(inputs=inputs, partition_keys=["usr"])
    wrong = lab.run("job", "validate", "-f", "job.yml", "--local")
    assert wrong.status == 2
    assert "user" in wrong.stderr


def test_a_list_of_files_keeps_the_order_of_its_paths(lab: Lab) -> None:
    write(lab.folder / "input", ["one/b.txt", "one/a.txt", "two/c.csv", "two/d.txt", "last.bin"])
    write(lab.folder, ["beside/e.txt"])
    lab.needs_too("beside")
    inputs = table(
        lab,
        """
        paths:
          - file: ./last.bin
          - folder: ./one
          - pattern: ./two/*.txt
          - folder: ../beside
          - file: ./one/a.txt
        """,
    )
    names = [name for _, _, files in show(lab, inputs=inputs, mini_batch_size=100) for name in files]
    beside = names.pop(4)
    assert names == ["last.bin", "one/a.txt", "one/b.txt", "two/d.txt", "one/a.txt"]
    assert beside.endswith("/beside/e.txt")
    assert lab.has_blobs or os.path.samefile(beside, lab.folder / "beside" / "e.txt")


def test_a_table_without_its_file_is_a_folder_with_a_warning(lab: Lab) -> None:
    write(lab.folder / "input", ["b.txt", "a.txt"])
    lab.job(inputs={"data": {"type": "mltable", "path": "input"}})
    done = lab.score()
    assert done.status == 0, done.stderr
    assert "has no MLTable file" in done.stderr
    assert done.counts == (2, 2, 0)


@pytest.mark.in_processes  # a container takes its time to start
@pytest.mark.not_in_blob("it is about a slow disk")
def test_the_first_mini_batch_does_not_wait_for_the_listing(lab: Lab) -> None:
    """20 folders of 250 files at a millisecond each take five seconds to list."""
    for folder in range(20):
        write(lab.folder / "input", [f"{folder:02d}/{number:03d}" for number in range(250)])
    lab.script("import os, time\nfrom ledger import note\n\ndef run(b):\n    note(repr(time.time()))\n    return [p[-6:] for p in b]\n")
    lab.job(mini_batch_size=10, max_concurrency_per_instance=2)
    done = lab.score(RUNNER_LISTING_DELAY="0.001")
    assert done.status == 0, done.stderr
    assert done.counts == (500, 500, 0)
    assert lab.rows.read_text().split() == [f"{folder:02d}/{number:03d}" for folder in range(20) for number in range(250)]
    moments = sorted(float(line) for line in lab.ledger)
    created = datetime.fromisoformat(done.job["created_at"].replace("Z", "+00:00")).timestamp()
    assert moments[-1] - created > 4.0
    assert moments[-1] - moments[0] > 4.0, "the first has waited for a fifth of the listing"


@pytest.mark.on_cluster
@pytest.mark.not_in_blob("scripts get them at other paths: test_blob_inputs.py")
def test_modes_of_side_inputs(lab: Lab) -> None:
    """Paths in arguments and in the environment are the same; a downloaded one is a copy of the job's own."""
    write(lab.folder / "input", ["a.txt"])
    write(lab.folder, ["labels one/labels.csv", "model.bin"])
    lab.script("import os, sys\n\ndef run(b):\n    return sys.argv[1:] + [os.environ['AZURE_ML_INPUT_labels'], open(sys.argv[3]).read()]\n")
    lab.job(
        inputs={
            "data": {"type": "uri_folder", "path": "input"},
            "labels": {"type": "uri_folder", "path": "labels one", "mode": "download"},
            "model": {"type": "custom_model", "path": "model.bin"},
            "threshold": 0.5,
        },
        task={"program_arguments": "--labels ${{inputs.labels}} ${{inputs.model}} '${{inputs.threshold}} x' --at=${{inputs.threshold}}"},
    )
    done = lab.score()
    assert done.status == 0, done.stderr
    rows = lab.rows.read_text().splitlines()
    assert rows[0] == "--labels"
    assert rows[1] == rows[5]
    assert rows[2:5] == [str(lab.folder / "model.bin"), "0.5 x", "--at=0.5"]
    assert rows[6] == "model.bin"


@pytest.mark.not_in_blob("the plan names addresses")
def test_the_plan_says_what_would_happen_and_runs_nothing(lab: Lab) -> None:
    write(lab.folder / "input", [f"{number}.txt" for number in range(10)])
    (lab.folder / "input" / "7.txt").write_text("x" * 5000)
    lab.script("raise SystemExit('this must not run')\n\ndef run(b):\n    return b\n")
    lab.job(mini_batch_size=3, max_concurrency_per_instance=3, resources={"instance_count": 2}, task={"program_arguments": "--a 'b c'"})
    done = lab.run("job", "validate", "-f", "job.yml", "--local", "-o", "json")
    assert done.status == 0, done.stderr
    plan = done.job["steps"][0]
    assert {key: plan[key] for key in ("mini_batches", "items", "unit", "bytes", "largest", "instances", "workers", "arguments")} == {
        "mini_batches": 4,
        "items": 10,
        "unit": "files",
        "bytes": 9 * 5 + 5000,
        "largest": 5010,
        "instances": 2,
        "workers": 6,
        "arguments": ["--a", "b c"],
    }
    assert plan["output"] == str(lab.rows)
    text = lab.run("job", "validate", "-f", "job.yml", "--local").stdout
    for part in ("4", "10 files", "'b c'", "6", "rows.txt"):
        assert part in text
    assert lab.untouched
    assert not lab.rows.exists()
