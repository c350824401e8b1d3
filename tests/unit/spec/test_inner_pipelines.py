"""Pipelines in the place of a step, and pipelines made of a component."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from runner.errors import UserError
from runner.model.job import PipelineJob
from runner.spec import stored
from runner.spec.load import job_from_mapping, read_job
from runner.spec.resolve import ResolveContext, resolve
from tests.acceptance.bad_jobs.row import INNER, OUTER

Make = Callable[..., PipelineJob]


@pytest.fixture
def outer(folder: Path, context: ResolveContext) -> Make:
    """outer(text=…, inner=…): the good pipeline with a pipeline in it, or these."""

    def make(text: str = OUTER, inner: str = INNER) -> PipelineJob:
        (folder / "outer.yml").write_text(text)
        (folder / "parts/inner.yml").write_text(inner)
        job = resolve(read_job(folder / "outer.yml"), context)
        assert isinstance(job, PipelineJob)
        return job

    return make


def test_the_steps_of_an_inner_pipeline_stand_among_the_others(outer: Make, folder: Path) -> None:
    job = outer()
    assert list(job.steps) == ["first", "middle_prepare", "middle_count", "last"]
    prepare, count, last = (job.steps[name] for name in ("middle_prepare", "middle_count", "last"))
    assert (prepare.name, prepare.step) == ("job_1.middle_prepare", "middle_prepare")
    assert prepare.inputs["files"].path == job.steps["first"].outputs["made"].path
    assert prepare.code == str(folder / "src")
    assert count.program_arguments == (prepare.outputs["prepared"].path, "0.25", "red", str(folder / "store/azureml/job_1.middle/counts"))
    assert last.program_arguments == (count.outputs["counts"].path, "0.25", job.outputs["final"].path)
    assert job.outputs["final"].type == "uri_file"
    assert job.notices == ()
    assert stored.load(json.loads(json.dumps(stored.dump(job)))) == job


def test_what_waits_for_what(outer: Make) -> None:
    assert outer().depends_on == {
        "first": (),
        "middle_prepare": ("first",),
        "middle_count": ("first", "middle_prepare"),
        "last": ("middle_prepare", "middle_count"),
    }


def test_an_inner_pipeline_within_the_file_and_two_levels(outer: Make, folder: Path) -> None:
    text = """\
type: pipeline
inputs: {n: 3}
outputs: {final: }
jobs:
  a:
    type: pipeline
    inputs: {n: "${{parent.inputs.n}}"}
    outputs: {made: "${{parent.outputs.final}}"}
    jobs:
      b:
        type: pipeline
        inputs: {n: "${{parent.inputs.n}}"}
        outputs: {made: "${{parent.outputs.made}}"}
        jobs:
          c:
            inputs: {n: "${{parent.inputs.n}}"}
            outputs: {made: {type: uri_file, path: "${{parent.outputs.made}}"}}
            command: echo ${{inputs.n}} > ${{outputs.made}}
      d:
        inputs: {made: "${{parent.jobs.b.outputs.made}}"}
        command: cat ${{inputs.made}}
"""
    job = outer(text)
    assert job.depends_on == {"a_b_c": (), "a_d": ("a_b_c",)}
    made = str(folder / "store/azureml/job_1/final")
    assert job.steps["a_b_c"].program_arguments == ("3", made)
    assert job.steps["a_d"].inputs["made"].type == job.outputs["final"].type == "uri_file"
    assert job.outputs["final"].path == made


def test_the_same_component_twice(outer: Make) -> None:
    again = OUTER[OUTER.index("  middle:") : OUTER.index("  last:")].replace("middle:", "other:")
    job = outer(OUTER.replace("  last:", again + "  last:"))
    assert [name for name in job.steps if name.endswith("count")] == ["middle_count", "other_count"]
    assert job.steps["middle_count"].outputs["counts"].path != job.steps["other_count"].outputs["counts"].path


def test_a_pipeline_made_of_a_component(outer: Make, folder: Path) -> None:
    text = """\
type: pipeline
component: ./parts/inner.yml
inputs: {files: {type: uri_folder, path: ./images}, share: 0.75}
outputs: {counts: {type: uri_file, path: ./counts.txt}}
settings: {default_compute: local}
"""
    job = outer(text)
    assert list(job.steps) == ["prepare", "count"]
    count = job.steps["count"]
    assert count.program_arguments[1:] == ("0.75", "red", str(folder / "counts.txt"))
    assert job.outputs["counts"].path == str(folder / "counts.txt")
    assert job.inputs["colour"].value == "red"


def test_an_input_that_nobody_set(outer: Make) -> None:
    with pytest.raises(UserError, match="'files' is missing"):
        outer("type: pipeline\ncomponent: ./parts/inner.yml\n")


def test_what_has_no_effect_on_an_inner_pipeline_is_said(outer: Make) -> None:
    job = outer(
        OUTER.replace("    component: ./parts", "    settings: {default_compute: local}\n    compute: local\n    component: ./parts")
    )
    assert [notice.split(" ")[0] for notice in job.notices] == ["jobs.middle.settings", "jobs.middle.compute"]


def test_an_output_that_no_step_writes_is_said(outer: Make) -> None:
    job = outer(inner=INNER.replace("counts: ${{parent.outputs.counts}}", "counts: {type: uri_file}"))
    assert job.notices == ("no step of 'middle' writes its output 'counts'",)


def test_an_inner_pipeline_from_python(folder: Path, context: ResolveContext) -> None:
    component = {
        "type": "pipeline",
        "inputs": {"n": {"type": "integer", "default": 4}},
        "jobs": {"b": {"type": "command", "inputs": {"n": "${{parent.inputs.n}}"}, "command": "echo ${{inputs.n}}"}},
    }
    job = resolve(job_from_mapping({"type": "pipeline", "jobs": {"a": {"type": "pipeline", "component": component}}}, folder), context)
    assert isinstance(job, PipelineJob)
    assert job.steps["a_b"].program_arguments == ("4",)


def test_pipelines_too_deep_in_each_other(outer: Make, folder: Path) -> None:
    for number in range(60):
        (folder / f"c{number}.yml").write_text(f"type: pipeline\njobs:\n  s:\n    component: ./c{number + 1}.yml\n")
    (folder / "c60.yml").write_text("command: ls\n")
    with pytest.raises(UserError, match="more than 50 pipelines") as caught:
        outer("type: pipeline\njobs:\n  x:\n    component: ./c0.yml\n")
    assert caught.value.place is not None
    assert caught.value.place.file == str(folder / "c49.yml")


@pytest.mark.parametrize("name", ["x" * 250, "x" * 254])
def test_names_too_long_together(outer: Make, name: str) -> None:
    with pytest.raises(UserError, match="too long"):
        outer(f"type: pipeline\njobs:\n  {name}:\n    type: pipeline\n    jobs:\n      inner: {{command: ls}}\n")


@pytest.mark.parametrize("files", [["p.yml"], ["p.yml", "q.yml"]])
def test_components_that_contain_themselves(outer: Make, folder: Path, files: list[str]) -> None:
    for file, following in zip(files, [*files[1:], files[0]], strict=True):
        (folder / file).write_text(f"type: pipeline\njobs:\n  x:\n    type: pipeline\n    component: ./{following}\n")
    with pytest.raises(UserError, match=f"contains itself: {' → '.join([*files, files[0]])}") as caught:
        outer("type: pipeline\njobs:\n  x:\n    component: ./p.yml\n")
    assert caught.value.place is not None
    assert caught.value.place.file == str(folder / files[-1])
    assert caught.value.place.line == 5
