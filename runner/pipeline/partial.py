"""`job finish --partial` of one step: its rows, as far as there are any."""

from __future__ import annotations

from dataclasses import replace

from runner.engine.journal import Journal
from runner.engine.manifest import Manifest
from runner.errors import UserError
from runner.model.events import Observer
from runner.model.job import Step
from runner.model.paths import JobPaths
from runner.pipeline.options import RunResult
from runner.pipeline.step_rows import StepRows
from runner.pipeline.voice import Voice
from runner.storage.stores import Stores


def publish_partial(step: Step, paths: JobPaths, observe: Observer, stores: Stores | None = None) -> RunResult:
    """Publishes what a failed or cancelled job has, in order. Errors: UserError when there is nothing to publish; OSError."""
    if step.command:
        problem = f"'{step.name}' is a command: it has no rows, and what it has written lies in its outputs already"
        raise UserError(problem, todo=f"run it again with: runner job resume -n {step.name}")
    if not paths.journal.exists():
        raise UserError(f"the job '{step.name}' has no finished mini-batches", todo=f"runner job resume -n {step.name}")
    journal = Journal(paths.journal)
    try:
        if journal.restored.published:
            raise UserError(f"the job '{step.name}' has published its output already")
        if not journal.restored.segments:
            raise UserError(f"the job '{step.name}' has no finished mini-batches", todo=f"runner job resume -n {step.name}")
        restored = StepRows(step, paths, stores or Stores(), Voice(step, observe).warn).publish_incomplete(journal)
    finally:
        journal.close()
    manifest = Manifest(paths.manifest)
    total = manifest.count
    manifest.close()
    progress = replace(restored.progress, total=total, listed=restored.listed is not None)
    return RunResult(status="Completed", progress=progress, incomplete=True)
