"""Text files as UTF-8 bytes: encodings, byte order marks, compressed files, and where to cut a file into slices of whole records."""

from __future__ import annotations

import codecs
import os
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from runner.errors import InputError, UserError
from runner.inputs.files import FileEntry
from runner.inputs.records import end_behind
from runner.inputs.tabular import BadInputError, Slice

COMPRESSIONS = {".gz": "gzip", ".bz2": "bz2", ".zst": "zstd"}
WHOLE = (0, -1)  # the position of a file that is one slice
BLOCK = 64 * 1024
SCAN_BLOCK = 4 << 20
_WIDE = ("utf-16", "utf-32")
_BLANK = b"\r\n"


def is_whole(path: str, encoding: str) -> bool:
    """Whether the file cannot be read from the middle: compressed, or with more than one byte per character."""
    return encoding in _WIDE or Path(path).suffix.lower() in COMPRESSIONS


def open_raw(path: str) -> BinaryIO:
    """The file's bytes, decompressed where its name says so. Raises an InputError when it cannot be opened."""
    import pyarrow as pa

    try:
        compression = COMPRESSIONS.get(Path(path).suffix.lower())
        if compression:
            return pa.CompressedInputStream(pa.PythonFile(Path(path).open("rb")), compression)  # type: ignore[no-any-return]
        return open(path, "rb")
    except OSError as error:
        raise InputError(f"the file '{path}' cannot be read: {error.strerror or error}") from None


def read_head(path: str, encoding: str, size: int) -> tuple[bytes, bool]:
    """The first `size` bytes as UTF-8 without byte order mark, and whether that is all of the file."""
    with open_raw(path) as file:
        raw = _read_some(path, file, size + 1)
    complete = len(raw) <= size
    return to_utf8(path, raw if complete else raw[:size], encoding, first=True, cut=not complete), complete


def _read_some(path: str, file: BinaryIO, size: int) -> bytes:
    try:
        return file.read(size) if size >= 0 else file.read()
    except OSError as error:
        raise BadInputError(problem=f"cannot be decompressed: {error}", file=path, todo="make the file again") from None


def read_slice(path: str, encoding: str, start: int, end: int) -> bytes:
    """The bytes of a slice as UTF-8."""
    if end < 0:
        with open_raw(path) as file:
            return to_utf8(path, _read_some(path, file, -1), encoding, first=True)
    try:
        with open(path, "rb", buffering=0) as plain:
            data = os.pread(plain.fileno(), end - start, start)
            while len(data) < end - start and (more := os.pread(plain.fileno(), end - start - len(data), start + len(data))):
                data += more
    except OSError as error:
        raise BadInputError(problem=f"cannot be read: {error.strerror}", file=path) from None
    if len(data) < end - start:
        raise BadInputError(problem="is shorter than when the job started", file=path, todo="don't change input while a job runs")
    return to_utf8(path, data, encoding, first=start == 0)


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


def line_at(path: str, position: int) -> int:
    """The 1-based number of the line that begins at the byte position."""
    lines = 1
    with open(path, "rb") as file:
        while position > 0 and (block := file.read(min(position, SCAN_BLOCK))):
            lines += block.count(b"\n")
            position -= len(block)
    return lines


def cut_lines(file: FileEntry, start: int, size: int) -> Iterator[Slice]:
    """Slices of whole lines from `start` on, by the rule of Hadoop's line reader.

    The file is cut at multiples of `size`; a line that begins at or before such a boundary belongs to the earlier slice. Ranges in
    which no line begins, or blank ones only, give no slice.
    """
    with _open_plain(file.path) as opened:
        at = start
        while at < file.size:
            boundary = max(size, -(-at // size) * size)
            end = _line_end(opened, boundary, file.size)
            if _has_text(opened, at, end):
                yield Slice((at, end), end - at)
            at = end


def _line_end(file: BinaryIO, boundary: int, size: int) -> int:
    """The offset behind the first newline at or after the boundary."""
    at = boundary
    while at < size:
        block = os.pread(file.fileno(), BLOCK if at > boundary else 4096, at)
        if not block:
            break
        newline = block.find(b"\n")
        if newline >= 0:
            return at + newline + 1
        at += len(block)
    return size


def _has_text(file: BinaryIO, start: int, end: int) -> bool:
    """Whether anything but line breaks lies between."""
    at = start
    while at < end:
        block = os.pread(file.fileno(), min(256 if at == start else BLOCK, end - at), at)
        if not block:
            return False
        if block.strip(_BLANK):
            return True
        at += len(block)
    return False


def cut_records(file: FileEntry, start: int, size: int, delimiter: bytes) -> Iterator[Slice]:
    """As `cut_lines`, for records whose quoted fields may hold newlines: the file is read through to know which newlines end one."""
    with _open_plain(file.path) as opened:
        begin = start
        for end in _record_ends(opened, start, file.size, size, delimiter):
            if _has_text(opened, begin, end):
                yield Slice((begin, end), end - begin)
            begin = end
        if begin < file.size and _has_text(opened, begin, file.size):
            yield Slice((begin, file.size), file.size - begin)


def _record_ends(file: BinaryIO, start: int, end: int, size: int, delimiter: bytes) -> Iterator[int]:
    """The offset behind the first record that ends behind each multiple of `size`."""
    base, data, block = start, b"", SCAN_BLOCK
    boundary = max(size, -(-start // size) * size)
    while base + len(data) < end:
        more = os.pread(file.fileno(), block, base + len(data))
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


def _open_plain(path: str) -> BinaryIO:
    try:
        return Path(path).open("rb")
    except OSError as error:
        raise UserError(f"the file '{path}' cannot be read: {error.strerror}", todo="make it readable for this user") from None
