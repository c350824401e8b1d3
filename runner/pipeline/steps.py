"""The steps of a pipeline: each begins when those have ended that it needs; steps that need nothing of each other run side by side."""

from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field, replace
from functools import partial

from runner.compute.local import cores
from runner.engine.journal import Journal, read_journal
from runner.engine.sole_file import Superseded
from runner.errors import UserError
from runner.failpoints import failpoint
from runner.model.batch import Progress
from runner.model.events import Event, JobEnded, Message, Observer, StatusChanged
from runner.model.job import PipelineJob, Step
from runner.model.paths import JobPaths
from runner.pipeline.options import Cancellation, RunOptions, RunResult
from runner.pipeline.reuse import Reuse
from runner.pipeline.step_run import StepRun
from runner.pipeline.tracking import track_reused
from runner.pipeline.voice import Voice
from runner.storage.problems import StorageUnavailable
from runner.workspace.records import load_quietly


@dataclass(kw_only=True)
class PipelineRun:
    """A failed step leaves its dependants `NotRun`; the others run on when `continue_on_step_failure`."""

    job: PipelineJob
    paths: JobPaths
    options: RunOptions
    observe: Observer
    cancel: Cancellation
    results: dict[str, RunResult] = field(default_factory=dict)
    bugs: list[BaseException] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._reuse = Reuse(self.job, self.paths, self.options, lambda: self.cancel.requested)

    def run(self) -> RunResult:
        for notice in self.job.notices:
            self.observe(Message(at=time.time(), level="WARNING", text=notice))
        self.observe(StatusChanged(at=time.time(), status="Running"))
        self._run_steps()
        result = self._summary()
        self.observe(
            JobEnded(
                at=time.time(), status=result.status, code=result.error.get("code", "completed"), message=result.error.get("message", "")
            )
        )
        self.observe(StatusChanged(at=time.time(), status=result.status))
        return result

    def _run_steps(self) -> None:
        """Each as soon as it can.

        A bug of the runner's in one step costs the others nothing: those that run come to their end, and then it is raised.
        """
        waiting, running = list(in_order(self.job)), dict[Future[RunResult], str]()
        with ThreadPoolExecutor(max_workers=self._at_once(), thread_name_prefix="step") as pool:
            while waiting or running:
                for name in [one for one in waiting if self.results.keys() >= set(self.job.depends_on.get(one, ()))]:
                    waiting.remove(name)
                    running[pool.submit(self._run_step, name)] = name
                ended, _ = wait(running, return_when=FIRST_COMPLETED)
                for future in ended:
                    name = running.pop(future)
                    bug = future.exception()
                    self.results[name] = future.result() if bug is None else self._broken(name, bug)
                    if self.options.cluster is not None and not isinstance(bug, Superseded):
                        self.options.cluster.broker.done(name)  # also where it has asked for nothing: something may be reserved for it
        for bug in self.bugs:
            raise bug

    def _at_once(self) -> int:
        """On this machine as many as it has cores; on a cluster, where their instances queue, all that there are ports for."""
        link = self.options.cluster
        if link is None:
            return max(1, cores())
        first, last = link.ports
        return max(1, min(len(self.job.steps), last + 1 - first) if first else len(self.job.steps))

    def _run_step(self, name: str) -> RunResult:
        step, paths = self.job.steps[name], self.paths.step(name)
        reason = self._why_not(name)
        observe = _observer_of(name, self.observe)
        voice = Voice(step, observe)
        if reason:
            voice.status("NotRun", reason)
            return RunResult(status="NotRun")
        if self.options.resume and (before := self._completed_before(step, paths)):
            voice.progressed(before.progress)
            voice.status("Completed", "completed in an earlier run of this job")
            return before
        known = self.options.resume and paths.manifest.exists()
        if (not known or step.command) and (taken := self._taken(step, paths, observe)):  # a command begins afresh
            return taken
        again = known and (self.options.retry_failed or bool(step.command))  # a command that has failed has nothing to go on from
        options = replace(self.options, resume=known, retry_failed=again)
        try:
            result = StepRun(step=step, paths=paths, options=options, observe=observe, cancel=self.cancel).run()
        except (UserError, StorageUnavailable) as error:
            status, code = ("Canceled", "cancelled") if self.cancel.requested else ("Failed", "input")
            return self._ended(name, status, code, str(error) if isinstance(error, UserError) else str(error.strerror))
        if result.status == "Completed":
            self._note(step, paths, result)
        return result

    def _completed_before(self, step: Step, paths: JobPaths) -> RunResult | None:
        """Of a step that has the results of another job, the counts stand in the record only."""
        if not paths.journal.exists():
            return None
        restored = read_journal(paths.journal)
        if restored.ended != "Completed":
            return None
        if step.command:
            return RunResult(status="Completed", progress=Progress(listed=True))
        record = load_quietly(self.paths)
        job = record.jobs.get(step.step or "") if record else None
        return RunResult(status="Completed", progress=job.progress if job and job.reused_from else restored.progress)

    def _note(self, step: Step, paths: JobPaths, result: RunResult) -> None:
        """The step has ended: if it takes long until the next can begin, it is the pipeline that says so."""
        told = list[str]()

        def tell(text: str) -> None:
            told.append(text)
            self.observe(StatusChanged(at=time.time(), status="Running", reason=text))

        self._reuse.note(step, paths, result, tell)
        if told:
            self.observe(StatusChanged(at=time.time(), status="Running"))

    def _taken(self, step: Step, paths: JobPaths, observe: Observer) -> RunResult | None:
        """The results of an earlier job in the place of a run, where there are any; the journal says so to a job that goes on."""
        voice = Voice(step, observe)
        tell = partial(voice.status, "Preparing")
        earlier = self._reuse.find(step, paths, tell)
        if earlier is None or not self._reuse.take(earlier, step, tell):
            return None
        failpoint("reuse.taken")
        name = self._reuse.name_of(earlier)
        paths.root.mkdir(parents=True, exist_ok=True)
        journal = Journal(paths.journal, confirm=self.options.confirm)
        try:
            journal.ended("Completed")
            journal.sync()
        finally:
            journal.close()
        failpoint("reuse.ended")
        track_reused(step, paths, self.options, voice.warn, job=name, pipeline=earlier.origin.pipeline)
        voice.progressed(earlier.progress)
        observe(StatusChanged(at=time.time(), status="Completed", reason=f"taken from {name}", reused_from=name))
        return RunResult(status="Completed", progress=earlier.progress)

    def _broken(self, name: str, bug: BaseException) -> RunResult:
        """A step that has met a bug, a full disk, or another owner of the job: then all of them stop."""
        self.bugs.append(bug)
        if isinstance(bug, Superseded):
            self.cancel.request()
            return RunResult(status="Canceled")
        return self._ended(name, "Failed", "internal", f"a bug in the runner, or a full disk: {type(bug).__name__}: {bug}")

    def _ended(self, name: str, status: str, code: str, message: str) -> RunResult:
        observe = _observer_of(name, self.observe)
        observe(JobEnded(at=time.time(), status=status, code=code, message=message))
        observe(StatusChanged(at=time.time(), status=status))
        return RunResult(status=status, error={"message": message, "code": code, "log": str(self.paths.step(name).logs)})

    def _why_not(self, name: str) -> str:
        if self.cancel.requested:
            return "cancelled"
        for other in self.job.depends_on.get(name, ()):
            if self.results[other].status != "Completed":
                return f"step '{other}' has not completed"
        failed = [other for other, result in list(self.results.items()) if result.status == "Failed"]
        if failed and (self.bugs or not self.job.continue_on_step_failure):
            return f"step '{failed[0]}' has failed"
        return ""

    def _summary(self) -> RunResult:
        progress = Progress(listed=True)
        self.results = {name: self.results[name] for name in self.job.steps}  # the order of the file, for what is told of them
        for result in self.results.values():
            progress = add(progress, result.progress)
        for status in ("Canceled", "Failed"):
            for name, result in self.results.items():
                if result.status == status:
                    message = f"step '{name}': {result.error.get('message', status)}"
                    return RunResult(status=status, progress=progress, error={**result.error, "message": message})
        return RunResult(status="Canceled" if self.cancel.requested else "Completed", progress=progress)


def add(one: Progress, other: Progress) -> Progress:
    """The counts of two steps together."""
    return replace(
        one,
        total=one.total + other.total,
        succeeded=one.succeeded + other.succeeded,
        failed=one.failed + other.failed,
        retries=one.retries + other.retries,
        items=one.items + other.items,
        items_listed=one.items_listed + other.items_listed,
        items_failed=one.items_failed + other.items_failed,
    )


def in_order(job: PipelineJob) -> Iterator[str]:
    """Step names so that each comes after those it needs, otherwise as written. Cycles were refused when the job was loaded."""
    done: set[str] = set()
    while len(done) < len(job.steps):
        for name in job.steps:
            if name not in done and done.issuperset(job.depends_on.get(name, ())):
                done.add(name)
                yield name
                break
        else:
            raise AssertionError("the steps need one another in a circle")


def _observer_of(name: str, observe: Observer) -> Observer:
    def tell(event: Event) -> None:
        observe(replace(event, step=name))

    return tell
