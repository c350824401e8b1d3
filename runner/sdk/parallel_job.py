"""`ParallelJob`: a parallel job on its own, and the settings it shares with a step and a component."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, ClassVar

from runner.sdk.job import Job, as_dict, input_ports, output_ports
from runner.sdk.record import coerced, refuse_unknown
from runner.sdk.settings import Identity, JobResourceConfiguration, RetrySettings, as_identity
from runner.sdk.step import SingleJob, StepSettings
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


class ParallelSettings(StepSettings):
    """All that a parallel job or step can be told."""

    _SETTINGS: ClassVar[tuple[str, ...]] = SETTINGS
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
    task: ParallelTask | None
    identity: Identity | None


class ParallelJob(ParallelSettings, SingleJob):
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
