"""What a reader of tables offers, whatever the format of the files."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Protocol

import pyarrow as pa

from runner.inputs.bytes_of import Bytes
from runner.inputs.tabular import Slice


class Format(Protocol):
    """An opened table: its columns and types stand, the same for every slice of every file."""

    @property
    def schema(self) -> pa.Schema:
        """The columns as they are read, before the path column and any transformation."""

    def prepare(self, source: Bytes) -> None:
        """Says what `slices` will read first."""

    def slices(self, source: Bytes, size: int | None) -> Iterator[Slice]:
        """Pieces of about `size` bytes that hold at least one record (None: the whole file is one); nothing for empty files."""

    def expect(self, source: Bytes, positions: Sequence[Sequence[int]]) -> None:
        """Says that these slices will be read, in this order."""

    def read(self, source: Bytes, position: Sequence[int], columns: frozenset[str] | None) -> pa.Table:
        """The rows of a slice; only the given columns, in the order of the schema. Raises BadInputError."""

    def direct(self, source: Bytes, position: Sequence[int], schema: pa.Schema) -> dict[str, Any] | None:
        """Where a worker's own pyarrow reads the same rows from, with exactly this schema; None where it could not.

        Only for files of this machine. The worker may give a mini-batch back, which is then read here.
        """
