"""Text files as UTF-8 bytes: encodings, byte order marks, compressed files, and where to cut a file into slices of whole records."""

from __future__ import annotations

import codecs
import threading
from bisect import bisect_right, insort
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import BinaryIO

from runner.inputs.bytes_of import Bytes
from runner.inputs.files import FileEntry
from runner.inputs.records import end_behind
from runner.inputs.tabular import BadInputError, Slice
from runner.storage.addresses import is_address
from runner.storage.problems import StorageUnavailable

COMPRESSIONS = {".gz": "gzip", ".bz2": "bz2", ".zst": "zstd"}
WHOLE = (0, -1)  # the position of a file that is one slice
BLOCK = 64 * 1024
SCAN_BLOCK = 4 << 20
BEGINNING = 256  # bytes of a slice that are looked at first
AROUND_CUT = 8 * 1024  # bytes behind a place to cut at that are fetched ahead
SMALL = 16 * AROUND_CUT  # slices up to this size: everything is
COUNTED = 256 << 20  # bytes of a blob that are fetched to know the number of a line
_WIDE = ("utf-16", "utf-32")
_BLANK = b"\r\n"


def is_whole(path: str, encoding: str) -> bool:
    """Whether the file cannot be read from the middle: compressed, or with more than one byte per character."""
    return encoding in _WIDE or Path(path).suffix.lower() in COMPRESSIONS


def open_raw(source: Bytes) -> BinaryIO:
    """The file's bytes, decompressed where its name says so. Raises an InputError when it cannot be opened."""
    compression = COMPRESSIONS.get(Path(source.file.path).suffix.lower())
    if compression:
        import pyarrow as pa

        return pa.CompressedInputStream(pa.PythonFile(source.stream()), compression)  # type: ignore[no-any-return]
    return source.stream()


def read_head(source: Bytes, encoding: str, size: int) -> tuple[bytes, bool]:
    """The first `size` bytes as UTF-8 without byte order mark, and whether that is all of the file."""
    path = source.file.path
    if Path(path).suffix.lower() in COMPRESSIONS:
        with open_raw(source) as file:
            raw = _read_some(path, file, size + 1)
    else:
        raw = source.pread(size + 1, 0)
    complete = len(raw) <= size
    return to_utf8(path, raw if complete else raw[:size], encoding, first=True, cut=not complete), complete


def _read_some(path: str, file: BinaryIO, size: int) -> bytes:
    try:
        return file.read(size) if size >= 0 else file.read()
    except StorageUnavailable:
        raise
    except OSError as error:
        raise BadInputError(problem=f"cannot be decompressed: {error}", file=path, todo="make the file again") from None


def read_slice(source: Bytes, encoding: str, start: int, end: int) -> bytes:
    """The bytes of a slice as UTF-8."""
    path = source.file.path
    if end < 0:
        with open_raw(source) as file:
            return to_utf8(path, _read_some(path, file, -1), encoding, first=True)
    data = source.pread(end - start, start)
    if len(data) < end - start:
        raise BadInputError(problem="is shorter than when the job started", file=path, todo="don't change input while a job runs")
    return to_utf8(path, data, encoding, first=start == 0)


def expect(source: Bytes, positions: Sequence[Sequence[int]]) -> None:
    """Neighbouring slices that will be read are fetched together."""
    start = end = 0
    for first, behind in positions:
        if behind < 0:
            continue
        if first != end:
            source.want(start, end)
            start = first
        end = behind
    source.want(start, end)


def to_utf8(path: str, data: bytes, encoding: str, *, first: bool, cut: bool = False) -> bytes:
    """The data as UTF-8; what already should be is not checked here. `cut`: the last character may be incomplete."""
    if encoding == "utf-8":
        return data[3:] if first and data.startswith(codecs.BOM_UTF8) else data
    try:
        decoder = codecs.getincrementaldecoder(encoding)()
        return decoder.decode(data, final=not cut).removeprefix("\ufeff").encode()
    except UnicodeError as error:
        at = getattr(error, "start", 0)
        line = data.count(b"\n", 0, at) + 1
        todo = "set `encoding` of the read step to that of the file"
        raise BadInputError(problem=f"is not {encoding} text: {error}", file=path, line=line if first else 0, todo=todo) from None


class LineCounts:
    """Numbers of lines; what was counted once is not counted again. Threads may share it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._known: dict[FileEntry, list[tuple[int, int]]] = {}  # byte position, lines before it

    def place(self, bad: BadInputError, source: Bytes, start: int) -> None:
        """Moves the line of an error, which is that in the slice from the byte `start` on, to that in the file."""
        with self._lock:
            marks = self._known.setdefault(source.file, [(0, 0)])
            position, lines = marks[bisect_right(marks, (start, 1 << 62)) - 1]
            if start - position > COUNTED and is_address(source.file.path):
                bad.behind = start
                return
            lines += _count_lines(source, position, start)
            insort(marks, (start, lines))
        bad.line += lines


def _count_lines(source: Bytes, start: int, end: int) -> int:
    lines = 0
    while start < end and (block := source.pread(min(end - start, SCAN_BLOCK), start)):
        lines += block.count(b"\n")
        start += len(block)
    return lines


def cut_lines(source: Bytes, start: int, size: int) -> Iterator[Slice]:
    """Slices of whole lines from `start` on, by the rule of Hadoop's line reader.

    The file is cut at multiples of `size`; a line that begins at or before such a boundary belongs to the earlier slice. Ranges in
    which no line begins, or blank ones only, give no slice.
    """
    length = source.file.size
    near = source.near(_around_cuts(start, size, length))
    at = start
    while at < length:
        boundary = max(size, -(-at // size) * size)
        end = _line_end(near, boundary, length)
        if _has_text(near, at, end):
            yield Slice((at, end), end - at)
        at = end


def _around_cuts(start: int, size: int, length: int) -> Iterator[tuple[int, int]]:
    """What `cut_lines` looks at."""
    if size <= SMALL:
        yield from ((at, at + SCAN_BLOCK) for at in range(start, length, SCAN_BLOCK))
        return
    first = max(size, -(-start // size) * size)
    yield start, start + BEGINNING
    yield from ((at, at + AROUND_CUT) for at in range(first, length, size))


def _line_end(source: Bytes, boundary: int, size: int) -> int:
    """The offset behind the first newline at or after the boundary."""
    at, length = boundary, AROUND_CUT // 2
    while at < size:
        block = source.pread(length, at)
        if not block:
            break
        newline = block.find(b"\n")
        if newline >= 0:
            return at + newline + 1
        at += len(block)
        length = min(16 * length, SCAN_BLOCK)
    return size


def _has_text(source: Bytes, start: int, end: int) -> bool:
    """Whether anything but line breaks lies between."""
    at, length = start, BEGINNING
    while at < end:
        block = source.pread(min(length, end - at), at)
        if not block:
            return False
        if block.strip(_BLANK):
            return True
        at += len(block)
        length = min(16 * length, SCAN_BLOCK)
    return False


def cut_records(source: Bytes, start: int, size: int, delimiter: bytes) -> Iterator[Slice]:
    """As `cut_lines`, for records whose quoted fields may hold newlines: the file is read through to know which newlines end one."""
    length = source.file.size
    begin = start
    for end in _record_ends(source, start, length, size, delimiter):
        if _has_text(source, begin, end):
            yield Slice((begin, end), end - begin)
        begin = end
    if begin < length and _has_text(source, begin, length):
        yield Slice((begin, length), length - begin)


def _record_ends(source: Bytes, start: int, end: int, size: int, delimiter: bytes) -> Iterator[int]:
    """The offset behind the first record that ends behind each multiple of `size`."""
    base, data, block = start, b"", SCAN_BLOCK
    boundary = max(size, -(-start // size) * size)
    while base + len(data) < end:
        more = source.pread(block, base + len(data))
        if not more:
            return
        data += more
        last, found = end_behind(data, delimiter, 0, boundary - base)
        while found:
            yield base + last
            boundary = -(-(base + last) // size) * size
            last, found = end_behind(data, delimiter, last, boundary - base)
        # A record longer than the block is scanned again from its start: with blocks that double, in linear time.
        block = SCAN_BLOCK if last else min(2 * block, 1 << 30)
        base, data = base + last, data[last:]
