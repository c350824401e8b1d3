"""The index of results: a folder for each fingerprint in the workspace's cache, with a file for each job that has them.

Such a file is written when the outputs are there, and never changed: what a job that was killed has left is in no file, and two jobs
never write to the same one.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import secrets
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from runner.failpoints import failpoint
from runner.model.batch import Progress
from runner.workspace.records import progress_from_json, progress_to_json

KEPT = 16  # jobs with the same results: of older ones nothing is needed


@dataclass(frozen=True, kw_only=True)
class StepOf:
    """A step's job, of the pipeline that was created at that moment: names may be used again."""

    job: str
    pipeline: str
    created_at: str


@dataclass(frozen=True, kw_only=True)
class Earlier:
    """The results of a step. `outputs`: name → (path or address, content when the step had ended). `progress`: of the one that has run."""

    holder: StepOf  # whose outputs they are
    origin: StepOf  # which has run to make them: the holder, or the one that its outputs were copied from
    outputs: Mapping[str, tuple[str, str]]
    progress: Progress


class Results:
    """Errors: OSError. What cannot be read is not there."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def find(self, fingerprint: str, exists: Callable[[StepOf], bool]) -> list[Earlier]:
        """Those of jobs that exist: of the last run first, and of its copies the oldest first. The others are forgotten."""
        found = list[Earlier]()
        for path, earlier in self._all(fingerprint):
            if exists(earlier.holder):
                found.append(earlier)
            else:
                path.unlink(missing_ok=True)
        found.sort(key=lambda one: (one.holder != one.origin, one.holder.created_at, one.holder.job))
        return sorted(found, key=lambda one: one.origin.created_at, reverse=True)

    def note(self, fingerprint: str, earlier: Earlier) -> None:
        name = hashlib.sha256(os.fsencode(earlier.holder.job)).hexdigest()[:32]
        path = self._folder / fingerprint / f"{name}.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        draft = path.with_name(f".{name}.{secrets.token_hex(4)}")
        try:
            draft.write_text(json.dumps({**asdict(earlier), "progress": progress_to_json(earlier.progress)}), encoding="utf-8")
            failpoint("reuse.written")
            draft.replace(path)
        finally:
            draft.unlink(missing_ok=True)
        failpoint("reuse.noted")
        oldest = sorted(self._all(fingerprint), key=lambda one: one[1].holder.created_at)
        for old, _ in oldest[:-KEPT]:
            old.unlink(missing_ok=True)

    def _all(self, fingerprint: str) -> list[tuple[Path, Earlier]]:
        paths = sorted((self._folder / fingerprint).glob("[!.]*.json"))
        return [(path, earlier) for path in paths if (earlier := _read(path))]


def _read(path: Path) -> Earlier | None:
    with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
        data = json.loads(path.read_text(encoding="utf-8"))
        outputs = {name: (str(one[0]), str(one[1])) for name, one in data["outputs"].items()}
        progress = progress_from_json(data["progress"])
        return Earlier(holder=StepOf(**data["holder"]), origin=StepOf(**data["origin"]), outputs=outputs, progress=progress)
    return None
