"""What went wrong in user code, in words: the fields of runner.model.batch.ErrorRecord."""

import os
import traceback
from types import TracebackType
from typing import Any, Dict, Iterator, List, Optional, Tuple

from .command import CommandError
from .rows import ReturnTypeError

AGENT = os.path.dirname(os.path.abspath(__file__)) + os.sep
IMPORT_MACHINERY = "<frozen importlib"
LONGEST_MESSAGE = 4000  # characters
LONGEST_TRACEBACK = 40000


class Failures(object):
    """`code`: the working copy of the user's code; `root`: where relative paths of files stand; `log`: where the worker's stderr goes."""

    def __init__(self, code: str, root: str, log: str) -> None:
        self._code, self._root, self._log = code, root, log

    def record(self, error: BaseException, line: Optional[Dict[str, Any]] = None, kind: str = "exception") -> Dict[str, Any]:
        """`line` is that of the mini-batch, when it was one that failed."""
        file, number = self._place(error)
        record = {
            "kind": kind,
            "type": type(error).__name__,
            "message": _cut(_text(error), LONGEST_MESSAGE),
            "traceback": "" if isinstance(error, (CommandError, ReturnTypeError)) else _cut(_trace(error), LONGEST_TRACEBACK),
            "file": file,
            "line": number,
            "item": "",
            "log": self._log,
        }
        if isinstance(error, ReturnTypeError):
            record.update(kind="return_type", type="TypeError")
        elif isinstance(error, CommandError):
            record.update(kind="command", type="")
        if line and line.get("files"):
            self._look_at_files(record, error, [entry[0] for entry in line["files"]])
        return record

    def _place(self, error: BaseException) -> Tuple[str, int]:
        """The innermost line of the user's own code; of anybody's but ours, if the user's has no part in it."""
        if isinstance(error, SyntaxError) and error.filename:
            return self._relative(error.filename), error.lineno or 0
        places = [(frame.f_code.co_filename, number) for frame, number in _frames(error.__traceback__)]
        own = [place for place in places if self._is_own(place[0])]
        if not places:
            return "", 0
        file, number = (own or places)[-1]
        return self._relative(file), number

    def _is_own(self, file: str) -> bool:
        return file.startswith(self._code + os.sep)  # modules in C tell relative names, of where they were built

    def _relative(self, file: str) -> str:
        return os.path.relpath(file, self._code) if self._is_own(file) else file

    def _look_at_files(self, record: Dict[str, Any], error: BaseException, files: List[str]) -> None:
        """Which file it was; a missing one is the input's fault, not that of the code."""
        by_path = {os.path.join(self._root, file): file for file in files}
        missing = [file for path, file in by_path.items() if not os.path.lexists(path)]
        if record["kind"] == "exception" and missing:
            record.update(kind="input", item=missing[0], message="%s (the input file is not there any more)" % record["message"])
        else:
            record["item"] = files[0] if len(files) == 1 else by_path.get(self._path_in_hand(error, by_path), "")

    def _path_in_hand(self, error: BaseException, paths: Dict[str, str]) -> str:
        """The path of the mini-batch that the user's code had in a variable when it failed."""
        named = getattr(error, "filename", None)
        if isinstance(named, str) and named in paths:
            return named
        frames = [frame for frame, _ in _frames(error.__traceback__) if self._is_own(frame.f_code.co_filename)]
        for frame in reversed(frames):
            for value in list(frame.f_locals.values()):
                path = value if type(value) is str else str(value) if isinstance(value, os.PathLike) else ""
                if path in paths:
                    return path
        return ""


def _frames(tb: Optional[TracebackType]) -> Iterator[Tuple[Any, int]]:
    """(frame, line), outermost first, without the runner's and the import system's."""
    while tb is not None:
        if not _is_machinery(tb.tb_frame.f_code.co_filename):
            yield tb.tb_frame, tb.tb_lineno
        tb = tb.tb_next


def _is_machinery(file: str) -> bool:
    return file.startswith((AGENT, IMPORT_MACHINERY))


def _trace(error: BaseException) -> str:
    """The traceback as Python prints it, causes and contexts included, without the runner's frames."""
    try:
        trace = traceback.TracebackException(type(error), error, error.__traceback__)
        _strip(trace, set())
        return "".join(trace.format())
    except Exception as failure:  # of an exception class that cannot even be shown
        return "%s (its traceback cannot be shown: %s)\n" % (type(error).__name__, type(failure).__name__)


def _strip(trace: Optional[traceback.TracebackException], seen: "set[int]") -> None:
    if trace is None or id(trace) in seen:
        return
    seen.add(id(trace))
    trace.stack[:] = [frame for frame in trace.stack if not _is_machinery(frame.filename)]
    _strip(trace.__cause__, seen)
    _strip(trace.__context__, seen)
    for one in getattr(trace, "exceptions", None) or ():
        _strip(one, seen)


def _text(error: BaseException) -> str:
    try:
        if isinstance(error, SystemExit):
            return "sys.exit(%s) was called" % ("" if error.code is None else repr(error.code))
        return str(error)
    except Exception:
        return "<the exception's text cannot be shown>"


def _cut(text: str, length: int) -> str:
    if len(text) <= length:
        return text
    half = length // 2
    return "%s\n[... %d characters left out here ...]\n%s" % (text[:half], len(text) - 2 * half, text[-half:])
