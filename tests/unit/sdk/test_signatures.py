"""Azure's parameters, in kind and name, on everything that has a counterpart there."""

from __future__ import annotations

import importlib
import inspect
from types import ModuleType
from typing import Any

import pytest

import runner
from runner import MLClient, parallel
from runner.errors import UserError

ENTITIES = (
    "BatchRetrySettings", "BuildContext", "Data", "Environment", "JobResourceConfiguration", "ManagedIdentityConfiguration",
    "CommandComponent", "CommandJob", "CommandJobLimits", "JobService", "ParallelComponent", "ParallelTask", "PipelineComponent",
    "QueueSettings", "JupyterLabJobService", "SshJobService", "TensorBoardJobService", "VsCodeJobService",
    "PipelineJob", "PipelineJobSettings", "ResourceConfiguration", "RetrySettings", "AmlTokenConfiguration",
    "UserIdentityConfiguration",
)  # fmt: skip
PAIRS = [
    *(("parallel", name) for name in ("parallel_run_function", "ParallelJob", "RunFunction")),
    *(("entities", name) for name in ENTITIES),
    ("entities", "Parallel.__init__"),
    ("entities", "Parallel.set_resources"),
    *(("entities", f"Command.{method}") for method in ("__init__", "set_resources", "set_limits", "set_queue_settings")),
    *(("", f"{kind}Distribution") for kind in ("Mpi", "PyTorch", "TensorFlow", "Ray")),
    ("", "command"),
    *(("", name) for name in ("Input", "Output", "load_job", "load_component", "load_environment", "MLClient", "MLClient.from_config")),
    ("dsl", "pipeline"),
]  # fmt: skip


def found(package: str, module: str, name: str) -> Any:
    value: Any = importlib.import_module(f"{package}.{module}" if module else package)
    for part in name.split("."):
        value = getattr(value, part)
    return value


def parameters(function: Any) -> dict[str, inspect.Parameter]:
    return {key: one for key, one in inspect.signature(function).parameters.items() if one.kind is not one.VAR_KEYWORD}


@pytest.mark.parametrize(("module", "name"), PAIRS)
def test_parameters_are_azures(azure: ModuleType, module: str, name: str) -> None:
    theirs, ours = parameters(found("azure.ai.ml", module, name)), parameters(found("runner", module, name))
    assert set(theirs) <= set(ours)
    for key, one in theirs.items():
        assert ours[key].kind == one.kind, key
        if key != "credential":  # none is needed here
            assert ours[key].default == one.default, key


def test_parallel_run_function_has_25_keywords_in_azures_order(azure: ModuleType) -> None:
    theirs, ours = (parameters(one.parallel_run_function) for one in (azure.parallel, parallel))
    assert list(ours) == list(theirs)
    assert len(ours) == 25
    assert {one.kind for one in ours.values()} == {inspect.Parameter.KEYWORD_ONLY}


def test_command_has_azures_keywords_in_azures_order(azure: ModuleType) -> None:
    assert list(parameters(runner.command)) == list(parameters(azure.command))
    with pytest.raises(UserError, match="did you mean 'environment_variables'"):
        runner.command(environment_variable={})


@pytest.mark.parametrize(
    "method", ["create_or_update", "get", "list", "stream", "begin_cancel", "begin_delete", "download", "validate", "show_services"]
)
def test_job_operations(azure: ModuleType, method: str) -> None:
    operations = importlib.import_module("azure.ai.ml.operations").JobOperations
    theirs, ours = parameters(getattr(operations, method)), parameters(getattr(type(_client().jobs), method))
    assert list(ours) == list(theirs)
    assert [one.kind for one in ours.values()] == [one.kind for one in theirs.values()]


@pytest.mark.parametrize("method", ["get", "list"])
def test_compute_operations(azure: ModuleType, method: str) -> None:
    operations = importlib.import_module("azure.ai.ml.operations").ComputeOperations
    assert list(parameters(getattr(operations, method))) == list(parameters(getattr(type(_client().compute), method)))


def _client() -> MLClient:
    return MLClient()


@pytest.mark.parametrize(
    ("keyword", "nearest"), [("mini_batch_sise", "mini_batch_size"), ("componet", "component"), ("retry_setting", "retry_settings")]
)
def test_unknown_keywords_are_errors(keyword: str, nearest: str) -> None:
    with pytest.raises(UserError, match=f"did you mean '{nearest}'"):
        parallel.parallel_run_function(**{keyword: 1})


def test_it_takes_keywords_only() -> None:
    with pytest.raises(TypeError):
        parallel.parallel_run_function("name")  # type: ignore[misc]
