"""`PipelineJob`: steps by name, the pipeline's own inputs and outputs, its settings."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, ClassVar

from runner.errors import Place, UserError
from runner.sdk.job import Job, input_ports, output_ports
from runner.sdk.paths import rebased
from runner.sdk.ports import NodeInput, NodeOutput, Ports
from runner.sdk.record import Record, coerced, plain, refuse_unknown
from runner.sdk.settings import Identity, as_identity
from runner.sdk.step import StepNode, StepSettings, new_token, only_output

_TOKEN = re.compile(r"__step_\d+__")
_OF_JOBS_ONLY = ("name", "experiment_name")  # a step's name is its key; its experiment is the pipeline's


class PipelineJobSettings(Record):
    """`settings` of a pipeline: what holds for its steps where they say nothing themselves."""

    _FIELDS: ClassVar[tuple[str, ...]] = (
        "default_compute",
        "default_datastore",
        "continue_on_step_failure",
        "force_rerun",
        "on_init",
        "on_finalize",
    )

    def __init__(
        self,
        default_datastore: str | None = None,
        default_compute: str | None = None,
        continue_on_step_failure: bool | None = None,
        force_rerun: bool | None = None,
        **kwargs: Any,
    ) -> None:
        on_init, on_finalize = kwargs.pop("on_init", None), kwargs.pop("on_finalize", None)
        refuse_unknown("PipelineJobSettings", kwargs, self._FIELDS)
        self.default_compute, self.default_datastore = default_compute, default_datastore
        self.continue_on_step_failure, self.force_rerun = continue_on_step_failure, force_rerun
        self.on_init, self.on_finalize = on_init, on_finalize


class PipelineJob(Job):
    """A pipeline; also a step of another one. Made by functions with `@dsl.pipeline`, by `load_job`, or of its parts."""

    _FIELDS: ClassVar[tuple[str, ...]] = (*Job._COMMON, "identity", "settings", "jobs", "component")
    _COERCE: ClassVar[Mapping[str, Callable[[Any], Any]]] = {
        **Job._COERCE,
        "identity": as_identity,
        "settings": coerced(PipelineJobSettings),
    }

    type = "pipeline"
    jobs: dict[str, Any]
    settings: PipelineJobSettings
    identity: Identity | None

    def __init__(
        self,
        *,
        component: str | None = None,
        inputs: Mapping[str, Any] | None = None,
        outputs: Mapping[str, Any] | None = None,
        name: str | None = None,
        description: str | None = None,
        display_name: str | None = None,
        experiment_name: str | None = None,
        jobs: Mapping[str, Any] | None = None,
        settings: PipelineJobSettings | Mapping[str, Any] | None = None,
        identity: Identity | Mapping[str, Any] | None = None,
        compute: str | None = None,
        tags: Mapping[str, str] | None = None,
        **kwargs: Any,
    ) -> None:
        kwargs.pop("type", None)
        refuse_unknown("PipelineJob", kwargs, ("inputs", "outputs", *self._FIELDS))
        common = {key: value for key, value in locals().items() if key in Job._COMMON}
        super().__init__({**common, "properties": kwargs.get("properties")})
        self.component, self.identity = component, as_identity(identity)
        self.settings = PipelineJobSettings(**settings) if isinstance(settings, Mapping) else settings or PipelineJobSettings()
        self.jobs = dict(jobs or {})
        self._token = new_token()
        self._component_name = name or "pipeline"  # what it is called as a step that no variable holds
        self._inputs = input_ports(inputs or {}, {})
        self._outputs = output_ports(outputs or {}, self)

    @property
    def inputs(self) -> Ports[NodeInput]:
        return self._inputs

    @property
    def outputs(self) -> Ports[NodeOutput]:
        return self._outputs

    def _as_input_value(self) -> NodeOutput:
        """As a step given as an input, it stands for its only output."""
        return only_output(self._outputs, f"the pipeline `{self._component_name}`")

    def _to_mapping(self) -> dict[str, Any]:
        """Of the outermost pipeline: here all that refers to a step must have found it."""
        return _with_names(self._as_step(), {})  # type: ignore[no-any-return]

    def _as_step(self) -> dict[str, Any]:
        """Steps know each other by name; what comes from around this pipeline still stands there as a token."""
        mapping = self._mapping_of(key for key in self._FIELDS if key not in ("jobs", "settings"))
        component = mapping.pop("component", None)
        names = {job._token: name for name, job in self.jobs.items() if isinstance(job, (StepNode, PipelineJob))}
        jobs = {name: _step(job, f"jobs.{name}", self._base) for name, job in self.jobs.items()}
        parts: dict[str, Any] = {
            "component": component,
            "settings": self.settings._to_mapping() or None,
            # An input without a value is written down as such, so that the check names it.
            "inputs": {name: port._to_mapping() for name, port in self._inputs.items()} or None,
            "outputs": self._outputs._to_mapping() or None,
            "jobs": _with_names(jobs, names) or None,
        }
        return {"type": self.type, **mapping, **{key: value for key, value in parts.items() if value is not None}}


def _step(job: Any, field: str, base: Path) -> Any:
    """The mapping of a step; relative paths of its code and environment start where the step was made."""
    if not isinstance(job, (StepSettings, PipelineJob, Mapping)):
        raise UserError(
            f"an object of type {type(job).__qualname__} cannot be a step",
            place=Place(field=field),
            allowed="what command, parallel_run_function and pipeline functions give, CommandJob, ParallelJob, a mapping",
        )  # fmt: skip
    mapping = job._as_step() if isinstance(job, PipelineJob) else plain(job, field)
    if isinstance(job, Mapping):
        return mapping
    step = {key: value for key, value in mapping.items() if key not in _OF_JOBS_ONLY}
    return step if job._base == base else rebased(step, job._base)


def _with_names(value: Any, names: Mapping[str, str]) -> Any:
    """Steps refer to each other by tokens until the pipeline is finished; here these become names."""
    if isinstance(value, str):
        return _TOKEN.sub(lambda match: _name(match[0], names), value)
    if isinstance(value, dict):
        return {key: _with_names(item, names) for key, item in value.items()}
    if isinstance(value, list):
        return [_with_names(item, names) for item in value]
    return value


def _name(token: str, names: Mapping[str, str]) -> str:
    if token not in names:
        raise UserError(
            "an output is used of a step that is not in the pipeline", allowed=", ".join(names.values()),
            todo="call it as a step inside the pipeline function: step = component(…)",
        )  # fmt: skip
    return names[token]
