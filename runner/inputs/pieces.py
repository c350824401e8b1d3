"""Slices of files as lines of the manifest: listed in order, with the row counts that `take` and `skip` need, and read back.

A line is `{"f": path or address, "z": size, "m": mtime_ns or ETag, "p": position}`, with `"at": […]` where rows are counted:
how many have come to each counting step before.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa

from runner.errors import UserError
from runner.inputs.bytes_of import Bytes
from runner.inputs.files import FileEntry
from runner.inputs.formats import Format
from runner.inputs.opener import Opener
from runner.inputs.tabular import BadInputError
from runner.inputs.textfile import WHOLE
from runner.inputs.transform import Piece, Pipeline
from runner.storage.addresses import is_address

Record = dict[str, Any]  # a line of the manifest, parsed


class Listed(NamedTuple):
    """A piece that was listed."""

    record: Record
    bytes: int
    rows: int  # -1: not known


def to_line(record: Record) -> bytes:
    return json.dumps(record, separators=(",", ":")).encode("ascii")


@dataclass(frozen=True, kw_only=True)
class PieceReader:
    """Reads pieces and puts them through the pipeline. Threads may share it."""

    format: Format
    pipeline: Pipeline
    opener: Opener
    extra: frozenset[str] = frozenset()  # columns that are read beside those that the pipeline needs

    def read(self, record: Record) -> pa.Table:
        """Raises BadInputError, or an InputError of a partition format; both fail the mini-batch."""
        check_unchanged(record)
        return self._read(record, Piece(file=record["f"], position=record["p"], offsets=record.get("at", ())))

    def expect(self, records: Sequence[Record]) -> None:
        """Says that these pieces will be read, in this order: what lies side by side is fetched together."""
        for path, same in groupby(records, key=lambda record: record["f"]):
            if is_address(path):
                pieces = list(same)
                self.format.expect(self.opener.open(_file_of(pieces[0])), [record["p"] for record in pieces])

    def direct(self, record: Record, schema: pa.Schema) -> dict[str, Any] | None:
        """Where a worker finds the piece, if it lies in its file just as the table wants it."""
        if is_address(record.get("f", "")) or record.keys() != {"f", "z", "m", "p"} or self.pipeline.stages or self.extra:
            return None
        try:
            check_unchanged(record)
        except BadInputError:
            return None
        return self.format.direct(self.opener.open(_file_of(record)), record["p"], schema)

    def count(self, record: Record) -> tuple[list[int], int]:
        """Rows that come to each counting step from the piece, and rows that are left in the end."""
        piece = Piece(file=record["f"], position=record["p"], offsets=record["at"])
        left = self._read(record, piece).num_rows
        return piece.arrived, left

    def _read(self, record: Record, piece: Piece) -> pa.Table:
        needed = self.pipeline.needed | self.extra
        with self.opener.open(_file_of(record)) as source:
            table = self.format.read(source, piece.position, needed)
        return self.pipeline.apply(table, piece)


def _file_of(record: Record) -> FileEntry:
    return FileEntry(record["f"], record["z"], record["m"])


def check_unchanged(record: Record) -> None:
    """Raises BadInputError when the file isn't the one that was listed. Blobs are read on this condition, so nothing is asked here."""
    path = record["f"]
    if is_address(path):
        return
    try:
        status = Path(path).stat()
    except OSError as error:
        raise BadInputError(problem=f"cannot be read: {error.strerror}", file=path) from None
    if (status.st_size, status.st_mtime_ns) != (record["z"], record["m"]):
        raise BadInputError(changed=True, problem="has changed since it was listed", file=path, todo="start a new job")


class Pieces:
    """The pieces of all files, in order. `size`: bytes of each, None for one per file."""

    def __init__(self, reader: PieceReader, files: Callable[[], Iterator[FileEntry]], size: int | None) -> None:
        self._reader, self._files, self._size = reader, files, size
        self._pipeline = reader.pipeline

    def all(self) -> Iterator[Listed]:
        """Raises a UserError for input that has to be read to be listed, and is broken."""
        yield from self._listed(self._files(), [0] * len(self._pipeline.counts))

    def _listed(self, files: Iterator[FileEntry], offsets: list[int]) -> Iterator[Listed]:
        for source in self._reader.opener.ahead(files, self._reader.format.prepare):
            for listed in self._of(source):
                if not offsets:
                    yield listed
                    continue
                if self._pipeline.is_exhausted(offsets):
                    return
                counted = self._counted(listed, offsets)
                if counted.rows:
                    yield counted

    def _of(self, source: Bytes) -> Iterator[Listed]:
        """A file of which not even the beginning can be read is one piece, whose mini-batch fails with the reason."""
        file = source.file
        identity = {"f": file.path, "z": file.size, "m": file.version}
        try:
            for position, size, rows in self._reader.format.slices(source, self._size):
                yield Listed({**identity, "p": list(position)}, size, rows)
        except BadInputError:
            yield Listed({**identity, "p": list(WHOLE)}, file.size, -1)

    def _counted(self, listed: Listed, offsets: list[int]) -> Listed:
        """With the offsets before it; moves them on."""
        record = {**listed.record, "at": list(offsets)}
        if self._pipeline.is_settled(offsets):
            return listed._replace(record=record)
        if self._pipeline.countable and listed.rows >= 0:
            arrived, left = self._pipeline.count_rows(listed.rows, offsets)
        else:
            try:
                arrived, left = self._reader.count(record)
            except BadInputError as bad:
                raise bad.user_error() from None
        offsets[:] = [before + more for before, more in zip(offsets, arrived, strict=True)]
        return Listed(record, listed.bytes, left)

    def after(self, known: Iterator[bytes], warn: Callable[[str], None]) -> Iterator[Listed]:
        """The pieces behind those of an earlier listing, whose files are verified."""
        earlier, last = _verified(known)
        if last is None:
            yield from self.all()
            return
        remaining = iter(earlier)
        following = next(remaining, None)
        offsets = list(last.get("at", [0] * len(self._pipeline.counts)))
        skipped: list[str] = []
        files = self._files()
        for file in files:
            assert following
            source = self._reader.opener.open(file)
            if file.path != following.path:
                skipped += [file.path] if any(True for _ in self._of(source)) else []
                continue
            compare(following, file)
            following = next(remaining, None)
            if following is None:
                yield from self._rest_of(source, last, offsets)
                break
        if following:
            compare(following, None)
        if skipped:
            warn(f"left out, since they were not there when the job was first listed: {', '.join(skipped[:10])}")
        yield from self._listed(files, offsets)

    def _rest_of(self, source: Bytes, last: Record, offsets: list[int]) -> Iterator[Listed]:
        """What comes behind the last known piece of its file."""
        passed = False
        for listed in self._of(source):
            if passed:
                if not offsets:
                    yield listed
                elif not self._pipeline.is_exhausted(offsets):
                    counted = self._counted(listed, offsets)
                    if counted.rows:
                        yield counted
            elif listed.record["p"] == last["p"]:
                passed = True
                if offsets:
                    self._counted(listed, offsets)


def _verified(known: Iterator[bytes]) -> tuple[list[FileEntry], Record | None]:
    """The files of the known pieces in order, neighbours once, and the last piece."""
    files: list[FileEntry] = []
    last: Record | None = None
    for line in known:
        record: Record = json.loads(line)
        # The same file may be listed twice in a row; its pieces then begin again.
        if last is None or record["f"] != last["f"] or record["p"] <= last["p"]:
            verify([record])
            files.append(_file_of(record))
        last = record
    return files, last


def verify(records: Sequence[Record]) -> None:
    """Raises a UserError that names a file which is gone or has changed; of blobs the new listing tells."""
    for record in records:
        try:
            check_unchanged(record)
        except BadInputError as bad:
            raise _other_input(bad.file, gone="cannot be read" in bad.problem) from None


def compare(known: FileEntry, now: FileEntry | None) -> None:
    """Raises a UserError when a known file is another in the new listing, or no longer there."""
    if now is None or (known.size, known.version) != (now.size, now.version):
        raise _other_input(known.path, gone=now is None)


def compare_pieces(known: Sequence[Record], now: Sequence[Record]) -> None:
    """The same for pieces of files."""
    there = {record["f"]: _file_of(record) for record in now}
    for record in known:
        compare(_file_of(record), there.get(record["f"]))


def _other_input(path: str, *, gone: bool) -> UserError:
    what = "is gone" if gone else "has changed"
    return UserError(f"the input file '{path}' {what} since the job started", todo="put it back as it was, or start a new job")
