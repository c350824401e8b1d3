"""The table has a row for everything that a user can write, and for everything that Azure's schemas have; the page is made from it."""

from __future__ import annotations

import importlib
import inspect
from pathlib import Path

import pytest

from runner.compatibility.keys import findings
from runner.compatibility.page import render
from runner.compatibility.table import STATUSES, row_of, sections
from runner.parallel import parallel_run_function
from runner.sdk.run_function import _FURTHER
from runner.spec import deployment, schema
from runner.spec.arguments import OPTIONS
from runner.spec.yaml_source import read_yaml
from runner.workspace.registration import KEYS as KEYS_OF_ASSETS

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "azure-compatibility.md"
ROWS = [row for section in sections() for row in section.rows]
NAMED = {name for row in ROWS for name in row.names}


def below(prefix: str, keys: tuple[str, ...]) -> set[str]:
    return {f"{prefix}.{key}" for key in keys}


KEYS = (
    {*schema.PARALLEL, *schema.PIPELINE, *schema.COMPONENT, *schema.COMMAND, *schema.COMMAND_COMPONENT, *schema.PIPELINE_COMPONENT}
    | {*schema.WRITTEN_BY_AZURE}
    | below("settings", schema.PIPELINE_SETTINGS)
    | below("retry_settings", schema.RETRY_SETTINGS)
    | below("resources", schema.RESOURCES)
    | below("limits", schema.LIMITS)
    | below("queue_settings", schema.QUEUE_SETTINGS)
    | below("task", schema.TASK)
    | below("environment", schema.ENVIRONMENT)
    | below("build", schema.BUILD)
    | below("inputs.*", schema.INPUT)
    | below("outputs.*", schema.OUTPUT)
    | below("deployment", (*deployment.DEPLOYMENT, *deployment.OF_PIPELINES))
    | below("model", deployment.MODEL)
    | below("data", KEYS_OF_ASSETS["data"])
    | below("model", KEYS_OF_ASSETS["model"])
    | below("code_configuration", deployment.CODE)
)
KEYWORDS = {*inspect.signature(parallel_run_function).parameters, *_FURTHER} - {"kwargs"}


@pytest.mark.parametrize(
    "wanted",
    [KEYS, KEYWORDS, {f"--{name}" for name in OPTIONS}, {"eval_mount", "eval_download"}],
    ids=["keys", "keywords", "arguments", "modes"],
)
def test_everything_has_a_row(wanted):
    assert wanted - NAMED == set()


def test_what_is_refused_by_name_is_named():
    words = {*schema.OTHER_JOBS, *schema.OTHER_TASKS, *schema.IDENTITY, *schema.INPUT_MODES, *schema.OUTPUT_MODES}
    text = render()
    assert {word for word in words if f"`{word}`" not in text} == set()


def test_every_row_has_a_status():
    assert [row for row in ROWS if row.status not in STATUSES] == []
    assert len(ROWS) > 100


def test_the_page_is_made_from_the_table():
    assert PAGE.read_text(encoding="utf-8") == render(), "run: python -m runner.compatibility"


# Schema of the real package → what stands before its fields in the table, and whether they are a command's.
SCHEMAS = {
    "pipeline.pipeline_job.PipelineJobSchema": ("", False),
    "pipeline.settings.PipelineJobSettingsSchema": ("settings.", False),
    "pipeline.component_job.CommandSchema": ("", True),
    "pipeline.component_job.ParallelSchema": ("", False),
    "job.command_job.CommandJobSchema": ("", True),
    "job.parallel_job.ParallelJobSchema": ("", False),
    "job.job_limits.CommandJobLimitsSchema": ("limits.", True),
    "component.command_component.CommandComponentSchema": ("", True),
    "component.parallel_component.ParallelComponentSchema": ("", False),
    "component.parallel_task.ComponentParallelTaskSchema": ("task.", False),
    "component.retry_settings.RetrySettingsSchema": ("retry_settings.", False),
    "component.input_output.InputPortSchema": ("inputs.*.", False),
    "component.input_output.OutputPortSchema": ("outputs.*.", False),
    "component.input_output.ParameterSchema": ("inputs.*.", False),
    "job.input_output_entry.DataInputSchema": ("inputs.*.", False),
    "job.input_output_entry.MLTableInputSchema": ("inputs.*.", False),
    "job.input_output_entry.InputLiteralValueSchema": ("inputs.*.", False),
    "job.input_output_entry.OutputSchema": ("outputs.*.", False),
    "job_resource_configuration.JobResourceConfigurationSchema": ("resources.", False),
    "assets.environment.EnvironmentSchema": ("environment.", False),
    "assets.data.DataSchema": ("data.", False),
    "assets.model.ModelSchema": ("model.", False),
    "assets.environment.BuildContextSchema": ("build.", False),
    "_deployment.batch.batch_deployment.BatchDeploymentSchema": ("deployment.", False),
    "queue_settings.QueueSettingsSchema": ("queue_settings.", True),
}


AZURE = pytest.mark.filterwarnings("default")  # its dependencies warn when they are imported


@AZURE
@pytest.mark.parametrize("name", SCHEMAS)
def test_every_field_of_azures_schemas_has_a_row(name):
    module, _, kind = name.rpartition(".")
    fields = getattr(importlib.import_module(f"azure.ai.ml._schema.{module}"), kind)._declared_fields
    prefix, command = SCHEMAS[name]
    keys = {prefix + ("$schema" if key == "schema_ignored" else field.data_key or key) for key, field in fields.items()}
    assert {key for key in keys if row_of(key, command=command) is None} == set()


@AZURE
def test_keys_of_azures_identities_are_ours():
    from azure.ai.ml._schema.job import identity

    kinds = (identity.ManagedIdentitySchema, identity.AMLTokenIdentitySchema, identity.UserIdentitySchema)
    fields = {key for kind in kinds for key in kind._declared_fields}
    assert fields - {key for keys in schema.IDENTITY.values() for key in keys} == set()


@pytest.mark.parametrize("file", sorted((ROOT / "examples").rglob("*.yml")), ids=lambda file: str(file.relative_to(ROOT)))
def test_every_key_of_a_file_is_found(file):
    found = list(findings(read_yaml(file)))
    assert [one.key for one in found if one.status == "unknown"] == []
    assert len(found) >= 3


def test_a_key_of_a_command_has_its_own_row(tmp_path):
    path = tmp_path / "job.yml"
    path.write_text(
        "type: command\ncommand: ls\nlimits: {timeout: 3}\ninputs: {a: {type: uri_file, path: x}}\nresources: {instance_count: 2}\n"
    )
    found = {one.key: one for one in findings(read_yaml(path))}
    assert found["limits.timeout"].place.line == 3
    assert found["inputs.a.path"].status == "differs"
    assert found["resources.instance_count"].status != "chosen", "that of parallel jobs"
    assert "a" not in {key.rpartition(".")[2] for key in found}


def test_a_key_that_nobody_knows(tmp_path):
    path = tmp_path / "job.yml"
    path.write_text("type: parallel\nmini_batch_sise: 3\n")
    assert [(one.key, one.status) for one in findings(read_yaml(path))] == [("type", "same"), ("mini_batch_sise", "unknown")]
