"""The steps after the read step, compiled for the table's columns, applied to each slice in listed order."""

from __future__ import annotations

import os
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Protocol

import pyarrow as pa

from runner.errors import Place, UserError
from runner.inputs.conversions import Convert, conversion
from runner.inputs.filters import Filter, compile_filter
from runner.inputs.keys import PartitionFormat
from runner.inputs.mltable_steps import (
    ConvertTypes,
    FilterRows,
    PartitionColumns,
    SampleRows,
    SelectColumns,
    SkipRows,
    Step,
    TakeRows,
)
from runner.inputs.tabular import BadInputError, missing, shown
from runner.inputs.types import CellType, Misfit
from runner.storage.addresses import is_address, relative


@dataclass(kw_only=True)
class Piece:
    """What stages need to know of the slice they work on."""

    file: str  # absolute
    position: Sequence[int] = ()
    offsets: Sequence[int] = ()  # for each counting stage: rows that came to it from earlier slices
    arrived: list[int] = field(default_factory=list)  # filled in: rows that came to it from this slice


class _Stage(Protocol):
    def apply(self, table: pa.Table, piece: Piece) -> pa.Table: ...


def text_of(path: str) -> str:
    """A path as text: names of bytes that are no UTF-8 get replacement characters."""
    return os.fsencode(path).decode(errors="replace")


@dataclass(frozen=True, kw_only=True)
class _Path:
    name: str

    def apply(self, table: pa.Table, piece: Piece) -> pa.Table:
        return table.add_column(0, self.name, pa.repeat(pa.scalar(text_of(piece.file)), table.num_rows))


@dataclass(frozen=True, kw_only=True)
class _Convert:
    columns: dict[str, tuple[CellType, Convert]]

    def apply(self, table: pa.Table, piece: Piece) -> pa.Table:
        for at, name in enumerate(table.column_names):
            if name in self.columns:
                kind, function = self.columns[name]
                table = table.set_column(at, pa.field(name, kind.arrow), _converted(table.column(name), name, function, piece))
        return table


def _converted(column: pa.ChunkedArray, name: str, function: Convert, piece: Piece) -> pa.Array:
    combined = column.combine_chunks()
    array = pa.concat_arrays(combined.chunks) if isinstance(combined, pa.ChunkedArray) else combined
    try:
        return function(array)
    except Misfit as misfit:
        raise BadInputError(
            problem=f"column '{name}': {shown(misfit.text)} is not {misfit.words}, which convert_column_types asks for",
            file=piece.file,
            todo="mend the value, or convert the column to another type",
        ) from None
    except pa.ArrowInvalid as error:
        raise BadInputError(problem=f"column '{name}' cannot be converted: {error}", file=piece.file) from None


@dataclass(frozen=True, kw_only=True)
class _Partition:
    format: PartitionFormat
    place: Place

    def apply(self, table: pa.Table, piece: Piece) -> pa.Table:
        values = self.format.match(text_of(piece.file)) if piece.file else {}
        # mltable puts the texts before the dates.
        for one in sorted(self.format.placeholders, key=lambda placeholder: placeholder.is_date):
            kind = pa.timestamp("ns") if one.is_date else pa.string()
            table = table.append_column(one.name, pa.repeat(pa.scalar(values.get(one.name), kind), table.num_rows))
        return table


@dataclass(frozen=True, kw_only=True)
class _Select:
    names: tuple[str, ...]

    def apply(self, table: pa.Table, piece: Piece) -> pa.Table:  # noqa: ARG002
        return table.select([name for name in table.column_names if name in self.names])


@dataclass(frozen=True, kw_only=True)
class _Filter:
    filter: Filter

    def apply(self, table: pa.Table, piece: Piece) -> pa.Table:
        try:
            return self.filter.apply(table)
        except pa.ArrowInvalid as error:
            raise BadInputError(
                problem=f"filter {self.filter.text!r}: {error}", file=piece.file, todo="mend the value or the filter"
            ) from None


@dataclass(frozen=True, kw_only=True)
class _Count:
    """take and skip: which of the table's rows, counted over all slices, go on."""

    index: int
    count: int
    take: bool

    def apply(self, table: pa.Table, piece: Piece) -> pa.Table:
        piece.arrived.append(table.num_rows)
        before = piece.offsets[self.index] if self.index < len(piece.offsets) else 0
        rest = max(0, self.count - before)
        return table.slice(0, rest) if self.take else table.slice(rest)


@dataclass(frozen=True, kw_only=True)
class _Sample:
    probability: float
    seed: int
    folder: str

    def apply(self, table: pa.Table, piece: Piece) -> pa.Table:
        """The same rows each time: the generator starts from seed, file and position."""
        name = _name_below(piece.file, self.folder)
        chance = random.Random(f"{self.seed}/{name}/{','.join(map(str, piece.position))}").random  # noqa: S311
        return table.filter(pa.array([chance() < self.probability for _ in range(table.num_rows)], pa.bool_()))


def _name_below(file: str, folder: str) -> str:
    """Of a file that lies below the folder the same, wherever that is."""
    if is_address(file):
        return relative(file, folder) or file
    return os.path.relpath(file, folder) if file else ""


@dataclass(frozen=True, kw_only=True)
class Pipeline:
    """The compiled steps. `needed` are the columns that have to be read."""

    schema: pa.Schema
    needed: frozenset[str]
    stages: tuple[_Stage, ...]
    counts: tuple[_Count, ...]
    formats: tuple[PartitionFormat, ...]

    def apply(self, table: pa.Table, piece: Piece) -> pa.Table:
        """Raises BadInputError, or an InputError for a path that fits no partition format."""
        for stage in self.stages:
            table = stage.apply(table, piece)
        return table

    @property
    def countable(self) -> bool:
        """Whether the counting steps can be followed without reading: nothing before the last of them takes rows away by their values."""
        last = max((at for at, stage in enumerate(self.stages) if isinstance(stage, _Count)), default=-1)
        return not any(isinstance(stage, (_Filter, _Sample)) for stage in self.stages[:last])

    def count_rows(self, rows: int, offsets: Sequence[int]) -> tuple[list[int], int]:
        """What `apply` would count for a piece of so many rows: those that come to each counting step, and those that are left."""
        arrived = []
        for stage, before in zip(self.counts, offsets, strict=True):
            arrived.append(rows)
            rest = max(0, stage.count - before)
            rows = min(rows, rest) if stage.take else max(0, rows - rest)
        return arrived, rows

    def is_settled(self, offsets: Sequence[int]) -> bool:
        """Whether all further rows pass all counting steps."""
        return all(not stage.take and offsets[stage.index] >= stage.count for stage in self.counts)

    def is_exhausted(self, offsets: Sequence[int]) -> bool:
        """Whether a `take` lets no further row through."""
        return any(stage.take and offsets[stage.index] >= stage.count for stage in self.counts)


def compile_pipeline(
    raw: pa.Schema, *, path_column: str | None, steps: Sequence[Step], folder: str, warn: Callable[[str], None], place: Place
) -> Pipeline:
    """Raises a UserError with file and line for a step that the table's columns don't allow. `folder` is that of the MLTable file."""
    compiler = _Compiler(raw, folder, warn)
    if path_column is not None:
        if path_column in raw.names:
            raise UserError(f"include_path_column adds a column '{path_column}', which the table has already", place=place)
        compiler.add(_Path(name=path_column))
    for step in steps:
        compiler.step(step)
    counts = tuple(stage for stage in compiler.stages if isinstance(stage, _Count))
    needed = frozenset(raw.names) & (set(compiler.table.column_names) | compiler.used)
    return Pipeline(
        schema=compiler.table.schema, needed=needed, stages=tuple(compiler.stages), counts=counts, formats=tuple(compiler.formats)
    )


class _Compiler:
    """Keeps an empty table that goes through each stage as it is made, so that the next one sees its columns."""

    def __init__(self, raw: pa.Schema, folder: str, warn: Callable[[str], None]) -> None:
        self.table = missing(raw, 0)
        self.stages: list[_Stage] = []
        self.formats: list[PartitionFormat] = []
        self.used: set[str] = set()
        self._folder, self._warn, self._counted = folder, warn, 0

    def add(self, stage: _Stage) -> None:
        self.stages.append(stage)
        self.table = stage.apply(self.table, Piece(file=""))

    def step(self, step: Step) -> None:
        if isinstance(step, ConvertTypes):
            self._convert(step)
        elif isinstance(step, PartitionColumns):
            self._partition(step)
        elif isinstance(step, SelectColumns):
            self._select(step)
        elif isinstance(step, FilterRows):
            compiled = compile_filter(step.text, self.table.schema, place=step.place, warn=self._warn)
            self.used |= compiled.columns
            self.add(_Filter(filter=compiled))
        elif isinstance(step, SampleRows):
            self.add(_Sample(probability=step.probability, seed=step.seed, folder=self._folder))
        else:
            assert isinstance(step, (TakeRows, SkipRows))
            self.add(_Count(index=self._counted, count=step.count, take=isinstance(step, TakeRows)))
            self._counted += 1

    def _convert(self, step: ConvertTypes) -> None:
        for each in step.conversions:
            kind = CellType.of(each.type)
            columns: dict[str, Any] = {}
            for name in each.columns.pick(self.table.column_names):
                columns[name] = kind, conversion(name, self.table.schema.field(name).type, kind, each.place)
            self.add(_Convert(columns=columns))

    def _partition(self, step: PartitionColumns) -> None:
        for name in step.format.names:
            if name in self.table.column_names:
                raise UserError(
                    f"the partition format makes a column '{name}', which the table has already",
                    place=step.place,
                    todo="name the placeholder otherwise, or drop the column first",
                )
        self.formats.append(step.format)
        self.add(_Partition(format=step.format, place=step.place))

    def _select(self, step: SelectColumns) -> None:
        columns = self.table.column_names
        picked = set(step.columns.pick(columns))
        kept = tuple(name for name in columns if (name in picked) == step.keep)
        if not kept:
            verb = "keep_columns" if step.keep else "drop_columns"
            raise UserError(f"{verb} leaves no column", place=step.place, allowed=", ".join(columns), todo="keep at least one")
        self.add(_Select(names=kept))


def partition_values(formats: Sequence[PartitionFormat], path: str) -> dict[str, str | datetime]:
    """What the partition formats say of a path. Raises an InputError when one does not fit."""
    values: dict[str, Any] = {}
    for one in formats:
        values |= one.match(text_of(path))
    return values
