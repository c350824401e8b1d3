"""The one file of rows of a job, as its owner sees it: a local file, or a blob."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from runner.errors import RunnerError
from runner.model.batch import Block, Segment
from runner.outputs.rows import publish

TABLE = "MLTable"


class Recorded(Protocol):
    """What a journal says of rows. `segments` are in input order."""

    segments: list[Segment]
    blocks: list[Block]
    target: str | None
    commit: str


class Records(Protocol):
    """A job's journal."""

    @property
    def restored(self) -> Recorded: ...
    def gone(self, ids: Sequence[str]) -> None: ...
    def target(self, etag: str) -> None: ...
    def commit(self, token: str) -> None: ...
    def sync(self) -> None: ...
    def owned(self) -> AbstractContextManager[None]: ...


@dataclass(frozen=True, kw_only=True)
class Content:
    """What is published. `table`: the text of an `MLTable` file beside the rows; `marks`: of an incomplete output."""

    segments: Sequence[Segment]
    blocks: Sequence[Block] = ()
    header: str = ""
    table: bytes = b""
    marks: Mapping[str, str] = field(default_factory=dict)


class RowsLost(RunnerError):
    """Rows of finished mini-batches are not there any more; the journal says so, and they are to be done again."""


class Aggregate(Protocol):
    def begin(self, table: bytes) -> bool:
        """Before anything runs. True: an earlier run has published, and was killed before it could say so. Errors: OSError, UserError."""

    def forget_lost(self) -> None:
        """Whatever is not there any more does not count as done. Errors: OSError, UserError."""

    def publish(self, content: Content) -> None:
        """The rows appear, or replace what was there, at one moment while the journal is owned.

        Errors: OSError; RowsLost; RunnerError for damaged parts; UserError; Superseded.
        """


class NoRows:
    """Of a job that returns a summary only."""

    def begin(self, table: bytes) -> bool:  # noqa: ARG002
        return False

    def forget_lost(self) -> None:
        """Nothing can be lost."""

    def publish(self, content: Content) -> None:
        """There is nothing to publish."""


@dataclass(frozen=True, kw_only=True)
class FileAggregate:
    """A file that is put together from parts."""

    target: Path
    parts: Path
    job: str
    records: Records

    def begin(self, table: bytes) -> bool:  # noqa: ARG002 - it is written again
        return False

    def forget_lost(self) -> None:
        """Parts stay where they are."""

    def publish(self, content: Content) -> None:
        publish(self.parts, content.segments, self.target, job=self.job, header=content.header, owned=self.records.owned)
        if content.table:
            partial = self.target.with_name(f".{TABLE}.partial")
            partial.write_bytes(content.table)
            partial.replace(self.target.with_name(TABLE))
