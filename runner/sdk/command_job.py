"""`CommandJob`: a command as a job on its own, and the settings it shares with a step and a component."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from typing import Any, ClassVar

from runner.sdk.assets import Environment
from runner.sdk.job import Job, as_dict, input_ports, output_ports
from runner.sdk.record import coerced, refuse_unknown
from runner.sdk.settings import CommandJobLimits, Identity, JobResourceConfiguration, QueueSettings, as_distribution, as_identity
from runner.sdk.step import SingleJob, StepSettings

# Those that a component has too, in the order in which they are shown.
SHARED = ("command", "code", "environment", "environment_variables", "distribution", "resources", "is_deterministic")
SETTINGS = ("identity", *SHARED, "limits", "services", "queue_settings", "parent_job_name")
COERCE = {
    "environment": coerced(Environment),
    "environment_variables": as_dict,
    "distribution": as_distribution,
    "resources": coerced(JobResourceConfiguration),
    "limits": coerced(CommandJobLimits),
    "queue_settings": coerced(QueueSettings),
    "identity": as_identity,
}


def with_environment(mapping: dict[str, Any], environment: Any) -> dict[str, Any]:
    """An environment without content is one of the workspace, by its name."""
    return {**mapping, "environment": environment._as_setting()} if isinstance(environment, Environment) else mapping


class CommandSettings(StepSettings):
    """All that a command can be told, as a job or as a step."""

    _SETTINGS: ClassVar[tuple[str, ...]] = SETTINGS
    _COERCE: ClassVar[Mapping[str, Callable[[Any], Any]]] = {**Job._COERCE, **COERCE}

    type = "command"
    command: str | None
    code: str | os.PathLike[str] | None
    environment: Environment | str | None
    limits: CommandJobLimits | None
    queue_settings: QueueSettings | None
    identity: Identity | None
    services: Any = None  # of a submitted job there are none

    def _to_mapping(self) -> dict[str, Any]:
        return with_environment(super()._to_mapping(), self.environment)


class CommandJob(CommandSettings, SingleJob):
    """A command on its own. Keywords as in the YAML of `type: command`; `inputs` and `outputs` by name."""

    _FIELDS: ClassVar[tuple[str, ...]] = (*Job._COMMON, *SETTINGS)

    def __init__(
        self,
        *,
        inputs: Mapping[str, Any] | None = None,
        outputs: Mapping[str, Any] | None = None,
        limits: CommandJobLimits | None = None,
        identity: Identity | Mapping[str, Any] | None = None,
        services: Mapping[str, Any] | None = None,
        parent_job_name: str | None = None,
        **kwargs: Any,
    ) -> None:
        kwargs.pop("type", None)
        refuse_unknown("CommandJob", kwargs, ("inputs", "outputs", *self._FIELDS))
        given = {"limits": limits, "identity": identity, "services": services, "parent_job_name": parent_job_name}
        super().__init__({**given, **kwargs})
        self._inputs = input_ports(inputs or {}, {})
        self._outputs = output_ports(outputs or {}, None)
