from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from runner.errors import UserError, UserErrors
from runner.model.job import PipelineJob
from runner.spec import stored
from runner.spec.load import read_job
from runner.spec.resolve import ResolveContext, resolve
from tests.acceptance.bad_jobs.row import COMPONENT, PIPELINE

Make = Callable[..., PipelineJob]


@pytest.fixture
def pipeline(folder: Path, context: ResolveContext) -> Make:
    """pipeline((old, new), …, component=((old, new), …)): the good pipeline with these changes."""

    def make(*changes: tuple[str, str], component: tuple[tuple[str, str], ...] = (), **given: object) -> PipelineJob:
        for name, text, edits in (("pipeline.yml", PIPELINE, changes), ("component.yml", COMPONENT, component)):
            for old, new in edits:
                assert old in text
                text = text.replace(old, new, 1)
            (folder / name).write_text(text)
        job = resolve(read_job(folder / "pipeline.yml"), replace(context, **given))  # type: ignore[arg-type]
        assert isinstance(job, PipelineJob)
        return job

    return make


def test_steps_bindings_and_names(pipeline: Make, folder: Path) -> None:
    job = pipeline()
    first, second = job.steps["first"], job.steps["second"]
    assert (first.name, first.step, second.name) == ("job_1.first", "first", "job_1.second")
    assert first.mini_batch_size == 2
    assert first.inputs["images"].path == str(folder / "images")
    assert second.inputs["files"].path == first.outputs["scored"].path == str(folder / "store/azureml/job_1.first/scored")
    assert second.outputs["result"].path == job.outputs["final"].path == str(folder / "store/azureml/job_1/final")
    assert second.program_arguments == ("--ratio", "0.5")
    assert second.inputs["colour"].value == "red"
    assert job.depends_on == {"first": (), "second": ("first",)}
    assert stored.load(json.loads(json.dumps(stored.dump(job)))) == job


def test_steps_are_put_in_order(pipeline: Make) -> None:
    assert list(
        pipeline(
            (
                "  first:\n",
                (
                    "  zero:\n    component: ./component.yml\n"
                    "    inputs: {files: '${{parent.jobs.first.outputs.scored}}', ratio: 0}\n  first:\n"
                ),
            )
        ).steps
    ) == ["first", "zero", "second"]


class TestMerging:
    """A value set on a step wins over its component's, 0 and false included."""

    def second(self, pipeline: Make, on_step: str, in_component: str = "mini_batch_size: 1") -> object:
        job = pipeline(("    component:", f"    {on_step}\n    component:"), component=(("mini_batch_size: 1", in_component),))
        return job.steps["second"]

    @pytest.mark.parametrize(
        ("on_step", "in_component", "name", "value"),
        [
            ("mini_batch_size: 7", "mini_batch_size: 1", "mini_batch_size", 7),
            ("mini_batch_error_threshold: 0", "mini_batch_error_threshold: 5", "mini_batch_error_threshold", 0),
            ("error_threshold: 0", "error_threshold: 5", "error_threshold", 0),
            ("is_deterministic: false", "is_deterministic: true", "is_deterministic", False),
            ("display_name:", "display_name: Second", "display_name", "Second"),
            ("display_name: Mine", "display_name: Second", "display_name", "Mine"),
            ("description: Mine", "description: Second", "description", "Mine"),
            ("tags: {a: 1}", "tags: {a: 2, b: 3}", "tags", {"a": "1", "b": "3"}),
            ("environment_variables: {A: x}", "environment_variables: {A: y, B: z}", "environment_variables", {"A": "x", "B": "z"}),
            ("partition_keys: [a]", "partition_keys: [b, c]", "partition_keys", ("a",)),
            ("logging_level: DEBUG", "logging_level: WARNING", "logging_level", "DEBUG"),
        ],
    )
    def test_settings(self, pipeline: Make, on_step: str, in_component: str, name: str, value: object) -> None:
        assert getattr(self.second(pipeline, on_step, in_component), name) == value

    def test_nested_settings_are_merged_key_by_key(self, pipeline: Make) -> None:
        step = pipeline(
            ("    component:", "    retry_settings: {max_retries: 0}\n    instance_count: 2\n    component:"),
            component=(
                ("mini_batch_size: 1", "retry_settings: {max_retries: 3, timeout: 9}\nresources: {instance_count: 4, shm_size: 1g}"),
            ),
        ).steps["second"]
        assert (step.retry.max_retries, step.retry.timeout) == (0, 9)
        assert (step.resources.instance_count, step.resources.shm_size) == (2, "1g")

    def test_paths_are_relative_to_the_file_they_stand_in(self, pipeline: Make, folder: Path) -> None:
        (folder / "deep" / "src").mkdir(parents=True)
        (folder / "deep" / "src" / "score.py").write_text("def run(b): pass")
        (folder / "deep" / "c.yml").write_text(COMPONENT)
        assert pipeline(("./component.yml", "./deep/c.yml")).steps["second"].code == str(folder / "deep" / "src")

    def test_a_step_that_changes_the_task(self, pipeline: Make) -> None:
        step = pipeline(("    component:", "    task: {program_arguments: --x 1}\n    component:")).steps["second"]
        assert (step.program_arguments, step.entry_script) == (("--x", "1"), "score.py")


def test_inline_components(pipeline: Make) -> None:
    inline = "\n".join("      " + line for line in COMPONENT.splitlines())
    assert pipeline(("./component.yml", "\n" + inline)).steps["second"].inputs["ratio"].value == 0.5


class TestOptionalInputs:
    OPTIONAL = ("outputs:\n  result", "  more:\n    type: string\n    optional: true\noutputs:\n  result")
    ARGUMENT = ("--ratio ${{inputs.ratio}}", "--ratio ${{inputs.ratio}} $[[--more ${{inputs.more}}]]")

    def test_unset(self, pipeline: Make) -> None:
        step = pipeline(component=(self.OPTIONAL, self.ARGUMENT)).steps["second"]
        assert step.inputs["more"].optional_unset
        assert step.program_arguments == ("--ratio", "0.5")

    def test_set(self, pipeline: Make) -> None:
        step = pipeline(("      ratio: 0.5", "      ratio: 0.5\n      more: 0"), component=(self.OPTIONAL, self.ARGUMENT)).steps["second"]
        assert step.program_arguments == ("--ratio", "0.5", "--more", "0")


@pytest.mark.parametrize(("written", "value"), [("'0.25'", 0.25), ("1", 1.0), ("${{parent.inputs.share}}", 0.75)])
def test_literals_take_the_declared_type(pipeline: Make, written: str, value: float) -> None:
    found = (
        pipeline(("  size: 2", "  size: 2\n  share: '0.75'"), ("      ratio: 0.5", f"      ratio: {written}"))
        .steps["second"]
        .inputs["ratio"]
    )
    assert (found.type, found.value) == ("number", value)


def test_an_output_without_type_takes_that_of_the_step(pipeline: Make) -> None:
    job = pipeline(
        ("  final:\n    type: uri_folder", "  final:"), component=(("  result:\n    type: uri_folder", "  result:\n    type: uri_file"),)
    )
    assert job.outputs["final"].type == job.steps["second"].outputs["result"].type == "uri_file"


def test_a_bound_input_with_a_mode_and_a_type_of_its_own(pipeline: Make) -> None:
    written = "images: {path: '${{parent.inputs.images}}', mode: download, type: mltable}"
    found = pipeline(("images: ${{parent.inputs.images}}", written)).steps["first"].inputs["images"]
    assert (found.mode, found.type) == ("download", "mltable")


def test_settings_of_the_pipeline(pipeline: Make, folder: Path) -> None:
    settings = "  default_compute: azureml:gpu\n  default_datastore: azureml:other\n  continue_on_step_failure: false\n  force_rerun: true"
    stores = {"workspaceblobstore": folder / "store", "other": folder / "other"}
    job = pipeline(("  default_compute: local", settings), computes=("local", "gpu"), datastores=stores)
    assert {step.compute for step in job.steps.values()} == {"gpu"}
    assert job.outputs["final"].path == str(folder / "other/azureml/job_1/final")
    assert (job.continue_on_step_failure, job.force_rerun) == (False, True)


def test_a_pipeline_says_whether_earlier_results_count(pipeline: Make) -> None:
    assert not pipeline(("  default_compute: local", "  default_compute: local\n  force_rerun: false")).force_rerun
    assert pipeline(("  default_compute: local", "  default_compute: local\n  force_rerun: true")).force_rerun


def test_what_has_no_effect_on_a_step_is_said(pipeline: Make) -> None:
    job = pipeline(
        ("    type: parallel", "    type: parallel\n    name: other\n    experiment_name: x"),
        ("      result: ${{parent.outputs.final}}", "      result:"),
    )
    assert [notice.split(" ")[0] for notice in job.steps["first"].notices] == ["experiment_name", "name"]
    assert job.notices == ("no step writes the pipeline's output 'final'",)


def test_mistakes_of_several_steps_and_files_at_once(pipeline: Make) -> None:
    with pytest.raises(UserErrors) as caught:
        pipeline(
            ("    input_data: ${{inputs.images}}\n", ""),
            ("  size: 2", "  sizes: 2"),
            component=(("mini_batch_size: 1", "mini_batch_size: 0"),),
        )
    assert len(caught.value.errors) == 3


def test_a_component_knows_no_parent(pipeline: Make) -> None:
    with pytest.raises(UserError, match="a component knows no parent"):
        pipeline(component=(("--ratio ${{inputs.ratio}}", "--ratio ${{parent.inputs.size}}"),))


def test_no_step_overwrites_a_file_of_the_pipelines_inputs(pipeline: Make) -> None:
    changes = ("      result: ${{parent.outputs.final}}\n", "      result: {type: uri_file, path: ./images/a.png}\n")
    with pytest.raises(UserError, match=r"overwrite .*a.png, a file of the input 'parent.inputs.images'"):
        pipeline(changes, component=(("  result:\n    type: uri_folder", "  result:\n    type: uri_file"),))
