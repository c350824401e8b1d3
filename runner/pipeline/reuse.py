"""Results of earlier pipelines in the place of a step's run: found by the step's fingerprint, checked, and copied."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from runner.errors import UserError
from runner.failpoints import failpoint
from runner.model.job import PipelineJob, Step
from runner.model.paths import JobPaths
from runner.pipeline.content import Contents
from runner.pipeline.fingerprint import Facts, facts_of, fingerprint, without_image
from runner.pipeline.options import RunOptions, RunResult
from runner.pipeline.results import Earlier, Results, StepOf
from runner.storage import addresses
from runner.workspace.records import load_quietly
from runner.workspace.units import show_size

FOLDERS = "contents", "results"  # below the cache
SECONDS = 1.0  # that something takes before it is told that it does

Pieces = set[tuple[str, str, str]]  # output, name of a file in it, and how that is
Tell = Callable[[str], None]


@dataclass(frozen=True, kw_only=True)
class Before:
    """A step before it has run: what counts, and what lay at the places of its outputs."""

    facts: Facts
    pieces: Pieces


class Reuse:
    """Of one run of a pipeline. Threads may share it. What cannot be found out costs a run of the step, and nothing else."""

    def __init__(self, job: PipelineJob, paths: JobPaths, options: RunOptions, stop: Callable[[], bool]) -> None:
        """`stop`: whether the job is to end, so that nothing needs to be compared any more."""
        self._job, self._paths, self._options, self._stop = job, paths, options, stop
        contents, results = FOLDERS
        self._contents = Contents(options.cache / contents, options.stores, stop)
        self._results = Results(options.cache / results)
        self._before: dict[str, Before] = {}

    def find(self, step: Step, paths: JobPaths, tell: Tell) -> Earlier | None:
        """Results that the step would have as well, and that are still as they were.

        None of this very pipeline: whether a step runs would depend on which of two equal ones is faster.
        """
        if not step.is_deterministic or not step.outputs:  # without any, what it does beside them is what it is for
            return None
        contents = self._contents.counted()
        with contextlib.suppress(UserError, OSError):
            with _told_when_slow(tell, f"checking inputs of step '{step.step}'", contents):
                facts = facts_of(step, paths.code, contents, self._options)
                self._before[step.name] = Before(facts=facts, pieces=self._pieces(step))
            if self._job.force_rerun:
                return None
            known = self._contents.counted()
            with _told_when_slow(tell, f"checking known results of step '{step.step}'", known):
                for earlier in self._results.find(fingerprint(facts), self._exists):
                    if earlier.holder.pipeline != self._paths.root.name and _is_whole(earlier, step, known):
                        return earlier
        return None

    def take(self, earlier: Earlier, step: Step, tell: Tell) -> bool:
        """Makes the results those of the step; false where they cannot be copied: then it has to run."""
        from runner.pipeline.copies import can_copy, copy_output, has_files

        places = {name: (source, step.outputs[name].path) for name, (source, _) in earlier.outputs.items()}
        if not all(can_copy(source, target) for source, target in places.values()):
            return False
        whole = True  # or else an output has what was there before as well
        try:
            with _told_when_slow(tell, f"copying the results of {self.name_of(earlier)}"):
                for name, (source, target) in places.items():
                    alone = source == target or step.outputs[name].type == "uri_file" or not has_files(target, self._options.stores)
                    if source != target:
                        copy_output(source, target, self._options.stores, self._stop)
                        failpoint("reuse.copied")
                    if alone:
                        self._contents.note(target, earlier.outputs[name][1])
                    whole = whole and alone
        except (UserError, OSError):
            return False
        if whole:
            with contextlib.suppress(UserError, OSError):
                self._note_copy(earlier, step)
        return True

    def note(self, step: Step, paths: JobPaths, result: RunResult, tell: Tell) -> None:
        """The results of a step that has run from its beginning, for later ones.

        Those with failures in them are not passed on, nor those of a step whose inputs have changed while it ran.
        """
        before, progress = self._before.get(step.name), result.progress
        if before is None or progress.failed or progress.items_failed:
            return
        contents = self._contents.counted()
        with (
            contextlib.suppress(UserError, OSError),
            _told_when_slow(tell, f"checking outputs of step '{step.step}'", contents),
        ):
            now = facts_of(step, paths.code, contents, self._options)
            if without_image(now) != without_image(before.facts):
                return
            if before.pieces & self._pieces(step):  # what was there before would be taken for a part of its results
                return
            outputs = {name: (output.path, contents.now(output.path)) for name, output in step.outputs.items()}
            for path, content in outputs.values():
                self._contents.note(path, content)
            if own := self._own(step):  # `now` knows the image that had to be pulled
                self._results.note(fingerprint(now), Earlier(holder=own, origin=own, outputs=outputs, progress=progress))

    def name_of(self, earlier: Earlier) -> str:
        """The job that has run, though it may be deleted; the one that has its results, where another job has the name by now."""
        record = load_quietly(self._paths_of(earlier.origin))
        return earlier.origin.job if record is None or record.created_at == earlier.origin.created_at else earlier.holder.job

    def _note_copy(self, earlier: Earlier, step: Step) -> None:
        """Copies are as good as what they were made from. Those of blobs have ETags of their own."""
        outputs = dict[str, tuple[str, str]]()
        for name, (_, content) in earlier.outputs.items():
            path = step.outputs[name].path
            outputs[name] = path, self._contents.now(path) if addresses.is_address(path) else content
        if own := self._own(step):
            copy = Earlier(holder=own, origin=earlier.origin, outputs=outputs, progress=earlier.progress)
            self._results.note(fingerprint(self._before[step.name].facts), copy)

    def _own(self, step: Step) -> StepOf | None:
        record = load_quietly(self._paths)
        if record is None or not record.created_at:
            return None
        return StepOf(job=step.name, pipeline=self._paths.root.name, created_at=record.created_at)

    def _pieces(self, step: Step) -> Pieces:
        """Of the step's outputs, each file as it is. Errors: those of `Contents`."""
        return {(name, *piece) for name, output in step.outputs.items() for piece in self._contents.pieces(output.path)}

    def _exists(self, one: StepOf) -> bool:
        """Whether that job is known, and no other has its name by now."""
        record = load_quietly(self._paths_of(one))
        return record is not None and record.created_at == one.created_at

    def _paths_of(self, one: StepOf) -> JobPaths:
        root = self._paths.root.with_name(one.pipeline)
        return JobPaths(root, root)


def _is_whole(earlier: Earlier, step: Step, contents: Contents) -> bool:
    """Errors: those of `Contents`."""
    if earlier.outputs.keys() != step.outputs.keys():
        return False
    return all(contents.now(path) == content for path, content in earlier.outputs.values())


@contextlib.contextmanager
def _told_when_slow(tell: Tell, what: str, contents: Contents | None = None) -> Iterator[None]:
    """Once, from another thread; never afterwards. `contents`: how much has to be read."""

    def say() -> None:
        size = contents.unread if contents else 0
        tell(f"{what}: {show_size(size)}" if size else what)

    timer = threading.Timer(SECONDS, say)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
        timer.join()
