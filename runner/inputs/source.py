"""The input of a step that is split, as a stream of mini-batches: which kind of source reads it."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from runner.errors import NotSupportedHere, Place, UserError, did_you_mean
from runner.inputs.file_list import Root
from runner.inputs.file_source import FileSource
from runner.inputs.patterns import split_pattern
from runner.model.job import JobInput, ParallelStep
from runner.model.ports import Source

if TYPE_CHECKING:
    from runner.inputs.mltable import MLTable, PathEntry

SPLIT_TYPES = "uri_file, uri_folder, mltable"


def open_source(step: ParallelStep, *, scratch: Path, warn: Callable[[str], None]) -> Source:
    """The source of the step's `input_data`. `scratch`: for what grouping spills; `warn`: gets one sentence at a time.

    Raises a UserError for an input that is not there, is of another kind than its type says, or cannot be split as the step wants.
    """
    given = step.inputs.get(step.input_data)
    if given is None:
        raise UserError(
            f"input_data names '{step.input_data}', which is no input of the step",
            place=Place(field="input_data"),
            allowed=", ".join(step.inputs),
            todo=did_you_mean(step.input_data, step.inputs),
        )
    place = Place(field=f"inputs.{step.input_data}")
    if given.type not in ("uri_file", "uri_folder", "mltable"):
        raise UserError(f"an input of type {given.type} cannot be split into mini-batches", place=place, allowed=SPLIT_TYPES)
    path = _checked_path(given, place)
    if given.type == "uri_file":
        root = Root(kind="file", path=path, absolute=False, place=asdict(place))
        return FileSource(step, [root], root=os.path.dirname(path), what="a uri_file", scratch=scratch, warn=warn)
    if given.type == "uri_folder":
        return _folder(step, path, "a uri_folder of files", scratch, warn)
    return _mltable(step, path, scratch, warn)


def _checked_path(given: JobInput, place: Place) -> str:
    path = Path(given.path or "")
    if not given.path or not path.exists():
        raise UserError(f"there is nothing at '{given.uri or given.path}'", place=place, todo="check the path")
    if given.type == "uri_file" and path.is_dir():
        raise UserError(f"'{path}' is a folder, not a file", place=place, todo="write type: uri_folder")
    if given.type == "uri_folder" and not path.is_dir():
        raise UserError(f"'{path}' is a file, not a folder", place=place, todo="write type: uri_file")
    return given.path


def _folder(step: ParallelStep, path: str, what: str, scratch: Path, warn: Callable[[str], None]) -> Source:
    place = Place(field=f"inputs.{step.input_data}")
    root = Root(kind="folder", path=path, hidden=False, absolute=False, place=asdict(place))
    return FileSource(step, [root], root=path, what=what, scratch=scratch, warn=warn)


def _mltable(step: ParallelStep, path: str, scratch: Path, warn: Callable[[str], None]) -> Source:
    from runner.inputs import mltable

    if Path(path).is_dir() and not mltable.find(Path(path)):
        warn(f"inputs.{step.input_data} is an mltable, but '{path}' has no MLTable file: read as a folder of files")
        return _folder(step, path, "an mltable without an MLTable file, read as a folder of files", scratch, warn)
    table = mltable.read(Path(path))
    if table.reader is None:
        return _file_list(step, table, scratch, warn)
    from runner.inputs.table_source import open_table_source

    return open_table_source(step, table, scratch=scratch, warn=warn)


def _file_list(step: ParallelStep, table: MLTable, scratch: Path, warn: Callable[[str], None]) -> Source:
    """A table without a read step is a list of files."""
    from runner.inputs.mltable_steps import PartitionColumns, SelectColumns

    partition_format = None
    for one in table.steps:
        if isinstance(one, PartitionColumns):
            partition_format = one.format
        elif not isinstance(one, SelectColumns):  # columns of paths are of no use to a list of files: keep and drop change nothing
            raise NotSupportedHere(
                "this step works on rows, and without a read step the table is a list of files",
                place=one.place,
                allowed="extract_columns_from_partition_format, keep_columns, drop_columns",
                todo="add a read step, or take this one out",
            )
    roots = [_root(entry, table) for entry in table.entries]
    what = "an mltable of files"
    return FileSource(step, roots, root=table.folder, what=what, partition_format=partition_format, scratch=scratch, warn=warn)


def _root(entry: PathEntry, table: MLTable) -> Root:
    if entry.kind != "pattern":
        return Root(kind=entry.kind, path=entry.location, leave_out=table.file, place=asdict(entry.place))
    folder, pattern = split_pattern(entry.location, inside=table.folder)
    return Root(kind="pattern", path=folder, pattern=pattern, leave_out=table.file, place=asdict(entry.place))
