"""What counts for the reuse of a step's results: every field is decided on, and does what was decided."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from runner.model.job import Environment, JobInput, JobOutput, Resources, RetrySettings, Step, SystemArguments
from runner.pipeline.content import Contents
from runner.pipeline.fingerprint import COUNTED, COUNTED_OTHERWISE, FOR_THE_RUN, NOT_COUNTED, decided, facts_of, fingerprint
from runner.pipeline.options import RunOptions
from runner.spec.arguments import OPTIONS
from runner.storage.stores import Stores

Change = Callable[[Step], Step]


class Place:
    """A step with its code, an input, a model and a build context on the disk."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        for name in ("code", "data", "model", "build"):
            (folder / name).mkdir()
            (folder / name / "file").write_text(name)
        self.step = Step(
            name="p.s",
            step="s",
            code=str(folder / "code"),
            entry_script="score.py",
            program_arguments=("--in", f"{folder}/data/x", "--out", f"{folder}/out"),
            model=str(folder / "model"),
            environment=Environment(conda={"dependencies": ["python"]}),
            environment_variables={"A": "1"},
            inputs={"data": JobInput(type="uri_folder", path=str(folder / "data")), "n": JobInput(type="integer", value=1)},
            outputs={"rows": JobOutput(type="uri_file", path=str(folder / "out"))},
            input_data="data",
            append_row_to="rows",
        )

    def key(self, step: Step | None = None, **options: object) -> str:
        contents = Contents(self.folder / "cache", Stores())
        run = RunOptions(cache=self.folder / "cache", **options)  # type: ignore[arg-type]
        return fingerprint(facts_of(step or self.step, self.folder / "code", contents, run))


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


def test_every_field_of_a_step_is_decided_on():
    fields = {field.name for field in dataclasses.fields(Step)}
    assert decided() == fields
    assert len(COUNTED) + len(COUNTED_OTHERWISE) + len(NOT_COUNTED) == len(fields), "each in one place only"


OTHERS = {
    "mini_batch_size": 7,
    "mini_batch_size_has_unit": True,
    "partition_keys": ("k",),
    "mini_batch_error_threshold": 3,
    "error_threshold": 3,
    "append_row_to": None,
}


@pytest.mark.parametrize("field", COUNTED)
def test_a_field_that_counts(place, field):
    assert place.key(replace(place.step, **{field: OTHERS.get(field, "other")})) != place.key()


IN_THEIR_OWN_WAY: dict[str, Change] = {
    "an argument": lambda step: replace(step, program_arguments=(*step.program_arguments, "--x")),
    "a variable": lambda step: replace(step, environment_variables={"A": "2"}),
    "no model": lambda step: replace(step, model=None),
    "conda": lambda step: replace(step, environment=Environment(conda={"dependencies": ["python", "pip"]})),
    "no environment": lambda step: replace(step, environment=None),
    "an image": lambda step: replace(step, environment=Environment(image="other:1"), compute="cluster"),
    "a literal": lambda step: replace(step, inputs={**step.inputs, "n": JobInput(type="integer", value=2)}),
    "an input's type": lambda step: replace(step, inputs={**step.inputs, "data": replace(step.inputs["data"], type="custom_model")}),
    "an input's mode": lambda step: replace(step, inputs={**step.inputs, "data": replace(step.inputs["data"], mode="download")}),
    "an output's type": lambda step: replace(step, outputs={"rows": replace(step.outputs["rows"], type="uri_folder")}),
    "docker_args": lambda step: replace(step, resources=Resources(docker_args=("-e", "A=1"))),
    "the header": lambda step: replace(step, arguments=SystemArguments(append_row_dataframe_header=True)),
    "allowed_failed_percent": lambda step: replace(step, arguments=SystemArguments(allowed_failed_percent=5)),
}


@pytest.mark.parametrize("change", IN_THEIR_OWN_WAY.values(), ids=IN_THEIR_OWN_WAY)
def test_what_counts_in_a_way_of_its_own(place, change):
    assert place.key(change(place.step), clusters=("cluster",)) != place.key(clusters=("cluster",))


@pytest.mark.parametrize("name", ["code", "data", "model"])
@pytest.mark.parametrize("change", ["content", "name", "one more"])
def test_one_byte_of_a_file(place, name, change):
    before, file = place.key(), place.folder / name / "file"
    if change == "content":
        file.write_text(name[:-1] + "X")
    elif change == "name":
        file.rename(file.with_name("other"))
    else:
        file.with_name("other").touch()
    assert place.key() != before


def test_the_name_of_a_single_file(place):
    """Scripts read `.csv` and `.csv.gz` in different ways."""
    keys = set()
    for name in ("a.csv", "a.csv.gz"):
        (place.folder / name).write_text("1,2")
        step = replace(place.step, inputs={"data": JobInput(type="uri_file", path=str(place.folder / name))})
        keys.add(place.key(step))
    assert len(keys) == 2


def test_what_is_installed_beside_the_interpreter(place):
    """Also where the job names no environment, whose packages are those of an interpreter that is there."""
    environment = place.folder / "venv"
    (environment / "bin").mkdir(parents=True)
    (environment / "bin" / "python").symlink_to(sys.executable)
    packages = environment / "lib" / "python3.11" / "site-packages"
    (packages / "numpy-1.0.dist-info").mkdir(parents=True)
    python = str(environment / "bin" / "python")
    before = place.key(python=python)
    assert before == place.key(python=python) != place.key()
    (packages / "numpy-1.0.dist-info").rename(packages / "numpy-2.0.dist-info")
    assert place.key(python=python) != before


def test_one_byte_of_a_build_context(place):
    step = replace(place.step, environment=Environment(build_context=str(place.folder / "build")))
    before = place.key(step)
    (place.folder / "build" / "file").write_text("Build")
    assert place.key(step) != before


def test_one_byte_of_what_a_conda_file_names(place):
    """`-r requirements.txt` and what that names in turn, a package in a folder: the environment is made of them."""
    (place.folder / "package").mkdir()
    files = [place.folder / name for name in ("requirements.txt", "more.txt", "package/setup.py")]
    for file in files:
        file.write_text("-r more.txt" if file.name == "requirements.txt" else "six")
    conda = {"dependencies": ["python", {"pip": ["-r requirements.txt", "./package"]}]}
    environment = Environment(conda=conda, conda_path=str(place.folder / "conda.yml"))
    for step in (environment, replace(environment, image="env:1")):
        keys = {place.key(replace(place.step, environment=step, compute="cluster"), clusters=("cluster",))}
        for file in files:
            file.write_text(file.read_text() + " ")
            keys.add(place.key(replace(place.step, environment=step, compute="cluster"), clusters=("cluster",)))
        assert len(keys) == 4


# Fields of what a step consists of → another value, and whether it counts. An image is one on a cluster, which counts by its name.
PARTS: dict[type, dict[str, tuple[object, bool]]] = {
    Environment: {
        "name": ("x", False),
        "version": ("2", False),
        "image": ("other:1", True),
        "conda": ({"dependencies": ["python", "pip"]}, True),
        "conda_path": ("/elsewhere/conda.yml", False),
        "build_context": ("build", True),
        "dockerfile": ("Other", True),
        "description": ("x", False),
    },
    JobInput: {
        "type": ("custom_model", True),
        "value": (2, True),
        "path": ("model", True),  # by its content
        "uri": ("azureml:x:1", False),
        "mode": ("download", True),
        "optional_unset": (True, True),
    },
    JobOutput: {
        "type": ("uri_folder", True),
        "path": ("elsewhere", False),
        "uri": ("azureml://x", False),
        "mode": ("upload", True),
        "name": ("x", False),
        "version": ("2", False),
    },
    Resources: {
        "instance_count": (3, False),
        "max_instance_count": (4, False),
        "instance_type": (("big",), False),
        "shm_size": ("9g", False),
        "docker_args": (("-e", "A=1"), True),
        "docker_args_base": ("/elsewhere", False),
        "properties": ({"a": 1}, False),
        "locations": (("x",), False),
    },
    SystemArguments: {
        "allowed_failed_percent": (5, True),
        "task_overhead_timeout": (1, False),
        "progress_update_timeout": (1, False),
        "first_task_creation_timeout": (1, False),
        "resource_monitor_interval": (1, False),
        "copy_logs_to_parent": (True, False),
        "metrics_name_prefix": ("x", False),
        "push_metrics_to_parent": (True, False),
        "append_row_dataframe_header": (True, True),
        "profiling_module": ("cProfile", False),
    },
}


def changed(step: Step, part: type, name: str, value: object) -> Step:
    change = {name: value}
    if part is JobInput:
        literal = name in ("value", "optional_unset")
        one = "n" if literal else "data"
        return replace(step, inputs={**step.inputs, one: replace(step.inputs[one], **change)})
    if part is JobOutput:
        return replace(step, outputs={"rows": replace(step.outputs["rows"], **change)})
    field = {Environment: "environment", Resources: "resources", SystemArguments: "arguments"}[part]
    return replace(step, **{field: replace(getattr(step, field), **change)})


@pytest.mark.parametrize("part", PARTS)
def test_every_field_of_a_part_is_decided_on(part):
    assert PARTS[part].keys() == {field.name for field in dataclasses.fields(part)}


@pytest.mark.parametrize(("part", "name"), [(part, name) for part, fields in PARTS.items() for name in fields])
def test_what_counts_of_a_part(place, part, name):
    value, counts = PARTS[part][name]
    if name in ("path", "build_context"):
        value = str(place.folder / str(value))
    step = replace(place.step, compute="cluster", environment=Environment(image="env:1", conda={"dependencies": ["python"]}))
    step = replace(step, program_arguments=())
    other = changed(step, part, name, value)
    assert (place.key(other, clusters=("cluster",)) != place.key(step, clusters=("cluster",))) == counts


WITHOUT_EFFECT: dict[str, object] = {
    "name": "q.t",
    "step": "t",
    "display_name": "x",
    "experiment_name": "x",
    "description": "x",
    "tags": {"a": "b"},
    "properties": {"a": "b"},
    "notices": ("x",),
    "compute": "other",
    "max_concurrency_per_instance": 7,
    "retry": RetrySettings(max_retries=9, timeout=9),
    "logging_level": "DEBUG",
    "identity": {"type": "managed"},
    "is_deterministic": False,
}


@pytest.mark.parametrize("field", NOT_COUNTED)
def test_a_field_that_does_not_count(place, field):
    assert place.key(replace(place.step, **{field: WITHOUT_EFFECT[field]})) == place.key()


def test_instances_and_time_outs_do_not_count(place):
    resources = Resources(
        instance_count=3, max_instance_count=4, instance_type=("big",), shm_size="9g", properties={"a": 1}, locations=("x",)
    )
    arguments = SystemArguments(
        task_overhead_timeout=1, progress_update_timeout=1, first_task_creation_timeout=1, resource_monitor_interval=0
    )
    assert place.key(replace(place.step, resources=resources, arguments=arguments)) == place.key()


@pytest.mark.parametrize("more", [("--task_overhead_timeout", "9"), ("--metrics_name_prefix=x", "--resource_monitor_interval", "0")])
def test_predefined_arguments_that_say_how_a_step_is_run_do_not_count(place, more):
    first, *others = place.step.program_arguments
    assert place.key(replace(place.step, program_arguments=(*more, first, *others))) == place.key()
    assert place.key(replace(place.step, program_arguments=(first, *others, *more))) == place.key()
    assert place.key(replace(place.step, program_arguments=(first, *others, *more, "x"))) != place.key()
    assert place.key(replace(place.step, program_arguments=(first, *others, "--", *more))) != place.key(), "the script's own"
    command = replace(place.step, command='echo "${1}"')
    assert place.key(replace(command, program_arguments=more)) != place.key(replace(command, program_arguments=()))


def test_what_says_how_a_step_is_run_is_predefined():
    counted = {"error_threshold", "allowed_failed_count", "allowed_failed_percent", "append_row_dataframe_header"}
    assert {*FOR_THE_RUN} | counted == OPTIONS.keys()


def test_paths_of_outputs_and_inputs_do_not_count(place, tmp_path):
    moved = tmp_path / "elsewhere"
    moved.mkdir()
    (moved / "file").write_text("data")
    step = replace(
        place.step,
        program_arguments=("--in", f"{moved}/x", "--out", "/other/out"),
        inputs={**place.step.inputs, "data": JobInput(type="uri_folder", path=str(moved))},
        outputs={"rows": JobOutput(type="uri_file", path="/other/out")},
    )
    assert place.key(step) == place.key()
