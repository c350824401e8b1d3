"""What a job would do, without doing it: for `job validate`. Lists the input; runs no user code."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from runner.compute.local import cores
from runner.errors import Place, UserError
from runner.inputs.source import open_source
from runner.model.job import Job, PipelineJob, Step
from runner.outputs.append_row import format_of, row_file
from runner.pipeline.options import RunOptions, StepPlan
from runner.pipeline.site import asked_processes, describe_site, on_cluster
from runner.spec.command_text import with_values
from runner.storage.addresses import is_address

WORKERS_LIMIT = 2048  # on one machine: beyond that it is a slip of the pen


def plan_job(job: Job, options: RunOptions) -> list[StepPlan]:
    """One plan per step. Errors: UserError for an input that cannot be split as the job says."""
    return [_plan_step(step, options, waits=_waits(job, step, options)) for step in _steps(job)]


def check_job(job: Job, options: RunOptions) -> None:
    """What a job needs beside its input: the settings of its rows and its interpreters. Errors: UserError."""
    for step in _steps(job):
        format_of(step, Path(step.code))
        describe_site(step, options)
        _check_workers(step, options)


def _check_workers(step: Step, options: RunOptions) -> None:
    """Errors: UserError for more workers than one machine can be meant to have."""
    cluster = on_cluster(step, options)
    processes = asked_processes(step, options) or 1
    workers = processes if cluster else processes * step.resources.instance_count
    if workers > WORKERS_LIMIT:
        field = "max_concurrency_per_instance" if step.max_concurrency_per_instance else "resources.instance_count"
        where = "each instance" if cluster else f"this machine, which has {cores()} cores"
        raise UserError(
            f"the job asks for {workers:,} worker processes on {where}", place=Place(field=field), allowed=f"at most {WORKERS_LIMIT:,}"
        )


def _steps(job: Job) -> list[Step]:
    return list(job.steps.values()) if isinstance(job, PipelineJob) else [job]


def _plan_step(step: Step, options: RunOptions, *, waits: bool) -> StepPlan:
    format_of(step, Path(step.code))
    notices = list(step.notices)
    python, more = describe_site(step, options)
    notices += more
    instances = step.resources.instance_count
    processes = asked_processes(step, options)
    if step.command:
        return _plan_command(step, python, notices)
    found = _Found() if waits else _list_input(step, options, notices.append)
    return StepPlan(
        step=step.step or step.name,
        input=f"{step.input_data}: {found.description}",
        mini_batches=None if waits else found.mini_batches,
        items=found.items if not waits and (found.unit == "files" or found.items) else None,
        unit=found.unit,
        bytes=None if waits else found.bytes,
        largest=None if waits else found.largest,
        instances=instances,
        workers=None if processes is None else instances * processes,
        arguments=step.program_arguments,
        output="summary only" if step.append_row_to is None else row_file(step.outputs[step.append_row_to]),
        python=python,
        compute=step.compute,
        notices=tuple(notices),
    )


def _plan_command(step: Step, python: str, notices: list[str]) -> StepPlan:
    given = {name: one for name, one in step.inputs.items() if not one.optional_unset}
    return StepPlan(
        step=step.step or step.name,
        input=", ".join(f"{name}: {one.path if one.is_data else repr(one.value)}" for name, one in given.items()) or "none",
        mini_batches=None,
        items=None,
        unit="files",
        bytes=None,
        largest=None,
        instances=1,
        workers=1,
        arguments=step.program_arguments,
        output=", ".join(f"{name}: {output.path}" for name, output in step.outputs.items()) or "none",
        python=python,
        compute=step.compute,
        command=with_values(step.command, step.program_arguments),
        notices=tuple(notices),
    )


@dataclass(kw_only=True)
class _Found:
    unit: str = "items"
    description: str = "an output of another step: known when that has run"
    mini_batches: int = 0
    items: int = 0
    bytes: int = 0
    largest: int = 0


def _list_input(step: Step, options: RunOptions, warn: Callable[[str], None]) -> _Found:
    with tempfile.TemporaryDirectory(prefix="runner-plan-") as scratch:
        source = open_source(step, stores=options.stores, scratch=Path(scratch), warn=warn)
        found = _Found(unit="files" if source.summary.kind == "files" else "rows", description=source.summary.description)
        for chunk in source.chunks(iter(())):
            found.mini_batches += len(chunk.lines)
            found.items += chunk.items
            found.bytes += chunk.bytes
            found.largest = max(found.largest, chunk.largest)
    return found


def _waits(job: Job, step: Step, options: RunOptions) -> bool:
    """Whether the split input is made by another step, so that it cannot be listed yet."""
    if step.command or not isinstance(job, PipelineJob) or step.step is None or not job.depends_on.get(step.step):
        return False
    path = step.inputs[step.input_data].path
    made = {output.path for other in job.steps.values() if other is not step for output in other.outputs.values()}
    return path in made and not _exists(path, options)


def _exists(path: str | None, options: RunOptions) -> bool:
    if path is None or not is_address(path):
        return path is not None and Path(path).exists()
    return options.stores.kind(path) != "nothing"
