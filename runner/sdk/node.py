"""`ParallelComponent`, settings under a name, and `Parallel`, a step made of them; a job on its own as well."""

from __future__ import annotations

import copy
import itertools
from collections.abc import Callable, Mapping
from enum import Enum
from typing import Any, ClassVar

from runner.errors import UserError
from runner.sdk.building import current
from runner.sdk.io import Input, Output, as_output
from runner.sdk.job import Job, as_dict, input_ports, output_ports
from runner.sdk.parallel_job import COERCE, SETTINGS, SHARED, ParallelSettings, WithResources
from runner.sdk.ports import NodeOutput
from runner.sdk.record import Record, Reference, refuse_unknown
from runner.sdk.settings import Identity, JobResourceConfiguration, RetrySettings
from runner.sdk.task import ParallelTask

_numbers = itertools.count()


class Component(Record):
    """What has inputs and outputs and can be called: `component(images=…)` gives a step."""


def _declarations(kind: type[Any]) -> Callable[[Any], dict[str, Any]]:
    def coerce(value: Any) -> dict[str, Any]:
        return {name: kind(**item) if isinstance(item, Mapping) else item for name, item in (value or {}).items()}

    return coerce


class ParallelComponent(Component, WithResources):
    """Azure's names; `inputs` and `outputs` are declarations (`Input(type=…)`, `Output(type=…)`)."""

    _ABOUT = ("name", "version", "display_name", "description", "tags", "properties")
    _FIELDS: ClassVar[tuple[str, ...]] = (*_ABOUT, "inputs", "outputs", *SHARED)
    _EMPTY = frozenset(("tags", "properties", "inputs", "outputs", "environment_variables"))
    _COERCE: ClassVar[Mapping[str, Callable[[Any], Any]]] = {
        **COERCE,
        "tags": as_dict,
        "properties": as_dict,
        "inputs": _declarations(Input),
        "outputs": _declarations(Output),
    }

    type = "parallel"
    name: str | None
    inputs: dict[str, Any]
    outputs: dict[str, Any]
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


class Parallel(ParallelSettings):
    """A parallel step. `component` is a `ParallelComponent`, whose settings it takes where it has none of its own, or a name or path."""

    _FIELDS: ClassVar[tuple[str, ...]] = (*Job._COMMON, "version", *SETTINGS)
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
        self._component = component
        self._token = f"__step_{next(_numbers)}__"
        self.version = kwargs.pop("version", None)
        super().__init__({**given, **kwargs})
        self._take_from(component)
        self._make_ports(component, dict(inputs or {}), dict(outputs or {}))
        builder = current()
        if builder is not None:
            builder.made(self)

    @property
    def component(self) -> ParallelComponent | str | None:
        return self._component

    def _take_from(self, component: ParallelComponent | str | None) -> None:
        """What was set here wins, 0 and false included; copies, so that a change of the step leaves the component alone."""
        if component is None or isinstance(component, str):
            return
        for key in (*SHARED, "version", "display_name", "description"):
            if getattr(self, key) is None:
                setattr(self, key, copy.deepcopy(getattr(component, key)))
        for key in ("tags", "properties", "environment_variables"):
            setattr(self, key, {**(getattr(component, key) or {}), **getattr(self, key)})

    def _make_ports(self, component: ParallelComponent | str | None, inputs: dict[str, Any], outputs: dict[str, Any]) -> None:
        """A component that is known only by name may have any inputs and outputs; the spec checks them later."""
        known = isinstance(component, ParallelComponent)
        of_component = component.inputs if isinstance(component, ParallelComponent) else {}
        declared = {name: item for name, item in of_component.items() if isinstance(item, Input)}
        values = {**{name: item for name, item in of_component.items() if name not in declared}, **inputs}
        known_inputs = dict.fromkeys(of_component)
        self._inputs = input_ports(known_inputs if known else values, declared, closed=known, owner=self._called)
        for name, value in values.items():
            self._inputs._put(name, value)
        if isinstance(component, ParallelComponent):
            outputs = {**component.outputs, **outputs}
        self._outputs = output_ports(outputs, self, closed=known, owner=self._called)

    @property
    def _called(self) -> str:
        """For messages."""
        name = self.name or getattr(self._component, "name", None)
        return f"`{name}`" if name else "the component"

    @property
    def _component_name(self) -> str:
        """What a step without a name and a variable is called after."""
        if isinstance(self._component, str):
            return self._component.removeprefix("azureml:").partition(":")[0].rpartition("/")[2].partition(".")[0]
        return (self._component.name if self._component else None) or "azureml_anonymous"  # the name that Azure gives

    def __call__(self, *args: Any, **inputs: Any) -> Parallel:
        """A new step with these inputs, and with everything that was set here."""
        if args:
            raise UserError(f"{self._called} takes its inputs by name", allowed=", ".join(self._inputs) or "(no inputs)")
        node = self._copied()
        for name, value in inputs.items():
            node._inputs._put(name, value)
        builder = current()
        if builder is not None:
            builder.called(self, node)
        return node

    def _copied(self) -> Parallel:
        node: Parallel = object.__new__(type(self))
        for key, value in self.__dict__.items():
            object.__setattr__(node, key, value if key in ("_component", "_base") or key.startswith("_") else copy.deepcopy(value))
        node._token = f"__step_{next(_numbers)}__"
        node._origin = None
        declared = {name: port._declared for name, port in self._inputs.items() if port._declared}
        node._inputs = input_ports(dict.fromkeys(self._inputs), declared, closed=self._inputs._closed, owner=self._called)
        for name, port in self._inputs.items():
            node._inputs._put(name, port)
        outputs = {name: copy.deepcopy(as_output(port._settings() or None, name)) for name, port in self._outputs.items()}
        node._outputs = output_ports(outputs, node, closed=self._outputs._closed, owner=self._called)
        return node

    def _as_input_value(self) -> NodeOutput:
        """A step given as an input stands for its only output."""
        if len(self._outputs) != 1:
            raise UserError(
                f"{self._called} has {len(self._outputs)} outputs",
                allowed=", ".join(self._outputs),
                todo="name the one that is meant: step.outputs.<name>",
            )
        only: NodeOutput = next(iter(self._outputs.values()))
        return only

    def _to_mapping(self) -> dict[str, Any]:
        mapping = super()._to_mapping()
        return {"type": mapping.pop("type"), "component": self._component, **mapping} if isinstance(self._component, str) else mapping
