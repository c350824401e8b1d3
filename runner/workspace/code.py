"""The code in a job's folder: the snapshot that its workers run, made with the job and renewed when a mended script is to go on."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

from runner.errors import Place, UserError
from runner.model.job import Job, PipelineJob, Step
from runner.model.paths import JobPaths
from runner.spec.script import check_script
from runner.workspace.snapshot import Snapshot, plan_snapshot

SIGNATURE = "code.sha256"  # beside a snapshot: nodes of a cluster that have the same code already need not fetch it
_NEW, _OLD = "code.new", "code.old"

Say = Callable[[str], None]


def _silent(_text: str) -> None:
    pass


def copy_code(job: Job, paths: JobPaths, *, limit: int | None, say: Say = _silent) -> None:
    """Takes the snapshots of a job that is being made; a pipeline has one for each step. `limit` in bytes, None: any size."""
    told: set[str] = set()
    for step, place in _steps(job, paths):
        if step.code:
            _plan(step, limit, say, told).copy_to(place.code)
        else:
            place.code.mkdir(parents=True)


def sign_code(job: Job, paths: JobPaths) -> None:
    """Writes down the signature of each snapshot."""
    for _, place in _steps(job, paths):
        place.code.with_name(SIGNATURE).write_text(signature_of(place.code), encoding="ascii")


def signature_of(code: Path) -> str:
    """Of names, modes and contents."""
    digest = hashlib.sha256()
    for path in sorted(path for path in code.rglob("*") if path.is_file()):
        content = hashlib.sha256(path.read_bytes()).hexdigest()
        digest.update(f"{path.relative_to(code)}\0{path.stat().st_mode:o}\0{content}\n".encode("utf-8", "surrogateescape"))
    return digest.hexdigest()


def check_code(job: Job) -> None:
    """Raises `UserError` unless the code folders still hold entry scripts that can be run."""
    for step in job.steps.values() if isinstance(job, PipelineJob) else (job,):
        if step.code and not Path(step.code).is_dir():
            raise UserError(
                f"the code folder {step.code} is gone", place=Place(field="code"), todo="bring it back, or resume without --code"
            )
        if not step.command:
            check_script(Path(step.code, step.entry_script))


def renew_code(job: Job, paths: JobPaths, *, limit: int | None, say: Say = _silent) -> None:
    """Puts the code as it now is in the place of the job's snapshots.

    All new ones are made before the first old one gives way. Whatever happens in between, each step has one of the two as a whole,
    once `settle_code` has been called.
    """
    told: set[str] = set()
    places = [(_plan(step, limit, say, told), place.root) for step, place in _steps(job, paths) if step.code]
    try:
        for plan, root in places:
            plan.copy_to(root / _NEW)
        for _, root in places:
            (root / "code").rename(root / _OLD)
            (root / _NEW).rename(root / "code")
    finally:
        settle_code(paths)


def settle_code(paths: JobPaths) -> None:
    """Ends what a killed process has left half done; the caller owns the job."""
    for root in (paths.root, *(paths.root / "steps").glob("*")):
        if (root / _OLD).exists() and not (root / "code").exists():
            (root / _OLD).rename(root / "code")
        for name in (_OLD, _NEW):
            shutil.rmtree(root / name, ignore_errors=True)


def _plan(step: Step, limit: int | None, say: Say, told: set[str]) -> Snapshot:
    """`told`: folders of which it has been said what is left out."""
    plan = plan_snapshot(Path(step.code), limit=limit)
    if plan.withheld and step.code not in told:
        told.add(step.code)
        files = ", ".join(str(plan.source / name) for name in plan.withheld)
        say(f"left out of the snapshot of the code, for a credential is in it: {files}")
    if not step.command and step.entry_script not in plan.files:
        raise UserError(
            f"the entry script {step.entry_script} is left out of the snapshot by the ignore file of {step.code}",
            place=Place(field="entry_script"),
            todo="let .amlignore (or .gitignore) keep it",
        )
    return plan


def _steps(job: Job, paths: JobPaths) -> Iterator[tuple[Step, JobPaths]]:
    if isinstance(job, PipelineJob):
        yield from ((step, paths.step(name)) for name, step in job.steps.items())
    else:
        yield job, paths
