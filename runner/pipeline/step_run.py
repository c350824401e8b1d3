"""One parallel step from its resolved form to its published rows: the place where all stages meet."""

from __future__ import annotations

import contextlib
import errno
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import partial

from runner.compute.cluster import GOODBYE_SECONDS, SESSION_SECONDS, ClusterCompute, ClusterLink, Want
from runner.compute.local import LocalCompute
from runner.engine.coordinator import Coordinator
from runner.engine.instance import Instance
from runner.engine.journal import Journal
from runner.engine.manifest import Manifest
from runner.engine.policy import Limits
from runner.engine.session import CoordinatorSettings, Verdict
from runner.engine.sole_file import Superseded
from runner.errors import UserError
from runner.inputs.source import open_source
from runner.model.batch import Chunk, Progress
from runner.model.events import Observer
from runner.model.job import Step
from runner.model.paths import JobPaths
from runner.model.ports import Source
from runner.outputs import folders
from runner.outputs.aggregate import RowsLost
from runner.outputs.rows import discard_unrecorded
from runner.pipeline.copies import is_there
from runner.pipeline.explain import explain
from runner.pipeline.instances import InstancePlan, instance_settings
from runner.pipeline.options import Cancellation, RunOptions, RunResult
from runner.pipeline.side_inputs import lay_out_inputs
from runner.pipeline.site import instance_type, prepare_site, processes_of
from runner.pipeline.step_rows import StepRows
from runner.pipeline.tracking import tracked
from runner.pipeline.voice import Voice
from runner.storage import addresses
from runner.storage.patience import PATIENCE

PROGRESS_SECONDS, REPEATED_SECONDS = 0.25, 1.0
ROWS_LOST = 3  # times in one run that mini-batches are done again, whose rows have vanished from the storage


class SystemClock:
    """Monotonic and wall time of this machine."""

    def now(self) -> float:
        return time.monotonic()

    def wall(self) -> float:
        return time.time()


@dataclass(kw_only=True)
class StepRun:
    """One run of one step. `run` publishes events all the way and returns the result; UserErrors come before anything is started."""

    step: Step
    paths: JobPaths
    options: RunOptions
    observe: Observer
    cancel: Cancellation
    _compute: LocalCompute | ClusterCompute | None = None

    def __post_init__(self) -> None:
        self._voice = Voice(self.step, self.observe)

    def run(self) -> RunResult:
        for _ in range(ROWS_LOST):
            try:
                return self._run()
            except RowsLost:  # the journal says so: only they are done again
                self.options = replace(self.options, resume=True, retry_failed=False)
        raise UserError("rows vanish from the storage again and again", todo=f"see who writes there; runner job resume -n {self.step.name}")

    def _run(self) -> RunResult:
        self._voice.status("Preparing")
        for notice in self.step.notices:
            self._voice.warn(notice)
        with ExitStack() as stack:
            source = self._prepare()
            journal = Journal(self.paths.journal, confirm=self.options.confirm)
            stack.callback(journal.close)
            manifest = Manifest(self.paths.manifest, owned=journal.held)
            stack.callback(manifest.close)
            if journal.restored.published:
                return self._published_before(journal)
            if self._rows.open(journal):
                journal.published()
                return self._published_before(journal)
            if self.options.retry_failed:
                journal.retry_failed()
            if self.options.cluster is None:  # on a cluster, instances that are at work may be writing to some
                discard_unrecorded(self.paths.parts, journal.restored.segments)
            chunks = source.chunks(iter(manifest.lines()) if self.options.resume else iter(()))
            first = next(chunks, None)
            if journal.restored.listed is not None:
                self._warn_of_new(first)
                first, chunks = None, iter(())
            self._tracking = stack.enter_context(tracked(self.step, self.paths, self.options, self._voice.warn))
            settings = self._coordinator_settings(source)
            coordinator = Coordinator(
                settings=settings, manifest=manifest, journal=journal, clock=SystemClock(), lost=self._voice.lost, silent=self._silent,
                calm_since=self._calm_since,
            )  # fmt: skip
            if self.options.cluster is None:
                self._lay_out_inputs()
                stack.callback(self._side_inputs.close)
            verdict = self._score(source, coordinator, first, chunks, journal)
            coordinator.close()
            result = self._finish(verdict, coordinator, journal)
            journal.ended(result.status)
            journal.sync()
        shutil.rmtree(self.paths.workers, ignore_errors=True)
        shutil.rmtree(self.paths.scratch, ignore_errors=True)
        return result

    # Before

    def _prepare(self) -> Source:
        for folder in (self.paths.root, self.paths.logs, self.paths.parts, self.paths.scratch):
            folder.mkdir(parents=True, exist_ok=True)
        folders.make(self.step.outputs.values())
        self._rows = StepRows(self.step, self.paths, self.options.stores, self._voice.warn)
        warn = self._voice.warn
        if self.options.cluster is None:
            self._site = prepare_site(
                self.step, self.paths, self.options, say=self._voice.environment, warn=warn, on_cancel=self.cancel.on_request
            )  # fmt: skip
        return open_source(self.step, stores=self.options.stores, scratch=self.paths.scratch, warn=warn)

    def _lay_out_inputs(self) -> None:
        say, warn = self._voice.say, self._voice.warn
        stores, cache = self.options.stores, self.options.cache
        self._side_inputs = lay_out_inputs(self.step, self.paths.scratch, cache=cache, stores=stores, say=say, warn=warn)

    def _published_before(self, journal: Journal) -> RunResult:
        """Of a run that was killed after its output had appeared and before it could say so."""
        progress = Progress(listed=True) if self.step.command else journal.restored.progress
        journal.ended("Completed")
        journal.sync()
        self._voice.progressed(progress)
        with tracked(self.step, self.paths, self.options, self._voice.warn) as self._tracking:
            self._tracking.ended("Completed", progress)
        self._voice.ended(Verdict(status="Completed"), "completed", "")
        return RunResult(status="Completed", progress=progress)

    def _silent(self, instance: str) -> None:
        if isinstance(self._compute, ClusterCompute):
            self._compute.silent(instance)

    def _warn_of_new(self, chunk: Chunk | None) -> None:
        if chunk is not None:
            self._voice.warn("the input has items that it did not have when the job was started; they are not part of this job")

    def _coordinator_settings(self, source: Source) -> CoordinatorSettings:
        step = self.step
        limits = Limits(
            mini_batch_error_threshold=step.mini_batch_error_threshold,
            error_threshold=step.error_threshold,
            allowed_failed_percent=step.arguments.allowed_failed_percent,
            unit="files" if source.summary.kind == "files" else "rows",
        )
        timeout, cluster = step.arguments.progress_update_timeout, self.options.cluster
        settings = CoordinatorSettings(limits=limits, max_retries=step.retry.max_retries, progress_update_timeout=timeout)
        if cluster is None:
            return settings
        return replace(settings, session=SESSION_SECONDS, awaited=cluster.awaited.get(step.step or "", frozenset()))

    # While it runs

    def _score(self, source: Source, coordinator: Coordinator, first: Chunk | None, chunks: Iterator[Chunk], journal: Journal) -> Verdict:
        bugs: list[BaseException] = []

        def bug(error: BaseException) -> None:
            bugs.append(error)
            coordinator.fail("internal", f"{type(error).__name__}: {error}")

        link, epoch = self.options.cluster, journal.restored.epoch
        self._compute = self._on_cluster(coordinator, link) if link else self._on_this_machine(source, coordinator, epoch, bug)
        lister = threading.Thread(target=self._list, args=(coordinator, first, chunks, bug), name="lister")
        self.cancel.on_request(coordinator.cancel)
        before = coordinator.progress()
        if before.succeeded or before.failed:  # in an earlier run: that says nothing of this one's pace
            self._voice.progressed(before)
        if link is None:  # on a cluster, when the first instance has started
            self._voice.status("Running")
        lister.start()
        self._compute.start()
        verdict = self._follow(coordinator)
        if self.cancel.requested and verdict.code in ("input", "output"):  # of what had waited for a storage
            verdict = Verdict(status="Canceled", code="cancelled", message="cancelled")
        remote = self._writes_to_blobs
        if verdict.status == "Completed" and not remote:  # all rows are durable: they are put together while workers say goodbye
            verdict = self._publish(verdict, coordinator.header)
        if verdict.code == "superseded":
            raise Superseded
        self._compute.join()
        lister.join()
        for error in bugs:
            raise error
        if verdict.status == "Completed" and remote:  # instances have put together what was in small pieces, and uploaded the last files
            verdict = self._failed_output(coordinator.problem) if coordinator.problem else self._publish(verdict, coordinator.header)
        if verdict.code == "superseded":
            raise Superseded
        self._voice.progressed(coordinator.progress())
        return verdict

    def _list(self, coordinator: Coordinator, first: Chunk | None, chunks: Iterator[Chunk], bug: Callable[[BaseException], None]) -> None:
        try:
            if first is None or coordinator.feed(first):
                for chunk in chunks:
                    if not coordinator.feed(chunk):
                        return
            coordinator.feed_done()
        except UserError as error:
            coordinator.fail("input", str(error))
        except OSError as error:
            coordinator.fail("input" if error.errno != errno.ENOSPC else "output", f"while listing the input: {error}")
        except BaseException as error:  # handed to the main thread, which raises it
            bug(error)
        finally:
            if hasattr(chunks, "close"):
                chunks.close()

    def _on_cluster(self, coordinator: Coordinator, link: ClusterLink) -> ClusterCompute:
        resources = self.step.resources
        maximum = max(resources.max_instance_count or 0, resources.instance_count)
        want = Want(step=self.step.step or "", count=resources.instance_count, maximum=maximum, types=resources.instance_type)
        goodbye = GOODBYE_SECONDS + (PATIENCE if self._writes_to_blobs else 0)
        return ClusterCompute(coordinator, link, want, paths=self.paths, observe=self.observe, goodbye=goodbye)

    def _on_this_machine(self, source: Source, coordinator: Coordinator, epoch: int, bug: Callable[[BaseException], None]) -> LocalCompute:
        step = self.step
        count = step.resources.instance_count
        plan = InstancePlan(
            step=step,
            paths=self.paths,
            summary=source.summary,
            row_format=self._rows.format,
            site=self._site,
            processes=processes_of(step, self.options),
            instances=count,
            gpus_each=instance_type(step, self.options).gpus,
            epoch=epoch,
            tracking=self._tracking.variables,
            moved=self._side_inputs.moved,
            stores=self.options.stores,
        )

        def make(number: int) -> Instance:
            settings = instance_settings(plan, number)
            loader = source.loader
            return Instance(
                settings, gateway=coordinator, launcher=self._site.launcher, loader=loader, publish=self.observe, clock=SystemClock(),
                stores=self.options.stores,
            )  # fmt: skip

        close = partial(self._site.launcher.close, self._voice.warn)
        return LocalCompute(count=count, make=make, bug=bug, gone=lambda text: coordinator.fail("instance", text), close=close)

    def _follow(self, coordinator: Coordinator) -> Verdict:
        """Counts are said when they change, and again while they do not: those who hear them leave some out, which may be the last."""
        said, again = Progress(), time.monotonic() + REPEATED_SECONDS
        while (verdict := coordinator.wait(PROGRESS_SECONDS)) is None:
            now = coordinator.progress()
            if now != said or time.monotonic() >= again:
                said, again = now, time.monotonic() + REPEATED_SECONDS
                self._voice.progressed(now)
                if not self.step.command:
                    self._tracking.progressed(now)
        return verdict

    # After

    def _finish(self, verdict: Verdict, coordinator: Coordinator, journal: Journal) -> RunResult:
        if not self.step.command:  # which puts its outputs in their places by itself, or leaves none
            folders.unite(self.paths.instance_outputs, self.step.outputs, self._voice.warn)
        progress = Progress(listed=True) if self.step.command else coordinator.progress()
        if verdict.status == "Completed":
            journal.published()
            journal.sync()
            shutil.rmtree(self.paths.parts, ignore_errors=True)
            self._warn_of_unwritten()
        self._tracking.ended(verdict.status, progress)
        error = explain(verdict, self.step, self.paths)
        self._voice.ended(verdict, error.get("code", verdict.code), error.get("message", ""))
        return RunResult(status=verdict.status, progress=progress, error=error if verdict.status != "Completed" else {})

    def _warn_of_unwritten(self) -> None:
        """Or else the step that reads it would have to take the blame."""
        for name, output in self.step.outputs.items() if self.step.command else ():
            with contextlib.suppress(UserError, OSError):
                if output.type == "uri_file" and not is_there(output.path, self.options.stores):
                    self._voice.warn(f"the command has not written its output '{name}': {output.path}")

    def _publish(self, verdict: Verdict, header: str) -> Verdict:
        self._voice.status("Finalizing")
        try:
            self._rows.publish(header)
        except Superseded:
            return Verdict(status="Superseded", code="superseded")
        except RowsLost as problem:
            if self.options.cluster is None:
                raise
            return self._failed_output(str(problem))
        except OSError as problem:
            return self._failed_output(f"the output could not be written: {problem}")
        except UserError as problem:
            return self._failed_output(str(problem))
        return verdict

    def _failed_output(self, message: str) -> Verdict:
        if self.cancel.requested:
            return Verdict(status="Canceled", code="cancelled", message="cancelled")
        return Verdict(status="Failed", code="output", message=message)

    @property
    def _writes_to_blobs(self) -> bool:
        return any(addresses.is_address(output.path) for output in self.step.outputs.values())

    def _calm_since(self) -> float:
        return self.options.stores.calm_since
