"""`@pipeline`: what functions make, the names of steps compared with Azure's own, and what the spec makes of it."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

import runner
import runner.constants
import runner.dsl
import runner.entities
import runner.parallel
from runner import Input, Output
from runner.dsl import pipeline
from runner.entities import PipelineJob, PipelineJobSettings
from runner.errors import UserError
from runner.model.job import PipelineJob as ResolvedPipeline
from runner.parallel import ParallelJob, RunFunction, parallel_run_function

Resolve = Callable[[Any], Any]


def component(ml: Any = runner, name: str | None = None, **further: Any) -> Any:
    """One with a split input `data`, a number `n` and an output `rows`; of ours or Azure's."""
    return ml.parallel.parallel_run_function(
        name=name,
        inputs={"data": ml.Input(type="uri_folder"), "n": ml.Input(type="integer", default=3)},
        outputs={"rows": ml.Output(type="uri_folder")},
        input_data="${{inputs.data}}",
        task=ml.parallel.RunFunction(
            code="src",
            entry_script="score.py",
            environment="azureml:e:1",
            append_row_to="${{outputs.rows}}",
            program_arguments="--n ${{inputs.n}}",
        ),
        **further,
    )


def data() -> Input:
    return Input(type="uri_folder", path="data")


def test_a_pipeline_of_two_steps(resolved: Resolve, folder: Path) -> None:
    score = component()
    score.task.environment = None

    @pipeline(default_compute="local", description="Two steps", experiment_name="e", tags={"a": "b"}, continue_on_step_failure=False)
    def digits(images: Input, size: int = 4) -> Any:
        first = score(data=images, n=size)
        first.mini_batch_size = size
        first.environment_variables = {"WORDS": f"size is {size}, not {size}"}
        second = score(data=first.outputs.rows)
        second.inputs.data.mode = "download"
        second.outputs.rows.mode = "upload"
        return {"scores": second.outputs.rows}

    job = digits(images=data())
    mapping = job._to_mapping()
    first, second = mapping["jobs"].pop("first"), mapping["jobs"].pop("second")
    assert mapping == {
        "type": "pipeline", "display_name": "digits", "description": "Two steps", "tags": {"a": "b"}, "experiment_name": "e",
        "settings": {"default_compute": "local", "continue_on_step_failure": False},
        "inputs": {"images": {"type": "uri_folder", "path": "data"}, "size": 4},
        "outputs": {"scores": {"type": "uri_folder", "mode": "upload"}}, "jobs": {},
    }  # fmt: skip
    assert first["inputs"] == {
        "data": {"type": "uri_folder", "path": "${{parent.inputs.images}}"}, "n": {"type": "integer", "value": "${{parent.inputs.size}}"},
    }  # fmt: skip
    assert first["mini_batch_size"] == "${{parent.inputs.size}}"
    assert first["environment_variables"] == {"WORDS": "size is ${{parent.inputs.size}}, not ${{parent.inputs.size}}"}
    assert second["inputs"]["data"] == {"type": "uri_folder", "mode": "download", "path": "${{parent.jobs.first.outputs.rows}}"}
    assert (first["outputs"], second["outputs"]) == ({"rows": {"type": "uri_folder"}}, {"rows": "${{parent.outputs.scores}}"})

    job.settings.default_compute = "local"
    job.outputs.scores.path = "out"
    found = resolved(job)
    assert isinstance(found, ResolvedPipeline)
    assert found.depends_on == {"first": (), "second": ("first",)}
    assert found.steps["first"].mini_batch_size == 4
    assert found.steps["second"].outputs["rows"].path == str(folder / "out")
    assert found.steps["first"].program_arguments == ("--n", "4")


def test_with_and_without_parentheses() -> None:
    score = component()

    def make(images: Any) -> Any:
        """What it does.

        :param images: the images
        """
        score(data=images)

    bare, called = pipeline(make)(data()), pipeline()(make)(images=data())
    assert bare._to_mapping() == called._to_mapping()
    assert bare.description == "What it does."
    assert bare.display_name == "make"
    assert pipeline(name="other")(make)(data()).display_name == "other"


def test_inputs_can_be_set_later_and_steps_changed() -> None:
    score = component()

    @pipeline
    def p(images: Any, opt: Any = None) -> None:
        step = score(data=images, n=opt)
        step.name = "called"

    job = p()
    assert job._to_mapping()["inputs"] == {"images": None, "opt": {"type": "string", "optional": True}}
    assert job._to_mapping()["jobs"]["called"]["inputs"]["n"] == {"type": "integer", "default": 3}
    job.inputs.images = data()
    job.inputs.opt = 7
    job.jobs["called"].compute = "local"
    mapping = job._to_mapping()
    assert mapping["inputs"]["images"] == {"type": "uri_folder", "path": "data"}
    assert mapping["jobs"]["called"]["inputs"]["n"] == {"type": "integer", "value": "${{parent.inputs.opt}}"}
    assert mapping["jobs"]["called"]["compute"] == "local"


def test_an_input_that_was_never_set_is_named(resolved: Resolve) -> None:
    @pipeline
    def p(images: Any) -> None:
        component()(data=images)

    with pytest.raises(UserError, match=r"inputs\.images"):
        resolved(p())


def test_annotations_declare() -> None:
    score = component()

    @pipeline
    def p(images: Any, n: Input(type="integer", min=1, max=9) = 2) -> None:  # type: ignore[valid-type]
        score(data=images, n=n)

    assert p(data())._to_mapping()["inputs"]["n"] == {"type": "integer", "min": 1, "max": 9, "value": 2}


def test_raw_arguments_reach_the_function() -> None:
    score = component()

    @pipeline(non_pipeline_inputs=["count"])
    def p(images: Any, count: int) -> None:
        for _ in range(count):
            score(data=images)

    job = p(data(), 2)
    assert list(job.jobs) == ["azureml_anonymous", "azureml_anonymous_1"]
    assert list(job.inputs) == ["images"]


def test_a_step_stands_for_its_only_output() -> None:
    score = component()

    @pipeline
    def p(images: Any) -> None:
        first = score(data=images)
        second = score(data=first)
        assert second is not first

    assert p(data())._to_mapping()["jobs"]["second"]["inputs"]["data"]["path"] == "${{parent.jobs.first.outputs.rows}}"


def test_the_value_that_was_given_is_at_hand() -> None:
    seen: list[Any] = []

    @pipeline
    def p(images: Any, n: int = 4) -> None:
        seen.append(n.result())  # type: ignore[attr-defined]
        component()(data=images)

    p(data())
    p(data(), n=5)
    assert seen == [4, 5]


def test_the_profiler_is_left_as_it_was() -> None:
    score, events = component(), []

    @pipeline
    def p(images: Any) -> None:
        step = score(data=images)
        assert step is not None

    def profile(frame: Any, event: str, argument: Any) -> None:
        events.append(event)

    sys.setprofile(profile)
    try:
        job = p(data())
        assert sys.getprofile() is profile
    finally:
        sys.setprofile(None)
    assert list(job.jobs) == ["step"]
    assert events


def _truth(images: Any, score: Any) -> Any:
    return score(data=images) if images else None


def _returns_a_step(images: Any, score: Any) -> Any:
    return score(data=images)


def _returned_twice(images: Any, score: Any) -> Any:
    step = score(data=images)
    return {"a": step.outputs.rows, "b": step.outputs.rows}


def _same_name(images: Any, score: Any) -> None:
    first, second = score(data=images), score(data=images)
    first.name = second.name = "x"


def _uncalled(images: Any, score: Any) -> None:
    score(data=images)
    component(name="left")


def _uncalled_output(images: Any, score: Any) -> None:
    score(data=component().outputs.rows)


@pytest.mark.parametrize(
    ("function", "sentence"),
    [
        (_truth, r"no truth value.*images\.result\(\)"),
        (_returns_a_step, "must return a mapping"),
        (_returned_twice, "returned twice, as `a` and `b`"),
        (_same_name, "two steps of the pipeline `_same_name` are called `x`"),
        (_uncalled, "`left` is made in the pipeline `_uncalled` and never called"),
        (_uncalled_output, "never called"),
    ],
)
def test_mistakes_in_the_function(function: Any, sentence: str) -> None:
    with pytest.raises(UserError, match=f"(?s){sentence}"):
        pipeline(non_pipeline_inputs=["score"])(function)(data(), component())
    assert pipeline(lambda images: component()(data=images) and None)(data())  # the next pipeline is not disturbed


@pytest.mark.parametrize(
    ("arguments", "keywords", "sentence"),
    [
        ((1, 2, 3), {}, "at most 2"),
        ((), {"image": 1}, "did you mean 'images'"),
        ((1,), {"images": 1}, "two values"),
        ((object(),), {}, "cannot be an input"),
    ],
)
def test_mistakes_in_the_call(arguments: Any, keywords: Any, sentence: str) -> None:
    @pipeline
    def p(images: Any, n: int = 1) -> None: ...

    with pytest.raises(UserError, match=sentence):
        p(*arguments, **keywords)


def test_unknown_keywords_of_the_decorator() -> None:
    with pytest.raises(UserError, match="did you mean 'default_compute'"):
        pipeline(default_computes="x")


def test_a_pipeline_of_its_parts(resolved: Resolve) -> None:
    step = ParallelJob(
        inputs={"data": Input(type="uri_folder", path="${{parent.inputs.images}}")}, input_data="${{inputs.data}}",
        task=RunFunction(code="src", entry_script="score.py"), name="n", experiment_name="e", display_name="d",
    )  # fmt: skip
    job = PipelineJob(
        inputs={"images": data()}, jobs={"one": step}, settings=PipelineJobSettings(force_rerun=True), outputs={"o": Output(path="x")}
    )
    mapping = job._to_mapping()
    assert mapping["settings"] == {"force_rerun": True}
    assert mapping["outputs"] == {"o": {"type": "uri_folder", "path": "x"}}
    assert {"name", "experiment_name"} & set(mapping["jobs"]["one"]) == set()
    assert mapping["jobs"]["one"]["display_name"] == "d"
    del job.outputs["o"]
    assert resolved(job).steps["one"].inputs["data"].type == "uri_folder"
    with pytest.raises(UserError, match="cannot be a step"):
        PipelineJob(jobs={"x": 1})._to_mapping()
    with pytest.raises(UserError, match="not in the pipeline"):
        PipelineJob(jobs={"x": component()(data=component().outputs.rows)})._to_mapping()


def test_steps_made_in_another_folder_keep_their_paths(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    step = parallel_run_function(input_data="x", task=RunFunction(code="src", environment={"conda_file": "c.yml", "build": {"path": "b"}}))
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    task = PipelineJob(jobs={"s": step})._to_mapping()["jobs"]["s"]["task"]
    assert task["code"] == str(folder / "src")
    assert task["environment"] == {"conda_file": str(folder / "c.yml"), "build": {"path": str(folder / "b")}}


# Functions of a pipeline whose steps are compared with those that Azure's own decorator makes.
def _variables(of, images):
    first = of.score(data=images)
    second = of.score(data=first.outputs.rows)
    return {"rows": second.outputs.rows}


def _anonymous(of, images):
    first = of.score(data=images)
    of.score(data=images)
    of.score(data=first.outputs.rows)
    return {}


def _loop(of, images):
    for _ in range(3):
        step = of.score(data=images)
    return {"rows": step.outputs.rows}


def _named(of, images):
    step = of.named(data=images)
    return {"rows": step.outputs.rows}


def _named_loop(of, images):
    for _ in range(3):
        step = of.named(data=images)
    return {"rows": step.outputs.rows}


def _name_set(of, images):
    step = of.score(data=images)
    step.name = "by_hand"
    of.score(data=images)
    return {}


def _underscore(of, images):
    _ = of.named(data=images)
    return {}


@pytest.mark.parametrize("function", [_variables, _anonymous, _loop, _named, _named_loop, _name_set, _underscore])
def test_names_and_bindings_are_azures(azure: ModuleType, folder: Path, function: Callable[..., Any]) -> None:
    jobs = {}
    for ml in (runner, azure):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            of = SimpleNamespace(score=component(ml), named=component(ml, "score"))
            decorated = ml.dsl.pipeline(function, non_pipeline_inputs=["of"])
            job = decorated(of=of, images=ml.Input(type="uri_folder", path="data"))
            steps = job._to_mapping()["jobs"] if ml is runner else job._to_dict()["jobs"]
            jobs[ml.__name__] = {name: step["inputs"]["data"]["path"] for name, step in steps.items()}
    assert list(jobs["runner"].items()) == list(jobs["azure.ai.ml"].items())


def test_steps_of_commands_are_named_as_azure_names_them(azure: ModuleType) -> None:
    """By their variables, whatever `name` the command was given; otherwise by that, as an identifier."""

    def names(package: Any) -> list[str]:
        made = {name: package.command(name=name, command="true", environment="e:1") for name in ("first", "with-R", "2 nd")}

        @package.dsl.pipeline  # type: ignore[untyped-decorator]
        def whole() -> None:
            one = made["first"]()  # noqa: F841
            made["with-R"]()
            made["2 nd"]()
            made["first"]()

        return list(whole().jobs)

    assert names(runner) == names(azure) == ["one", "with_r", "n2_nd", "one_1"]
