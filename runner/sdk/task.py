"""`task`: which script runs, from which folder, with which arguments, where its rows go."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from typing import Any, ClassVar

from runner.sdk.assets import Environment, Model, location
from runner.sdk.record import Record, coerced, plain, refuse_unknown


class ParallelTask(Record):
    """Azure's names; every text takes bindings as the YAML does."""

    _FIELDS = ("type", "code", "entry_script", "program_arguments", "model", "append_row_to", "environment")
    _COERCE: ClassVar[Mapping[str, Callable[[Any], Any]]] = {"environment": coerced(Environment)}

    def __init__(
        self,
        *,
        type: str | None = None,  # noqa: A002 — Azure's name
        code: str | os.PathLike[str] | None = None,
        entry_script: str | None = None,
        program_arguments: str | None = None,
        model: str | Model | None = None,
        append_row_to: str | None = None,
        environment: Environment | str | None = None,
        **kwargs: Any,
    ) -> None:
        refuse_unknown(self.__class__.__name__, kwargs, self._FIELDS)
        self.type, self.code, self.entry_script = type, code, entry_script
        self.program_arguments, self.model, self.append_row_to = program_arguments, model, append_row_to
        self.environment = environment

    def _to_mapping(self) -> dict[str, Any]:
        mapping = super()._to_mapping()
        if isinstance(self.environment, Environment):
            mapping["environment"] = self.environment._as_setting()
        if isinstance(self.model, Model):
            mapping["model"] = location(self.model)
        return {key: plain(value, key) for key, value in mapping.items()}


class RunFunction(ParallelTask):
    """A task of type `run_function`: the only kind that parallel jobs have."""

    def __init__(
        self,
        *,
        code: str | os.PathLike[str] | None = None,
        entry_script: str | None = None,
        program_arguments: str | None = None,
        model: str | Model | None = None,
        append_row_to: str | None = None,
        environment: Environment | str | None = None,
        **kwargs: Any,
    ) -> None:
        kind = kwargs.pop("type", "run_function")
        super().__init__(
            type=kind, code=code, entry_script=entry_script, program_arguments=program_arguments, model=model,
            append_row_to=append_row_to, environment=environment, **kwargs,
        )  # fmt: skip
