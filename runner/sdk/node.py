"""`ParallelComponent`, settings under a name, and `Parallel`, a step made of them; a job on its own as well."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from enum import Enum
from typing import Any, ClassVar

from runner.sdk.io import Input, Output
from runner.sdk.job import Job, as_dict
from runner.sdk.parallel_job import COERCE, SETTINGS, SHARED, ParallelSettings
from runner.sdk.record import Reference, refuse_unknown
from runner.sdk.settings import Identity, JobResourceConfiguration, RetrySettings
from runner.sdk.step import Component, StepNode, WithResources, declarations
from runner.sdk.task import ParallelTask


class ParallelComponent(Component, WithResources):
    """Azure's names; `inputs` and `outputs` are declarations (`Input(type=…)`, `Output(type=…)`)."""

    _FIELDS: ClassVar[tuple[str, ...]] = (*Component._ABOUT, "inputs", "outputs", *SHARED)
    _EMPTY = frozenset(("tags", "properties", "inputs", "outputs", "environment_variables"))
    _COERCE: ClassVar[Mapping[str, Callable[[Any], Any]]] = {
        **COERCE,
        "tags": as_dict,
        "properties": as_dict,
        "inputs": declarations(Input),
        "outputs": declarations(Output),
    }

    type = "parallel"
    task: ParallelTask | None

    def __init__(
        self,
        *,
        name: str | None = None,
        version: str | None = None,
        description: str | None = None,
        tags: dict[str, Any] | None = None,
        display_name: str | None = None,
        retry_settings: RetrySettings | None = None,
        logging_level: str | None = None,
        max_concurrency_per_instance: int | None = None,
        error_threshold: int | None = None,
        mini_batch_error_threshold: int | None = None,
        task: ParallelTask | None = None,
        mini_batch_size: str | None = None,
        partition_keys: list[str] | None = None,
        input_data: str | None = None,
        resources: JobResourceConfiguration | None = None,
        inputs: Mapping[str, Any] | None = None,
        outputs: Mapping[str, Any] | None = None,
        code: str | None = None,
        instance_count: int | None = None,
        is_deterministic: bool | None = True,
        **kwargs: Any,
    ) -> None:
        kwargs.pop("type", None)
        refuse_unknown("ParallelComponent", kwargs, (*self._FIELDS, "code", "instance_count"))
        given = {key: value for key, value in locals().items() if key in self._FIELDS}
        for key in self._FIELDS:
            setattr(self, key, {**given, **kwargs}.get(key))
        if code is not None:
            self.task = self.task or ParallelTask()
            self.task.code = code
        if instance_count is not None:
            self.set_resources(instance_count=instance_count)

    def __call__(self, *args: Any, **inputs: Any) -> Parallel:
        return Parallel(component=self)(*args, **inputs)

    def _to_mapping(self) -> dict[str, Any]:
        return {"type": self.type, **super()._to_mapping()}


class Parallel(ParallelSettings, StepNode):
    """A parallel step. `component` is a `ParallelComponent`, whose settings it takes where it has none of its own, or a name or path."""

    _FIELDS: ClassVar[tuple[str, ...]] = (*Job._COMMON, "version", *SETTINGS)
    _OF_COMPONENT = SHARED
    version: str | None

    def __init__(
        self,
        *,
        component: ParallelComponent | str | None,
        compute: str | None = None,
        inputs: Mapping[str, Reference | Input | str | bool | int | float | Enum] | None = None,
        outputs: Mapping[str, Any] | None = None,
        retry_settings: RetrySettings | Mapping[str, Any] | None = None,
        logging_level: str | None = None,
        max_concurrency_per_instance: int | str | None = None,
        error_threshold: int | str | None = None,
        mini_batch_error_threshold: int | str | None = None,
        input_data: str | None = None,
        task: ParallelTask | Mapping[str, Any] | None = None,
        partition_keys: list[str] | None = None,
        mini_batch_size: str | int | None = None,
        resources: JobResourceConfiguration | Mapping[str, Any] | None = None,
        environment_variables: Mapping[str, Any] | None = None,
        identity: Identity | Mapping[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        kwargs.pop("type", None)
        refuse_unknown("Parallel", kwargs, ("component", "inputs", "outputs", *self._FIELDS))
        given = {key: value for key, value in locals().items() if key in self._FIELDS}
        self.version = kwargs.pop("version", None)
        super().__init__({**given, **kwargs})
        self._set_up(component, inputs, outputs)
