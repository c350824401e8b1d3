"""Python jobs, the mapping they give, and what the spec makes of it."""

from __future__ import annotations

import copy
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from runner import Input, Output
from runner.constants import AssetTypes, InputOutputModes
from runner.entities import (
    AmlTokenConfiguration,
    BatchRetrySettings,
    BuildContext,
    Data,
    Environment,
    JobResourceConfiguration,
    ManagedIdentityConfiguration,
    Model,
    ParallelComponent,
    RetrySettings,
    UserIdentityConfiguration,
)
from runner.errors import UserError
from runner.model.job import PipelineJob, Step
from runner.parallel import Parallel, ParallelJob, RunFunction, parallel_run_function

TASK = RunFunction(code="src", entry_script="score.py", append_row_to="${{outputs.rows}}")
BASE: dict[str, Any] = {
    "inputs": {"images": Input(type=AssetTypes.URI_FOLDER, path="data")},
    "outputs": {"rows": Output(type=AssetTypes.URI_FILE)},
    "input_data": "${{inputs.images}}",
    "task": TASK,
}
INPUTS = {"images": {"type": "uri_folder", "path": "data"}}
TASK_MAPPING = {"type": "run_function", "code": "src", "entry_script": "score.py", "append_row_to": "${{outputs.rows}}"}
Resolve = Callable[[Any], Step | PipelineJob]

# One keyword, the key it gives, the value there.
SINGLE: list[tuple[dict[str, Any], str, Any]] = [
    ({"name": "digits"}, "name", "digits"),
    ({"display_name": "Digits"}, "display_name", "Digits"),
    ({"description": ""}, "description", ""),
    ({"tags": {"a": "b"}}, "tags", {"a": "b"}),
    ({"properties": {"p": "q"}}, "properties", {"p": "q"}),
    ({"experiment_name": "e"}, "experiment_name", "e"),
    ({"compute": "azureml:local"}, "compute", "azureml:local"),
    ({"retry_settings": RetrySettings(max_retries=0, timeout=5)}, "retry_settings", {"max_retries": 0, "timeout": 5}),
    ({"retry_settings": BatchRetrySettings(timeout="7")}, "retry_settings", {"timeout": "7"}),
    ({"retry_settings": {"max_retries": 1}}, "retry_settings", {"max_retries": 1}),
    ({"environment_variables": {"A": 1, "B": True}}, "environment_variables", {"A": 1, "B": True}),
    ({"logging_level": "DEBUG"}, "logging_level", "DEBUG"),
    ({"max_concurrency_per_instance": "3"}, "max_concurrency_per_instance", "3"),
    ({"error_threshold": 0}, "error_threshold", 0),
    ({"mini_batch_error_threshold": 0}, "mini_batch_error_threshold", 0),
    ({"mini_batch_size": "10"}, "mini_batch_size", "10"),
    ({"mini_batch_size": 10}, "mini_batch_size", 10),
    ({"partition_keys": ["a"]}, "partition_keys", ["a"]),
    ({"instance_count": 2}, "resources", {"instance_count": 2}),
    ({"instance_type": ["large", "small"]}, "resources", {"instance_type": ["large", "small"]}),
    ({"docker_args": "--cpus 2", "shm_size": "3g"}, "resources", {"docker_args": "--cpus 2", "shm_size": "3g"}),
    ({"resources": JobResourceConfiguration(max_instance_count=4), "instance_count": 1}, "resources",
     {"instance_count": 1, "max_instance_count": 4}),
    ({"resources": {"instance_count": 3}}, "resources", {"instance_count": 3}),
    ({"identity": AmlTokenConfiguration()}, "identity", {"type": "aml_token"}),
    ({"identity": UserIdentityConfiguration()}, "identity", {"type": "user_identity"}),
    ({"identity": {"type": "managed", "client_id": "c"}}, "identity", {"type": "managed_identity", "client_id": "c"}),
    ({"identity": ManagedIdentityConfiguration(object_id="o")}, "identity", {"type": "managed_identity", "object_id": "o"}),
    ({"is_deterministic": False}, "is_deterministic", False),
    ({"version": "4"}, "version", "4"),
]  # fmt: skip


@pytest.mark.parametrize(("keywords", "key", "value"), SINGLE)
def test_single_keywords(keywords: dict[str, Any], key: str, value: Any) -> None:
    mapping = parallel_run_function(**{**BASE, **keywords})._to_mapping()
    assert mapping.pop(key) == value
    rest = {"type": "parallel", "inputs": INPUTS, "outputs": {"rows": {"type": "uri_file"}}, "input_data": "${{inputs.images}}"}
    expected = {**rest, "is_deterministic": True, "task": TASK_MAPPING}
    expected.pop(key, None)
    assert mapping == expected


ENVIRONMENTS: list[tuple[Any, Any]] = [
    ("azureml:env:1", "azureml:env:1"),
    (Environment(image="i", conda_file="c.yml"), {"image": "i", "conda_file": "c.yml"}),
    (Environment(conda_file={"dependencies": ["pip"]}), {"conda_file": {"dependencies": ["pip"]}}),
    (Environment(build=BuildContext(path="docker")), {"build": {"path": "docker"}}),
    (Environment(name="env", version="3"), "azureml:env:3"),
    (Environment(name="env"), "azureml:env@latest"),
    ({"image": "i"}, {"image": "i"}),
]


@pytest.mark.parametrize(("environment", "mapping"), ENVIRONMENTS)
def test_environments(environment: Any, mapping: Any) -> None:
    assert RunFunction(environment=environment)._to_mapping() == {"type": "run_function", "environment": mapping}


GIVEN_INPUTS: list[tuple[Any, Any]] = [
    (Input(type="mltable", path="t", mode=InputOutputModes.DIRECT), {"type": "mltable", "path": "t", "mode": "direct"}),
    (Input(path=Path("t")), {"type": "uri_folder", "path": "t"}),
    ({"type": "uri_file", "path": "f"}, {"type": "uri_file", "path": "f"}),
    (Data(path="d", type="uri_file"), {"type": "uri_file", "path": "d"}),
    (Data(name="d", version="2"), {"type": "uri_folder", "path": "azureml:d:2"}),
    (Model(path="m"), {"type": "custom_model", "path": "m"}),
    (0, 0),
    (False, False),
    ("text", "text"),
    (1.5, 1.5),
    ("${{parent.inputs.x}}", "${{parent.inputs.x}}"),
    (Input(type="integer", default=0, min=0), {"type": "integer", "default": 0, "min": 0}),
    (Input(type="string", optional=True), {"type": "string", "optional": True}),
    (InputOutputModes.DIRECT, "direct"),
]  # fmt: skip


@pytest.mark.parametrize(("value", "mapping"), GIVEN_INPUTS)
def test_inputs(value: Any, mapping: Any) -> None:
    for job in (parallel_run_function(inputs={"x": value}), ParallelJob(inputs={"x": value})):
        assert job._to_mapping()["inputs"] == {"x": mapping}


def test_a_job_passes_the_spec(resolved: Resolve, folder: Path) -> None:
    settings = {"retry_settings": {"timeout": 7}, "mini_batch_error_threshold": 0, "mini_batch_size": "3", "instance_count": 1}
    step = resolved(parallel_run_function(**BASE, **settings, tags={"a": "b"}))
    assert isinstance(step, Step)
    assert (step.inputs["images"].path, step.mini_batch_size, step.retry.timeout) == (str(folder / "data"), 3, 7)
    assert (step.mini_batch_error_threshold, step.tags, step.append_row_to) == (0, {"a": "b"}, "rows")


def test_defaults_and_unset_optionals_pass_the_spec(resolved: Resolve) -> None:
    task = RunFunction(code="src", entry_script="score.py", program_arguments="--n ${{inputs.n}} $[[ --o ${{inputs.o}} ]]")
    inputs = {**BASE["inputs"], "n": Input(type="integer", default=3), "o": Input(type="string", optional=True)}
    job = parallel_run_function(inputs=inputs, input_data="${{inputs.images}}", task=task)
    step = resolved(job)
    assert isinstance(step, Step)
    assert step.program_arguments == ("--n", "3")
    called = resolved(job(n=5, o="set"))
    assert isinstance(called, Step)
    assert called.program_arguments == ("--n", "5", "--o", "set")


def test_limits_of_a_declaration_hold_for_what_is_given(resolved: Resolve) -> None:
    job = parallel_run_function(**{**BASE, "inputs": {**BASE["inputs"], "n": Input(type="integer", min=1, max=5)}})
    resolved(job(n=5))
    with pytest.raises(UserError, match=r"inputs\.n"):
        resolved(job(n=6))
    with pytest.raises(UserError, match=r"inputs\.n"):
        resolved(job)


def test_paths_start_where_the_job_was_made(folder: Path, resolved: Resolve, monkeypatch: pytest.MonkeyPatch) -> None:
    job = parallel_run_function(**BASE)
    monkeypatch.chdir("/")
    step = resolved(job)
    assert isinstance(step, Step)
    assert step.code == str(folder / "src")


def test_a_call_makes_a_new_node_and_loses_nothing() -> None:
    node = parallel_run_function(
        **BASE, name="n", display_name="d", description="x", tags={"a": "b"}, properties={"p": "q"}, error_threshold=0
    )
    other = node(images=Input(type="uri_folder", path="other"))
    assert node._to_mapping()["inputs"] == INPUTS
    assert other._to_mapping() == {**node._to_mapping(), "inputs": {"images": {"type": "uri_folder", "path": "other"}}}
    other.tags["c"] = "d"
    other.task.code = "elsewhere"  # type: ignore[union-attr]
    other.outputs.rows.path = "here.txt"
    assert (node.tags, node.task.code, node.outputs.rows.path) == ({"a": "b"}, "src", None)  # type: ignore[union-attr]


def test_calls_take_names_they_know() -> None:
    node = parallel_run_function(**BASE, name="n")
    with pytest.raises(UserError, match="`n` has no input `image`"):
        node(image="x")
    with pytest.raises(UserError, match="by name"):
        node("x")


def test_ports_by_attribute_and_key() -> None:
    node = parallel_run_function(**BASE)
    node.inputs.images.mode = "download"
    node.inputs["images"].path = "other"
    node.outputs.rows.type = "uri_folder"
    node.outputs.rows.mode = "upload"
    assert node._to_mapping()["inputs"] == {"images": {"type": "uri_folder", "path": "other", "mode": "download"}}
    assert node._to_mapping()["outputs"] == {"rows": {"type": "uri_folder", "mode": "upload"}}
    node.inputs.images = Input(type="uri_file", path="f")
    node.outputs.rows = Output(type="uri_file", path="o", name="asset", version="1")
    assert node._to_mapping()["inputs"] == {"images": {"type": "uri_file", "path": "f"}}
    assert node._to_mapping()["outputs"] == {"rows": {"type": "uri_file", "path": "o", "name": "asset", "version": "1"}}
    assert (list(node.inputs), "rows" in node.outputs, len(node.outputs)) == (["images"], True, 1)
    assert "images" in dir(node.inputs)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda node: setattr(node, "mini_batchsize", 1), "did you mean 'mini_batch_size'"),
        (lambda node: setattr(node.inputs, "image", 1), "did you mean 'images'"),
        (lambda node: node.outputs.row, "did you mean 'rows'"),
        (lambda node: setattr(node.outputs.rows, "typ", 1), "did you mean 'type'"),
        (lambda node: node.set_resources(instance_counts=1), "did you mean 'instance_count'"),
        (lambda node: setattr(node, "retry_settings", {"max_retry": 1}), "did you mean 'max_retries'"),
        (lambda node: setattr(node, "task", {"entryscript": "x"}), "did you mean 'entry_script'"),
        (lambda node: setattr(node, "identity", {"type": "manged"}), "did you mean 'managed'"),
        (lambda node: setattr(node.inputs, "images", object()), "cannot be an input"),
        (lambda node: Input(typ="x"), "did you mean 'type'"),
        (lambda node: Environment(imag="x"), "did you mean 'image'"),
    ],
)
def test_nothing_is_set_in_silence(change: Callable[[Any], Any], sentence: str) -> None:
    with pytest.raises(UserError, match=sentence):
        change(parallel_run_function(**BASE))


def test_settable_attributes() -> None:
    node = parallel_run_function(**BASE)
    node.retry_settings = {"max_retries": 0}  # type: ignore[assignment]
    node.retry_settings.timeout = 9
    node.set_resources(instance_type="small", instance_count=2, properties={"k": 1}, docker_args="--a", shm_size="1g")
    node.set_resources(instance_count=3)
    node.compute, node.error_threshold, node.environment_variables["A"] = "local", 0, "b"
    mapping = node._to_mapping()
    assert mapping["retry_settings"] == {"max_retries": 0, "timeout": 9}
    assert mapping["resources"] == {
        "instance_count": 3,
        "instance_type": "small",
        "docker_args": "--a",
        "shm_size": "1g",
        "properties": {"k": 1},
    }
    assert (mapping["compute"], mapping["error_threshold"], mapping["environment_variables"]) == ("local", 0, {"A": "b"})


def test_what_is_set_on_a_node_wins_over_its_component() -> None:
    component = ParallelComponent(
        name="c",
        error_threshold=5,
        mini_batch_error_threshold=4,
        is_deterministic=False,
        inputs={"n": Input(type="integer")},
        code="src",
        instance_count=2,
    )
    node = parallel_run_function(component=component, error_threshold=0, environment_variables={})
    assert node._to_mapping() == {
        "type": "parallel", "inputs": {"n": {"type": "integer"}}, "error_threshold": 0, "mini_batch_error_threshold": 4,
        "is_deterministic": False, "resources": {"instance_count": 2}, "task": {"code": "src"},
    }  # fmt: skip
    assert component(n=1).inputs.n._to_mapping() == 1
    assert node.component is component


def test_a_component_by_name_or_path_is_passed_on() -> None:
    node = Parallel(component="./component.yml", inputs={"x": 1}, mini_batch_size=0)
    assert node._to_mapping() == {"type": "parallel", "component": "./component.yml", "inputs": {"x": 1}, "mini_batch_size": 0}
    assert node(y=2)._to_mapping()["inputs"] == {"x": 1, "y": 2}


def test_parallel_job_takes_everything(resolved: Resolve) -> None:
    job = ParallelJob(**BASE, name="j", mini_batch_size=1, resources={"instance_count": 1}, retry_settings={"timeout": 3})
    job.inputs["n"] = 3
    assert job._to_mapping()["inputs"] == {**INPUTS, "n": 3}
    assert isinstance(resolved(job), Step)
    with pytest.raises(UserError, match="did you mean 'mini_batch_size'"):
        ParallelJob(mini_batch_siz=1)


def test_repr_is_yaml_without_credentials(tmp_path: Path) -> None:
    uri = "https://account.blob.core.windows.net/c/p?sv=1&sig=SECRET%3D&se=2"
    job = ParallelJob(inputs={"x": Input(path=uri)}, environment_variables={"C": "DefaultEndpointsProtocol=https;AccountKey=SECRET==;X=1"})
    assert repr(job) == str(job)
    assert "SECRET" not in repr(job)
    assert "SECRET" not in repr(job.inputs)
    assert "sig=***&se=2" in str(job)
    assert "type: parallel" in str(job)
    job.dump(tmp_path / "job.yml")
    assert "SECRET" in (tmp_path / "job.yml").read_text()  # a copy to run is a true one


def test_records_are_mappings_too() -> None:
    entry = Input(type="uri_file", path="p")
    assert dict(entry) == {"type": "uri_file", "path": "p"}
    assert (entry["type"], entry.get("mode", 1), "mode" in entry) == ("uri_file", 1, False)
    entry["mode"] = "direct"
    assert entry == Input(type="uri_file", path="p", mode="direct")
    assert copy.deepcopy(entry) == entry
    assert repr(entry) == "Input(type='uri_file', path='p', mode='direct')"
    assert os.fspath(Path("p")) == entry.path


def test_objects_that_have_no_yaml_are_named() -> None:
    with pytest.raises(UserError, match=r"environment_variables\.A.*builtins\.object"):
        parallel_run_function(**BASE, environment_variables={"A": object()})._to_mapping()
