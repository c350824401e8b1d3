"""`ParallelJob`: a parallel job on its own, and the settings it shares with a step and a component."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, ClassVar

from runner.sdk.job import Job, as_dict, input_ports, output_ports
from runner.sdk.ports import NodeInput, NodeOutput, Ports
from runner.sdk.record import Record, coerced, refuse_unknown
from runner.sdk.settings import Identity, JobResourceConfiguration, RetrySettings, as_identity
from runner.sdk.task import ParallelTask

# Those that a component has too, in the order in which they are shown.
SHARED = (
    "input_data", "mini_batch_size", "partition_keys", "max_concurrency_per_instance", "mini_batch_error_threshold", "error_threshold",
    "retry_settings", "logging_level", "environment_variables", "resources", "is_deterministic", "task",
)  # fmt: skip
SETTINGS = ("identity", *SHARED)
COERCE = {
    "task": coerced(ParallelTask),
    "retry_settings": coerced(RetrySettings),
    "resources": coerced(JobResourceConfiguration),
    "identity": as_identity,
    "environment_variables": as_dict,
}


class WithResources(Record):
    """Jobs and components whose resources can be set one by one."""

    resources: JobResourceConfiguration | None

    def set_resources(
        self,
        *,
        instance_type: str | list[str] | None = None,
        instance_count: int | str | None = None,
        properties: dict[str, Any] | None = None,
        docker_args: str | list[str] | None = None,
        shm_size: str | None = None,
        **kwargs: Any,
    ) -> None:
        """Sets those that are given; the others stay. `instance_type` may be a list in order of preference."""
        refuse_unknown("set_resources", kwargs, JobResourceConfiguration._FIELDS)
        resources = self.resources or JobResourceConfiguration()
        given: dict[str, Any] = {"instance_type": instance_type, "instance_count": instance_count, "properties": properties}
        given |= {"docker_args": docker_args, "shm_size": shm_size}
        resources.update({key: value for key, value in given.items() if value is not None})
        self.resources = resources


class ParallelSettings(Job, WithResources):
    """All that a parallel job or step can be told."""

    _COERCE: ClassVar[Mapping[str, Callable[[Any], Any]]] = {**Job._COERCE, **COERCE}

    type = "parallel"
    input_data: str | None
    mini_batch_size: int | str | None
    partition_keys: list[str] | None
    max_concurrency_per_instance: int | str | None
    mini_batch_error_threshold: int | str | None
    error_threshold: int | str | None
    retry_settings: RetrySettings | None
    logging_level: str | None
    environment_variables: dict[str, Any]
    resources: JobResourceConfiguration | None
    is_deterministic: bool | None
    task: ParallelTask | None
    identity: Identity | None
    _inputs: Ports[NodeInput]
    _outputs: Ports[NodeOutput]

    def __init__(self, given: dict[str, Any]) -> None:
        super().__init__(given)
        for key in SETTINGS:
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


class ParallelJob(ParallelSettings):
    """A parallel job on its own. Keywords as in the YAML of `type: parallel`; `inputs` and `outputs` by name."""

    _FIELDS: ClassVar[tuple[str, ...]] = (*Job._COMMON, *SETTINGS)

    def __init__(
        self,
        *,
        inputs: Mapping[str, Any] | None = None,
        outputs: Mapping[str, Any] | None = None,
        identity: Identity | Mapping[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        kwargs.pop("type", None)
        refuse_unknown("ParallelJob", kwargs, ("inputs", "outputs", *self._FIELDS))
        super().__init__({"identity": identity, **kwargs})
        self._inputs = input_ports(inputs or {}, {})
        self._outputs = output_ports(outputs or {}, None)

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
