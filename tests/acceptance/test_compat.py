"""`job validate --compat`: of every key of a file, whether it is the same as on Azure ML."""

from __future__ import annotations

import json

from tests.acceptance.jobs import Lab

JOB = """\
type: pipeline
settings: {default_compute: azureml:local}
jobs:
  look:
    type: command
    command: ls ${{inputs.data}}
    distribution: {type: pytorch}
    inputs: {data: {type: uri_folder, path: ./data}}
  score:
    type: parallel
    mini_batch_sise: "3"
    task: {type: run_function, code: src, entry_script: score.py}
"""


def test_every_key_with_its_line(tmp_path):
    lab = Lab(tmp_path)
    (tmp_path / "job.yml").write_text(JOB)
    done = lab.run("job", "validate", "-f", "job.yml", "--compat", "-o", "json")
    assert done.status == 0, done.stderr
    found = {one["key"]: one for one in json.loads(done.stdout)}
    assert found["jobs.look.inputs.data.path"]["status"] == "differs"
    assert found["jobs.score.task.code"] == {**found["jobs.score.task.code"], "line": 12, "status": "same"}
    assert found["jobs.score.mini_batch_sise"]["status"] == "unknown"
    assert found["jobs.look.distribution"]["status"] in ("later", "none", "differs")


def test_for_people(tmp_path):
    lab = Lab(tmp_path)
    (tmp_path / "job.yml").write_text(JOB)
    lines = lab.run("job", "validate", "-f", "job.yml", "--compat").stdout.splitlines()
    assert "job.yml:6: jobs.look.command: differs" in lines
    assert lines[lines.index("job.yml:6: jobs.look.command: differs") + 1].startswith("    ")
    assert "job.yml:12: jobs.score.task.entry_script: differs" in lines
    assert "job.yml:1: type: same as Azure ML" in lines
