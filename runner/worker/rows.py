"""What `run` returned: how many elements, and the bytes that they are in the output."""

import collections.abc
import sys
from typing import Any, Callable, Dict, Iterable, Optional, Tuple

ALLOWED = "a pandas DataFrame or Series, a list, a tuple, a numpy array, or a generator"

LARGEST = 2**32 - 1  # bytes in one frame


class ReturnTypeError(Exception):
    """What came back cannot be rows: of a wrong type, or not to be written as text."""


class Rows(object):
    """`append`: rows are wanted, and not only counted. `to_csv`: keyword arguments for DataFrames. `warn`: called once with a text.

    pandas and numpy are looked up among the loaded modules: a result can only be theirs if user code has imported them.
    """

    def __init__(self, append: bool, to_csv: Dict[str, Any], warn: Callable[[str], None]) -> None:
        self._append, self._to_csv, self._warn = append, dict(to_csv), warn
        self._warned = self._spelled = False
        self._columns: Any = None
        self._header = ""

    def convert(self, result: Any) -> Tuple[int, bytes]:
        """(elements, bytes). Errors: ReturnTypeError; and whatever a generator or an element's `__str__` raises."""
        if isinstance(result, (list, tuple)):
            return len(result), self._lines(map(str, result), len(result)) if self._append and result else b""
        pandas, numpy = sys.modules.get("pandas"), sys.modules.get("numpy")
        if _is(result, pandas, "DataFrame"):
            return len(result), self._table(result) if self._append and len(result) else b""
        if _is(result, pandas, "Series"):
            return len(result), self._lines(map(str, result), len(result)) if self._append and len(result) else b""
        if _is(result, numpy, "ndarray") and result.ndim:
            return len(result), self._lines(_array_texts(numpy, result), len(result)) if self._append and len(result) else b""
        if isinstance(result, collections.abc.Iterator):
            return self.convert(list(result))
        raise ReturnTypeError("run() returned %s; allowed: %s" % (_describe(result), ALLOWED))

    def header(self, result: Any) -> str:
        """The line of column names of a DataFrame, with its line end; nothing for other results."""
        if not _is(result, sys.modules.get("pandas"), "DataFrame"):
            return ""
        if self._columns is None or not self._columns.equals(result.columns):
            self._columns = result.columns
            self._header = result.iloc[:0].to_csv(**dict(self._arguments(), header=True))
        return self._header

    def _table(self, frame: Any) -> bytes:
        return _encode(frame.to_csv(**self._arguments()))

    def _lines(self, texts: Iterable[str], count: int) -> bytes:
        text = "\n".join(texts) + "\n"
        if not self._warned and (text.count("\n") != count or "\r" in text):
            self._warned = True
            self._warn("an element that run() returned has a line break in it: it stands in the output as it is, on several lines")
        return _encode(text)

    def _arguments(self) -> Dict[str, Any]:
        """Adds the line end, which pandas spells differently before 1.5."""
        if not self._spelled:
            version = getattr(sys.modules["pandas"], "__version__", "2.0").split(".")
            old = (int(version[0]), int(version[1])) < (1, 5)
            names = ("line_terminator", "lineterminator")
            given = [self._to_csv.pop(name) for name in names if name in self._to_csv]
            self._to_csv[names[0] if old else names[1]] = given[0] if given else "\n"
            self._spelled = True
        return self._to_csv


def _is(value: Any, module: Optional[Any], name: str) -> bool:
    kind = getattr(module, name, None)  # a module that is being imported may lack it
    return isinstance(kind, type) and isinstance(value, kind)


def _array_texts(numpy: Any, array: Any) -> Iterable[str]:
    """`str(element)` of each, but that a long row is neither broken into lines nor shortened."""
    if array.ndim == 1:
        return map(str, array)
    return (numpy.array2string(row, max_line_width=sys.maxsize, threshold=sys.maxsize) for row in array)


def _encode(text: str) -> bytes:
    """UTF-8; undecodable bytes of file names come out as they were."""
    try:
        rows = text.encode("utf-8", "surrogateescape")
        if len(rows) > LARGEST:
            raise ReturnTypeError("run() returned rows of %d bytes; allowed: less than 4 GiB from one mini-batch" % len(rows))
        return rows
    except UnicodeEncodeError as error:
        part = ascii(text[max(0, error.start - 20) : error.end + 20])
        raise ReturnTypeError("run() returned text that cannot be written as UTF-8: %s" % part) from None


def _describe(value: Any) -> str:
    if value is None:
        return "None"
    kind = type(value)
    return kind.__name__ if kind.__module__ == "builtins" else "%s.%s" % (kind.__module__, kind.__name__)
