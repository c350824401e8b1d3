"""`partition_keys` on a table: mini-batches of rows whose keys are equal, in the order of the keys.

Keys that are all placeholders of a partition format: the files are taken as they lie, and only their paths are looked at.
Otherwise the rows are read once and grouped (`spill.py`).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from runner.errors import Place, UserError, did_you_mean
from runner.inputs.keys import key_text
from runner.inputs.pieces import Listed, PieceReader, Pieces, Record
from runner.inputs.spill import Spill
from runner.inputs.tabular import BadInputError
from runner.inputs.transform import Pipeline, partition_values
from runner.storage.problems import StorageUnavailable


@dataclass(frozen=True, kw_only=True)
class KeyPlan:
    """Where the keys come from."""

    keys: tuple[str, ...]
    placeholders: frozenset[str]  # of the keys: those that a path gives

    @property
    def is_by_files(self) -> bool:
        return len(self.placeholders) == len(self.keys)


def plan_keys(keys: tuple[str, ...], pipeline: Pipeline) -> KeyPlan:
    """Raises a UserError for a key that is neither a column nor a placeholder, or of a type that has no order."""
    names = [name for one in pipeline.formats for name in one.names]
    known = [*dict.fromkeys([*names, *pipeline.schema.names])]
    place = Place(field="partition_keys")
    for key in keys:
        if key not in known:
            raise UserError(
                f"names '{key}', which the table does not have", place=place, allowed=", ".join(known), todo=did_you_mean(key, known)
            )
        if key not in names and pa.types.is_nested(pipeline.schema.field(key).type):
            raise UserError(f"names '{key}', whose values are lists or objects", place=place, allowed="columns of single values")
    return KeyPlan(keys=keys, placeholders=frozenset(key for key in keys if key in names))


class FileGroup:
    """The pieces of one combination of keys."""

    def __init__(self, keys: dict[str, str]) -> None:
        self.keys = keys
        self.pieces: list[Listed] = []

    @property
    def listed(self) -> Listed:
        rows = [piece.rows for piece in self.pieces]
        total = sum(rows) if all(count >= 0 for count in rows) else -1
        return Listed({"of": [piece.record for piece in self.pieces], "keys": self.keys}, sum(piece.bytes for piece in self.pieces), total)


def group_files(pieces: Pieces, plan: KeyPlan, pipeline: Pipeline) -> Iterator[Listed]:
    """One mini-batch for each combination of keys, sorted. All pieces are in memory."""
    groups: dict[tuple[str, ...], FileGroup] = {}
    for piece in pieces.all():
        values = partition_values(pipeline.formats, piece.record["f"])
        texts = tuple(key_text(values[key]) for key in plan.keys)
        groups.setdefault(texts, FileGroup(dict(zip(plan.keys, texts, strict=True)))).pieces.append(piece)
    for texts in sorted(groups):
        yield groups[texts].listed


def group_rows(pieces: Pieces, plan: KeyPlan, reader: PieceReader, spill: Spill, known: str | None) -> Iterator[Listed]:
    """One mini-batch for each combination of keys, sorted, after the whole input was read.

    `known`: the fingerprint of the input of an earlier run of the same job. Raises a UserError when it is another input now, or broken.
    """
    listed = [piece.record for piece in pieces.all()]
    fingerprint = _fingerprint(listed, plan)
    if known is not None and known != fingerprint:
        raise UserError(
            "the input has changed since the job started: files were added, removed or written anew",
            todo="put them back as they were, or start a new job",
        )
    if not spill.is_complete(fingerprint):
        try:
            spill.fill(_keyed(listed, plan, reader), fingerprint)
        except StorageUnavailable:
            raise
        except OSError as error:
            raise UserError(
                f"rows cannot be grouped by {', '.join(plan.keys)}: '{spill.folder}' cannot be written: {error.strerror or error}",
                todo="make room there: it takes about as much as the table in memory",
            ) from None
    for values, ranges, rows, size in spill.groups():
        yield Listed({"runs": ranges, "keys": dict(zip(plan.keys, values, strict=True)), "in": fingerprint}, size, rows)


def _keyed(listed: Sequence[Record], plan: KeyPlan, reader: PieceReader) -> Iterator[tuple[pa.Table, dict[str, pa.Array]]]:
    for record in listed:
        try:
            table = reader.read(record)
        except BadInputError as bad:
            raise bad.user_error() from None
        given = partition_values(reader.pipeline.formats, record["f"]) if plan.placeholders else {}
        keys: dict[str, Any] = {}
        for key in plan.keys:
            if key in plan.placeholders:
                keys[key] = pa.repeat(pa.scalar(key_text(given[key]), pa.string()), table.num_rows)
            else:
                keys[key] = table.column(key)
        yield table, keys


def _fingerprint(listed: Sequence[Record], plan: KeyPlan) -> str:
    return hashlib.sha256(json.dumps([listed, plan.keys], sort_keys=True).encode()).hexdigest()[:24]
