"""`command`: a command line as a job, as a step, or as a component that makes steps."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from runner.sdk.assets import Environment
from runner.sdk.command_job import SHARED
from runner.sdk.command_node import Command, CommandComponent
from runner.sdk.io import Input
from runner.sdk.record import Record, refuse_unknown
from runner.sdk.settings import CommandJobLimits, Distribution, Identity, QueueSettings

_ABOUT = ("name", "display_name", "description", "tags", "properties")
_OF_RESOURCES = ("instance_count", "instance_type", "locations", "docker_args", "shm_size")
_FURTHER = ("component", "resources", "version", "limits", "queue_settings")


def command(
    *,
    name: str | None = None,
    description: str | None = None,
    tags: dict[str, Any] | None = None,
    properties: dict[str, Any] | None = None,
    display_name: str | None = None,
    command: str | None = None,
    experiment_name: str | None = None,
    environment: str | Environment | None = None,
    environment_variables: dict[str, Any] | None = None,
    distribution: Distribution | dict[str, Any] | None = None,
    compute: str | None = None,
    inputs: dict[str, Any] | None = None,
    outputs: dict[str, Any] | None = None,
    instance_count: int | None = None,
    instance_type: str | None = None,
    locations: list[str] | None = None,
    docker_args: str | list[str] | None = None,
    shm_size: str | None = None,
    timeout: int | None = None,
    code: str | os.PathLike[str] | None = None,
    identity: Identity | dict[str, Any] | None = None,
    is_deterministic: bool = True,
    services: dict[str, Record] | None = None,
    job_tier: str | None = None,
    priority: str | None = None,
    parent_job_name: str | None = None,
    **kwargs: Any,
) -> Command:
    """A command: submit it as it is, or call it in a pipeline function to make a step (`train(data=…)`).

    The meaning of each keyword is that of the key of the same name in YAML; `timeout` is that of `limits`, `job_tier` and `priority`
    are those of `queue_settings`. Further keywords: `component` (a `CommandComponent`, a path or a name), whose settings hold where
    none is given here; `resources`, `limits`, `queue_settings`, `version`.

    Raises a `UserError` for unknown keywords, with the name that was probably meant.
    """
    given = {key: value for key, value in locals().items() if key != "kwargs"}
    refuse_unknown("command", kwargs, (*given, *_FURTHER))
    resources = {key: given.pop(key) for key in _OF_RESOURCES}
    queue = {key: value for key in ("job_tier", "priority") if (value := given.pop(key)) is not None}
    limit = given.pop("timeout")
    component = kwargs.pop("component", None)
    if component is None:
        component = _component(given, kwargs)
        given["inputs"] = given["outputs"] = None
    elif is_deterministic:
        given["is_deterministic"] = None  # the default, so that the component's own value holds
    node = Command(component=component, **given, **kwargs)
    if any(value is not None for value in resources.values()):
        node.set_resources(**resources)
    if limit is not None:
        node.limits = CommandJobLimits(timeout=limit)
    if queue:
        node.queue_settings = QueueSettings(**queue)
    return node


def _component(given: Mapping[str, Any], further: Mapping[str, Any]) -> CommandComponent:
    """What was given as declarations and settings; the node takes them from there."""
    settings = {key: given[key] for key in (*_ABOUT, *SHARED) if key in given}
    settings |= {key: further[key] for key in ("resources", "version") if key in further}
    return CommandComponent(**settings, inputs=_declared(given["inputs"]), outputs=given["outputs"] or {})


def _declared(inputs: Mapping[str, Any] | None) -> dict[str, Any]:
    return {key: Input(**value) if isinstance(value, Mapping) and "value" not in value else value for key, value in (inputs or {}).items()}
