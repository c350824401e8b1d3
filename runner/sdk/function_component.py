"""A pipeline function as a component: what is registered of it is the pipeline that it builds, its parameters are the inputs."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any

from runner.errors import UserError
from runner.sdk.group import group_of
from runner.sdk.io import Input
from runner.sdk.pipeline_function import parameters_of, version_of
from runner.sdk.record import plain

_TYPES = {bool: "boolean", int: "integer", float: "number", str: "string", Input: "uri_folder"}
_ABOUT = ("display_name", "description", "tags")


def is_pipeline_function(value: object) -> bool:
    """Whether that is what `@pipeline` gives."""
    return callable(value) and hasattr(value, "_pipeline_version")


def mapping_of_function(function: Callable[..., Any]) -> dict[str, Any]:
    """The component, as a file would have it. Errors: UserError for parameters of which neither annotation nor default tells the type."""
    inputs = {name: _declaration(function, parameter) for name, parameter in parameters_of(function).items()}
    job = function()
    built: Mapping[str, Any] = job._to_mapping()
    return {
        "type": "pipeline",
        "name": job._component_name,
        "version": version_of(function),
        **{key: built[key] for key in _ABOUT if built.get(key)},
        "inputs": inputs,
        "outputs": {name: {"type": (one or {}).get("type", "uri_folder")} for name, one in built.get("outputs", {}).items()},
        "jobs": built["jobs"],
    }


def _declaration(function: Callable[..., Any], parameter: inspect.Parameter) -> dict[str, Any]:
    annotation, default = parameter.annotation, parameter.default
    if group_of(annotation, default) is not None:
        raise UserError(
            f"the parameter `{parameter.name}` of the pipeline function `{function.__name__}` takes a group, which no component here has",
            todo="register a function whose parameters are the fields of the group",
        )
    given = default is not parameter.empty
    if isinstance(annotation, Input):
        found = plain(annotation)
    else:
        kind = _TYPES.get(annotation) or (_TYPES.get(type(default), "string" if default is None else None) if given else None)
        if kind is None:
            raise UserError(
                f"the type of the parameter `{parameter.name}` of the pipeline function `{function.__name__}` is not known",
                todo=f'annotate it: {parameter.name}: Input(type="uri_folder"), or {parameter.name}: int, float, str, bool',
            )
        found = {"type": kind}
    if given and default is None:
        return {**found, "optional": True}
    return {**found, "default": default} if given else dict(found)
