"""What readers of tables have in common: slices of files, and words for broken input."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import pyarrow as pa

from runner.errors import InputError, Place, UserError, one_line
from runner.model.batch import INPUT_CHANGED, ErrorRecord


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
    behind: int = 0  # bytes from which the lines are counted, where those before are too many to count
    todo: str = ""
    changed: bool = False  # the file is no longer what was listed

    @property
    def message(self) -> str:
        return one_line(f"{self._where}: {self.problem}") + (f"\n  next: {one_line(self.todo)}" if self.todo else "")

    def __str__(self) -> str:
        return self.message

    @property
    def _where(self) -> str:
        if self.behind:
            return f"{self.file} (line {self.line} behind byte {self.behind})"
        return f"{self.file}:{self.line}" if self.line else self.file

    def record(self) -> ErrorRecord:
        return ErrorRecord(kind="input", type=INPUT_CHANGED if self.changed else "InputError", message=self.message, item=self.file)

    def user_error(self) -> UserError:
        """The same for input that is read before there are mini-batches."""
        place = Place(file=self._where) if self.behind else Place(file=self.file, line=self.line or None)
        return InputError(one_line(self.problem), place=place, todo=self.todo)


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
