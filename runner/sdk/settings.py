"""Groups of settings of a job: retries, resources, identity. Azure's names and keywords."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from runner.errors import UserError, did_you_mean
from runner.sdk.record import Record, refuse_unknown


class RetrySettings(Record):
    """`retry_settings`: further attempts of a mini-batch, and the seconds that one `run()` may take.

    Numbers, numeric strings, bindings and pipeline inputs are accepted; they are checked when the job is.
    """

    _FIELDS = ("max_retries", "timeout")

    def __init__(self, *, timeout: int | float | str | None = None, max_retries: int | str | None = None, **kwargs: Any) -> None:
        refuse_unknown("RetrySettings", kwargs, self._FIELDS)
        self.max_retries = max_retries
        self.timeout = timeout


class BatchRetrySettings(RetrySettings):
    """The same under the name that Azure's `parallel_run_function` documents."""

    def __init__(self, *, max_retries: int | str | None = None, timeout: int | float | str | None = None) -> None:
        super().__init__(max_retries=max_retries, timeout=timeout)


class JobResourceConfiguration(Record):
    """`resources`: how many instances of which type, and the container they get."""

    _FIELDS = ("instance_count", "instance_type", "max_instance_count", "docker_args", "shm_size", "properties", "locations")
    _EMPTY = frozenset(("properties",))

    def __init__(
        self,
        *,
        locations: list[str] | None = None,
        instance_count: int | str | None = None,
        instance_type: str | list[str] | None = None,
        properties: Mapping[str, Any] | None = None,
        docker_args: str | list[str] | None = None,
        shm_size: str | None = None,
        max_instance_count: int | str | None = None,
        **kwargs: Any,
    ) -> None:
        refuse_unknown(type(self).__name__, kwargs, self._FIELDS)
        self.locations = locations
        self.instance_count = instance_count
        self.instance_type = instance_type
        self.properties = {} if properties is None else dict(properties)
        self.docker_args = docker_args
        self.shm_size = shm_size
        self.max_instance_count = max_instance_count


class ResourceConfiguration(JobResourceConfiguration):
    """Azure's older and smaller form of the same."""

    def __init__(
        self,
        *,
        instance_count: int | None = None,
        instance_type: str | None = None,
        properties: Mapping[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(instance_count=instance_count, instance_type=instance_type, properties=properties, **kwargs)


class CommandJobLimits(Record):
    """`limits` of a command: the seconds that it may take."""

    _FIELDS = ("timeout",)

    def __init__(self, *, timeout: int | str | None = None) -> None:
        self.timeout = timeout


class QueueSettings(Record):
    """`queue_settings`: kept without effect."""

    _FIELDS = ("job_tier", "priority")

    def __init__(self, *, job_tier: str | None = None, priority: str | None = None, **kwargs: Any) -> None:
        refuse_unknown("QueueSettings", kwargs, self._FIELDS)
        self.job_tier = job_tier
        self.priority = priority


class JobService(Record):
    """One of `services`: kept without effect, workers offer no interactive ones."""

    _FIELDS: ClassVar[tuple[str, ...]] = ("type", "endpoint", "nodes", "status", "port", "properties", "ssh_public_keys", "log_dir")
    _TYPE: ClassVar[str | None] = None

    def __init__(
        self,
        *,
        endpoint: str | None = None,
        type: str | None = None,  # noqa: A002 — Azure's name
        nodes: str | None = None,
        status: str | None = None,
        port: int | None = None,
        properties: Mapping[str, str] | None = None,
        **kwargs: Any,
    ) -> None:
        older = kwargs.pop("job_service_type", None)
        refuse_unknown(self.__class__.__name__, kwargs, self._FIELDS)
        self.type = type or older or self._TYPE
        self.endpoint, self.nodes, self.status, self.port, self.properties = endpoint, nodes, status, port, properties
        self.ssh_public_keys, self.log_dir = kwargs.get("ssh_public_keys"), kwargs.get("log_dir")


class _ServiceOfType(JobService):
    def __init__(
        self,
        *,
        endpoint: str | None = None,
        nodes: str | None = None,
        status: str | None = None,
        port: int | None = None,
        properties: Mapping[str, str] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(endpoint=endpoint, nodes=nodes, status=status, port=port, properties=properties, **kwargs)


class JupyterLabJobService(_ServiceOfType):
    _TYPE = "jupyter_lab"


class SshJobService(_ServiceOfType):
    _TYPE = "ssh"

    def __init__(
        self,
        *,
        endpoint: str | None = None,
        nodes: str | None = None,
        status: str | None = None,
        port: int | None = None,
        ssh_public_keys: str | None = None,
        properties: Mapping[str, str] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(
            endpoint=endpoint, nodes=nodes, status=status, port=port, properties=properties, ssh_public_keys=ssh_public_keys, **kwargs
        )


class TensorBoardJobService(_ServiceOfType):
    _TYPE = "tensor_board"

    def __init__(
        self,
        *,
        endpoint: str | None = None,
        nodes: str | None = None,
        status: str | None = None,
        port: int | None = None,
        log_dir: str | None = None,
        properties: Mapping[str, str] | None = None,
        **kwargs: Any,
    ) -> None:
        given = {"log_dir": log_dir, **kwargs}
        super().__init__(endpoint=endpoint, nodes=nodes, status=status, port=port, properties=properties, **given)


class VsCodeJobService(_ServiceOfType):
    _TYPE = "vs_code"


class Distribution(Record):
    """`distribution`: read, and refused when the job is checked, because a command is one process here."""

    _FIELDS: ClassVar[tuple[str, ...]] = ("type",)
    _TYPE: ClassVar[str] = ""

    def __init__(self, **kwargs: Any) -> None:
        refuse_unknown(type(self).__name__, kwargs, self._FIELDS)
        for key in self._FIELDS:
            setattr(self, key, kwargs.get(key))
        self.type = self._TYPE


class MpiDistribution(Distribution):
    _FIELDS = ("type", "process_count_per_instance")
    _TYPE = "mpi"

    def __init__(self, *, process_count_per_instance: int | None = None, **kwargs: Any) -> None:
        super().__init__(process_count_per_instance=process_count_per_instance, **kwargs)


class PyTorchDistribution(Distribution):
    _FIELDS = ("type", "process_count_per_instance")
    _TYPE = "pytorch"

    def __init__(self, *, process_count_per_instance: int | None = None, **kwargs: Any) -> None:
        super().__init__(process_count_per_instance=process_count_per_instance, **kwargs)


class TensorFlowDistribution(Distribution):
    _FIELDS = ("type", "parameter_server_count", "worker_count")
    _TYPE = "tensorflow"

    def __init__(self, *, parameter_server_count: int | None = 0, worker_count: int | None = None, **kwargs: Any) -> None:
        super().__init__(parameter_server_count=parameter_server_count, worker_count=worker_count, **kwargs)


class RayDistribution(Distribution):
    _FIELDS = (
        "type", "port", "address", "include_dashboard", "dashboard_port", "head_node_additional_args", "worker_node_additional_args",
    )  # fmt: skip
    _TYPE = "ray"

    def __init__(
        self,
        *,
        port: int | None = None,
        address: str | None = None,
        include_dashboard: bool | None = None,
        dashboard_port: int | None = None,
        head_node_additional_args: str | None = None,
        worker_node_additional_args: str | None = None,
        **kwargs: Any,
    ) -> None:
        further = {"head_node_additional_args": head_node_additional_args, "worker_node_additional_args": worker_node_additional_args}
        super().__init__(
            port=port, address=address, include_dashboard=include_dashboard, dashboard_port=dashboard_port, **further, **kwargs
        )


_DISTRIBUTIONS: dict[str, type[Distribution]] = {
    kind._TYPE: kind for kind in (MpiDistribution, PyTorchDistribution, TensorFlowDistribution, RayDistribution)
}


def as_distribution(value: Any) -> Any:
    """For assignments: a mapping with a `type` becomes an object of that type."""
    if not isinstance(value, Mapping):
        return value
    data = dict(value)
    kind = str(data.pop("type", "")).lower()
    if kind not in _DISTRIBUTIONS:
        raise UserError(f"`distribution` has no type '{kind}'", allowed=", ".join(_DISTRIBUTIONS), todo=did_you_mean(kind, _DISTRIBUTIONS))
    return _DISTRIBUTIONS[kind](**data)


class ManagedIdentityConfiguration(Record):
    """`identity` of type managed_identity, found by client, resource or object id."""

    _FIELDS = ("type", "client_id", "resource_id", "object_id")

    def __init__(
        self, *, client_id: str | None = None, resource_id: str | None = None, object_id: str | None = None, principal_id: str | None = None
    ) -> None:
        self.type = "managed_identity"
        self.client_id = client_id
        self.resource_id = resource_id
        self.object_id = object_id
        self._principal_id = principal_id  # an answer of Azure's, never a setting

    @property
    def principal_id(self) -> str | None:
        return self._principal_id


class AmlTokenConfiguration(Record):
    """`identity` of type aml_token: the workspace's own."""

    _FIELDS = ("type",)

    def __init__(self) -> None:
        self.type = "aml_token"


class UserIdentityConfiguration(Record):
    """`identity` of type user_identity: that of the person who submits."""

    _FIELDS = ("type",)

    def __init__(self) -> None:
        self.type = "user_identity"


Identity = ManagedIdentityConfiguration | AmlTokenConfiguration | UserIdentityConfiguration
_IDENTITIES: dict[str, type[Any]] = {
    "managed": ManagedIdentityConfiguration,
    "managed_identity": ManagedIdentityConfiguration,
    "aml_token": AmlTokenConfiguration,
    "user_identity": UserIdentityConfiguration,
}


def as_identity(value: Any) -> Any:
    """For assignments: a mapping with a `type` becomes an object of that type."""
    if not isinstance(value, Mapping):
        return value
    data = dict(value)
    kind = str(data.pop("type", ""))
    if kind not in _IDENTITIES:
        raise UserError(f"`identity` has no type '{kind}'", allowed=", ".join(_IDENTITIES), todo=did_you_mean(kind, _IDENTITIES))
    if "msi_resource_id" in data:  # the name it has in YAML files
        data["resource_id"] = data.pop("msi_resource_id")
    if kind in ("aml_token", "user_identity"):
        refuse_unknown(f"`identity` of type {kind}", data, ("type",))
    else:
        refuse_unknown(f"`identity` of type {kind}", data, ("client_id", "object_id", "resource_id"))
    return _IDENTITIES[kind](**data)
