"""Events as lines of JSON, the way the owner of a job sends them to those who stream it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from runner.model.batch import ErrorRecord, Progress
from runner.model.events import AttemptFailed, Event, InitFailed, InstanceStarted, JobEnded, Message, Progressed, StatusChanged

SENT = (StatusChanged, Message, Progressed, AttemptFailed, InitFailed, InstanceStarted, JobEnded)
KEPT = (StatusChanged, Progressed)  # the last one of these is what a newcomer hears first


def encode(event: Event) -> bytes:
    """One line, with its line end."""
    data = {"event": type(event).__name__} | asdict(event)
    return json.dumps(data, separators=(",", ":")).encode() + b"\n"


def decode(line: bytes) -> Event | None:
    """The event, or None if a newer version sent one that is not known here."""
    data: dict[str, Any] = json.loads(line)
    kind = next((kind for kind in SENT if kind.__name__ == data.get("event")), None)
    if kind is None:
        return None
    fields: Mapping[str, Any] = {key: value for key, value in data.items() if key in kind.__dataclass_fields__}
    return kind(**{key: _decode_field(key, value) for key, value in fields.items()})


def _decode_field(key: str, value: Any) -> Any:
    if key == "progress":
        return Progress(**value)
    if key == "error" and value is not None:
        return ErrorRecord(**value)
    return value
