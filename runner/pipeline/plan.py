"""What a job would do, without doing it: for `job validate`. Lists the input; runs no user code."""

from __future__ import annotations

import tempfile
from pathlib import Path

from runner.compute.local import processes_per_instance
from runner.inputs.source import open_source
from runner.model.job import Job, ParallelStep, PipelineJob
from runner.outputs.append_row import read_format, row_file
from runner.pipeline.options import RunOptions, StepPlan


def plan_job(job: Job, options: RunOptions) -> list[StepPlan]:
    """One plan per step. Errors: UserError for an input that cannot be split as the job says."""
    steps = list(job.steps.values()) if isinstance(job, PipelineJob) else [job]
    return [_plan_step(step, options, waits=_waits(job, step)) for step in steps]


def _plan_step(step: ParallelStep, options: RunOptions, *, waits: bool) -> StepPlan:
    script = Path(step.code, step.entry_script)
    read_format(script.parent, header=step.arguments.append_row_dataframe_header)
    notices = list(step.notices)
    instances = step.resources.instance_count
    processes = processes_per_instance(asked=step.max_concurrency_per_instance, instances=instances)
    counts = {"mini_batches": 0, "items": 0, "bytes": 0, "largest": 0}
    unit, description = "items", "an output of another step: known when that has run"
    if not waits:
        with tempfile.TemporaryDirectory(prefix="runner-plan-") as scratch:
            source = open_source(step, scratch=Path(scratch), warn=notices.append)
            unit = "files" if source.summary.kind == "files" else "rows"
            description = source.summary.description
            for chunk in source.chunks(iter(())):
                counts["mini_batches"] += len(chunk.lines)
                counts["items"] += chunk.items
                counts["bytes"] += chunk.bytes
                counts["largest"] = max(counts["largest"], chunk.largest)
    output = "summary only" if step.append_row_to is None else str(row_file(step.outputs[step.append_row_to]))
    return StepPlan(
        step=step.step or step.name,
        input=f"{step.input_data}: {description}",
        mini_batches=counts["mini_batches"],
        items=counts["items"] if unit == "files" or counts["items"] else None,
        unit=unit,
        bytes=counts["bytes"],
        largest=counts["largest"],
        instances=instances,
        workers=instances * processes,
        arguments=step.program_arguments,
        output=output,
        python=options.python or "the runner's own" if step.environment is None or not step.environment.conda else "from the conda file",
        notices=tuple(notices),
    )


def _waits(job: Job, step: ParallelStep) -> bool:
    """Whether the split input is made by another step, so that it cannot be listed yet."""
    if not isinstance(job, PipelineJob) or step.step is None or not job.depends_on.get(step.step):
        return False
    path = step.inputs[step.input_data].path
    made = {output.path for other in job.steps.values() if other is not step for output in other.outputs.values()}
    return path in made and not _exists(path)


def _exists(path: str | None) -> bool:
    return path is not None and Path(path).exists()
