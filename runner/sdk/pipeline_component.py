"""`PipelineComponent`, a pipeline under a name, and `Pipeline`, a step made of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, ClassVar

from runner.sdk.io import Input, Output
from runner.sdk.job import Job, as_dict
from runner.sdk.record import plain, refuse_unknown
from runner.sdk.settings import as_identity
from runner.sdk.step import Component, StepNode, StepSettings, declarations


class PipelineComponent(Component):
    """Azure's names; `jobs` are steps by name, `inputs` and `outputs` declarations."""

    _FIELDS: ClassVar[tuple[str, ...]] = (*Component._ABOUT, "inputs", "outputs", "jobs", "is_deterministic")
    _EMPTY = frozenset(("tags", "properties", "inputs", "outputs"))
    _COERCE: ClassVar[Mapping[str, Callable[[Any], Any]]] = {
        "tags": as_dict,
        "properties": as_dict,
        "inputs": declarations(Input),
        "outputs": declarations(Output),
        "jobs": as_dict,
    }

    type = "pipeline"
    jobs: dict[str, Any]

    def __init__(
        self,
        *,
        name: str | None = None,
        version: str | None = None,
        description: str | None = None,
        tags: dict[str, Any] | None = None,
        display_name: str | None = None,
        inputs: Mapping[str, Any] | None = None,
        outputs: Mapping[str, Any] | None = None,
        jobs: Mapping[str, Any] | None = None,
        is_deterministic: bool | None = None,
        **kwargs: Any,
    ) -> None:
        kwargs.pop("type", None)
        refuse_unknown("PipelineComponent", kwargs, self._FIELDS)
        given = {key: value for key, value in locals().items() if key in self._FIELDS}
        for key in self._FIELDS:
            setattr(self, key, {**given, **kwargs}.get(key))
        self._file: Path | None = None  # where it was read from, unchanged

    def __call__(self, *args: Any, **inputs: Any) -> Pipeline:
        return Pipeline(component=self)(*args, **inputs)

    def _to_mapping(self) -> dict[str, Any]:
        return {"type": self.type, **super()._to_mapping()}


class Pipeline(StepNode):
    """A step that is a pipeline itself. `component` is a `PipelineComponent`, or a name or path."""

    _FIELDS: ClassVar[tuple[str, ...]] = (*Job._COMMON, "version", "identity")
    _SETTINGS: ClassVar[tuple[str, ...]] = ("identity",)
    _COERCE: ClassVar[Mapping[str, Callable[[Any], Any]]] = {**Job._COERCE, "identity": as_identity}

    type = "pipeline"
    version: str | None

    def __init__(
        self,
        *,
        component: PipelineComponent | str | None,
        inputs: Mapping[str, Any] | None = None,
        outputs: Mapping[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        kwargs.pop("type", None)
        refuse_unknown("Pipeline", kwargs, ("component", "inputs", "outputs", *self._FIELDS))
        self.version = kwargs.pop("version", None)
        super().__init__(kwargs)
        self._set_up(component, inputs, outputs)

    def _to_mapping(self) -> dict[str, Any]:
        """The component stands in the step: as the name of its file, or whole."""
        mapping = StepSettings._to_mapping(self)
        component = self._component
        if isinstance(component, PipelineComponent):
            component = str(component._file) if component._file else plain(component, "component")
        return {"type": mapping.pop("type"), "component": component, **mapping}
