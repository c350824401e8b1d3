"""Tables as a source of mini-batches: by bytes, or by partition keys."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from itertools import chain
from pathlib import Path

from runner.errors import UserError
from runner.inputs.delimited import open_delimited
from runner.inputs.formats import Format
from runner.inputs.grouping import KeyPlan, group_files, group_rows, plan_keys
from runner.inputs.jsonlines import open_json_lines
from runner.inputs.mltable import MLTable
from runner.inputs.mltable_steps import Delimited, JsonLines
from runner.inputs.opener import Opener
from runner.inputs.pieces import Listed, PieceReader, Pieces, Record, compare_pieces, to_line, verify
from runner.inputs.spill import Spill
from runner.inputs.table_loader import TableLoader
from runner.inputs.transform import compile_pipeline
from runner.model.batch import Chunk
from runner.model.job import Step
from runner.model.ports import Room, SourceSummary
from runner.storage.addresses import is_address
from runner.storage.problems import StorageUnavailable
from runner.storage.stores import Stores

DEFAULT_SIZE = 1 << 20  # bytes of a mini-batch
LARGEST_CHUNK = 512  # lines; chunks begin with one and double
REMOTE_LOADS = 4  # of blobs: while some wait for the network, others are parsed
_READERS = {Delimited: "delimited text", JsonLines: "JSON lines"}


def open_table_source(
    step: Step, table: MLTable, *, scratch: Path, warn: Callable[[str], None], stores: Stores | None = None
) -> TableSource:
    """Decides columns and types from the head of the table (of Parquet: from all footers).

    Raises a UserError for files that cannot be read, steps that the columns don't allow, and partition keys that don't exist.
    `scratch` is for what grouping spills.
    """
    reader = table.reader
    assert reader is not None
    opened: Format
    opener = Opener(stores)
    if isinstance(reader, Delimited):
        opened = open_delimited(reader, table.files, opener)
    elif isinstance(reader, JsonLines):
        opened = open_json_lines(reader, table.files, opener)
    else:
        from runner.inputs.columnar import open_parquet  # pyarrow.parquet takes 40 ms to import, which text need not wait for

        opened = open_parquet(reader, table.files, opener)
    pipeline = compile_pipeline(
        opened.schema, path_column=reader.path_column, steps=table.steps, folder=table.folder, warn=warn, place=reader.place
    )
    plan = plan_keys(step.partition_keys, pipeline) if step.partition_keys else None
    pieces = PieceReader(format=opened, pipeline=pipeline, opener=opener)
    size = step.mini_batch_size or DEFAULT_SIZE
    kind = _READERS.get(type(reader), "Parquet")
    return TableSource(table, pieces, size=size, plan=plan, spill=Spill(folder=scratch / "groups"), kind=kind, warn=warn)


class TableSource:
    """A `Source` of tables."""

    def __init__(
        self,
        table: MLTable,
        reader: PieceReader,
        *,
        size: int,
        plan: KeyPlan | None,
        spill: Spill,
        kind: str,
        warn: Callable[[str], None],
    ) -> None:
        self._reader, self._size, self._plan, self._spill, self._kind, self._warn = reader, size, plan, spill, kind, warn
        # Groups of files read whole files, rows are grouped slice by slice.
        self._pieces = Pieces(reader, table.files, None if plan and plan.is_by_files else size)
        is_remote = any(is_address(entry.location) for entry in table.entries)
        room = Room(loads=REMOTE_LOADS if is_remote else 0)
        self._loader = TableLoader(reader=reader, schema=reader.pipeline.schema, spill=spill, room=room)

    @property
    def summary(self) -> SourceSummary:
        if self._plan is None:
            how = f"about {self._size:,} bytes per mini-batch"
        else:
            how = f"one mini-batch for each {', '.join(self._plan.keys)}"
        return SourceSummary(kind="table", root="", description=f"an mltable of {self._kind}, {how}")

    @property
    def loader(self) -> TableLoader:
        return self._loader

    def chunks(self, known: Iterator[bytes]) -> Iterator[Chunk]:
        """See `runner.model.ports.Source`."""
        try:
            listed = self._pieces.after(known, self._warn) if self._plan is None else self._groups(known, self._plan)
            yield from _chunks(listed)
        except StorageUnavailable as error:
            raise UserError(
                f"the table cannot be listed: {error.strerror}",
                todo="try again when it answers; a job that has begun goes on with `runner job resume`",
            ) from None

    def _groups(self, known: Iterator[bytes], plan: KeyPlan) -> Iterator[Listed]:
        first = next(known, None)
        earlier = chain([] if first is None else [first], known)
        if plan.is_by_files:
            return _behind(group_files(self._pieces, plan, self._reader.pipeline), _verified(earlier), self._warn)
        fingerprint = None if first is None else json.loads(first)["in"]
        groups = group_rows(self._pieces, plan, self._reader, self._spill, fingerprint)
        for _ in earlier:
            next(groups, None)
        return groups


def _verified(known: Iterator[bytes]) -> Iterator[Record]:
    for line in known:
        record: Record = json.loads(line)
        verify(record["of"])
        yield record


def _behind(groups: Iterator[Listed], known: Iterator[Record], warn: Callable[[str], None]) -> Iterator[Listed]:
    """The groups that sort behind the known ones; others that are new are left out."""
    new: list[str] = []
    for record in known:
        for listed in groups:
            if listed.record["keys"] == record["keys"]:
                if listed.record["of"] != record["of"]:
                    compare_pieces(record["of"], listed.record["of"])
                    new.append(str(record["keys"]))
                break
            new.append(str(listed.record["keys"]))
        else:
            raise UserError(f"the files of {record['keys']} are no longer listed", todo="put the input back as it was, or start a new job")
    if new:
        warn(f"left out: files that were not there when the job was first listed, of {', '.join(new[:10])}")
    yield from groups


def _chunks(listed: Iterator[Listed]) -> Iterator[Chunk]:
    """Few mini-batches to a chunk at first, so that work can start."""
    held: list[Listed] = []
    wanted = 1
    for each in listed:
        held.append(each)
        if len(held) >= wanted:
            yield _chunk(held)
            held, wanted = [], min(2 * wanted, LARGEST_CHUNK)
    if held:
        yield _chunk(held)


def _chunk(listed: list[Listed]) -> Chunk:
    sizes = [each.bytes for each in listed]
    items = sum(max(0, each.rows) for each in listed)
    return Chunk(lines=[to_line(each.record) for each in listed], items=items, bytes=sum(sizes), largest=max(sizes))
