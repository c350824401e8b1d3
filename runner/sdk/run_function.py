"""`parallel_run_function`, the way in for most people."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from runner.sdk.io import Input
from runner.sdk.node import Parallel, ParallelComponent
from runner.sdk.parallel_job import SHARED
from runner.sdk.record import refuse_unknown
from runner.sdk.settings import BatchRetrySettings, Identity, RetrySettings
from runner.sdk.task import ParallelTask, RunFunction

_ABOUT = ("name", "display_name", "description", "tags", "properties")
_OF_RESOURCES = ("instance_count", "instance_type", "docker_args", "shm_size")
_FURTHER = ("component", "resources", "version")


def parallel_run_function(
    *,
    name: str | None = None,
    description: str | None = None,
    tags: dict[str, str] | None = None,
    properties: dict[str, str] | None = None,
    display_name: str | None = None,
    experiment_name: str | None = None,
    compute: str | None = None,
    retry_settings: BatchRetrySettings | RetrySettings | dict[str, Any] | None = None,
    environment_variables: dict[str, Any] | None = None,
    logging_level: str | None = None,
    max_concurrency_per_instance: int | str | None = None,
    error_threshold: int | str | None = None,
    mini_batch_error_threshold: int | str | None = None,
    task: RunFunction | ParallelTask | dict[str, Any] | None = None,
    mini_batch_size: str | int | None = None,
    partition_keys: list[str] | None = None,
    input_data: str | None = None,
    inputs: dict[str, Any] | None = None,
    outputs: dict[str, Any] | None = None,
    instance_count: int | str | None = None,
    instance_type: str | list[str] | None = None,
    docker_args: str | list[str] | None = None,
    shm_size: str | None = None,
    identity: Identity | dict[str, Any] | None = None,
    is_deterministic: bool = True,
    **kwargs: Any,
) -> Parallel:
    """A parallel job: submit it as it is, or call it in a pipeline function to make a step (`score(images=…)`).

    The meaning of each keyword is that of the key of the same name in YAML. Further keywords: `component` (a `ParallelComponent`,
    a path or a name), whose settings hold where none is given here; `resources`, of which `instance_count`, `instance_type`,
    `docker_args` and `shm_size` are the parts; `version`, of the component. Numbers may be numeric strings, bindings
    (`${{parent.inputs.n}}`) or inputs of a pipeline; they are checked when the job is submitted or validated.

    Raises a `UserError` for unknown keywords, with the name that was probably meant.
    """
    given = {key: value for key, value in locals().items() if key != "kwargs"}
    refuse_unknown("parallel_run_function", kwargs, (*given, *_FURTHER))
    resources = {key: given.pop(key) for key in _OF_RESOURCES}
    component = kwargs.pop("component", None)
    if component is None:
        component = _component(given, kwargs)
        given["inputs"] = given["outputs"] = None
    elif is_deterministic:
        given["is_deterministic"] = None  # the default, so that the component's own value holds
    node = Parallel(component=component, **given, **kwargs)
    if any(value is not None for value in resources.values()):
        node.set_resources(**resources)
    return node


def _component(given: Mapping[str, Any], further: Mapping[str, Any]) -> ParallelComponent:
    """What was given as declarations and settings; the node takes them from there."""
    settings = {key: given[key] for key in (*_ABOUT, *SHARED) if key in given}
    settings |= {key: further[key] for key in ("resources", "version") if key in further}
    inputs = {
        key: Input(**value) if isinstance(value, Mapping) and "value" not in value else value
        for key, value in (given["inputs"] or {}).items()
    }
    return ParallelComponent(**settings, inputs=inputs, outputs=given["outputs"] or {})
