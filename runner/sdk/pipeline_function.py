"""`@pipeline`: a function whose calls of components become the steps of a pipeline job."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, ParamSpec, TypeVar, overload

from runner.errors import UserError, did_you_mean
from runner.sdk.building import Builder, building, call_with_locals, current, name_steps
from runner.sdk.group import argument, group_of, leaves
from runner.sdk.io import Input
from runner.sdk.job import input_ports, output_ports
from runner.sdk.pipeline_job import PipelineJob, PipelineJobSettings
from runner.sdk.ports import NodeInput, NodeOutput, PipelineInput, Ports
from runner.sdk.record import refuse_unknown

P = ParamSpec("P")
T = TypeVar("T")

_SETTINGS = ("default_compute", "default_datastore", "continue_on_step_failure", "force_rerun", "on_init", "on_finalize")
_OTHERS = ("compute", "default_compute_target", "non_pipeline_inputs", "non_pipeline_parameters")
_NAMED = ("name", "version", "display_name", "description", "experiment_name", "tags")


@overload
def pipeline(
    func: None = None,
    *,
    name: str | None = None,
    version: str | None = None,
    display_name: str | None = None,
    description: str | None = None,
    experiment_name: str | None = None,
    tags: dict[str, str] | None = None,
    **kwargs: Any,
) -> Callable[[Callable[P, T]], Callable[P, PipelineJob]]: ...


@overload
def pipeline(
    func: Callable[P, T],
    *,
    name: str | None = None,
    version: str | None = None,
    display_name: str | None = None,
    description: str | None = None,
    experiment_name: str | None = None,
    tags: dict[str, str] | None = None,
    **kwargs: Any,
) -> Callable[P, PipelineJob]: ...


def pipeline(
    func: Callable[..., Any] | None = None,
    *,
    name: str | None = None,
    version: str | None = None,
    display_name: str | None = None,
    description: str | None = None,
    experiment_name: str | None = None,
    tags: dict[str, str] | None = None,
    **kwargs: Any,
) -> Any:
    """Makes a function build a pipeline job: its arguments become the pipeline's inputs, the components it calls its steps, the
    mapping it returns its outputs. With and without parentheses.

    Further keywords, as in Azure: `compute`, `default_compute`, `default_datastore`, `continue_on_step_failure`, `force_rerun`, and
    `non_pipeline_inputs`, names of arguments that reach the function as they are. `version` is that of a registered component and
    has no meaning for a job.
    """
    refuse_unknown("pipeline", kwargs, (*_NAMED, *_SETTINGS, *_OTHERS))
    settings = {key: kwargs[key] for key in _SETTINGS if kwargs.get(key) is not None}
    if kwargs.get("default_compute_target") is not None:
        settings.setdefault("default_compute", kwargs["default_compute_target"])
    raw = tuple(kwargs.get("non_pipeline_inputs") or kwargs.get("non_pipeline_parameters") or ())

    def decorate(function: Callable[..., Any]) -> Callable[..., PipelineJob]:
        title = display_name or name or function.__name__
        about: dict[str, Any] = {
            "display_name": title,
            "description": description or _summary(function),
            "experiment_name": experiment_name,
            "tags": tags,
        }

        @functools.wraps(function)
        def build(*args: Any, **given: Any) -> PipelineJob:
            job = PipelineJob(settings=PipelineJobSettings(**settings), compute=kwargs.get("compute"), **about)
            job._component_name = name or function.__name__
            around = current()
            _fill(job, function, _arguments(function, args, given), raw)
            if around is not None:  # a pipeline in a pipeline is a step of it
                around.called(None, job)
            return job

        build._pipeline_version = version  # type: ignore[attr-defined]  # of the component that it may be registered as
        return build

    return decorate(func) if func is not None else decorate


def parameters_of(function: Callable[..., Any]) -> Mapping[str, inspect.Parameter]:
    """With annotations as objects, also where the function's file has `from __future__ import annotations`."""
    try:
        return inspect.signature(function, eval_str=True).parameters
    except NameError:  # of a name that only type checkers see
        return inspect.signature(function).parameters


def version_of(function: Callable[..., Any]) -> str | None:
    """What `@pipeline(version=…)` says."""
    version: str | None = getattr(function, "_pipeline_version", None)
    return version


def _summary(function: Callable[..., Any]) -> str | None:
    """The function's docstring up to its first field."""
    return (inspect.getdoc(function) or "").partition("\n:")[0].strip() or None


def _arguments(function: Callable[..., Any], args: tuple[Any, ...], given: Mapping[str, Any]) -> dict[str, Any]:
    """What was given, by name. Required ones may be missing: they can be set on the job (`job.inputs.x = …`)."""
    parameters = parameters_of(function)
    for parameter in parameters.values():
        if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
            raise UserError(f"the pipeline function `{function.__name__}` takes {parameter}: the inputs of a pipeline have names")
    positional = [name for name, parameter in parameters.items() if parameter.kind is not parameter.KEYWORD_ONLY]
    if len(args) > len(positional):
        raise UserError(f"`{function.__name__}` takes at most {len(positional)} positional arguments, and {len(args)} were given")
    found = dict(zip(positional, args, strict=False))
    for key, value in given.items():
        if key not in parameters:
            raise UserError(
                f"the pipeline `{function.__name__}` has no input `{key}`",
                allowed=", ".join(parameters),
                todo=did_you_mean(key, parameters),
            )
        if key in found:
            raise UserError(f"`{function.__name__}` got two values for `{key}`")
        found[key] = value
    return found


def _fill(job: PipelineJob, function: Callable[..., Any], given: Mapping[str, Any], raw: tuple[str, ...]) -> None:
    """Runs the function and takes from it inputs, steps and outputs."""
    parameters = parameters_of(function)
    optional = {key for key, parameter in parameters.items() if parameter.default is None}
    inputs = _inputs(parameters, given, raw)
    references = {key: PipelineInput(port, optional=key in optional) for key, port in inputs.items()}
    arguments: dict[str, Any] = {key: references[key] for key in parameters if key in references}
    arguments |= {key: argument(of, key, references) for key, of in _groups(parameters, raw).items()}
    arguments |= {key: given[key] for key in raw if key in given}
    with building() as builder:
        outputs, variables = call_with_locals(function, arguments)
        steps = name_steps(builder.steps, variables, function.__name__)
        _check_called(builder, function.__name__)
    job._inputs, job._outputs, job.jobs = inputs, _outputs(outputs, job, function.__name__), steps
    job._base = Path.cwd()


def _inputs(parameters: Mapping[str, inspect.Parameter], given: Mapping[str, Any], raw: tuple[str, ...]) -> Ports[NodeInput]:
    values: dict[str, Any] = {}
    declared: dict[str, Input] = {}
    groups = _groups(parameters, raw)
    for key, parameter in parameters.items():
        if key in raw:
            continue
        default = None if parameter.default is parameter.empty else parameter.default
        if key in groups:
            for below, field, value in leaves(groups[key], given.get(key, default), key):
                values[f"{key}.{below}"] = value
                if field.declared is not None and not (field.declared.optional and value is not None):
                    declared[f"{key}.{below}"] = field.declared
            continue
        values[key] = given.get(key, default)
        if isinstance(parameter.annotation, Input):
            declared[key] = parameter.annotation
        elif parameter.default is None:
            declared[key] = Input(type="string", optional=True)
            if values[key] is not None:
                del declared[key]
    return input_ports(values, declared, closed=True, owner="the pipeline")


def _groups(parameters: Mapping[str, inspect.Parameter], raw: tuple[str, ...]) -> dict[str, type]:
    """The parameters that take groups."""
    found = {key: group_of(one.annotation, one.default) for key, one in parameters.items() if key not in raw}
    return {key: of for key, of in found.items() if of is not None}


def _check_called(builder: Builder, pipeline: str) -> None:
    """Azure leaves out, in silence, what was made inside the function and never called; here that is an error."""
    for template in builder.uncalled:
        raise UserError(
            f"{template._called} is made in the pipeline `{pipeline}` and never called, so that it is no step of it",
            todo="call it with its inputs: step = component(data=…)",
        )


def _outputs(returned: Any, job: PipelineJob, pipeline: str) -> Ports[NodeOutput]:
    """What the function returns becomes the pipeline's outputs; the steps' outputs are bound to them."""
    if returned is None:
        returned = {}
    if not isinstance(returned, Mapping) or not all(isinstance(value, NodeOutput) and value._owner for value in returned.values()):
        raise UserError(
            f"the pipeline `{pipeline}` must return a mapping of names to outputs of its steps",
            todo='for example: return {"scores": step.outputs.scores}',
        )
    values: dict[str, Any] = {}
    for name, output in returned.items():
        if output._bound:
            raise UserError(
                f"the output `{output.port_name}` of a step is returned twice, as `{output._bound}` and `{name}`",
                todo="return it under one name",
            )
        values[name] = output._settings()
        output._bound = name
    return output_ports(values, job, closed=True, owner="the pipeline")
