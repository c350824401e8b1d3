"""What all jobs have in common: names, tags, what Azure would answer, and the way to YAML."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from runner.errors import UserError
from runner.sdk.ports import NodeInput, NodeOutput, Ports
from runner.sdk.record import Record

if TYPE_CHECKING:
    from runner.spec.load import LoadedJob


def as_dict(value: Any) -> Any:
    return {} if value is None else dict(value) if isinstance(value, Mapping) else value


class Job(Record):
    """A job: what `MLClient.jobs.create_or_update` takes. Relative paths are those of the folder it was made in (`base_path`)."""

    _COMMON = ("name", "display_name", "description", "tags", "properties", "experiment_name", "compute")
    _FIELDS: ClassVar[tuple[str, ...]] = _COMMON
    _COERCE: ClassVar[Mapping[str, Callable[[Any], Any]]] = {"tags": as_dict, "properties": as_dict}
    _EMPTY = frozenset(("tags", "properties", "inputs", "outputs", "environment_variables"))

    type: str = ""
    name: str | None
    display_name: str | None
    description: str | None
    tags: dict[str, str]
    properties: dict[str, str]
    experiment_name: str | None
    compute: str | None

    def __init__(self, given: dict[str, Any]) -> None:
        """Takes what is common out of the keywords."""
        self._base = Path.cwd()
        self._origin: tuple[LoadedJob, dict[str, Any]] | None = None  # the file it was loaded from, and the mapping it then gave
        for key in self._COMMON:
            setattr(self, key, given.pop(key, None))

    @property
    def base_path(self) -> str:
        return str(self._base)

    @property
    def status(self) -> None:
        """Only submitted jobs have one: see what `MLClient.jobs.create_or_update` returns. So with the next ones."""
        return

    creation_context = log_files = services = studio_url = id = status

    def _loaded(self, changes: Mapping[str, Any] | None = None) -> LoadedJob:
        """The job for the spec; `changes` replace single keys. Unchanged since its file was loaded, it keeps that file's lines."""
        from runner.spec.load import job_from_mapping

        mapping = self._to_mapping()
        if self._origin is not None and not changes and mapping == self._origin[1]:
            return self._origin[0]
        return job_from_mapping({**mapping, **(changes or {})}, base=self._base)

    def dump(self, dest: str | os.PathLike[str] | Any, **kwargs: Any) -> None:
        """Writes the job as YAML to a path or an open text file."""
        from runner.sdk.text import to_yaml

        text = to_yaml(self._to_mapping(), masked=False)
        if hasattr(dest, "write"):
            dest.write(text)
            return
        path = Path(dest)
        if path.exists() and not kwargs.get("overwrite", True):
            raise UserError(f"the file {path} exists", todo="name another one, or leave overwrite=False out")
        path.write_text(text, encoding="utf-8")

    def __str__(self) -> str:
        from runner.sdk.text import to_yaml

        return to_yaml(self._to_mapping())

    __repr__ = __str__


def input_ports(
    values: Mapping[str, Any], declared: Mapping[str, Any], *, closed: bool = False, owner: str = "the job"
) -> Ports[NodeInput]:
    """Ports for all that is declared or given."""
    names = dict.fromkeys((*values, *declared))
    return Ports(
        "inputs",
        lambda name, value: NodeInput(name, value, declared.get(name)),
        {name: values.get(name) for name in names},
        closed=closed,
        owner=owner,
    )


def output_ports(values: Mapping[str, Any], node: Any, *, closed: bool = False, owner: str = "the job") -> Ports[NodeOutput]:
    return Ports("outputs", lambda name, value: NodeOutput(name, value, node), values, closed=closed, owner=owner)
