"""Jobs made with the real `azure.ai.ml`, where somebody has it installed, as the mapping that a job file would give.

It is never imported here: its objects are known by the name of their module, and read by their own serialisation. That one is complete
but for some peculiarities, which are undone: paths with `azureml:` before them, names made up for environments, values that are
expressions below `path`, pipelines in pipelines whose component does not declare all of its inputs.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from runner.errors import NotSupportedHere, UserError
from runner.sdk.record import plain

_MODULE = "azure.ai.ml"
# What its serialisation of a command or a pipeline leaves out, or puts into the component only.
_ABOUT = ("name", "display_name", "description", "tags", "experiment_name", "compute")
_MADE_UP = "CliV2AnonymousEnvironment"
_ASSET = re.compile(r"[^/\\:@]+(:[^/\\:@]+|@[^/\\:@]+)")  # name:version, name@label
_WRITTEN_EMPTY = ("services", "properties", "tags", "environment_variables", "parameters", "identity")
_LITERALS: dict[str, Callable[[str], Any]] = {
    "string": str,
    "integer": int,
    "number": float,
    "boolean": lambda text: text.lower() == "true",
}


def is_foreign(value: object) -> bool:
    module = type(value).__module__
    return module == _MODULE or module.startswith(_MODULE + ".")


def foreign_job(job: Any) -> tuple[dict[str, Any], Path]:
    """The job's mapping and the folder that its relative paths start from. Raises a `UserError` for what is no job."""
    is_component = callable(job) and not hasattr(job, "component")
    if is_component or not (hasattr(job, "_to_dict") and hasattr(job, "inputs")):
        raise _no_job(job)
    mapping = _written(job)
    for key in _ABOUT:
        value = getattr(job, key, None)
        if value and not mapping.get(key):
            mapping[key] = _plain(value)
    component: Any = getattr(job, "component", None)
    if mapping.get("type") == "pipeline" and is_foreign(component):
        declared = _plain(component._to_dict()).get("inputs") or {}
        mapping["inputs"] = {**{name: _not_given(port) for name, port in declared.items()}, **mapping.get("inputs", {})}
    if mapping.get("type") == "pipeline":  # an output of which a file says nothing but the name is left out
        mapping["outputs"] = {**{str(name): {} for name in job.outputs}, **mapping.get("outputs", {})}
    return _job(mapping), Path(getattr(job, "base_path", None) or ".").absolute()


def _written(value: Any) -> Any:
    try:
        return _plain(value._to_dict())
    except UserError:
        raise
    except Exception as error:  # whatever it finds wrong with its own object
        raise UserError(f"azure.ai.ml cannot write this {type(value).__name__} down: {error}") from None


def foreign_asset(asset: Any) -> tuple[dict[str, Any], Path]:
    """The same of a component, an environment, data or a model."""
    mapping = _written(asset)
    if isinstance(mapping.get("path"), str):
        mapping["path"] = _path(mapping["path"])
    return _job(mapping), Path(getattr(asset, "base_path", None) or ".").absolute()


def _no_job(job: Any) -> NotSupportedHere:
    return NotSupportedHere(
        f"an object of type {type(job).__module__}.{type(job).__qualname__} is no job that can be submitted",
        allowed="what command, parallel_run_function, a pipeline function or load_job of azure.ai.ml gives",
        todo="call a component inside a pipeline function, and submit that pipeline" if callable(job) else "",
    )


def _plain(value: Any) -> Any:
    """As YAML could hold it. Objects that stand for an expression have it as their text."""
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if is_foreign(value):
        text = str(value)
        if "${{" not in text:
            raise UserError(f"an object of type {type(value).__qualname__} cannot stand here: {text[:80]}")
        return text
    return plain(value)


def _job(mapping: dict[str, Any]) -> dict[str, Any]:
    """A job, step or component, and all that stands in it."""
    job = {key: value for key, value in mapping.items() if value is not None and not (key in _WRITTEN_EMPTY and not value)}
    if isinstance(job.get("component"), Mapping):
        job["component"] = _job(job["component"])
    if isinstance(job.get("component"), Mapping) and job.get("type") == "pipeline":
        job = _laid_open(job)
    if isinstance(job.get("jobs"), Mapping):
        job["jobs"] = {name: _job(step) for name, step in job["jobs"].items()}
    for key in ("inputs", "outputs"):
        if isinstance(job.get(key), Mapping):
            job[key] = {name: _port(port) for name, port in job[key].items()}
    for holder in (job, job.get("task")):
        if isinstance(holder, dict) and isinstance(holder.get("environment"), Mapping):
            holder["environment"] = _environment(holder["environment"])
    return job


def _laid_open(step: dict[str, Any]) -> dict[str, Any]:
    """A pipeline in a pipeline with its steps and inputs below itself, as its component declares annotated inputs only."""
    component = step["component"]
    inputs = {name: _not_given(port) for name, port in component.get("inputs", {}).items()}
    outputs = {**component.get("outputs", {}), **step.get("outputs", {})}
    merged = {**step, "inputs": {**inputs, **step.get("inputs", {})}, "outputs": outputs, "jobs": component.get("jobs")}
    return {key: value for key, value in merged.items() if key != "component" and value not in ({}, None)}


def _not_given(declared: Any) -> Any:
    """An input of a pipeline that nobody set: its default, typed as it is declared. `None` as a default is not written down, so a
    number or text without one may be left out; whoever needs it says so when the job is checked.
    """
    kind = str(declared.get("type")) if isinstance(declared, Mapping) else ""
    if kind not in _LITERALS:
        return declared
    value = declared.get("default")
    if value is None:
        return {**declared, "optional": True}
    return _LITERALS[kind](value) if isinstance(value, str) else value


def _port(port: Any) -> Any:
    """An input or output. A binding stands alone: its type is that of what it is bound to."""
    if not isinstance(port, Mapping):
        return port
    path = port.get("path")
    if not isinstance(path, str):
        return dict(port)
    if re.fullmatch(r"\$\{\{\s*parent\.outputs\.[^}]+\}\}", path):
        return path
    if re.fullmatch(r"\$\{\{\s*parent\.[^}]+\}\}", path):
        return {"mode": port["mode"], "path": path} if port.get("mode") else path
    return {**port, "path": _path(path)}


def _path(path: str) -> str:
    """Local paths are written with `azureml:` before them, as names of assets are."""
    text = path.removeprefix("azureml:")
    return path if text == path or text.startswith("//") or _ASSET.fullmatch(text) else text


def _environment(environment: Mapping[str, Any]) -> dict[str, Any]:
    """Without the name and version that were made up for it, and without what is empty."""
    made_up = ("name", "version") if environment.get("name") == _MADE_UP else ()
    return {key: value for key, value in environment.items() if key not in made_up and value not in (None, {})}
