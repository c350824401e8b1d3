"""`CommandComponent`, a command under a name, and `Command`, a step made of it; a job on its own as well."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from enum import Enum
from typing import Any, ClassVar

from runner.errors import NotSupportedHere
from runner.sdk.assets import Environment
from runner.sdk.command_job import COERCE, SETTINGS, SHARED, CommandSettings, with_environment
from runner.sdk.io import Input, Output
from runner.sdk.job import Job, as_dict
from runner.sdk.record import Record, Reference, refuse_unknown
from runner.sdk.settings import CommandJobLimits, Distribution, Identity, JobResourceConfiguration, QueueSettings
from runner.sdk.step import Component, StepNode, WithResources, declarations


class CommandComponent(Component, WithResources):
    """Azure's names; `inputs` and `outputs` are declarations (`Input(type=…)`, `Output(type=…)`)."""

    _FIELDS: ClassVar[tuple[str, ...]] = (*Component._ABOUT, "inputs", "outputs", *SHARED, "additional_includes")
    _EMPTY = frozenset(("tags", "properties", "inputs", "outputs", "environment_variables"))
    _COERCE: ClassVar[Mapping[str, Callable[[Any], Any]]] = {
        **COERCE,
        "tags": as_dict,
        "properties": as_dict,
        "inputs": declarations(Input),
        "outputs": declarations(Output),
    }

    type = "command"
    command: str | None
    code: str | os.PathLike[str] | None
    environment: Environment | str | None
    additional_includes: list[str] | None

    def __init__(
        self,
        *,
        name: str | None = None,
        version: str | None = None,
        description: str | None = None,
        tags: dict[str, Any] | None = None,
        display_name: str | None = None,
        command: str | None = None,
        code: str | os.PathLike[str] | None = None,
        environment: Environment | str | None = None,
        distribution: Distribution | Mapping[str, Any] | None = None,
        resources: JobResourceConfiguration | None = None,
        inputs: Mapping[str, Any] | None = None,
        outputs: Mapping[str, Any] | None = None,
        instance_count: int | None = None,
        is_deterministic: bool = True,
        additional_includes: list[str] | None = None,
        properties: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        kwargs.pop("type", None)
        refuse_unknown("CommandComponent", kwargs, (*self._FIELDS, "instance_count"))
        given = {key: value for key, value in locals().items() if key in self._FIELDS}
        for key in self._FIELDS:
            setattr(self, key, {**given, **kwargs}.get(key))
        if instance_count is not None:
            self.set_resources(instance_count=instance_count)

    def __call__(self, *args: Any, **inputs: Any) -> Command:
        return Command(component=self)(*args, **inputs)

    def _to_mapping(self) -> dict[str, Any]:
        return {"type": self.type, **with_environment(super()._to_mapping(), self.environment)}


class Command(CommandSettings, StepNode):
    """A command as a step. `component` is a `CommandComponent`, or a name or path."""

    _FIELDS: ClassVar[tuple[str, ...]] = (*Job._COMMON, "version", *SETTINGS)
    _OF_COMPONENT = SHARED
    version: str | None

    def __init__(
        self,
        *,
        component: CommandComponent | str | None,
        compute: str | None = None,
        inputs: Mapping[str, Reference | Input | str | bool | int | float | Enum] | None = None,
        outputs: Mapping[str, Any] | None = None,
        limits: CommandJobLimits | Mapping[str, Any] | None = None,
        identity: Identity | Mapping[str, Any] | None = None,
        distribution: Distribution | Mapping[str, Any] | None = None,
        environment: Environment | str | None = None,
        environment_variables: Mapping[str, Any] | None = None,
        resources: JobResourceConfiguration | Mapping[str, Any] | None = None,
        services: Mapping[str, Record | Mapping[str, Any]] | None = None,
        queue_settings: QueueSettings | Mapping[str, Any] | None = None,
        parent_job_name: str | None = None,
        **kwargs: Any,
    ) -> None:
        kwargs.pop("type", None)
        refuse_unknown("Command", kwargs, ("component", "inputs", "outputs", *self._FIELDS))
        given = {key: value for key, value in locals().items() if key in self._FIELDS}
        self.version = kwargs.pop("version", None)
        super().__init__({**given, **kwargs})
        self._set_up(component, inputs, outputs)

    def __call__(self, *args: Any, **inputs: Any) -> Command:
        """A new step; unlike one of a parallel job, it is not called by the name that was given here, as on Azure."""
        node = super().__call__(*args, **inputs)
        node.name = None
        return node

    def set_limits(self, *, timeout: int, **kwargs: Any) -> None:
        """`timeout`: the seconds that the command may take."""
        refuse_unknown("set_limits", kwargs, ("timeout",))
        self.limits = CommandJobLimits(timeout=timeout)

    def set_queue_settings(self, *, job_tier: str | None = None, priority: str | None = None) -> None:
        """Kept; jobs queue as `priority=…` of `create_or_update` says."""
        settings = self.queue_settings or QueueSettings()
        given = {"job_tier": job_tier, "priority": priority}
        settings.update({key: value for key, value in given.items() if value is not None})
        self.queue_settings = settings

    def sweep(self, **kwargs: Any) -> Any:  # noqa: ARG002 — Azure's name; whatever it is given
        raise NotSupportedHere("sweeps cannot run here", todo="call the command once for each value, in a loop of the pipeline function")
