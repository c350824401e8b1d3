"""A command in the place of an entry script: the single mini-batch of such a step is that it is run."""

import collections
import os
import shutil
import signal
import subprocess
import sys
import threading
from typing import Any, Deque, Dict, List

SHELLS = ("bash", "sh")
TAIL_LINES = 20  # of stderr, in the error
LINE_LENGTH = 500  # characters of each of them
PATIENCE = 1.0  # seconds for what a command has left behind to close its stderr


class CommandError(Exception):
    """The command has failed; the message says how."""


class Command(object):
    """Has what an `EntryScript` has. `arguments` are what "${1}", "${2}", … stand for in `text`."""

    init = shutdown = None
    wants_context = False

    def __init__(self, text: str, arguments: List[str]) -> None:
        self._text, self._arguments = text, list(arguments)

    def run(self, _mini_batch: Any) -> List[str]:
        """Errors: CommandError unless it ends with status 0."""
        process = self._start()
        tail = Tail(process.stderr)
        status = process.wait()
        tail.thread.join(PATIENCE)
        if status:
            raise CommandError(describe(status, list(tail.lines)))
        return []

    def _start(self) -> "subprocess.Popen[bytes]":
        shell = find_shell()
        words = [shell, "-c", self._text, os.path.basename(shell), *self._arguments]  # the name stands in what the shell says of mistakes
        try:
            return subprocess.Popen(words, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, env=variables())
        except (OSError, ValueError) as error:  # too long for the system, no memory, too many processes, a NUL in a variable
            raise CommandError("the command cannot be started: %s" % (getattr(error, "strerror", None) or error)) from None


class Tail(object):
    """Hands on what comes to this process's own stderr, and keeps the last lines."""

    def __init__(self, source: Any) -> None:
        self.lines: Deque[str] = collections.deque(maxlen=TAIL_LINES)
        self._source = source
        self.thread = threading.Thread(target=self._pump, name="stderr", daemon=True)
        self.thread.start()

    def _pump(self) -> None:
        open_line = b""
        while True:
            piece = os.read(self._source.fileno(), 1 << 16)
            if not piece:
                break
            write_all(2, piece)
            *whole, open_line = (open_line + piece).split(b"\n")
            self.lines.extend(shown(line) for line in whole[-TAIL_LINES:])
            open_line = open_line[-LINE_LENGTH * 4 :]
        if open_line:
            self.lines.append(shown(open_line))
        self._source.close()


def write_all(descriptor: int, data: bytes) -> None:
    while data:
        data = data[os.write(descriptor, data) :]


def shown(line: bytes) -> str:
    """As a terminal would leave it: of a progress bar its last state."""
    return line.rstrip(b"\r").rpartition(b"\r")[2].decode("utf-8", "replace")[-LINE_LENGTH:]


def find_shell() -> str:
    """Errors: CommandError for an image without any."""
    found = next(filter(None, map(shutil.which, SHELLS)), None)
    if found is None:
        raise CommandError("there is no shell to run the command: neither bash nor sh is on the PATH of the image")
    return found


def variables() -> Dict[str, str]:
    """What a Python that the command starts prints is in the log at once, and not lost with it when it is killed."""
    own = {"PATH": with_python(os.environ.get("PATH", os.defpath)), "PYTHONPATH": with_packages(os.environ.get("PYTHONPATH", ""))}
    return {"PYTHONUNBUFFERED": "1", **os.environ, **own}


def with_python(path: str) -> str:
    """A PATH on which `python` is the environment's own, wherever another one is found first."""
    folder = os.path.dirname(sys.executable)
    first = shutil.which("python", path=path)
    if os.path.exists(os.path.join(folder, "python")) and (first is None or os.path.dirname(first) != folder):
        return folder + os.pathsep + path
    return path


def with_packages(path: str) -> str:
    """A PYTHONPATH on which azureml_user and azureml.core are found as entry scripts find them, after all that it names itself."""
    importable = os.path.join(os.path.dirname(os.path.abspath(__file__)), "importable")
    return path + os.pathsep + importable if path else importable


def describe(status: int, tail: List[str]) -> str:
    """How it ended, and the last it said."""
    if status < 0:
        text = "the command was killed by signal %s" % signal_name(-status)
    else:
        text = "the command ended with status %d" % status
        if status > 128:  # as shells tell of what has been killed below them
            text += " (signal %s)" % signal_name(status - 128)
    said = [line for line in tail if line.strip()]
    if not said:
        return text + "; it wrote nothing to stderr"
    return text + ": " + said[-1].strip() + ("\n\n" + "\n".join(tail) if len(said) > 1 else "")


def signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return str(number)
