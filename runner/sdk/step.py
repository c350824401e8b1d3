"""What steps of all kinds share: the settings a job can be told, components, and the steps that are made by calling them."""

from __future__ import annotations

import copy
import itertools
from collections.abc import Callable, Mapping
from typing import Any, ClassVar, TypeVar

from runner.errors import UserError
from runner.sdk.building import current
from runner.sdk.io import Input, as_output
from runner.sdk.job import Job, input_ports, output_ports
from runner.sdk.ports import NodeInput, NodeOutput, Ports
from runner.sdk.record import Record, Registered, refuse_unknown
from runner.sdk.settings import JobResourceConfiguration

_numbers = itertools.count()
Node = TypeVar("Node", bound="StepNode")


def new_token() -> str:
    """Stands for the name of a step until the pipeline is finished."""
    return f"__step_{next(_numbers)}__"


class WithResources(Record):
    """Jobs and components whose resources can be set one by one."""

    resources: JobResourceConfiguration | None

    def set_resources(
        self,
        *,
        instance_type: str | list[str] | None = None,
        instance_count: int | str | None = None,
        locations: list[str] | None = None,
        properties: dict[str, Any] | None = None,
        docker_args: str | list[str] | None = None,
        shm_size: str | None = None,
        **kwargs: Any,
    ) -> None:
        """Sets those that are given; the others stay. `instance_type` may be a list in order of preference."""
        refuse_unknown("set_resources", kwargs, JobResourceConfiguration._FIELDS)
        resources = self.resources or JobResourceConfiguration()
        given: dict[str, Any] = {"instance_type": instance_type, "instance_count": instance_count, "properties": properties}
        given |= {"docker_args": docker_args, "shm_size": shm_size, "locations": locations, **kwargs}
        resources.update({key: value for key, value in given.items() if value is not None})
        self.resources = resources


class StepSettings(Job, WithResources):
    """A job of a single step: it has inputs, outputs and settings (`_SETTINGS`), on its own as well as in a pipeline."""

    _SETTINGS: ClassVar[tuple[str, ...]] = ()

    environment_variables: dict[str, Any]
    is_deterministic: bool | None
    _inputs: Ports[NodeInput]
    _outputs: Ports[NodeOutput]

    def __init__(self, given: dict[str, Any]) -> None:
        super().__init__(given)
        for key in self._SETTINGS:
            setattr(self, key, given.pop(key, None))

    @property
    def inputs(self) -> Ports[NodeInput]:
        return self._inputs

    @property
    def outputs(self) -> Ports[NodeOutput]:
        return self._outputs

    def _to_mapping(self) -> dict[str, Any]:
        """Azure's order: what it is, what goes in and out, how."""
        settings = super()._to_mapping()
        common = {key: settings.pop(key) for key in self._COMMON if key in settings}
        ports = {"inputs": self._inputs._to_mapping(), "outputs": self._outputs._to_mapping()}
        return {"type": self.type, **common, **{key: value for key, value in ports.items() if value}, **settings}


class SingleJob(StepSettings):
    """One that is no step: its inputs and outputs are replaced as a whole, too."""

    @property
    def inputs(self) -> Ports[NodeInput]:
        return self._inputs

    @inputs.setter
    def inputs(self, values: Mapping[str, Any]) -> None:
        self._inputs = input_ports(values, {})

    @property
    def outputs(self) -> Ports[NodeOutput]:
        return self._outputs

    @outputs.setter
    def outputs(self, values: Mapping[str, Any]) -> None:
        self._outputs = output_ports(values, None)


class Component(Record, Registered):
    """What has inputs and outputs and can be called: `component(images=…)` gives a step."""

    _ABOUT = ("name", "version", "display_name", "description", "tags", "properties")

    inputs: dict[str, Any]
    outputs: dict[str, Any]

    def __str__(self) -> str:
        """As the YAML file of a component has it, as on Azure."""
        from runner.sdk.text import to_yaml

        return to_yaml(self._to_mapping())


def declarations(kind: type[Any]) -> Callable[[Any], dict[str, Any]]:
    """For `_COERCE`: mappings in a mapping become objects of that class."""

    def coerce(value: Any) -> dict[str, Any]:
        return {name: kind(**item) if isinstance(item, Mapping) else item for name, item in (value or {}).items()}

    return coerce


class StepNode(StepSettings):
    """A step made of a component: an object, whose settings it takes where it has none of its own, or a name or path."""

    _OF_COMPONENT: ClassVar[tuple[str, ...]] = ()  # settings that components of its kind have, too

    def _set_up(self, component: Component | str | None, inputs: Mapping[str, Any] | None, outputs: Mapping[str, Any] | None) -> None:
        self._component = component
        self._token = new_token()
        self._take_from(component)
        self._make_ports(component, dict(inputs or {}), dict(outputs or {}))
        builder = current()
        if builder is not None:
            builder.made(self)

    @property
    def component(self) -> Any:
        return self._component

    def _take_from(self, component: Component | str | None) -> None:
        """What was set here wins, 0 and false included; copies, so that a change of the step leaves the component alone."""
        if component is None or isinstance(component, str):
            return
        for key in (*self._OF_COMPONENT, "version", "display_name", "description"):
            if getattr(self, key) is None:
                setattr(self, key, copy.deepcopy(getattr(component, key)))
        for key in ("tags", "properties", "environment_variables"):
            if key in self._FIELDS:
                setattr(self, key, {**(getattr(component, key, None) or {}), **getattr(self, key)})

    def _make_ports(self, component: Component | str | None, inputs: dict[str, Any], outputs: dict[str, Any]) -> None:
        """A component that is known only by name may have any inputs and outputs; the spec checks them later."""
        known = isinstance(component, Component)
        of_component = component.inputs if isinstance(component, Component) else {}
        declared = {name: item for name, item in of_component.items() if isinstance(item, Input)}
        values = {**{name: item for name, item in of_component.items() if name not in declared}, **inputs}
        known_inputs = dict.fromkeys(of_component)
        self._inputs = input_ports(known_inputs if known else values, declared, closed=known, owner=self._called)
        for name, value in values.items():
            self._inputs._put(name, value)
        if isinstance(component, Component):
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

    def __call__(self: Node, *args: Any, **inputs: Any) -> Node:
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

    def _copied(self: Node) -> Node:
        node: Node = object.__new__(type(self))
        for key, value in self.__dict__.items():
            object.__setattr__(node, key, value if key.startswith("_") else copy.deepcopy(value))
        node._token = new_token()
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
        return only_output(self._outputs, self._called)

    def _to_mapping(self) -> dict[str, Any]:
        mapping = super()._to_mapping()
        return {"type": mapping.pop("type"), "component": self._component, **mapping} if isinstance(self._component, str) else mapping


def only_output(outputs: Ports[NodeOutput], called: str) -> NodeOutput:
    if len(outputs) != 1:
        raise UserError(
            f"{called} has {len(outputs)} outputs", allowed=", ".join(outputs), todo="name the one that is meant: step.outputs.<name>"
        )
    only: NodeOutput = next(iter(outputs.values()))
    return only
