"""A worker: loads the user's script, runs mini-batches one after the other, and sends what became of each."""

import faulthandler
import gc
import json
import logging
import mmap
import os
import platform
import re
import signal
import sys
import threading
import time
from importlib.util import find_spec
from typing import Any, Callable, Dict, Optional, TextIO

from . import entry_script, linux, tracking
from .batches import FileBatches, TableBatches
from .channel import Channel, Disconnected
from .command import Command
from .failures import Failures
from .loop import Loop
from .protocol import DUMP_SIGNAL_OFFSET, SLOTS_NAME, Slot

IMPORTABLE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "importable")
ENTRY_SCRIPT_VARIABLE = "RUNNER_ENTRY_SCRIPT"  # read by azureml_user, in this process and in those that user code starts
LOGGER = "azureml_user.entry_script"
LOG_FORMAT = "%(asctime)s|%(levelname)s|%(process)d|%(message)s"
EXIT_SECONDS = 10.0  # for threads and atexit functions of the user's, after shutdown()
INIT_FAILED, DISCONNECTED = 1, 70  # exit statuses


def main(sockets: str, config: Dict[str, Any], log: int) -> int:
    """The life of a worker, in its own process; `log` is the file descriptor that the entry script's log goes to."""
    try:
        return Agent(sockets, config, log).run()
    except Disconnected:
        os._exit(DISCONNECTED)


class Agent(object):
    def __init__(self, sockets: str, config: Dict[str, Any], log: int) -> None:
        self._config = config
        _announce_crashes(config["stacks"])
        for name, value in config["environment"].items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
        os.environ[ENTRY_SCRIPT_VARIABLE] = json.dumps(_entry_script_facts(config))
        _prepare_logging(config["logging_level"], log)
        sys.stdout = sys.__stdout__ = _open_lines(1)
        sys.stderr = sys.__stderr__ = _open_lines(2)
        self._channel = Channel(sockets)
        self._memory = _map_slots(os.path.join(sockets, SLOTS_NAME))
        self._failures = Failures(config["code"], config["root"], config["stderr"])
        self._profiler = _make_profiler(config["profile"])

    def run(self) -> int:
        """Returns the exit status. Errors: Disconnected."""
        config = self._config
        script_path = entry_script.prepare_interpreter(config["code"], config["entry_script"], config["arguments"], IMPORTABLE)
        tracking.prepare()
        hello = {"t": "hello", "worker": config["worker"], "pid": os.getpid(), "python": platform.python_version()}
        self._channel.send(dict(hello, pandas=_version("pandas"), pyarrow=_version("pyarrow")))
        try:
            script = self._open(script_path)
        except BaseException as error:  # whatever it is, it is the user's, and the supervisor decides what it means
            self._channel.send({"t": "init_failed", "error": self._failures.record(error, kind="init")})
            return INIT_FAILED
        slot = Slot(self._memory, config["slot"]).words
        batches = TableBatches() if config["kind"] == "table" else FileBatches(config["root"])
        Loop(config, script, batches, self._channel, slot, self._failures).run()
        self._close(script)
        return 0

    def _open(self, path: str) -> "entry_script.EntryScript | Command":
        if self._config["command"]:
            self._channel.send({"t": "ready", "seconds": 0.0})
            return Command(self._config["command"], self._config["arguments"])
        if self._config["kind"] == "table":
            linux.keep_freed_memory()
            _import_readers()
        began = time.monotonic()
        script = entry_script.EntryScript(entry_script.load(path))
        if self._profiler:
            script.run = _profiled(self._profiler, script.run)
        if script.init:
            (_profiled(self._profiler, script.init) if self._profiler else script.init)()
        self._channel.send({"t": "ready", "seconds": time.monotonic() - began})
        return script

    def _close(self, script: "entry_script.EntryScript | Command") -> None:
        try:
            if script.shutdown:
                script.shutdown()
        except BaseException as error:  # all results are in: nothing is lost by it
            record = self._failures.record(error)
            sys.stderr.write(record["traceback"])
            self._channel.send({"t": "warning", "text": "shutdown() raised %(type)s: %(message)s (%(file)s:%(line)s)" % record})
        if self._profiler:
            os.makedirs(os.path.dirname(self._config["profile"]), exist_ok=True)
            self._profiler.dump_stats(self._config["profile"])
        self._channel.send({"t": "bye"})
        last_resort = threading.Timer(EXIT_SECONDS, os._exit, (0,))
        last_resort.daemon = True
        last_resort.start()


def _open_lines(descriptor: int) -> TextIO:
    """A stream that hands on each line when it is complete, so that a kill loses none; and that can write any text."""
    return open(descriptor, "w", 1, encoding="utf-8", errors="backslashreplace", closefd=False)


def _announce_crashes(stacks: str) -> None:
    """A crash leaves its Python stack in stderr; the dump signal has all stacks written to a file."""
    faulthandler.enable(file=2)
    file = os.open(stacks, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    faulthandler.register(signal.SIGRTMAX - DUMP_SIGNAL_OFFSET, file=file, all_threads=True)


def _entry_script_facts(config: Dict[str, Any]) -> Dict[str, Any]:
    """What EntryScript shows."""
    names = ("job", "node", "process", "worker", "entry_script", "arguments", "logging_level", "append_rows")
    facts = {name: config[name] for name in ("log_dir", "output_dir", "working_dir", "logging_level")}
    return dict(facts, agent_name="%s-%s" % (config["node"], config["process"]), config={name: config[name] for name in names})


def _prepare_logging(level: str, log: int) -> None:
    """EntryScript().logger writes through the keeper, which caps the file."""
    handler = logging.StreamHandler(os.fdopen(log, "w", encoding="utf-8", errors="backslashreplace"))
    handler.setFormatter(logging.Formatter(LOG_FORMAT))
    logger = logging.getLogger(LOGGER)
    logger.setLevel(level)
    logger.propagate = False
    logger.addHandler(handler)


def _map_slots(path: str) -> mmap.mmap:
    with open(path, "r+b") as file:
        return mmap.mmap(file.fileno(), 0)


def _version(package: str) -> Optional[str]:
    """Of an installed package, from the name of its metadata folder, without importing it; "unknown" where there is none."""
    try:
        spec = find_spec(package)
    except (ImportError, ValueError):
        return None
    if spec is None:
        return None
    folder = os.path.dirname(os.path.dirname(spec.origin or "")) or "."
    pattern = re.compile(re.escape(package) + r"-(\d[^-]*).*\.(?:dist|egg)-info$", re.IGNORECASE)
    found = [match.group(1) for match in map(pattern.match, os.listdir(folder)) if match]
    return found[0] if found else "unknown"


def _import_readers() -> None:
    """What turns tables into DataFrames takes a second or two to import: before init(), so that no run() pays for it."""
    import pandas  # noqa: F401

    if find_spec("pyarrow"):
        import pyarrow.parquet  # noqa: F401
    gc.freeze()  # half a million objects that stay: no collection has to look at them, nor the last one when the process ends


def _make_profiler(path: Optional[str]) -> Optional[Any]:
    if not path:
        return None
    import cProfile

    return cProfile.Profile()


def _profiled(profiler: Any, call: Callable[..., Any]) -> Callable[..., Any]:
    def profiled(*arguments: Any) -> Any:
        profiler.enable()
        try:
            result = call(*arguments)
            return list(result) if hasattr(result, "__next__") else result
        finally:
            profiler.disable()

    return profiled
