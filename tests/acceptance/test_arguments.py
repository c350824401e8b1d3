"""The predefined program arguments, and every setting of the contract in one job file."""

from __future__ import annotations

import csv
import pstats
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.acceptance.jobs import NAMES, Lab, Outcome

FAIL = """
import os, sys

def run(mini_batch):
    assert sys.argv[1:], "arguments are left to the script"
    name = os.path.basename(mini_batch[0])
    if name in ("f00001.txt", "f00003.txt"):
        raise ValueError("no")
    return [name]
"""


@pytest.fixture
def lab(tmp_path: Path, anywhere: Callable[[Path], Lab]) -> Lab:
    lab = anywhere(tmp_path)
    lab.script(FAIL)
    lab.files(4)
    return lab


def score(lab: Lab, arguments: str, name: str = "job", **keys: Any) -> Outcome:
    lab.job(task={"program_arguments": arguments}, **{"retry_settings": {"max_retries": 0}, **keys})
    return lab.score(name=name)


@pytest.mark.parametrize(
    ("passes", "fails", "says"),
    [
        ("--error_threshold 2", "--error_threshold 1", "error_threshold"),
        ("--allowed_failed_count=2", "--allowed_failed_count=1", "mini_batch_error_threshold"),
        ("--allowed_failed_percent 50", "--allowed_failed_percent 49.9", "allowed_failed_percent"),
        ("--allowed_failed_percen 50", "--allowed_failed_percen 49", "allowed_failed_percent"),  # abbreviated
    ],
)
def test_thresholds(lab: Lab, passes: str, fails: str, says: str) -> None:
    done = score(lab, passes, name="passes")
    assert done.status == 0, done.stderr
    assert done.counts == (4, 2, 2)
    done = score(lab, fails, name="fails")
    assert done.status == 1
    assert says in done.job["error"]["message"]


def test_what_is_written_wins_over_the_argument(lab: Lab) -> None:
    """0 is a value, a default is not; a difference is said."""
    done = score(lab, "--error_threshold 5 --allowed_failed_count 5", error_threshold=0)
    assert done.status == 1
    assert "error_threshold: 0 wins over --error_threshold 5" in done.stderr
    lab.job(task={"program_arguments": "--error_threshold 0 --allowed_failed_count 9"}, error_threshold=5, mini_batch_error_threshold=2)
    plan = lab.run("job", "validate", "-f", "job.yml", "--local")
    assert plan.status == 0
    assert "error_threshold: 5 wins over --error_threshold 0" in plan.stdout + plan.stderr
    assert "mini_batch_error_threshold: 2 wins over --allowed_failed_count 9" in plan.stdout + plan.stderr


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ("--allowed_failed_percent 101", "a number from 0 to 100"),
        ("--task_overhead_timeout 0", "seconds"),
        ("--profiling_module yappi", "cProfile"),
        ("--append_row_dataframe_header maybe", "True, False"),
        ("--error_threshold -2", "-1"),
        ("--resource_monitor_interval", "needs a value"),
    ],
)
def test_arguments_out_of_range(lab: Lab, arguments: str, says: str) -> None:
    lab.job(task={"program_arguments": arguments})
    done = lab.run("job", "create", "-f", "job.yml", *lab.local, "--stream")
    assert done.status == 2
    assert says in done.stderr
    assert "job.yml:" in done.stderr
    assert lab.untouched


def test_short_abbreviations_belong_to_the_script(lab: Lab) -> None:
    """And what looks misspelled is said."""
    done = score(lab, "--error_thr 0 --allowed x --error-threshold 0")
    assert done.status == 0, done.stderr
    assert "did you mean --error_threshold" in done.stderr


SLOW_TO_READ = """
import os, time
import pyarrow
from ledger import note

def init():
    read = pyarrow.ipc.open_file

    def slowly(*arguments):
        if not os.path.exists(os.environ["LEDGER"]):
            note("slow")
            time.sleep(60)
        return read(*arguments)

    pyarrow.ipc.open_file = slowly

def run(mini_batch):
    return [len(mini_batch)]
"""


@pytest.mark.image("pandas")
def test_task_overhead_timeout_is_about_reading_a_mini_batch(lab: Lab) -> None:
    """Not about run(): that has its own. What is too slow once is tried again."""
    (lab.folder / "table").mkdir()
    steps = "  - read_delimited: {}\n  - keep_columns: x\n"  # a table that is changed comes through memory
    (lab.folder / "table" / "MLTable").write_text(f"paths:\n  - pattern: ./*.csv\ntransformations:\n{steps}")
    for name in ("a", "b"):
        (lab.folder / "table" / f"{name}.csv").write_text("x\n1\n2\n")
    lab.script(SLOW_TO_READ)
    keys = {"inputs": {"data": {"type": "mltable", "path": "table"}}, "mini_batch_size": "1mb", "retry_settings": {"max_retries": 1}}
    done = score(lab, "--task_overhead_timeout 3", max_concurrency_per_instance=1, **keys)
    assert done.counts == (2, 2, 0), done.stderr
    assert done.job["progress"]["mini_batches"]["retries"] == 1
    text = "".join(path.read_text() for path in (lab.logs() / "sys").rglob("*.txt"))
    assert "handing over the mini-batch took longer than 3 s (task_overhead_timeout)" in text
    assert lab.rows.read_text() == "2\n2\n"


@pytest.mark.on_cluster
def test_profile_monitor_and_levels(lab: Lab) -> None:
    script = """
import os, time
from azureml_user.parallel_run import EntryScript
from ledger import meet
logger = EntryScript().logger

def slow_part():
    return sum(range(50_000))

def run(mini_batch):
    meet(2)
    slow_part()
    time.sleep(0.4)
    logger.debug("fine detail"); logger.info("information"); logger.warning("a warning")
    return [os.path.basename(mini_batch[0])]
"""
    lab.script(script)
    done = score(
        lab, "--profiling_module cProfile --resource_monitor_interval 0.2", logging_level="WARNING", max_concurrency_per_instance=2
    )
    assert done.status == 0, done.stderr
    profiles = sorted((lab.logs() / "sys" / "node" / "node_0").glob("*.profile"))
    assert [path.name for path in profiles] == ["process000.profile", "process001.profile"]
    assert any("slow_part" in str(key) for path in profiles for key in pstats.Stats(str(path)).stats)
    user = "".join(path.read_text() for path in (lab.logs() / "user" / "entry_script_log").rglob("*.txt"))
    assert "a warning" in user
    assert "information" not in user
    for folder in (lab.logs() / "sys" / "perf" / "node_0", lab.logs() / "perf" / "node_0"):
        tables = {path.name: list(csv.reader(path.read_text().splitlines())) for path in folder.glob("*.csv")}
        assert len(tables) == 3
        if not lab.sees_workers:
            del tables["processes_resource_usage.csv"]
        assert all(len(rows) >= 3 for rows in tables.values()), tables
    assert " INFO " not in "".join(path.read_text() for path in (lab.logs() / "sys").rglob("*.txt"))
    done = score(lab, "--resource_monitor_interval 0", name="debug", logging_level="DEBUG")
    assert done.status == 0
    assert not list((lab.logs("debug") / "sys" / "perf").rglob("*.csv"))
    user = "".join(path.read_text() for path in (lab.logs("debug") / "user" / "entry_script_log").rglob("*.txt"))
    assert "fine detail" in user


EVERYTHING = """
$schema: https://azuremlschemas.azureedge.net/latest/parallelJob.schema.json
type: parallel
name: everything
display_name: With every key
description: A job file with every key of the contract
tags: {team: blue, number: 3}
properties: {kind: test}
experiment_name: trials
compute: azureml:local
inputs:
  data: {type: uri_folder, path: ./input, mode: ro_mount}
  labels: {type: uri_file, path: file://%(folder)s/input/f00000.txt, mode: download}
  model: {type: custom_model, path: input}
  name: {type: string, value: a b}
  rate: 0.25
  count: 2
  exact: true
outputs:
  rows: {type: uri_file, path: ./out/rows.txt, mode: rw_mount}
  report: {type: uri_folder, mode: upload, path: "azureml://datastores/${{default_datastore}}/paths/reports/${{name}}/${{output_name}}"}
input_data: ${{inputs.data}}
mini_batch_size: "2"
mini_batch_error_threshold: 5
error_threshold: -1
max_concurrency_per_instance: "2"
logging_level: INFO
retry_settings: {max_retries: 1, timeout: 30}
environment_variables: {A: text, B: 2, C: true}
resources:
  {instance_count: 2, instance_type: [small, large], shm_size: 1G, docker_args: "--cpus 2", properties: {a: 1},
   locations: [here], max_instance_count: 3}
is_deterministic: false
identity: {type: aml_token}
task:
  type: run_function
  code: ./code
  entry_script: score.py
  program_arguments: >-
    --labels ${{inputs.labels}} --rate=${{inputs.rate}} --name ${{inputs.name}} --count ${{inputs.count}} --exact ${{inputs.exact}}
    --report ${{outputs.report}} --error_threshold 9
  model: ${{inputs.model}}
  append_row_to: ${{outputs.rows}}
"""


@pytest.mark.in_processes  # it is about what has no effect there
def test_every_key_of_the_contract_in_one_file(lab: Lab) -> None:
    lab.script(
        "import json, os, sys\n\ndef run(b):\n    return [json.dumps(sys.argv[1:]), os.environ['C'], os.environ['AZUREML_MODEL_DIR']]\n"
    )
    (lab.folder / "job.yml").write_text(EVERYTHING % {"folder": lab.folder})
    done = lab.run("job", "create", "-f", "job.yml", *lab.local, "--stream", "-o", "json")
    assert done.status == 0, done.stderr
    assert done.counts == (2, 2, 0)
    job = done.job
    assert (job["name"], job["display_name"], job["experiment_name"]) == ("everything", "With every key", "trials")
    assert job["tags"] == {"team": "blue", "number": "3"}
    report = lab.datastore / "reports" / "everything" / "report"
    assert job["outputs"]["report"]["path"] == str(report)
    rows = lab.rows.read_text().splitlines()
    assert len(rows) == 6
    for part in ('"--rate=0.25"', '"--name", "a b"', '"--count", "2"', '"--exact", "true"'):
        assert part in rows[0].replace('"True"', '"true"')
    assert rows[1] == "true"
    assert Path(rows[2]).name == "model", "a folder with the model and nothing else"
    for key in ("instance_type", "shm_size", "docker_args", "locations", "max_instance_count", "identity", "--error_threshold"):
        assert key in done.stderr, f"{key} has no effect here, and nothing said so"


@pytest.mark.parametrize(
    ("keys", "says"),
    [
        ({"compute": "gpu-cluster"}, "gpu-cluster"),
        ({"inputs": {"data": {"type": "uri_folder", "path": "azureml:digits@latest"}}}, "azureml:digits@latest"),
        ({"inputs": {"data": {"type": "uri_folder", "path": "azureml://registries/r/data/x/versions/1"}}}, "registry"),
        ({"outputs": {"rows": {"type": "uri_file", "path": "https://example.com/x"}}}, "https://example.com/x"),
    ],
)
def test_what_cannot_be_honoured_is_said_before_anything_starts(lab: Lab, keys: dict[str, Any], says: str) -> None:
    lab.script(NAMES)
    lab.job(**keys)
    done = lab.run("job", "create", "-f", "job.yml", "--stream")
    assert done.status == 2, done.stderr
    assert says in done.stderr
    assert "job.yml:" in done.stderr
    assert "Traceback" not in done.stderr
    assert not lab.rows.exists()
