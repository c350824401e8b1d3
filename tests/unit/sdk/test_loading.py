"""`load_job`, `load_component`, `load_environment`."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from runner import load_component, load_environment, load_job
from runner.dsl import pipeline
from runner.errors import UserError
from runner.parallel import ParallelJob

STEP = """
type: parallel
inputs:
  images: {type: uri_folder, path: ./data}
input_data: ${{inputs.images}}
mini_batch_size: "3"
instance_count: 1
task: {type: run_function, code: ./src, entry_script: score.py}
"""
PIPELINE = """
$schema: x
type: pipeline
display_name: two
settings: {default_compute: local}
inputs:
  images: {type: uri_folder, path: ./data}
jobs:
  score:
    type: parallel
    component: ./component.yml
    inputs: {images: "${{parent.inputs.images}}"}
    mini_batch_size: 1
"""
COMPONENT = """
type: parallel
name: score
version: 3
inputs: {images: {type: uri_folder}, n: {type: integer, default: 2}}
input_data: ${{inputs.images}}
retry_settings: {max_retries: 0}
task: {type: run_function, code: ./src, entry_script: score.py, environment: {conda_file: ./conda.yml}}
"""


def written(folder: Path, name: str, text: str) -> Path:
    (folder / name).write_text(text)
    return folder / name


def test_a_job(folder: Path, resolved: Callable[[Any], Any], monkeypatch: pytest.MonkeyPatch) -> None:
    file = written(folder, "job.yml", STEP)
    monkeypatch.chdir("/")
    job = load_job(file)
    assert isinstance(job, ParallelJob)
    assert (job.mini_batch_size, job.inputs.images.path, job.resources and job.resources.instance_count) == ("3", "./data", 1)
    assert resolved(job).code == str(folder / "src")
    job.mini_batch_size = 5
    assert resolved(job).mini_batch_size == 5


def test_overrides(folder: Path) -> None:
    file = written(folder, "job.yml", STEP)
    overrides = [{"mini_batch_size": 7, "task.entry_script": "other.py"}, {"tags": {"a": "b"}, "partition_keys": ["x", "y"]}]
    job = load_job(source=str(file), params_override=overrides)
    assert (job.mini_batch_size, job.task.entry_script, job.tags, job.partition_keys) == (7, "other.py", {"a": "b"}, ["x", "y"])  # type: ignore[union-attr]


def test_a_stream(folder: Path) -> None:
    job = load_job(io.StringIO(STEP), relative_origin=str(folder / "somewhere.yml"))
    assert job.base_path == str(folder)


def test_unchanged_jobs_keep_their_lines(folder: Path, resolved: Callable[[Any], Any]) -> None:
    job = load_job(written(folder, "job.yml", STEP.replace("score.py", "missing.py")))
    with pytest.raises(UserError, match=r"job\.yml:8"):
        resolved(job)
    job.description = "changed"
    with pytest.raises(UserError, match=r"`task\.entry_script`"):
        resolved(job)


def test_a_pipeline(folder: Path, resolved: Callable[[Any], Any]) -> None:
    written(folder, "component.yml", COMPONENT.replace(", environment: {conda_file: ./conda.yml}", ""))
    job = load_job(written(folder, "pipeline.yml", PIPELINE))
    job.jobs["score"].mini_batch_size = 2  # type: ignore[union-attr]
    step = resolved(job).steps["score"]
    assert (step.mini_batch_size, step.retry.max_retries, step.inputs["n"].value) == (2, 0, 2)


def test_a_component_is_a_function(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = written(folder, "component.yml", COMPONENT)
    monkeypatch.chdir("/")
    component = load_component(file)

    @pipeline
    def p(images: Any) -> None:
        first = component(images=images)
        component(images=images, n=3)
        assert first.version == 3

    jobs = p(images="x")._to_mapping()["jobs"]
    assert list(jobs) == ["first", "first_1"]
    assert jobs["first"]["task"] == {
        "type": "run_function", "code": str(folder / "src"), "entry_script": "score.py",
        "environment": {"conda_file": str(folder / "conda.yml")},
    }  # fmt: skip
    assert jobs["first"]["retry_settings"] == {"max_retries": 0}


def test_an_environment(folder: Path) -> None:
    environment = load_environment(written(folder, "env.yml", "name: e\nconda_file: ./conda.yml\nbuild: {path: docker}\n"))
    assert (environment.name, environment.conda_file) == ("e", str(folder / "conda.yml"))


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("type: parallel\nmini_batch_siz: 1\n", r"job\.yml.*did you mean 'mini_batch_size'"),
        ("type: sweep\n", "'sweep' cannot run here"),
        ("type: paralel\n", "did you mean 'parallel'"),
        ("type: parallel\n  x: [\n", r"job\.yml:2"),
        ("", "empty"),
    ],
)
def test_mistakes(folder: Path, text: str, sentence: str) -> None:
    with pytest.raises(UserError, match=f"(?s){sentence}"):
        load_job(written(folder, "job.yml", text))


def test_unknown_keywords_of_load_functions(folder: Path) -> None:
    with pytest.raises(UserError, match="did you mean 'params_override'"):
        load_job(written(folder, "job.yml", STEP), param_override=[])


def test_older_scripts_name_the_file_path(folder: Path) -> None:
    component = load_component(path=written(folder, "component.yml", COMPONENT))
    assert component.name == "score"
    assert "\nname: score\nversion:" in str(component)


def test_mount_is_read_only(folder: Path) -> None:
    from runner import Input

    assert Input(path="x", mode="mount").mode == "ro_mount"
