"""The input of a step that is split, as a stream of mini-batches: which kind of source reads it."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from runner.errors import NotSupportedHere, Place, UserError, did_you_mean
from runner.inputs.file_list import NO_STORES, Root
from runner.inputs.file_source import FileSource
from runner.inputs.once import OnceSource
from runner.inputs.patterns import split_pattern
from runner.model.job import JobInput, Step
from runner.model.ports import Source
from runner.storage.addresses import is_address
from runner.storage.problems import StorageUnavailable
from runner.storage.stores import Stores

if TYPE_CHECKING:
    from runner.inputs.mltable import MLTable, PathEntry

SPLIT_TYPES = "uri_file, uri_folder, mltable"


def open_source(step: Step, *, stores: Stores = NO_STORES, scratch: Path, warn: Callable[[str], None]) -> Source:
    """The source of the step's `input_data`; of a command, a single mini-batch.

    `scratch`: for what grouping spills; `warn`: gets one sentence at a time; `stores` opens addresses.

    Raises a UserError for an input that is not there, is of another kind than its type says, or cannot be split as the step wants.
    """
    if step.command:
        return OnceSource()
    try:
        return _open(step, stores, scratch, warn)
    except StorageUnavailable as error:
        place = Place(field=f"inputs.{step.input_data}")
        raise UserError(f"the input cannot be read: {error.strerror}", place=place, todo="try again later") from None


def _open(step: Step, stores: Stores, scratch: Path, warn: Callable[[str], None]) -> Source:
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
    make = partial(FileSource, step, stores=stores, scratch=scratch, warn=warn)
    path = _checked_address(given, place, stores) if is_address(given.path or "") else _checked_path(given, place)
    if given.type == "uri_file":
        root = Root(kind="file", path=path, absolute=False, place=asdict(place))
        return make([root], root=os.path.dirname(path), what="a uri_file")
    if given.type == "uri_folder":
        return make([_folder(path, place)], root=path, what="a uri_folder of files")
    return _mltable(step, path, place, make, scratch, warn, stores)


def _checked_address(given: JobInput, place: Place, stores: Stores) -> str:
    address = given.path or ""
    kind = stores.kind(address)
    if kind == "nothing":
        raise UserError(f"there is nothing at '{given.uri or address}'", place=place, todo="check the path")
    if given.type == "uri_file" and kind == "folder":
        raise UserError(f"'{address}' is a folder, not a blob", place=place, todo="write type: uri_folder")
    if given.type == "uri_folder" and kind == "file":
        raise UserError(f"'{address}' is a blob, not a folder", place=place, todo="write type: uri_file")
    return address


def _checked_path(given: JobInput, place: Place) -> str:
    path = Path(given.path or "")
    if not given.path or not path.exists():
        raise UserError(f"there is nothing at '{given.uri or given.path}'", place=place, todo="check the path")
    if given.type == "uri_file" and path.is_dir():
        raise UserError(f"'{path}' is a folder, not a file", place=place, todo="write type: uri_folder")
    if given.type == "uri_folder" and not path.is_dir():
        raise UserError(f"'{path}' is a file, not a folder", place=place, todo="write type: uri_file")
    return given.path


def _folder(path: str, place: Place) -> Root:
    return Root(kind="folder", path=path, hidden=False, absolute=False, place=asdict(place))


def _mltable(
    step: Step,
    path: str,
    place: Place,
    make: Callable[..., FileSource],
    scratch: Path,
    warn: Callable[[str], None],
    stores: Stores,
) -> Source:
    from runner.inputs import mltable

    is_folder = stores.kind(path) == "folder" if is_address(path) else Path(path).is_dir()
    if is_folder and not mltable.find(path, stores):
        warn(f"inputs.{step.input_data} is an mltable, but '{path}' has no MLTable file: read as a folder of files")
        return make([_folder(path, place)], root=path, what="an mltable without an MLTable file, read as a folder of files")
    table = mltable.read(path, stores)
    if table.reader is None:
        return _file_list(table, make)
    from runner.inputs.table_source import open_table_source

    return open_table_source(step, table, stores=stores, scratch=scratch, warn=warn)


def _file_list(table: MLTable, make: Callable[..., FileSource]) -> Source:
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
    return make(roots, root=table.folder, what="an mltable of files", partition_format=partition_format)


def _root(entry: PathEntry, table: MLTable) -> Root:
    if entry.kind != "pattern":
        return Root(kind=entry.kind, path=entry.location, leave_out=table.file, place=asdict(entry.place))
    folder, pattern = split_pattern(entry.location, inside=table.folder)
    return Root(kind="pattern", path=folder, pattern=pattern, leave_out=table.file, place=asdict(entry.place))
