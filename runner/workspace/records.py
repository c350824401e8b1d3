"""What is known of a job, as `job show -o json` prints it and as its folder keeps it."""

from __future__ import annotations

import json
import os
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from runner.model.batch import Progress
from runner.model.paths import JobPaths

COMPLETED, FAILED, CANCELED, NOT_RUN = "Completed", "Failed", "Canceled", "NotRun"
REFUSED = "refused"  # the code of the error of a job that was found to be wrong before anything ran
FINAL = frozenset((COMPLETED, FAILED, CANCELED, NOT_RUN))
UNFINISHED = ("Queued", "Preparing", "Running", "Finalizing")
STATUSES = (*UNFINISHED, COMPLETED, FAILED, CANCELED, NOT_RUN)


@dataclass(frozen=True, kw_only=True)
class JobRecord:
    """One job; the steps of a pipeline stand in `jobs`. Times are UTC in ISO 8601, `local` and `python` what it was created with."""

    name: str
    type: str  # parallel, pipeline
    status: str  # of STATUSES
    reason: str = ""  # why it is Queued, or NotRun
    display_name: str = ""
    experiment_name: str = ""
    description: str = ""
    tags: Mapping[str, str] = field(default_factory=dict)
    properties: Mapping[str, str] = field(default_factory=dict)
    compute: str = "local"
    parent: str | None = None
    reused_from: str | None = None  # of a step that has not run: the job whose results it has
    created_at: str | None = None
    started_at: str | None = None
    ended_at: str | None = None
    inputs: Mapping[str, Mapping[str, object]] = field(default_factory=dict)
    outputs: Mapping[str, Mapping[str, object]] = field(default_factory=dict)
    progress: Progress = field(default_factory=Progress)
    error: Mapping[str, str] | None = None  # message, code, log
    incomplete: bool = False  # the output holds what succeeded only
    logs: str = ""
    local: bool = False
    python: str | None = None
    jobs: Mapping[str, JobRecord] = field(default_factory=dict)

    @property
    def finished(self) -> bool:
        return self.status in FINAL

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values, in the order in which they are shown. A parallel job has no `jobs`."""
        data: dict[str, Any] = {key: getattr(self, key) for key in _PLAIN}
        data |= {key: {name: dict(entry) for name, entry in getattr(self, key).items()} for key in ("inputs", "outputs")}
        data["progress"] = progress_to_json(self.progress)
        data["error"] = dict(self.error) if self.error else None
        data |= {"incomplete": self.incomplete, "logs": self.logs, "local": self.local, "python": self.python}
        data |= {key: dict(getattr(self, key)) for key in ("tags", "properties")}
        if self.type == "pipeline":
            data["jobs"] = {name: job.to_json() for name, job in self.jobs.items()}
        return data

    def to_bytes(self) -> bytes:
        """The text of the file: in ASCII, because names of files and messages of user code may hold what UTF-8 cannot."""
        return json.dumps(self.to_json(), indent=2).encode() + b"\n"

    @staticmethod
    def from_json(data: Mapping[str, Any]) -> JobRecord:
        """The inverse; keys of a newer version are left out."""
        known = {key: value for key, value in data.items() if key in JobRecord.__dataclass_fields__}
        known["progress"] = progress_from_json(data.get("progress") or {})
        known["jobs"] = {name: JobRecord.from_json(job) for name, job in (data.get("jobs") or {}).items()}
        return JobRecord(**known)


_PLAIN = (
    *(
        "name",
        "type",
        "status",
        "reason",
        "display_name",
        "experiment_name",
        "description",
        "tags",
        "properties",
        "compute",
        "parent",
        "reused_from",
    ),
    *("created_at", "started_at", "ended_at"),
)


def progress_to_json(progress: Progress) -> dict[str, Any]:
    """The documented counts; `total` of the mini-batches grows until `listed`."""
    return {
        "mini_batches": {
            "total": progress.total,
            "succeeded": progress.succeeded,
            "failed": progress.failed,
            "retries": progress.retries,
            "listed": progress.listed,
        },
        "items": {"total": progress.all_items, "succeeded": progress.items - progress.items_failed, "failed": progress.items_failed},
    }


def progress_from_json(data: Mapping[str, Any]) -> Progress:
    """The inverse of `progress_to_json`."""
    batches, items = data.get("mini_batches", {}), data.get("items", {})
    return Progress(
        total=batches.get("total", 0),
        listed=batches.get("listed", False),
        succeeded=batches.get("succeeded", 0),
        failed=batches.get("failed", 0),
        retries=batches.get("retries", 0),
        items=items.get("succeeded", 0) + items.get("failed", 0),
        items_listed=items.get("total", 0),
        items_failed=items.get("failed", 0),
    )


def interrupted(record: JobRecord) -> JobRecord:
    """How an unfinished job looks whose owner process is gone."""
    message = (
        f"interrupted: the process that ran {record.name} is gone (status was {record.status}). "
        f"What was finished is kept: go on with `runner job resume {record.parent or record.name}`"
    )
    error = {"message": message, "code": "interrupted", "log": record.logs}
    jobs = {name: job if job.finished else _interrupted_step(job) for name, job in record.jobs.items()}
    return replace(record, status=FAILED, error=error, jobs=jobs)


def _interrupted_step(job: JobRecord) -> JobRecord:
    return interrupted(job) if job.started_at else replace(job, status=NOT_RUN, reason="the pipeline was interrupted before")


def write_json(path: Path, data: object, *, durable: bool = True, mode: int = 0o644) -> None:
    """Replaces the file as a whole, so that a reader sees the old or the new one; `durable` also after a power cut."""
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(6)}")
    handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
    try:
        with open(handle, "w", encoding="utf-8") as file:
            _give_to_owner(handle, path.parent)
            json.dump(data, file, indent=2)  # in ASCII: names of files and messages of user code may hold what UTF-8 cannot
            file.write("\n")
            file.flush()
            if durable:
                os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def _give_to_owner(handle: int, folder: Path) -> None:
    """What root writes into a user's job is the user's, who goes on with it."""
    if os.geteuid() == 0:
        owner = folder.stat()
        if owner.st_uid:
            os.fchown(handle, owner.st_uid, owner.st_gid)


def _without_waiting(path: str, flags: int) -> int:
    """A pipe that another user has put in the place of a file has nothing to say."""
    return os.open(path, flags | os.O_NONBLOCK | os.O_CLOEXEC)


def read_json(path: Path) -> dict[str, Any] | None:
    """None if there is no such file."""
    try:
        with open(path, encoding="utf-8", opener=_without_waiting) as file:
            data: dict[str, Any] = json.load(file)
            return data
    except FileNotFoundError:
        return None


def load_quietly(paths: JobPaths) -> JobRecord | None:
    """None also for what is none: in a shared workspace one user's folder must not keep others from listing theirs."""
    try:
        return load_record(paths)
    except (OSError, ValueError, TypeError, AttributeError, RecursionError):
        return None


def load_record(paths: JobPaths) -> JobRecord | None:
    """With the newest counts, which are written more often than the record. None if there is none."""
    data = read_json(paths.record)
    if data is None:
        return None
    record = JobRecord.from_json(data)
    if record.finished:
        return record
    newest = read_json(paths.progress) or {}
    jobs = {
        name: replace(job, progress=progress_from_json(newest[name])) if name in newest and job.status != NOT_RUN else job
        for name, job in record.jobs.items()
    }
    return replace(record, jobs=jobs, progress=progress_from_json(newest[""]) if "" in newest else record.progress)
