"""Inputs and outputs: what a job declares or is given. Azure's names and keywords."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from enum import Enum
from typing import Any

from runner.errors import Place, UserError
from runner.sdk.assets import Data, Model, location
from runner.sdk.record import Record, Reference, refuse_unknown

DATA_TYPES = ("uri_folder", "uri_file", "mltable", "mlflow_model", "custom_model", "triton_model")
LITERAL_TYPES = ("string", "integer", "number", "boolean")


class Input(Record):
    """An input: data (`type` and `path`), or the declaration of a literal (`type`, `default`, `min`, `max`, `enum`, `optional`)."""

    _FIELDS = ("type", "path", "mode", "default", "min", "max", "enum", "optional", "description", "datastore", "path_on_compute")

    def __init__(
        self,
        *,
        type: str = "uri_folder",  # noqa: A002 — Azure's names, here and below
        path: str | os.PathLike[str] | Reference | None = None,
        mode: str | None = None,
        path_on_compute: str | None = None,
        default: str | int | float | bool | None = None,
        optional: bool | None = None,
        min: int | float | None = None,  # noqa: A002
        max: int | float | None = None,  # noqa: A002
        enum: Iterable[Any] | None = None,
        description: str | None = None,
        datastore: str | None = None,
        **kwargs: Any,
    ) -> None:
        refuse_unknown("Input", kwargs, self._FIELDS)
        self.type, self.path, self.mode = type, path, "ro_mount" if mode == "mount" else mode
        self.default, self.min, self.max, self.optional = default, min, max, optional
        self.enum = None if enum is None else list(enum)
        self.description, self.datastore, self.path_on_compute = description, datastore, path_on_compute

    @property
    def _is_literal(self) -> bool:
        return str(self.type) in LITERAL_TYPES


class Output(Record):
    """An output; without `path` it goes to `azureml/<job>/<output>/` of the default datastore."""

    _FIELDS = ("type", "path", "mode", "name", "version", "description")

    def __init__(
        self,
        *,
        type: str = "uri_folder",  # noqa: A002 — Azure's name
        path: str | os.PathLike[str] | Reference | None = None,
        mode: str | None = None,
        description: str | None = None,
        **kwargs: Any,
    ) -> None:
        name, version = kwargs.pop("name", None), kwargs.pop("version", None)
        refuse_unknown("Output", kwargs, self._FIELDS)
        self.type, self.path, self.mode, self.description = type, path, mode, description
        self.name, self.version = name, version


def as_input(value: Any, field: str) -> Any:
    """What may be given to an input, in the form it is kept: an `Input`, a literal, a reference, or None (unset)."""
    if isinstance(value, Enum):
        return value.value
    if value is None or isinstance(value, (Input, str, bool, int, float, Reference)):
        return value
    if hasattr(value, "_as_input_value"):  # a step
        return value._as_input_value()
    if isinstance(value, (Data, Model)):
        return Input(type=str(value.type), path=location(value), datastore=value.datastore)
    if isinstance(value, Mapping):
        return dict(value) if "value" in value else Input(**value)
    if isinstance(value, os.PathLike):
        return Input(path=value)
    if isinstance(value, Output):
        return Input(type=value.type, path=value.path, mode=value.mode)
    raise UserError(
        f"an object of type {type(value).__qualname__} cannot be an input",
        place=Place(field=field),
        allowed="Input, Data, Model, a number, text, a boolean, an input of the pipeline, an output of another step",
    )


def as_output(value: Any, field: str) -> Output | str | None:
    """What may be given to an output; text is an expression or a path."""
    if value is None or isinstance(value, Output):
        return value
    if isinstance(value, Mapping):
        return Output(**value) if value else None
    if isinstance(value, (str, Reference)):
        return str(value)
    if isinstance(value, os.PathLike):
        return Output(path=value)
    raise UserError(
        f"an object of type {type(value).__qualname__} cannot be an output", place=Place(field=field), allowed="Output, a mapping, a path"
    )
