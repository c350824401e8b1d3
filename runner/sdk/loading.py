"""`load_job`, `load_component`, `load_environment`, `load_data`, `load_model`: YAML files as Python objects."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from runner.errors import NotSupportedHere, Place, UserError, did_you_mean
from runner.sdk.assets import Data, Environment, Model
from runner.sdk.command_job import CommandJob
from runner.sdk.command_node import Command, CommandComponent
from runner.sdk.job import Job
from runner.sdk.node import Parallel, ParallelComponent
from runner.sdk.parallel_job import ParallelJob
from runner.sdk.paths import absolute, rebased
from runner.sdk.pipeline_component import Pipeline, PipelineComponent
from runner.sdk.pipeline_job import PipelineJob
from runner.sdk.record import plain, refuse_unknown
from runner.sdk.settings import JobResourceConfiguration

if TYPE_CHECKING:
    from runner.spec.load import LoadedJob
    from runner.spec.yaml_source import Node

AnyJob = CommandJob | Command | ParallelJob | Parallel | PipelineJob
AnyComponent = CommandComponent | ParallelComponent | PipelineComponent
Source = str | os.PathLike[str] | IO[str] | IO[bytes]

_NOT_KEPT = ("$schema", "type", "comment", "services", "id", "creation_context", "status", "log_files", "resource_group", "resourceGroup")
_WRITTEN = ("$schema", "id", "creation_context", "resource_group", "resourceGroup")  # by Azure, into the files of assets
_ON_TOP = ("instance_count", "instance_type", "docker_args", "shm_size")


def load_job(
    source: Source, *, relative_origin: str | None = None, params_override: list[dict[str, Any]] | None = None, **kwargs: Any
) -> AnyJob:
    """A job file as an object. `params_override`: `[{"jobs.score.mini_batch_size": 5}, …]`; `relative_origin`: the file that relative
    paths start from, if it isn't `source`. Raises a `UserError` with file:line for what is not YAML or not a job.

    Submitted unchanged, later mistakes are told with file:line too.
    """
    loaded = _read(source, relative_origin, params_override, kwargs)
    place = loaded.root.place
    if not loaded.type:
        from runner.spec.kinds import advice

        raise UserError("the key 'type' is missing", place=place, todo=advice(loaded.root))
    if loaded.type not in _JOBS:
        guess = did_you_mean(loaded.type, _JOBS) or "write type: command, type: parallel or type: pipeline"
        raise NotSupportedHere(f"jobs of type '{loaded.type}' cannot run here", place=place, allowed=", ".join(_JOBS), todo=guess)
    with _placed(place):
        job: AnyJob = _JOBS[loaded.type](loaded.mapping())
    _set_origin(job, loaded)
    return job


def load_component(
    source: Source | None = None, *, relative_origin: str | None = None, params_override: list[dict[str, Any]] | None = None, **kwargs: Any
) -> AnyComponent:
    """A component, to be called in a pipeline function like what `command` and `parallel_run_function` give.

    With `client`, `name` and `version` (or without: the latest) it is one that is registered in the workspace.

    Raises a `UserError` for unknown keys, NotSupportedHere for components of other types, and for names in a registry.
    """
    client, name, version = (kwargs.pop(key, None) for key in ("client", "name", "version"))
    if client is not None and name is not None:
        of_workspace: AnyComponent = client.components.get(name, version)
        return of_workspace
    source = kwargs.pop("path", None) if source is None else source  # its name in older scripts
    if source is None:
        allowed = 'load_component("component.yml"), load_component(client=ml_client, name="NAME", version="1")'
        raise UserError("load_component needs a file, or a client and the name of a component", allowed=allowed)
    loaded = _read(source, relative_origin, params_override, kwargs)
    kind = loaded.type or "parallel"
    if kind not in _COMPONENTS:
        allowed = ", ".join(_COMPONENTS)
        raise NotSupportedHere(f"components of type '{kind}' cannot run here", place=loaded.root.place, allowed=allowed)
    with _placed(loaded.root.place):
        component: AnyComponent = _component(kind, rebased(loaded.mapping(), loaded.base))
    if isinstance(component, PipelineComponent) and loaded.file is not None and not params_override:
        component._file = loaded.file.absolute()  # so that mistakes in it are told with file:line
    return component


def load_environment(
    source: Source, *, relative_origin: str | None = None, params_override: list[dict[str, Any]] | None = None, **kwargs: Any
) -> Environment:
    """An environment file as an object; its paths become absolute."""
    loaded = _read(source, relative_origin, params_override, kwargs)
    data = {key: value for key, value in loaded.mapping().items() if key not in _WRITTEN}
    with _placed(loaded.root.place):
        environment: dict[str, Any] = rebased({"task": {"environment": data}}, loaded.base)["task"]["environment"]
        return Environment(**environment)


def load_data(
    source: Source, *, relative_origin: str | None = None, params_override: list[dict[str, Any]] | None = None, **kwargs: Any
) -> Data:
    """The file of a data asset as an object; a local path becomes absolute. `MLClient.data.create_or_update` registers it."""
    return Data(**_located(source, relative_origin, params_override, kwargs))


def load_model(
    source: Source, *, relative_origin: str | None = None, params_override: list[dict[str, Any]] | None = None, **kwargs: Any
) -> Model:
    """The same of a model."""
    return Model(**_located(source, relative_origin, params_override, kwargs))


def _located(source: Source, origin: str | None, overrides: list[dict[str, Any]] | None, kwargs: Mapping[str, Any]) -> dict[str, Any]:
    loaded = _read(source, origin, overrides, kwargs)
    data = {key: value for key, value in loaded.mapping().items() if key not in _WRITTEN}
    if isinstance(data.get("path"), str):
        data["path"] = absolute(str(data["path"]), loaded.base)
    return data


class _placed:  # noqa: N801 — reads as a verb in `with`
    """Adds the file to errors that have no place."""

    def __init__(self, place: Place) -> None:
        self.place = place

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: Any, error: BaseException | None, trace: Any) -> None:
        if isinstance(error, UserError) and error.place is None:
            raise UserError(error.problem, place=Place(file=self.place.file), allowed=error.allowed, todo=error.todo) from None


def _read(source: Source, origin: str | None, overrides: list[dict[str, Any]] | None, kwargs: Mapping[str, Any]) -> LoadedJob:
    from runner.spec.load import LoadedJob
    from runner.spec.yaml_source import parse_yaml, read_yaml

    refuse_unknown("a load function", kwargs, ("source", "relative_origin", "params_override"))
    if isinstance(source, (str, os.PathLike)) and origin is None:
        root = read_yaml(Path(source))
        file: Path | None = Path(source)
    else:
        text, name = _text(source)
        base = Path(origin or name or ".").absolute()
        root = parse_yaml(text, file=name or "<stream>", base=base if base.is_dir() else base.parent)
        file = None
    root = _overridden(root, overrides or [])
    return LoadedJob(root=root, base=root.base, file=file)


def _text(source: Source) -> tuple[str, str | None]:
    if isinstance(source, (str, os.PathLike)):
        return Path(source).read_text(encoding="utf-8"), os.fspath(source)
    content = source.read()
    name = getattr(source, "name", None)
    return content.decode() if isinstance(content, bytes) else content, name if isinstance(name, str) else None


def _overridden(root: Node, overrides: Iterable[Mapping[str, Any]]) -> Node:
    """Each dotted path with its value, which may be a list or mapping."""
    from runner.spec.load import job_from_mapping
    from runner.spec.overrides import override

    for entry in overrides:
        for path, value in entry.items():
            root = override(root, [f"{path}=null"])  # makes what is missing on the way
            node = job_from_mapping({path: plain(value)}, base=root.base).root.entries[path]
            root = _put(root, re.findall(r"[^.\[\]]+", path), node)
    return root


def _put(node: Node, parts: Sequence[str], value: Node) -> Node:
    if not parts:
        return value
    head, rest = parts[0], parts[1:]
    if isinstance(node.value, list):
        items = [_put(one, rest, value) if index == int(head) else one for index, one in enumerate(node.value)]
        return replace(node, value=items)
    return replace(node, value={**node.entries, head: _put(node.entries[head], rest, value)})


def _set_origin(job: Job, loaded: LoadedJob) -> None:
    _set_base(job, loaded.base)
    job._origin = (loaded, job._to_mapping())


def _set_base(job: Job, base: Path) -> None:
    job._base = base
    if isinstance(job, PipelineJob):
        for step in job.jobs.values():
            if isinstance(step, Job):
                _set_base(step, base)


def _lifted(data: Mapping[str, Any]) -> dict[str, Any]:
    """Without what means nothing in Python; `instance_count` and the like move below `resources`."""
    kept = {key: value for key, value in data.items() if key not in _NOT_KEPT and value is not None}
    on_top = {key: kept.pop(key) for key in _ON_TOP if key in kept}
    if on_top:
        kept["resources"] = JobResourceConfiguration(**{**on_top, **kept.get("resources", {})})
    return kept


def _step(single: type[Any], node: type[Any], data: Mapping[str, Any]) -> Any:
    """A job or step of one kind; `single` where it isn't made of a component."""
    kept = _lifted(data)
    if "component" not in kept:
        kept.pop("version", None)
        return single(**kept)
    component = kept.pop("component")
    if isinstance(component, Mapping):
        component = _component(str(component.get("type") or node.type), component)
    return node(component=component, **kept)


def _command(data: Mapping[str, Any]) -> CommandJob | Command:
    job: CommandJob | Command = _step(CommandJob, Command, data)
    return job


def _parallel(data: Mapping[str, Any]) -> ParallelJob | Parallel:
    job: ParallelJob | Parallel = _step(ParallelJob, Parallel, data)
    return job


def component_of(asset: Mapping[str, Any]) -> AnyComponent:
    """A component of the workspace; its paths are absolute."""
    made: AnyComponent = _component(str(asset.get("type") or "command").lower(), asset)
    return made


def _component(kind: str, data: Mapping[str, Any]) -> Any:
    return _COMPONENTS[kind](**_lifted(data))


def _pipeline(data: Mapping[str, Any]) -> PipelineJob:
    kept = {key: value for key, value in data.items() if key not in _NOT_KEPT and value is not None}
    jobs = kept.pop("jobs", None) or {}
    if not isinstance(jobs, Mapping):
        raise UserError("`jobs` must be a mapping of names to steps")
    return PipelineJob(jobs={name: _in_pipeline(step) for name, step in jobs.items()}, **kept)


def _in_pipeline(step: Any) -> Any:
    """What isn't known here stays as it is: the check says what it should be."""
    if not isinstance(step, Mapping):
        return step
    kind = str(step.get("type") or ("command" if step.get("command") and not step.get("component") else "")).lower()
    if kind == "pipeline" and step.get("component"):
        return _step(Pipeline, Pipeline, step)
    return _JOBS[kind](step) if kind in _JOBS else step


_JOBS: dict[str, Callable[[Mapping[str, Any]], Any]] = {"command": _command, "parallel": _parallel, "pipeline": _pipeline}
_COMPONENTS: dict[str, type[Any]] = {"command": CommandComponent, "parallel": ParallelComponent, "pipeline": PipelineComponent}
