"""Delimited text by Arrow's CSV reader, where it finds the values that the runner's own rules find.

Used on both sides: by `runner.inputs`, which has ways to read the rest, and by workers, which read the plain slices themselves.
"""

import os
from typing import Any, Dict, Iterable, List, Mapping, Sequence

TRUE, FALSE = ("1", "t", "true"), ("0", "f", "false")
BYTE_ORDER_MARK = b"\xef\xbb\xbf"
MOMENTS_FROM = 23  # pyarrow's major version: those before make a year such as 1600 one of this era, without a word


class NotPlainError(Exception):
    """A slice that is not for a worker to read: the supervisor's loader knows what to make of it, or what is wrong with it."""


def read_slice(line: Dict[str, Any]) -> Any:
    """The Arrow table of a slice of a file; `line` is that of the mini-batch. Errors: NotPlainError."""
    import pyarrow

    path, (start, end), types = line["delimited"], line["range"], line["types"]
    if "timestamp[ns]" in types and _major(pyarrow.__version__) < MOMENTS_FROM:
        raise NotPlainError("pyarrow %s cannot read dates" % pyarrow.__version__)
    data = _bytes_of(path, start, end)
    table = None
    if len(data) == end - start and _is_plain(data) and not ("int64" in types and may_have_hexadecimal(data)):
        columns = {name: pyarrow.type_for_alias(alias) for name, alias in zip(line["names"], types)}
        table = read(data, list(columns), columns, line["delimiter"], empty_as_string=line["empty_as_string"])
    if table is None:
        raise NotPlainError("%s: bytes %d to %d are not what they were when the mini-batch was read" % (path, start, end))
    return table


def _major(version: str) -> int:
    first = version.partition(".")[0]
    return int(first) if first.isdigit() else 0


def _is_plain(data: bytes) -> bool:
    return b'"' not in data and has_plain_ends(data) and not data.startswith(BYTE_ORDER_MARK)


def _bytes_of(path: str, start: int, end: int) -> bytes:
    """Fewer where the file has fewer."""
    try:
        with open(path, "rb", buffering=0) as file:
            data = os.pread(file.fileno(), end - start, start)
            while len(data) < end - start:
                more = os.pread(file.fileno(), end - start - len(data), start + len(data))
                if not more:
                    break
                data += more
    except (OSError, ValueError) as error:
        raise NotPlainError("%s: cannot be read: %s" % (path, error)) from None
    return data


def read(
    data: bytes, names: Sequence[str], types: Mapping[str, Any], delimiter: str, *, quotes: bool = False, empty_as_string: bool = False
) -> Any:
    """The columns that have types; None where a row has another number of fields than there are names, or a value does not convert."""
    import pyarrow
    from pyarrow import csv

    try:
        return csv.read_csv(
            pyarrow.BufferReader(data),
            read_options=csv.ReadOptions(use_threads=False, column_names=list(names), block_size=min(max(len(data) + 1, 1024), 1 << 30)),
            parse_options=csv.ParseOptions(
                delimiter=delimiter,
                quote_char='"' if quotes else False,  # not looking for them makes a fifth of the time
                newlines_in_values=quotes,
            ),
            convert_options=csv.ConvertOptions(
                column_types=types,
                include_columns=list(types) or [names[0]],
                null_values=[""],
                true_values=_TRUE,
                false_values=_FALSE,
                strings_can_be_null=not empty_as_string,
                quoted_strings_can_be_null=False,
            ),
        )
    except pyarrow.ArrowInvalid:
        return None


def has_plain_ends(data: bytes) -> bool:
    """Whether Arrow agrees on what a line break is."""
    return data.find(b"\r") < 0 or data.count(b"\r") == data.count(b"\r\n")


def may_have_hexadecimal(data: bytes) -> bool:
    """Whether there could be a 0x10, which Arrow would take for 16. Looking for a single byte first is much faster."""
    return (b"x" in data and b"0x" in data) or (b"X" in data and b"0X" in data)


def _spellings(words: Iterable[str]) -> List[str]:
    """All ways to mix upper and lower case."""
    every = []  # type: List[str]
    for word in words:
        found = [""]
        for letter in word:
            found = [start + form for start in found for form in sorted({letter, letter.upper()})]
        every += found
    return every


_TRUE, _FALSE = _spellings(TRUE), _spellings(FALSE)
