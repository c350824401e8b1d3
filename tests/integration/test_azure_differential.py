"""Job and component files read by us and by the loader of `azure-ai-ml`: equal, or the difference is a row of the compatibility table.

Both are brought to one normal form (`azure_ours.py`, `azure_loader.py`).
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml

from runner.model.job import PipelineJob, Step
from runner.sdk.loading import load_component
from runner.spec.load import job_from_mapping, read_job
from runner.spec.resolve import ResolveContext, resolve
from tests.integration.azure_loader import AzureSteps, azure_load
from tests.integration.azure_ours import CORPUS, Plain, files, flat, our_job, our_steps
from tests.integration.azure_rows import AZURE_REFUSES, DIFFERS, ROWS, TYPE, WE_REFUSE

GIVEN = {  # what the inputs of a component get, by type
    "uri_folder": "../data/images",
    "uri_file": "../data/rows.csv",
    "mltable": "../data/table",
    "custom_model": "../data/model",
}
GIVEN_LITERALS = {"string": "fast", "integer": 2, "number": 0.5, "boolean": True}

pytestmark = [pytest.mark.filterwarnings("ignore"), pytest.mark.usefixtures("offline")]  # warnings of azure-ai-ml and what it imports


def differences(ours: Plain, azures: Plain) -> dict[str, tuple[Any, Any]]:
    one, other = flat(ours), flat(azures)
    return {key: (one.get(key), other.get(key)) for key in sorted({*one, *other}) if one.get(key) != other.get(key)}


def compare(name: str, ours: Step | PipelineJob, azures: Any, context: ResolveContext) -> None:
    found = differences(our_job(ours, context), AzureSteps(ours=our_steps(ours)).job(azures))
    expected = {field for file, field in DIFFERS if file == name}
    assert {key: value for key, value in found.items() if key not in expected} == {}, "(ours, Azure's)"
    assert expected - found.keys() == set(), "these do not differ (any more)"


@pytest.mark.parametrize("name", files("parallel", "command", "pipeline"))
def test_a_job_means_the_same(name: str, corpus_context: ResolveContext) -> None:
    compare(name, resolve(read_job(CORPUS / name), corpus_context), azure_load(name), corpus_context)


def test_a_parallel_job_of_its_own_is_beyond_azures_command_line() -> None:
    from azure.ai.ml import load_job
    from azure.ai.ml.exceptions import ValidationException

    with pytest.raises(ValidationException, match="Unsupported job type: parallel"):
        load_job(CORPUS / "parallel" / "files.yml")
    assert "Azure's loader takes `parallel` as a step only" in next(row.here for row in ROWS if row.what == TYPE)


@cache
def component_of(name: str) -> Any:
    from azure.ai.ml import load_component

    return load_component(CORPUS / name)


@pytest.mark.parametrize("name", files("components"))
def test_a_component_means_the_same(name: str, corpus_context: ResolveContext) -> None:
    declared = component_of(name)._to_dict()
    given: Plain = {}
    for key, one in declared.get("inputs", {}).items():
        if "default" in one or one.get("optional"):
            continue
        kind = one["type"]
        given[key] = {"type": kind, "path": GIVEN[kind]} if kind in GIVEN else GIVEN_LITERALS[kind]
    step = {"type": declared["type"], "component": f"./{Path(name).name}", "inputs": given}
    tree: Plain = {"type": "pipeline", "settings": {"default_compute": "azureml:cpu-cluster"}, "jobs": {"step": step}}
    ours = resolve(job_from_mapping(tree, CORPUS / "components"), corpus_context)
    compare(name, ours, azure_load(name, yaml.safe_dump(tree)), corpus_context)


@pytest.mark.parametrize("name", files("components"))
def test_a_component_loaded_in_python_declares_the_same(name: str) -> None:
    ours, azures = load_component(CORPUS / name), component_of(name)
    for key in ("name", "version", "display_name", "description", "tags"):
        assert (key, getattr(ours, key) or None) == (key, getattr(azures, key) or None)
    for side in ("inputs", "outputs"):
        assert {key: port(one) for key, one in getattr(ours, side).items()} == {
            key: port(one) for key, one in getattr(azures, side).items()
        }


def port(one: Any) -> Plain:
    found = {key: getattr(one, key, None) for key in ("type", "mode", "default", "min", "max", "enum", "optional", "description")}
    return {key: value for key, value in found.items() if value not in (None, False)}


def test_every_difference_has_a_row() -> None:
    named = {*DIFFERS.values(), *WE_REFUSE.values(), *AZURE_REFUSES.values()}
    assert {name for name in named if not any(row.what.startswith(name) for row in ROWS)} == set()
    known = set(files("parallel", "command", "pipeline", "components", "wrong"))
    assert {file for file, _ in DIFFERS} | {*WE_REFUSE, *AZURE_REFUSES} <= known


def test_the_corpus_is_large_enough() -> None:
    assert len(files("parallel", "command", "pipeline", "components")) >= 60
    assert len(files("wrong")) >= 10
