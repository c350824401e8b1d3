"""Resolved jobs as plain JSON and back: how a job folder keeps them. Exact round trip, nothing is ever pickled.

Records are rebuilt from their own annotations: a later version of the program can read the jobs of an earlier one as long as
fields are only added.
"""

from __future__ import annotations

import dataclasses
import functools
import types
import typing
from collections.abc import Mapping
from typing import Any, cast

from runner.errors import UserError
from runner.model.job import Job, PipelineJob, Step

_KINDS: dict[str, type[Job]] = {"parallel": Step, "command": Step, "pipeline": PipelineJob}


def dump(job: Job) -> dict[str, object]:
    """The job as dict, list, str, int, float, bool and None, with its `type`."""
    kind = "pipeline" if isinstance(job, PipelineJob) else job.type
    return {"type": kind, **{field.name: _plain(getattr(job, field.name)) for field in dataclasses.fields(job)}}


def load(data: Mapping[str, object]) -> Job:
    """The job that `dump` made this of. Raises a UserError when it cannot be one."""
    kind = _KINDS.get(str(data.get("type")))
    if kind is None:
        raise UserError(f"a stored job cannot have the type {data.get('type')!r}", allowed=", ".join(_KINDS))
    try:
        return cast(Job, _build(kind, {key: value for key, value in data.items() if key != "type"}))
    except (TypeError, ValueError, KeyError, AttributeError) as error:
        raise UserError(f"the stored job is damaged: {error}", todo="submit the job again") from None


def _plain(value: object) -> object:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: _plain(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {key: _plain(child) for key, child in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(child) for child in value]
    return value


@functools.cache
def _annotations(record: type) -> dict[str, Any]:
    return typing.get_type_hints(record)


def _build(kind: Any, value: Any) -> object:
    """The value as its annotation wants it."""
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if origin in (typing.Union, types.UnionType):
        if value is None:
            return None
        records = [one for one in arguments if dataclasses.is_dataclass(one) or typing.get_origin(one) is not None]
        return _build(records[0], value) if records else value
    if dataclasses.is_dataclass(kind):
        hints = _annotations(cast(type, kind))
        return cast(type, kind)(**{name: _build(hints[name], child) for name, child in value.items() if name in hints})
    if origin is tuple:
        return tuple(_build(arguments[0], child) for child in value)
    if isinstance(origin, type) and issubclass(origin, Mapping):
        return {str(key): _build(arguments[1], child) for key, child in value.items()}
    return value
