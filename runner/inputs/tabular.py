"""What readers of tables have in common: slices of files, and words for broken input."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import pyarrow as pa

from runner.errors import InputError, Place, UserError, one_line
from runner.inputs.files import FileEntry
from runner.model.batch import ErrorRecord


class Slice(NamedTuple):
    """A piece of one file. `position` is the reader's own way of finding it again; `rows` is -1 where they are not known yet."""

    position: tuple[int, ...]
    bytes: int
    rows: int = -1


@dataclass(kw_only=True)  # not frozen: Python itself writes to exceptions
class BadInputError(Exception):
    """A broken row, text that cannot be decoded, a value that doesn't fit: fails the mini-batch, names file and line."""

    problem: str
    file: str
    line: int = 0  # 1-based in the file; 0 where there are no lines
    todo: str = ""

    @property
    def message(self) -> str:
        where = f"{self.file}:{self.line}" if self.line else self.file
        return one_line(f"{where}: {self.problem}") + (f"\n  next: {one_line(self.todo)}" if self.todo else "")

    def __str__(self) -> str:
        return self.message

    def record(self) -> ErrorRecord:
        return ErrorRecord(kind="input", type="InputError", message=self.message, item=self.file)

    def user_error(self) -> UserError:
        """The same for input that is read before there are mini-batches."""
        return InputError(one_line(self.problem), place=Place(file=self.file, line=self.line or None), todo=self.todo)


class Format(Protocol):
    """An opened table: its columns and types stand, the same for every slice of every file."""

    @property
    def schema(self) -> pa.Schema:
        """The columns as they are read, before the path column and any transformation."""

    def slices(self, file: FileEntry, size: int | None) -> Iterator[Slice]:
        """Pieces of about `size` bytes that hold at least one record (None: the whole file is one); nothing for empty files."""

    def read(self, file: str, position: Sequence[int], columns: frozenset[str] | None) -> pa.Table:
        """The rows of a slice; only the given columns, in the order of the schema. Raises BadInputError."""

    def direct(self, file: str, position: Sequence[int], schema: pa.Schema) -> dict[str, Any] | None:
        """Where a worker's own pyarrow reads the same rows from, with exactly this schema; None where it could not.

        The worker may give a mini-batch back, which is then read here.
        """


def shown(text: str, limit: int = 80) -> str:
    """A user's value in quotes, cut to a length that fits a message."""
    return repr(text) if len(text) <= limit else repr(text[:limit]) + "…"


def is_utf8(path: str) -> bool:
    """Whether the name of a file is text."""
    try:
        path.encode()
    except UnicodeEncodeError:
        return False
    return True


def missing(schema: pa.Schema, rows: int) -> pa.Table:
    """A table of nulls."""
    return pa.table([pa.nulls(rows, field.type) for field in schema], schema=schema)


def schema_of(names: Sequence[str], types: Sequence[pa.DataType]) -> pa.Schema:
    return pa.schema(list(zip(names, types, strict=True)))
