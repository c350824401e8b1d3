"""Results of earlier pipelines in the place of a step's run: found by the step's fingerprint, checked, and copied.

The index is a file for each fingerprint, in the workspace's cache: `results/<fingerprint>.json`. It says which step of which job has the
results, where they lie, and what their content was when that step had ended.
"""

from __future__ import annotations

import contextlib
import json
import secrets
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from runner.errors import UserError
from runner.model.job import PipelineJob, Step
from runner.model.paths import JobPaths
from runner.pipeline.content import Contents
from runner.pipeline.fingerprint import Facts, facts_of, fingerprint, without_image
from runner.pipeline.options import RunOptions, RunResult
from runner.workspace.records import load_quietly

FOLDERS = "contents", "results"  # below the cache


@dataclass(frozen=True, kw_only=True)
class Earlier:
    """The results of a step. `outputs`: name → (path or address, content)."""

    job: str  # the step's, of the pipeline that was created at that moment
    pipeline: str
    created_at: str
    outputs: Mapping[str, tuple[str, str]]


Pieces = set[tuple[str, str, str]]  # output, name of a file in it, and how that is


class Reuse:
    """Of one run of a pipeline. Threads may share it. What cannot be found out costs a run of the step, and nothing else."""

    def __init__(self, job: PipelineJob, paths: JobPaths, options: RunOptions, stop: Callable[[], bool]) -> None:
        """`stop`: whether the job is to end, so that nothing needs to be compared any more."""
        self._job, self._paths, self._options, self._stop = job, paths, options, stop
        contents, results = FOLDERS
        self._contents = Contents(options.cache / contents, options.stores, stop)
        self._index = options.cache / results
        self._facts: dict[str, Facts] = {}  # of steps, as they were before these ran
        self._before: dict[str, Pieces] = {}  # what lay at the places of their outputs then

    def find(self, step: Step, paths: JobPaths) -> Earlier | None:
        """Results that the step would have as well, and that are still as they were."""
        if not step.is_deterministic or not step.outputs:  # without any, what it does beside them is what it is for
            return None
        with contextlib.suppress(UserError, OSError):
            facts = facts_of(step, paths.code, self._contents, self._options)
            self._facts[step.name], self._before[step.name] = facts, self._pieces(step)
            entry = self._index / f"{fingerprint(facts)}.json"
            earlier = None if self._job.force_rerun else _read(entry)
            if earlier is not None and self._is_whole(earlier, step):
                return earlier
        return None

    def take(self, earlier: Earlier, step: Step) -> bool:
        """Makes the results those of the step; false where they cannot be copied: then it has to run."""
        from runner.pipeline.copies import can_copy, copy_output, has_files

        places = {name: (source, step.outputs[name].path) for name, (source, _) in earlier.outputs.items()}
        if not all(can_copy(source, target) for source, target in places.values()):
            return False
        try:
            for name, (source, target) in places.items():
                alone = step.outputs[name].type == "uri_file" or not has_files(target, self._options.stores)
                if source != target:
                    copy_output(source, target, self._options.stores, self._stop)
                if alone:  # or else it has what was there before as well
                    self._contents.note(target, earlier.outputs[name][1])
        except (UserError, OSError):
            return False
        return True

    def note(self, step: Step, paths: JobPaths, result: RunResult) -> None:
        """The results of a step that has run from its beginning, for later ones.

        Those with failures in them are not passed on, nor those of a step whose inputs have changed while it ran.
        """
        facts, progress = self._facts.get(step.name), result.progress
        if facts is None or progress.failed or progress.items_failed:
            return
        with contextlib.suppress(UserError, OSError):
            now = facts_of(step, paths.code, self._contents, self._options)
            if without_image(now) != without_image(facts):
                return
            if self._before[step.name] & self._pieces(step):  # what was there before would be taken for a part of its results
                return
            outputs = {name: (output.path, self._contents.now(output.path)) for name, output in step.outputs.items()}
            for path, content in outputs.values():
                self._contents.note(path, content)
            record = load_quietly(self._paths)
            if record is not None and record.created_at:  # `now` knows the image that had to be pulled
                earlier = Earlier(job=step.name, pipeline=record.name, created_at=record.created_at, outputs=outputs)
                _write(self._index / f"{fingerprint(now)}.json", earlier)

    def _pieces(self, step: Step) -> Pieces:
        """Of the step's outputs, each file as it is. Errors: those of `Contents`."""
        return {(name, *piece) for name, output in step.outputs.items() for piece in self._contents.pieces(output.path)}

    def _is_whole(self, earlier: Earlier, step: Step) -> bool:
        """Errors: those of `Contents`."""
        if earlier.outputs.keys() != step.outputs.keys() or not self._is_there(earlier):
            return False
        return all(self._contents.now(path) == content for path, content in earlier.outputs.values())

    def _is_there(self, earlier: Earlier) -> bool:
        """Whether the job is known that is to be named, and no other has its name by now."""
        root = self._paths.root.with_name(earlier.pipeline)
        record = load_quietly(JobPaths(root, root))
        return record is not None and record.created_at == earlier.created_at


def _read(path: Path) -> Earlier | None:
    with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
        data = json.loads(path.read_text(encoding="utf-8"))
        words = {name: str(data[name]) for name in ("job", "pipeline", "created_at")}
        return Earlier(**words, outputs={name: (str(one[0]), str(one[1])) for name, one in data["outputs"].items()})
    return None


def _write(path: Path, earlier: Earlier) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    try:
        draft.write_text(json.dumps(asdict(earlier)), encoding="utf-8")
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)
