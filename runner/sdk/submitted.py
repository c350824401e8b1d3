"""What the client answers with: submitted jobs, computes, results of checks. Read only."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Generic, TypeVar

from runner.errors import RunnerError, UserError, UserErrors, did_you_mean
from runner.sdk.record import UnknownNameError

T = TypeVar("T")


class JobFailedError(RunnerError):
    """A job that was followed has failed; its message is that of the job."""


class Named(dict[str, Any]):
    """Values by key and by attribute."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") or name not in self:
            raise UnknownNameError(f"there is no `{name}`", allowed=", ".join(self), todo=did_you_mean(name, self))
        return self[name]


class PortRecord(SimpleNamespace):
    """An input or output of a submitted job: `type`, `path`, `uri`, `mode`, or `value`."""

    path: str | None = None
    uri: str | None = None
    mode: str | None = None
    value: Any = None


@dataclass(frozen=True, kw_only=True)
class CreationContext:
    """When it was made; times are UTC."""

    created_at: datetime | None = None
    created_by: str | None = None
    created_by_type: str | None = None
    last_modified_at: datetime | None = None


class SubmittedJob:
    """A job as the workspace knows it, at the moment when it was asked for.

    Beyond Azure's attributes: `progress` (counts of mini-batches and items), `error`, `logs` (a folder), `started_at`, `ended_at`.
    In the place of Azure's studio, whose address scripts print and open, stands that folder: `studio_url`, `services["Studio"].endpoint`.
    """

    log_files = None

    def __init__(self, record: Mapping[str, Any]) -> None:
        """`record` is what `runner job show -o json` prints."""
        self._record = dict(record)
        self.name: str = record["name"]
        self.type: str = record["type"]
        self.status: str = record["status"]
        self.display_name: str = record.get("display_name") or self.name.removeprefix(f"{record.get('parent') or ''}.")
        self.experiment_name: str = record.get("experiment_name") or ""
        self.description: str = record.get("description") or ""
        self.compute: str | None = record.get("compute")
        self.tags: dict[str, str] = dict(record.get("tags") or {})
        self.properties: dict[str, str] = dict(record.get("properties") or {})
        self.parent_job_name: str | None = record.get("parent")
        self.inputs = Named({name: PortRecord(**port) for name, port in (record.get("inputs") or {}).items()})
        self.outputs = Named({name: PortRecord(**port) for name, port in (record.get("outputs") or {}).items()})
        self.jobs = Named({name: SubmittedJob(job) for name, job in (record.get("jobs") or {}).items()})
        self.started_at, self.ended_at = _moment(record.get("started_at")), _moment(record.get("ended_at"))
        self.creation_context = CreationContext(
            created_at=_moment(record.get("created_at")), last_modified_at=self.ended_at or self.started_at
        )
        self.progress: dict[str, Any] = dict(record.get("progress") or {})
        self.error: Named | None = Named(record["error"]) if record.get("error") else None
        self.logs: str = record.get("logs") or ""
        self.studio_url: str = Path(self.logs).as_uri() if self.logs.startswith("/") else self.logs
        self.services = Named({"Studio": SimpleNamespace(endpoint=self.studio_url, type="Studio", status=None)})

    @property
    def id(self) -> str:
        return f"azureml:{self.name}"

    def __str__(self) -> str:
        from runner.sdk.text import to_yaml

        return to_yaml(self._record)

    __repr__ = __str__


def _moment(text: str | None) -> datetime | None:
    return datetime.fromisoformat(text.replace("Z", "+00:00")) if text else None


class Compute:
    """A compute of the workspace. What it would have on Azure only, such as the size of its virtual machines, is None."""

    provisioning_state = "Succeeded"
    size: str | None = None
    tier: str | None = None
    location: str | None = None
    min_instances: int | None = None
    max_instances: int | None = None

    def __init__(self, entry: Mapping[str, Any]) -> None:
        self._entry = dict(entry)
        self.name: str = entry["name"]
        self.type: str = entry["type"]
        self.state: str = entry.get("state", "")

    def __getattr__(self, name: str) -> Any:
        entry = self.__dict__.get("_entry", {})
        if name not in entry:
            raise UnknownNameError(f"a compute has no attribute `{name}`", todo=did_you_mean(name, entry))
        return entry[name]

    def __repr__(self) -> str:
        return f"Compute({', '.join(f'{key}={value!r}' for key, value in self._entry.items())})"


@dataclass(frozen=True, kw_only=True)
class ValidationResult:
    """What a check found. `error_messages`: by field (or place), what is wrong there; `plans`: what each step would do."""

    error_messages: dict[str, str] = field(default_factory=dict)
    plans: tuple[Any, ...] = ()

    @property
    def passed(self) -> bool:
        return not self.error_messages

    @classmethod
    def of(cls, error: UserError) -> ValidationResult:
        messages: dict[str, str] = {}
        for one in error.errors if isinstance(error, UserErrors) else (error,):
            where = str(one.place or "*")
            messages[where] = "\n".join(filter(None, (messages.get(where), one.describe())))
        return cls(error_messages=messages)

    def __repr__(self) -> str:
        return "valid" if self.passed else "\n".join(self.error_messages.values())


@dataclass(frozen=True, kw_only=True, repr=False)
class Poller(Generic[T]):
    """Something under way, as Azure's `LROPoller`: `wait` returns when it is over, `result` what came of it."""

    finished: Any  # () -> bool
    await_end: Any  # (timeout | None) -> None
    outcome: Any = None  # () -> T
    what: str = "an operation"

    def done(self) -> bool:
        return bool(self.finished())

    def status(self) -> str:
        return "Succeeded" if self.done() else "InProgress"

    def wait(self, timeout: float | None = None) -> None:
        """Waits for the end, at most `timeout` seconds."""
        self.await_end(timeout)

    def result(self, timeout: float | None = None) -> T | None:
        self.wait(timeout)
        return self.outcome() if self.outcome else None

    def __repr__(self) -> str:
        return f"<{self.what}: {self.status()}>"


class AmlCompute:
    """What scripts make where they do not find their compute. Its settings are Azure's: taken, and without effect."""

    type = "amlcompute"

    def __init__(self, *, name: str, description: str | None = None, size: str | None = None, **kwargs: Any) -> None:
        self.name, self.description, self.size = name, description, size
        self.__dict__.update(kwargs)

    def __repr__(self) -> str:
        return f"AmlCompute(name={self.name!r})"
