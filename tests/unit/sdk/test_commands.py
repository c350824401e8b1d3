"""`command`, its components and pipelines in pipelines: what the spec makes of them, and what is refused."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from runner import Input, MLClient, Output, command, dsl, load_component, load_job
from runner.entities import Command, CommandComponent, CommandJob, PipelineComponent
from runner.errors import NotSupportedHere, UserError
from runner.sdk.foreign import foreign_job, is_foreign

Resolve = Callable[[Any], Any]


def say(**further: Any) -> Command:
    keys: dict[str, Any] = {
        "command": "echo ${{inputs.word}} > ${{outputs.text}}",
        "inputs": {"word": Input(type="string", default="a word")},
        "outputs": {"text": Output(type="uri_file")},
        **further,
    }
    return command(**keys)


def test_a_command_on_its_own(resolved: Resolve) -> None:
    job = say(timeout=5, code="src", environment_variables={"A": 1}, tags={"a": "b"}, compute="local", job_tier="Standard")
    job.outputs.text.mode = "upload"
    job.set_limits(timeout=7)
    step = resolved(job)
    assert (step.retry.timeout, step.environment_variables, step.tags) == (7, {"A": "1"}, {"a": "b"})
    assert "echo " in step.command
    assert "a word" not in step.command
    assert step.program_arguments[0] == "a word"
    assert step.outputs["text"].mode == "upload"


def test_calls_leave_the_template_alone() -> None:
    template = say(name="say")
    node = template(word="b")
    node.environment_variables["A"] = "1"
    node.set_resources(instance_count=1)
    assert template.environment_variables == {}
    assert template.resources is None
    assert (template.inputs.word.type, node._to_mapping()["inputs"]) == ("string", {"word": "b"})
    with pytest.raises(UserError, match="has no input `wrd`"):
        template(wrd="b")
    with pytest.raises(UserError, match="did you mean 'limits'"):
        node.limit = 1  # type: ignore[attr-defined]


@pytest.mark.parametrize(("keywords", "sentence"), [({"comand": 1}, "did you mean 'command'"), ({"task": 1}, "no parameter `task`")])
def test_unknown_keywords(keywords: dict[str, Any], sentence: str) -> None:
    with pytest.raises(UserError, match=sentence):
        command(**keywords)


def test_several_processes_are_refused_by_name(resolved: Resolve) -> None:
    with pytest.raises(NotSupportedHere, match="distribution"):
        resolved(say(distribution={"type": "mpi", "process_count_per_instance": 2}))
    with pytest.raises(UserError, match="did you mean 'mpi'"):
        say(distribution={"type": "mp"})


def test_sweeps_are_refused() -> None:
    with pytest.raises(NotSupportedHere, match="a loop of the pipeline function"):
        say().sweep(sampling_algorithm="random", primary_metric="loss", goal="Minimize")


def test_components_of_three_kinds(folder: Path) -> None:
    (folder / "c.yml").write_text("name: c\ntype: command\ncode: src\ncommand: 'true'\ninputs: {n: {type: integer}}\n")
    (folder / "p.yml").write_text("name: p\ntype: pipeline\njobs: {a: {component: c.yml, type: command, inputs: {n: 1}}}\n")
    one, two = load_component("c.yml"), load_component("p.yml")
    assert isinstance(one, CommandComponent)
    assert one.code == str(folder / "src")
    assert isinstance(two, PipelineComponent)
    assert two()._to_mapping()["component"] == str(folder / "p.yml")
    with pytest.raises(NotSupportedHere, match="command, parallel, pipeline"):
        load_component(source=_file(folder, "type: spark\n"))


def test_a_command_file(folder: Path, resolved: Resolve) -> None:
    job = load_job(_file(folder, "command: echo ${{inputs.a}}\ninputs: {a: x}\n"))
    assert isinstance(job, CommandJob)
    job.inputs.a = "y z"
    assert resolved(job).program_arguments == ("y z",)


def test_pipelines_in_pipelines(resolved: Resolve) -> None:
    word = say()
    read = command(command="cat ${{inputs.text}}", inputs={"text": Input(type="uri_file")})

    @dsl.pipeline
    def inner(said: str, other: str | None = None) -> Any:
        first = word(word=said)
        assert said.result() == "deep"  # type: ignore[attr-defined]
        return first.outputs

    @dsl.pipeline
    def middle(said: str) -> Any:
        below = inner(said)
        return {"text": below.outputs.text}

    @dsl.pipeline
    def outer(said: str = "deep") -> Any:
        deep = middle(said=said)
        _reader = read(text=deep)
        return {"text": deep.outputs.text}

    job = outer()
    found = resolved(job)
    assert found.depends_on == {"deep_below_first": (), "_reader": ("deep_below_first",)}
    assert found.steps["deep_below_first"].program_arguments[0] == "deep"
    assert "text" in found.outputs


def test_a_command_file_loaded_by_azures_package(azure: ModuleType, folder: Path) -> None:
    text = (
        "type: command\ncode: src\ncommand: echo ${{inputs.a}} ${{inputs.d}}\nenvironment: {image: i}\nlimits: {timeout: 9}\n"
        "display_name: d\nexperiment_name: e\ninputs: {a: 1.5, d: {type: uri_folder, path: ./data}}\noutputs: {o: {type: uri_file}}\n"
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        job = azure.load_job(_file(folder, text))
        mapping, base = foreign_job(job)
        checked = MLClient(local=True).jobs.validate(job)
    assert base == folder
    assert (mapping["type"], mapping["component"]["code"], mapping["limits"]) == ("command", str(folder / "src"), {"timeout": 9})
    assert (mapping["display_name"], mapping["experiment_name"]) == ("d", "e")
    assert checked.passed, checked


def test_a_component_of_azures_is_no_job(azure: ModuleType) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        component = azure.entities.CommandComponent(name="c", command="true", environment="azureml:e:1")
    assert is_foreign(component)
    assert not is_foreign(say())
    with pytest.raises(NotSupportedHere, match="CommandComponent is no job"):
        MLClient().jobs.create_or_update(component)


def test_paths_of_azures_objects_lose_what_was_put_before_them(azure: ModuleType) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        inputs = {
            name: azure.Input(type="uri_folder", path=path)
            for name, path in {"a": "./data", "b": "azureml:set:1", "c": "azureml://datastores/d/paths/x", "d": "/data"}.items()
        }
        job = azure.command(command="true", environment=azure.entities.Environment(image="i"), inputs=inputs)
        mapping, base = foreign_job(job)
    assert {name: port["path"] for name, port in mapping["inputs"].items()} == {
        "a": "./data", "b": "azureml:set:1", "c": "azureml://datastores/d/paths/x", "d": "/data",
    }  # fmt: skip
    assert mapping["environment"] == {"image": "i"}
    assert base == Path.cwd()


def _file(folder: Path, text: str) -> Path:
    (folder / "one.yml").write_text(text)
    return folder / "one.yml"


def test_names_and_services_as_older_scripts_write_them(folder: Path, resolved: Callable[[Any], Any]) -> None:
    from runner.entities import JobService

    service = JobService(job_service_type="jupyter_lab", nodes="all")
    assert service.type == "jupyter_lab"
    download = command(
        name="download-input", command="true", environment=None, services={"lab": service}, inputs={"url": "https://x.example/a.csv"}
    )

    @dsl.pipeline
    def whole(url):  # type: ignore[no-untyped-def]
        download(url=url)

    job = resolved(whole("https://acc.blob.core.windows.net/c/iris.csv"))
    (step,) = job.steps.values()
    assert step.inputs["url"].value == "https://acc.blob.core.windows.net/c/iris.csv"
