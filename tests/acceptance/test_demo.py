"""The demo and the examples, as a newcomer runs them, in a copy of their folder."""

from __future__ import annotations

import csv
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
RUNNER = Path(sys.executable).with_name("runner")
SECONDS = 300


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("demo")
    shutil.copytree(ROOT / "examples", folder / "examples", ignore=shutil.ignore_patterns("data", ".runner", "__pycache__"))
    return folder


def run(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    environment = {key: value for key, value in os.environ.items() if key != "RUNNER_WORKSPACE"}
    done = subprocess.run(list(words), cwd=folder, env=environment, capture_output=True, text=True, timeout=SECONDS, check=False)
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    return done


@pytest.fixture(scope="module")
def demo(folder: Path) -> subprocess.CompletedProcess[str]:
    return run(folder, sys.executable, "examples/demo.py")


def rows_of(path: Path) -> list[list[str]]:
    with path.open(newline="") as file:
        return list(csv.reader(file))


def results(demo: subprocess.CompletedProcess[str]) -> dict[str, Path]:
    return {name: Path(path) for name, path in re.findall(r"^(\w+): the result is (.*)$", demo.stdout, re.MULTILINE)}


def test_the_demo_says_where_the_results_are_and_how_good(demo):
    assert set(results(demo)) == {"digits", "iris"}
    accuracy = {name: float(share) for name, share in re.findall(r"^(\w+): \d+ of \d+ \w+ right \(([\d.]+)%\)", demo.stdout, re.MULTILINE)}
    assert accuracy["digits"] > 90
    assert accuracy["iris"] > 90


def test_the_results_are_complete_and_in_order(demo):
    digits, iris = (rows_of(results(demo)[name]) for name in ("digits", "iris"))
    assert [row[0] for row in digits] == [f"digit-{number:04}.png" for number in range(1797)]
    assert iris[0] == ["flower", "species", "probability", "mini_batch"]
    assert [row[0] for row in iris[1:]] == [str(number) for number in range(1, 151)]
    assert len({row[3] for row in iris[1:]}) > 1, "the table is meant to make several mini-batches"


def test_both_run_as_the_steps_of_a_pipeline_with_the_same_rows(demo, folder):
    run(folder, str(RUNNER), "job", "create", "-f", "examples/pipeline.yml", "--name", "both", "--local", "--stream")
    for name, alone in results(demo).items():
        made = [
            path for path in (folder / ".runner" / "datastore" / "azureml").rglob("*") if path.is_file() and f"both.{name}" in str(path)
        ]
        rows = [path for path in made if "logs" not in path.parts]
        assert [path.read_bytes() for path in rows] == [alone.read_bytes()]


def test_the_same_job_from_python(demo, folder):
    done = run(folder, sys.executable, "examples/python_sdk.py")
    assert Path(done.stdout.splitlines()[-1]).read_bytes() == results(demo)["digits"].read_bytes()
