"""Of a report that several runs of a job have added to: the newest row of each mini-batch."""

from __future__ import annotations

from array import array
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO


def keep_latest_rows(path: Path) -> None:
    """Drops earlier rows of mini-batches that stand in the file again. Rows are lines that begin with a number and a comma.

    Memory: eight bytes per mini-batch. Errors: OSError.
    """
    partial = path.with_name(path.name + ".partial")
    with path.open("rb") as file, partial.open("wb") as kept:
        newest = _newest(file)
        kept.writelines(line for at, number, line in _rows(file) if number < 0 or newest[number] == at)
    partial.replace(path)


def _newest(file: BinaryIO) -> array[int]:
    """Mini-batch → the line that it last stands in."""
    newest = array("q")
    for at, number, _ in _rows(file):
        if number >= len(newest):
            newest.extend([-1] * (number + 1 - len(newest)))
        if number >= 0:
            newest[number] = at
    return newest


def _rows(file: BinaryIO) -> Iterator[tuple[int, int, bytes]]:
    """(line, mini-batch or -1 for the header, text)."""
    file.seek(0)
    for at, line in enumerate(file):
        first = line.partition(b",")[0]
        yield at, int(first) if first.isdigit() else -1, line
