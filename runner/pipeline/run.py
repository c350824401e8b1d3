"""Runs a job: one parallel step, or the steps of a pipeline in the order of what they need."""

from __future__ import annotations

import time
from dataclasses import replace

from runner.engine.journal import read_journal
from runner.errors import UserError
from runner.model.events import JobEnded, Message, Observer, StatusChanged
from runner.model.job import Job, PipelineJob, Step
from runner.model.paths import JobPaths
from runner.pipeline.options import Cancellation, RunOptions, RunResult
from runner.pipeline.partial import publish_partial
from runner.pipeline.plan import plan_job
from runner.pipeline.step_run import StepRun
from runner.pipeline.steps import PipelineRun
from runner.pipeline.tracking import tracked
from runner.storage.stores import Stores

__all__ = ["finish_partial", "plan_job", "run_job"]


def run_job(job: Job, paths: JobPaths, options: RunOptions, observe: Observer, cancel: Cancellation) -> RunResult:
    """Runs a job in this process and returns when it has ended. Events are published all the way.

    Errors: UserError for what is found before the first mini-batch runs. A failure of the user's code is a result, not an error.
    """
    try:
        if isinstance(job, Step):
            return StepRun(step=job, paths=paths, options=options, observe=observe, cancel=cancel).run()
        with tracked(job, paths, options, lambda text: observe(Message(at=time.time(), level="WARNING", text=text))) as tracking:
            result = PipelineRun(job=job, paths=paths, options=options, observe=observe, cancel=cancel).run()
            tracking.ended(result.status, result.progress)
            return result
    finally:
        options.stores.stop_waiting()  # nothing that waits for a storage now is of use to anybody


def _is_unfinished(paths: JobPaths) -> bool:
    """Whether a step has begun, and has not completed."""
    return paths.journal.exists() and read_journal(paths.journal).ended != "Completed"


def finish_partial(job: Job, paths: JobPaths, observe: Observer, stores: Stores | None = None) -> RunResult:
    """`job finish --partial`: publishes what succeeded, in order. Errors: UserError for a job that has nothing, or that is complete."""
    if isinstance(job, PipelineJob):
        begun = [name for name, step in job.steps.items() if not step.command and _is_unfinished(paths.step(name))]
        todo = f"name a step: runner job finish --partial -n {job.name}.{begun[0]}" if begun else "none of its steps has rows to publish"
        raise UserError("a pipeline is finished step by step", todo=todo)
    result = publish_partial(job, paths, observe, stores)
    observe(Message(at=time.time(), level="WARNING", text=f"published {result.progress.succeeded} of {result.progress.total} mini-batches"))
    observe(StatusChanged(at=time.time(), status="Completed", reason="incomplete"))
    observe(JobEnded(at=time.time(), status="Completed", code="partial", message="incomplete: published by job finish --partial"))
    return replace(result, incomplete=True)
