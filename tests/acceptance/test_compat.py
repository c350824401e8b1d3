"""`job validate --compat`: of every key of a file, whether it is the same as on Azure ML."""

from __future__ import annotations

import json
from pathlib import Path

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


def test_files_of_components_and_values(tmp_path):
    lab = Lab(tmp_path)
    (tmp_path / "count.yml").write_text("type: command\nname: count\ninputs: {n: {type: integer}}\ncommand: seq ${{inputs.n}}\nlimit: 3\n")
    (tmp_path / "inner.yml").write_text("type: pipeline\njobs:\n  two: {component: ./count.yml, inputs: {n: 4}}\n")
    steps = "  one: {component: ./count.yml, inputs: {n: '${{parent.inputs.n}}'}}\n  rest: {type: pipeline, component: ./inner.yml}\n"
    (tmp_path / "job.yml").write_text(f"type: pipeline\ninputs: {{n: 3}}\njobs:\n{steps}")
    done = lab.run("job", "validate", "-f", "job.yml", "--compat", "-o", "json")
    assert done.status == 0, done.stderr
    found = {one["key"]: (Path(one["file"]).name, one["line"], one["status"]) for one in json.loads(done.stdout)}
    assert found["inputs.n"] == ("job.yml", 2, "same")
    assert found["jobs.one.inputs.n"] == ("job.yml", 4, "same")
    assert found["jobs.one.component.command"] == ("count.yml", 4, "differs")
    assert found["jobs.one.component.inputs.n.type"] == ("count.yml", 3, "same")
    assert found["jobs.one.component.limit"] == ("count.yml", 5, "unknown")
    assert found["jobs.rest.component.jobs.two.inputs.n"] == ("inner.yml", 3, "same")
    assert not any(key.startswith("jobs.rest.component.jobs.two.component.") for key in found), "a file is gone through once"
    (tmp_path / "inner.yml").unlink()
    done = lab.run("job", "validate", "-f", "job.yml", "--compat")
    assert done.status == 2
    assert "job.yml:5 `jobs.rest.component`: no such file" in done.stderr


def test_for_people(tmp_path):
    lab = Lab(tmp_path)
    (tmp_path / "job.yml").write_text(JOB)
    lines = lab.run("job", "validate", "-f", "job.yml", "--compat").stdout.splitlines()
    assert "job.yml:6: jobs.look.command: differs" in lines
    assert lines[lines.index("job.yml:6: jobs.look.command: differs") + 1].startswith("    ")
    assert "job.yml:12: jobs.score.task.entry_script: differs" in lines
    assert "job.yml:1: type: same as Azure ML" in lines
    assert lines[-1].startswith("16 keys: ")
    assert "](" not in "".join(lines)
