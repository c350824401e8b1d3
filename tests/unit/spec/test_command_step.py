from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from runner.errors import UserError, UserErrors
from runner.model.job import NO_LIMIT, NO_TIMEOUT, JobInput, PipelineJob, Step
from runner.spec import stored
from runner.spec.load import read_job
from runner.spec.resolve import ResolveContext, resolve
from tests.acceptance.bad_jobs.row import COMMAND, COMMAND_COMPONENT

Make = Callable[..., Step]


@pytest.fixture
def command(folder: Path, context: ResolveContext) -> Make:
    """command((old, new), …): the good command with these changes; component=((old, new), …): its steps.yml with the component."""

    def make(*changes: tuple[str, str], **given: object) -> Step:
        text = COMMAND
        for old, new in changes:
            assert old in text
            text = text.replace(old, new, 1)
        (folder / "command.yml").write_text(text)
        job = resolve(read_job(folder / "command.yml"), replace(context, **given))  # type: ignore[arg-type]
        assert isinstance(job, Step)
        return job

    return make


@pytest.fixture
def steps(folder: Path, context: ResolveContext) -> Callable[..., PipelineJob]:
    """steps(text): a pipeline with this text below `jobs:`, and the good command component beside it."""

    def make(text: str, *component: tuple[str, str], top: str = "") -> PipelineJob:
        changed = COMMAND_COMPONENT
        for old, new in component:
            assert old in changed
            changed = changed.replace(old, new, 1)
        (folder / "command_component.yml").write_text(changed)
        (folder / "p.yml").write_text(f"type: pipeline\n{top}\njobs:\n{text}")
        job = resolve(read_job(folder / "p.yml"), context)
        assert isinstance(job, PipelineJob)
        return job

    return make


def test_a_command(command: Make, folder: Path) -> None:
    job = command()
    assert job.type == "command"
    assert (job.code, job.entry_script, job.input_data, job.append_row_to) == (str(folder / "src"), "", "", None)
    assert (
        job.command
        == 'RUNNER_1=${1} RUNNER_2=${2} RUNNER_3=${3}; set --; python score.py --images "${RUNNER_1}" --limit "${RUNNER_2}" > "${RUNNER_3}"'
    )
    assert job.program_arguments == (str(folder / "images"), "3", str(folder / "out/rows.txt"))
    assert job.environment_variables == {"COLOUR": "green", "LIMIT": "3"}
    assert job.environment is not None
    assert job.environment.conda_path == str(folder / "conda.yml")
    assert (job.display_name, job.tags, job.properties) == ("count", {"a": "1"}, {"b": "2"})
    assert (job.resources.instance_count, job.resources.shm_size, job.max_concurrency_per_instance) == (1, "1g", 1)
    assert stored.load(json.loads(json.dumps(stored.dump(job)))) == job


def test_a_command_is_one_mini_batch_that_is_not_tried_again(command: Make) -> None:
    job = command()
    assert (job.retry.max_retries, job.retry.timeout) == (0, 90)
    assert (job.mini_batch_error_threshold, job.error_threshold) == (0, NO_LIMIT)
    assert job.arguments.progress_update_timeout == job.arguments.first_task_creation_timeout == NO_TIMEOUT
    assert command(("limits:\n  timeout: 90\n", "")).retry.timeout == NO_TIMEOUT


def test_the_type_may_be_left_out_as_on_azure(command: Make, steps: Callable[..., PipelineJob]) -> None:
    assert command(("type: command\n", "")).type == "command"
    found = steps("  one: {command: 'true'}\n  two: {component: {command: echo 1, name: x}}\n").steps
    assert [step.type for step in found.values()] == ["command", "command"]


def test_no_code_is_an_empty_folder(command: Make) -> None:
    assert command(("code: ./src\n", "")).code == ""


@pytest.mark.parametrize(
    ("written", "text"),
    [
        ("command: >-\n  echo a\n  b\n", "echo a b"),
        ("command: |\n  set -e\n  echo 'a\n  b' # c\n", "set -e\necho 'a\nb' # c\n"),
        ("command: echo $X ${X} $(ls) `ls` $1 ${1}\n", "echo $X ${X} $(ls) `ls` $1 ${1}"),
        ("command: 5\n", "5"),
    ],
)
def test_text_of_the_user_stays(command: Make, written: str, text: str) -> None:
    assert command((COMMAND[COMMAND.index("command: python") : COMMAND.index("code:")], written)).command == text


def test_optional_parts(steps: Callable[..., PipelineJob]) -> None:
    text = "  one:\n    component: ./command_component.yml\n    inputs: {files: ./images%s}\n"
    assert steps(text % "").steps["one"].program_arguments[1:] == ("0.5",)
    assert steps(text % ", word: two words").steps["one"].program_arguments[1:] == ("0.5", "two words")


def test_a_component_and_what_its_step_changes(steps: Callable[..., PipelineJob], folder: Path) -> None:
    job = steps(
        """\
  one:
    type: command
    component: file:command_component.yml
    inputs: {files: "${{parent.inputs.images}}", ratio: 1, word: '${{parent.inputs.word}}'}
    outputs: {counts: "${{parent.outputs.final}}"}
    environment_variables: {A: "${{inputs.ratio}}", B: 2}
    limits: {timeout: "${{parent.inputs.seconds}}"}
    compute: local
  two:
    type: command
    inputs: {counts: "${{parent.jobs.one.outputs.counts}}", ratio: "${{parent.jobs.one.inputs.ratio}}"}
    command: cat ${{inputs.counts}} ${{parent.inputs.seconds}} ${{inputs.ratio}}
""",
        top="inputs: {images: {type: uri_folder, path: ./images}, word: a b, seconds: 7}\noutputs: {final: {type: uri_file}}",
    )
    one, two = job.steps["one"], job.steps["two"]
    assert one.environment_variables == {"A": "1", "B": "2", "C": "x"}
    assert one.retry.timeout == 7
    assert one.program_arguments == (str(folder / "images"), "1", "a b")
    assert one.code == str(folder / "src")
    assert one.outputs["counts"].path == job.outputs["final"].path
    assert two.program_arguments == (job.outputs["final"].path, "7", "1")
    assert (one.name, one.step, job.depends_on) == ("job_1.one", "one", {"one": (), "two": ("one",)})


def test_an_inline_component_and_an_inline_command_give_the_same_step(steps: Callable[..., PipelineJob]) -> None:
    keys = "{type: command, inputs: {n: %s}, command: 'echo ${{inputs.n}}', code: ./src, display_name: x}"
    job = steps(f"  one: {keys % 4}\n  two:\n    component: {keys % '{type: integer, default: 3}'}\n    inputs: {{n: 4}}\n")
    one, two = job.steps["one"], job.steps["two"]
    assert replace(two, name=one.name, step=one.step) == one


def test_what_has_no_effect_is_said(command: Make) -> None:
    notices = command(
        (
            "limits:",
            "services: {x: {type: jupyter_lab}}\nqueue_settings: {job_tier: spot}\nparent_job_name: x\nis_deterministic: true\nlimits:",
        ),
    ).notices
    for word in ("services", "queue_settings", "parent_job_name", "is_deterministic", "shm_size"):
        assert any(word in notice for notice in notices), word


@pytest.mark.parametrize(
    ("key", "says"),
    [
        ("script: train.py", "write command: python"),
        ("arguments: [--x, 1]", "stands in the command"),
        ("source_directory: ./src", "write code:"),
        ("compute_target: local", "write compute:"),
        ("timeout: 5", "below limits"),
        ("retry_settings: {max_retries: 2}", "not tried again"),
        ("task: {type: run_function}", "stand on top"),
        ("mini_batch_size: 2", "only parallel jobs"),
        ("image: ubuntu", "below environment"),
        ("enviroment: x", "did you mean 'environment'"),
    ],
)
def test_keys_of_other_kinds_and_times(command: Make, key: str, says: str) -> None:
    with pytest.raises(UserError, match=says):
        command(("limits:", f"{key}\nlimits:"))


def test_one_process_on_one_instance(command: Make) -> None:
    with pytest.raises(UserError, match="one instance, not on 2"):
        command(("resources:\n", "resources:\n  instance_count: 2\n"))
    with pytest.raises(UserError, match="distribution cannot run here"):
        command(("resources:\n", "distribution: {type: mpi, process_count_per_instance: 2}\nresources:\n  instance_count: 2\n"))
    assert command(("resources:\n", "resources:\n  instance_count: 1\n")).resources.instance_count == 1


def test_several_mistakes_at_once(command: Make) -> None:
    with pytest.raises(UserErrors) as caught:
        command(("code: ./src", "code: ./scr"), ("--limit ${{inputs.limit}}", "--limit ${{inputs.limi}}"), ("timeout: 90", "timeout: 0"))
    assert len(caught.value.errors) == 3


def test_literals_have_their_types(command: Make) -> None:
    job = command(("  limit: 3", "  limit: {type: number, default: 2, min: 1, max: 3}"))
    assert job.inputs["limit"] == JobInput(type="number", value=2.0)
