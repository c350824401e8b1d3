"""The containers that the MLTable files of a job name: its processes need their credentials, too."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from runner.errors import UserError, did_you_mean
from runner.model.job import Job, PipelineJob, Step
from runner.spec.context import at_place
from runner.storage.addresses import is_address
from runner.storage.uri import parse_uri

if TYPE_CHECKING:
    from runner.spec.blobs import Blobs
    from runner.spec.yaml_source import Node

_FILE = "MLTable"


def note_tables(job: Job, blobs: Blobs) -> None:
    """Adds those containers to `blobs`. What else may be wrong in a table is found by whoever reads it.

    Errors: UserError with file:line for an address that cannot be reached.
    """
    for step in job.steps.values() if isinstance(job, PipelineJob) else (job,):
        for path in {port.path for port in step.inputs.values() if port.type == "mltable" and port.path}:
            table = _read(path, blobs)
            if table is not None:
                _note(table, step, blobs)


def _read(path: str, blobs: Blobs) -> Node | None:
    """None where there is none: an output of another step, or a folder of files."""
    from runner.spec.yaml_source import parse_yaml, read_yaml

    if not is_address(path):
        file = Path(path, _FILE)
        return read_yaml(file) if file.is_file() else None
    data = blobs.read(path, _FILE)
    return None if data is None else parse_yaml(data.decode("utf-8-sig", "replace"), file=f"{path}/{_FILE}", base=Path(path))


def _note(table: Node, step: Step, blobs: Blobs) -> None:
    for node in _paths(table):
        try:
            uri = parse_uri(node.text)
        except UserError:
            continue
        if uri.kind in ("blob", "web") or (uri.kind == "datastore" and uri.datastore in blobs.datastores):
            with at_place(node.place):
                blobs.locate(uri, step.identity)
        elif uri.kind == "datastore" and (near := did_you_mean(uri.datastore, blobs.datastores)):
            raise UserError(f"'{uri.text}' lies in no container that the workspace describes", place=node.place, todo=near)


def _paths(table: Node) -> Iterator[Node]:
    paths = table.get("paths")
    for entry in paths.items if paths else ():
        yield from (node for node in entry.entries.values() if isinstance(node.value, str))
