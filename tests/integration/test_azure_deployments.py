"""Files of batch deployments, read by us and by the loader of `azure-ai-ml`: what is made of them is the same."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import pytest
import yaml

from runner.errors import UserError
from runner.model.job import Step
from runner.spec.context import ResolveContext
from runner.spec.deployment import Invocation, deployment_job, read_deployment
from runner.spec.resolve import resolve

pytestmark = pytest.mark.filterwarnings("ignore")  # of azure-ai-ml and what it imports

BASE: dict[str, Any] = {
    "name": "dpl",
    "endpoint_name": "numbers",
    "model": "azureml:weights:1",
    "code_configuration": {"code": "code", "scoring_script": "score.py"},
    "environment": "azureml:env:1",
    "compute": "azureml:cpu-cluster",
}
NESTED = {
    "nothing more": {},
    "all": {
        "mini_batch_size": 7, "max_concurrency_per_instance": 3, "output_action": "append_row", "output_file_name": "rows.csv",
        "retry_settings": {"max_retries": 5, "timeout": 90}, "error_threshold": 4, "logging_level": "debug",
        "environment_variables": {"A": "1"},
    },
    "summary only": {"output_action": "summary_only"},
    "half of the retries": {"retry_settings": {"max_retries": 1}},
    "the other half": {"retry_settings": {"timeout": 12}},
    "no retries": {"retry_settings": {"max_retries": 0, "timeout": 30}},
    "a level in capitals": {"logging_level": "WARNING"},
    "all failures are ignored": {"error_threshold": -1},
}  # fmt: skip
SETTINGS: dict[str, dict[str, Any]] = {
    **{f"{name}, on top": given for name, given in NESTED.items()},
    **{f"{name}, below settings": {"type": "model", "settings": {"mini_batch_size": 10, **given}} for name, given in NESTED.items()},
    "instances of settings": {"type": "model", "settings": {"mini_batch_size": 10, "instance_count": 3}},
    "instances of resources": {"resources": {"instance_count": 3}},
    "tags and text": {"tags": {"a": "b"}, "description": "x", "properties": {"c": "d"}},
    "a type in capitals": {"type": "Model", "settings": {"mini_batch_size": 10}},
}
WRONG: dict[str, dict[str, Any]] = {
    "a file name with summary_only": {"output_action": "summary_only", "output_file_name": "a.csv"},
    "instances twice": {"type": "model", "resources": {"instance_count": 2}, "settings": {"mini_batch_size": 10, "instance_count": 3}},
    "no action": {"output_action": "append"},
    "an unknown type": {"type": "modell"},
    "an unknown key": {"modle": "x"},
    "a threshold that is no number": {"error_threshold": "few"},
    "retries that are no mapping": {"retry_settings": 3},
}
# What Azure's service puts in where nothing is written (the reference of the schema).
DEFAULTS = {"mini_batch_size": 10, "max_concurrency_per_instance": 1, "error_threshold": -1, "logging_level": "INFO"}


def write(folder: Path, keys: dict[str, Any]) -> Path:
    (folder / "code").mkdir()
    (folder / "code" / "score.py").write_text("def run(mini_batch):\n    return []\n")
    for name in ("model", "data"):
        (folder / name).mkdir()
        (folder / name / "a.txt").touch()
    path = folder / "deployment.yml"
    path.write_text(yaml.safe_dump({**BASE, **keys}))
    return path


def ours(path: Path) -> dict[str, Any]:
    from runner.model.datastore import DataAsset

    folder = path.parent
    context = ResolveContext(
        name="job", root=folder, datastores={"workspaceblobstore": folder / "store"}, computes=("cpu-cluster",),
        environments={"env:1": {"image": "env:1"}}, data={"weights:1": DataAsset(path="./model", type="custom_model")},
    )  # fmt: skip
    step = resolve(deployment_job(read_deployment(path), Invocation(input="data", base=folder)), context)
    assert isinstance(step, Step)
    rows = step.append_row_to is not None
    return {
        "mini_batch_size": step.mini_batch_size,
        "max_concurrency_per_instance": step.max_concurrency_per_instance,
        "output_action": "append_row" if rows else "summary_only",
        "output_file_name": Path(step.outputs["score"].path).name if rows else None,
        "retries": (step.retry.max_retries, step.retry.timeout),
        "error_threshold": step.error_threshold,
        "logging_level": step.logging_level,
        "environment_variables": dict(step.environment_variables),
        "instances": step.resources.instance_count,
        "description": step.description,
        "tags": dict(step.tags),
        "properties": dict(step.properties),
        "script": step.entry_script,
        "code": Path(step.code).name,
        "compute": step.compute,
    }


def azures(path: Path) -> dict[str, Any]:
    from azure.ai.ml.entities._load_functions import load_batch_deployment, load_model_batch_deployment

    load = load_model_batch_deployment if "settings" in yaml.safe_load(path.read_text()) else load_batch_deployment
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        loaded: Any = load(path)
        loaded._validate()
    retry = loaded.retry_settings
    action = str(getattr(loaded.output_action, "value", loaded.output_action) or "append_row").lower()
    action = {"appendrow": "append_row", "summaryonly": "summary_only"}.get(action, action)
    rows = action == "append_row"
    return {
        **{key: default if (given := getattr(loaded, key)) is None else given for key, default in DEFAULTS.items()},
        "output_action": action,
        "output_file_name": (loaded.output_file_name or "predictions.csv") if rows else None,
        "retries": (
            3 if retry is None or retry.max_retries is None else retry.max_retries,
            30 if retry is None or retry.timeout is None else retry.timeout,
        ),
        "logging_level": (loaded.logging_level or "info").upper(),
        "environment_variables": dict(loaded._settings.environment_variables or {}),
        "instances": loaded.resources.instance_count if loaded.resources else 1,
        "description": loaded.description or "",
        "tags": dict(loaded.tags or {}),
        "properties": dict(loaded.properties or {}),
        "script": loaded.code_configuration.scoring_script,
        "code": Path(loaded.code_configuration.code).name,
        "compute": loaded.compute.removeprefix("azureml:"),
    }


@pytest.mark.parametrize("keys", SETTINGS.values(), ids=SETTINGS)
def test_a_deployment_means_the_same(tmp_path: Path, keys: dict[str, Any]) -> None:
    path = write(tmp_path, keys)
    assert ours(path) == azures(path)


@pytest.mark.parametrize("keys", WRONG.values(), ids=WRONG)
def test_a_wrong_one_is_refused(tmp_path: Path, keys: dict[str, Any]) -> None:
    path = write(tmp_path, keys)
    with pytest.raises(UserError):
        ours(path)
    from azure.ai.ml.exceptions import ValidationException
    from marshmallow import ValidationError

    with pytest.raises((ValidationException, ValidationError)):
        azures(path)


@pytest.mark.parametrize(
    "keys", [{"type": "pipeline", "component": "azureml:c:1", "settings": {"default_compute": "x"}}, {"component": "./c.yml"}]
)
def test_a_deployment_of_a_pipeline_component_is_refused_in_one_sentence(tmp_path: Path, keys: dict[str, Any]) -> None:
    path = tmp_path / "deployment.yml"
    path.write_text(yaml.safe_dump({"name": "d", "endpoint_name": "e", **keys}))
    with pytest.raises(UserError) as caught:
        deployment_job(read_deployment(path), Invocation(input="data", base=tmp_path))
    assert caught.value.problem == "deployments of pipeline components cannot be invoked here"


def test_all_fields_of_azures_schemas_are_known() -> None:
    """Those of a model's deployment are taken; those of a pipeline's are known, so that it is refused by what it is."""
    from azure.ai.ml._schema._deployment.batch import (
        batch_deployment,
        model_batch_deployment,
        model_batch_deployment_settings,
        pipeline_component_batch_deployment_schema,
    )

    from runner.spec.deployment import DEPLOYMENT, OF_PIPELINES, SETTINGS

    known = {*DEPLOYMENT, *OF_PIPELINES, "schema_ignored"}  # marshmallow's name for $schema
    for schema in (batch_deployment.BatchDeploymentSchema, model_batch_deployment.ModelBatchDeploymentSchema):
        assert schema._declared_fields.keys() - known == set()
    pipelines = pipeline_component_batch_deployment_schema.PipelineComponentBatchDeploymentSchema
    assert pipelines._declared_fields.keys() - known == set()
    nested = model_batch_deployment_settings.ModelBatchDeploymentSettingsSchema
    assert nested._declared_fields.keys() - {*SETTINGS, "instance_count"} == set()
