"""From a loaded job to one that is ready to run: expressions resolved, everything checked, all mistakes told at once."""

from __future__ import annotations

import re
from dataclasses import replace

from runner.errors import NotSupportedHere, Place, UserError
from runner.model.job import PipelineJob, Step
from runner.spec import schema
from runner.spec.component import KINDS
from runner.spec.context import DEFAULT_DATASTORE, ResolveContext
from runner.spec.kinds import advice, check_is_job
from runner.spec.load import LoadedJob
from runner.spec.pipeline import resolve_pipeline
from runner.spec.ports import Frame
from runner.spec.problems import Problems
from runner.spec.script import missing
from runner.spec.step import resolve_step
from runner.spec.values import near_case

__all__ = ["DEFAULT_DATASTORE", "ResolveContext", "resolve"]

JOB_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,254}")


def resolve(loaded: LoadedJob, context: ResolveContext) -> Step | PipelineJob:
    """Checks and resolves a job; nothing is started or written.

    Raises a UserError, or UserErrors with all mistakes in the order of the file; NotSupportedHere for what Azure ML has and this build
    cannot honour.
    """
    problems = Problems()
    _check_name(loaded, context, problems)
    with problems.catching():
        kind = _kind(loaded)
        job: Step | PipelineJob
        if kind == "pipeline":
            job = resolve_pipeline(loaded.root, context, problems)
        else:
            experiment = loaded.root.get("experiment_name")
            frame = Frame(
                name=context.name,
                context=context,
                problems=problems,
                default_datastore=context.default_datastore,
                experiment=experiment.text if experiment else context.experiment,
            )
            job = resolve_step(loaded.root, frame).step
    problems.raise_if_any()
    steps = job.steps.values() if isinstance(job, PipelineJob) else (job,)
    if any(step.identity for step in steps) and not context.blobs.by_identity:
        problems.notice("identity has no effect on the paths in this job: they are local, or have credentials of their own")
    return replace(job, notices=tuple(problems.notices))


def _kind(loaded: LoadedJob) -> str:
    node, kind = loaded.root.get("type"), loaded.type
    if (deployed := loaded.root.get("code_configuration") or loaded.root.get("endpoint_name")) is not None:
        todo = "run it over an input: `runner batch invoke -f FILE --input PATH`"
        raise UserError("this is a batch deployment, not a job", place=deployed.place, todo=todo)
    check_is_job(loaded.root)
    if not kind:
        raise missing(loaded.root, "type", advice(loaded.root))
    known = (*KINDS, "pipeline")
    if kind in schema.OTHER_JOBS and node:
        raise NotSupportedHere(f"jobs of type {kind} cannot run here", place=node.place, allowed=", ".join(known))
    if kind not in known and node:
        raise UserError(f"{node.kind} is not a type of jobs", place=node.place, allowed=", ".join(known), todo=near_case(kind, known))
    return kind


def _check_name(loaded: LoadedJob, context: ResolveContext, problems: Problems) -> None:
    node = loaded.root.get("name")
    place = node.place if node and node.text == context.name else Place(field="name")
    if not JOB_NAME.fullmatch(context.name):
        problems.add(
            f"'{context.name}' is not a name of a job",
            place,
            allowed="up to 255 letters, digits, _, . and -, first a letter or digit",
            todo="choose another name, or leave it out",
        )
