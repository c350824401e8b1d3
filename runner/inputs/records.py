"""Delimited text, cut into records and fields by the exact rules, in plain Python: for heads, for odd texts, and to find a bad row's line.

A quote counts at the start of a field only, `""` in it is a quote, what follows the closing quote belongs to the field. Without
`multi_line` a record ends at every newline, and a quote that isn't closed in its line is an ordinary character. A lone carriage
return is one too. An empty field is None, a quoted empty one is an empty text.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import lru_cache
from typing import NamedTuple


class Record(NamedTuple):
    """`line` is 1-based in the data; `end` the offset behind the record and its line break."""

    line: int
    fields: list[bytes | None]
    end: int


class UnclosedQuoteError(Exception):
    """The quoted field that begins in this line of the data has no end."""

    def __init__(self, line: int) -> None:
        self.line = line
        super().__init__(line)


@lru_cache(maxsize=8)
def _field(delimiter: bytes, multi_line: bool) -> re.Pattern[bytes]:
    other = rb"[^\n]" if len(delimiter) == 1 else rb"."
    plain = rb"(?:(?!" + re.escape(delimiter) + rb")" + other + rb")*" if len(delimiter) > 1 else rb"[^" + re.escape(delimiter) + rb"\n]*"
    inside = rb'[^"]*(?:""[^"]*)*' if multi_line else rb'[^"\n]*(?:""[^"\n]*)*'
    return re.compile(rb'(?:"(' + inside + rb')"(?!")(' + plain + rb")|(" + plain + rb"))(" + re.escape(delimiter) + rb"|\n|\Z)")


def split(data: bytes, delimiter: bytes, *, multi_line: bool, empty_as_string: bool = False) -> Iterator[Record]:
    """The records of the data, blank lines left out. Raises UnclosedQuoteError (only with `multi_line`)."""
    empty = b"" if empty_as_string else None
    at, line, size = 0, 1, len(data)
    while at < size:
        newline = data.find(b"\n", at)
        end = size if newline < 0 else newline
        if data.find(b'"', at, end) < 0:
            text = data[at : end - 1] if data[end - 1 : end] == b"\r" and end > at and newline >= 0 else data[at:end]
            at, started, line = end + 1, line, line + 1
            if text:
                yield Record(started, [field or empty for field in text.split(delimiter)], min(at, size))
            continue
        started = line
        fields, at, line = _quoted_record(data, at, line, delimiter, multi_line, empty)
        yield Record(started, fields, min(at, size))


def _quoted_record(
    data: bytes, at: int, line: int, delimiter: bytes, multi_line: bool, empty: bytes | None
) -> tuple[list[bytes | None], int, int]:
    """Fields, the offset behind the record, and the line that it stands in."""
    field = _field(delimiter, multi_line)
    fields: list[bytes | None] = []
    while True:
        match = field.match(data, at)
        assert match is not None
        quoted, tail, plain, end = match.groups()
        last = end != delimiter
        if quoted is None and multi_line and plain[:1] == b'"':
            raise UnclosedQuoteError(line)
        if quoted is not None:
            line += quoted.count(b"\n")
            tail = tail[:-1] if last and end and tail.endswith(b"\r") else tail
            fields.append((quoted.replace(b'""', b'"') if b'""' in quoted else quoted) + tail)
        else:
            plain = plain[:-1] if last and end and plain.endswith(b"\r") else plain
            fields.append(plain or empty)
        at = match.end()
        if last:
            return fields, at if end else at + 1, line + 1


def end_behind(data: bytes, delimiter: bytes, at: int, boundary: int) -> tuple[int, bool]:
    """From the beginning of a record: the end of the first one that ends behind `boundary`, and True.

    A newline in quotes ends none. Where the data ends before, the end of the last complete record, and False.
    """
    one, many = _record(delimiter)
    while (match := many.match(data, at)) and match.end() <= boundary:
        at = match.end()
    while match := one.match(data, at):
        at = match.end()
        if at > boundary:
            return at, True
    return at, False


@lru_cache(maxsize=8)
def _record(delimiter: bytes) -> tuple[re.Pattern[bytes], re.Pattern[bytes]]:
    """One complete record, and up to 64 in one go, which saves the time between them."""
    mark = re.escape(delimiter)
    quoted = rb"(?:(?<=" + mark + rb')|(?<=\n)|\A)"[^"]*(?:""[^"]*)*"(?!")'
    stray = rb"(?!\A)(?<!" + mark + rb')(?<!\n)"'
    record = rb'[^"\n]*(?:(?:' + quoted + rb"|" + stray + rb')[^"\n]*)*\n'
    return re.compile(record), re.compile(rb"(?:" + record + rb"){1,64}")
