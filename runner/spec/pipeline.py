"""Pipelines as jobs: their settings, and what comes of their steps."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from runner.model.job import JobOutput, PipelineJob
from runner.spec import schema
from runner.spec.component import with_component
from runner.spec.compute import check_compute, compute_name
from runner.spec.context import ResolveContext, check_datastore
from runner.spec.expressions import Ports, Scope
from runner.spec.pipeline_steps import Group, Steps, read_pipeline, resolve_steps
from runner.spec.ports import Frame
from runner.spec.problems import Problems
from runner.spec.settings import identity
from runner.spec.values import Reader, check_keys
from runner.spec.yaml_source import Node


@dataclass(frozen=True, kw_only=True)
class _Defaults:
    """`settings` of a pipeline."""

    compute: str
    datastore: str
    continue_on_step_failure: bool
    force_rerun: bool


def resolve_pipeline(root: Node, context: ResolveContext, problems: Problems) -> PipelineJob:
    hints = {"compute_target": "write settings.default_compute"}
    check_keys(root, (*schema.PIPELINE, *schema.WRITTEN_BY_AZURE), "of a pipeline", problems, hints)
    defaults = _defaults(root, context, problems)
    reader = Reader(root, Scope(words={"name": context.name, "default_datastore": defaults.datastore}), problems)
    context = replace(context, identity=identity(reader))  # that of its steps, too, where they have none
    experiment = reader.text("experiment_name") or context.experiment
    frame = Frame(
        name=context.name,
        context=context,
        problems=problems,
        experiment=experiment,
        default_compute=defaults.compute,
        default_datastore=defaults.datastore,
    )
    steps, ports, bound = Steps(), Ports(), frame.bound
    with problems.catching():
        files = (Path(root.place.file).resolve(),) if root.place.file else ()
        job, component = with_component(root, files, context.components)
        read = read_pipeline(job, frame)
        if read is not None:
            ports = read.ports
            inner = replace(frame, parent=ports, untyped=read.untyped)
            resolve_steps(read.tree, Group(frame=inner, files=(*files, *component)), steps)
    _check_one_compute(steps, context, problems)
    _notices(reader, ports.outputs, bound)
    return PipelineJob(
        name=context.name,
        display_name=reader.text("display_name"),
        experiment_name=experiment,
        description=reader.text("description"),
        tags=reader.text_mapping("tags"),
        properties=reader.text_mapping("properties"),
        inputs=ports.inputs,
        outputs={
            name: replace(bound.get(name, output), name=output.name, version=output.version, mode=output.mode)
            for name, output in ports.outputs.items()
        },
        steps=steps.done,
        depends_on=steps.depends_on,
        continue_on_step_failure=defaults.continue_on_step_failure,
        force_rerun=defaults.force_rerun,
        notices=tuple(problems.notices),
    )


def _check_one_compute(steps: Steps, context: ResolveContext, problems: Problems) -> None:
    """A pipeline is handed to a cluster as a whole: its steps must agree."""
    used = {name: step.compute for name, step in steps.done.items()}
    cluster = next((name for name, compute in used.items() if compute in context.clusters), None)
    other = next((name for name, compute in used.items() if cluster is not None and compute != used[cluster]), None)
    if cluster is not None and other is not None:
        there, elsewhere = f"the step '{cluster}' runs on the cluster '{used[cluster]}'", f"the step '{other}' on '{used[other]}'"
        problems.unsupported(
            f"{there}, {elsewhere}: a pipeline cannot be divided",
            steps.nodes[other].entries.get("compute", steps.nodes[other]).place,
            todo="give all steps the same compute, e.g. by settings.default_compute",
        )


def _defaults(root: Node, context: ResolveContext, problems: Problems) -> _Defaults:
    reader = Reader(root, Scope(), problems).below("settings")
    check_keys(reader.node, schema.PIPELINE_SETTINGS, "of settings", problems)
    for key in ("on_init", "on_finalize"):
        if node := reader.written(key):
            problems.unsupported(f"{key} is not run by this build", node.place, todo="leave it out")
    compute = ""
    for holder in (Reader(root, Scope(), problems), reader):  # settings.default_compute wins over compute
        key = "compute" if holder is not reader else "default_compute"
        if node := holder.written(key):
            compute = compute_name(holder.text(key), context)
            if not context.local:
                with problems.catching():
                    check_compute(compute, node, context)
    return _Defaults(
        compute=compute,
        datastore=_datastore(reader, context),
        continue_on_step_failure=reader.boolean("continue_on_step_failure", True),
        force_rerun=reader.boolean("force_rerun", False),
    )


def _datastore(reader: Reader, context: ResolveContext) -> str:
    node = reader.written("default_datastore")
    if node is None:
        return context.default_datastore
    name = reader.text("default_datastore").removeprefix("azureml:").rpartition("/datastores/")[2].removeprefix("azureml://datastores/")
    with reader.problems.catching():
        check_datastore(name, context, node.place)
        return name
    return context.default_datastore


def _notices(reader: Reader, outputs: Mapping[str, JobOutput], bound: Mapping[str, JobOutput]) -> None:
    for name in outputs:
        if name not in bound and not reader.problems.errors:
            reader.problems.notice(f"no step writes the pipeline's output '{name}'")
    for key in (*schema.WRITTEN_BY_AZURE, "services"):
        if reader.written(key):
            reader.problems.notice(f"{key} is kept without effect")
