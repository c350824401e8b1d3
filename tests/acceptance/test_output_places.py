"""Where the steps of a pipeline write: each at a place of its own, and what was there before is no result of theirs."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import yaml

from tests.acceptance.jobs import Lab


def run(lab: Lab, jobs: dict[str, Any], *words: str) -> Any:
    (lab.folder / "job.yml").write_text(yaml.safe_dump({"type": "pipeline", "jobs": jobs}, sort_keys=False))
    return lab.run("job", "create", "-f", "job.yml", "--local", "--stream", "-o", "json", *words)


def writes(path: str | None, kind: str = "uri_folder", command: str = "echo 1 > ${{outputs.o}}/made") -> dict[str, Any]:
    return {"type": "command", "command": command, "outputs": {"o": {"type": kind, **({"path": path} if path else {})}}}


def test_two_steps_at_one_place(tmp_path):
    done = run(Lab(tmp_path), {"a": writes("./one"), "b": writes("./one")})
    assert done.status == 2
    assert "the output 'o' of the step 'b' has the path of 'a.o'" in done.stderr
    assert "job.yml:" in done.stderr


def test_a_step_in_the_folder_of_another_and_a_pipe_as_input(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    jobs = {"a": writes("./one"), "b": writes("./one/two"), "c": {**writes(None), "inputs": {"i": {"type": "uri_file", "path": "./pipe"}}}}
    done = run(Lab(tmp_path), jobs)
    assert done.status == 2
    assert "the output 'o' of the step 'b' lies in that of 'a.o'" in done.stderr
    assert "'./pipe' is a pipe, not a file or a folder" in done.stderr


def test_what_was_there_before_is_no_known_result(tmp_path):
    lab = Lab(tmp_path)
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "junk").touch()
    assert run(lab, {"a": writes("./out")}).status == 0
    second = run(lab, {"a": writes(None)})
    assert second.job["jobs"]["a"]["reused_from"] is None
    assert [path.name for path in Path(second.job["jobs"]["a"]["outputs"]["o"]["path"]).iterdir()] == ["made"]
    assert run(lab, {"a": writes(None)}).job["jobs"]["a"]["reused_from"]


def test_an_output_that_is_not_written_is_told_of(tmp_path):
    done = run(Lab(tmp_path), {"a": writes(None, "uri_file", "true")})
    assert done.status == 0
    assert "a: Warning: the command has not written its output 'o'" in done.stderr
