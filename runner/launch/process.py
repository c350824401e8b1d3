"""Instances as child processes of this machine."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Callable, Collection, Mapping
from pathlib import Path

from runner.model.ports import InstanceRequest
from runner.worker.protocol import INSTANCE_MARK, NO_WORKER, WORKER_MARK

ASK_SECONDS = 3.0  # that a keeper gets to kill all that is its own, before it is killed itself
# They tell Python where its own library is, or how the one that hosts us was started: wrong for another interpreter.
HOST_ONLY = ("PYTHONHOME", "PYTHONEXECUTABLE", "PYTHONINSPECT", "PYTHONSTARTUP", "PYTHONPLATLIBDIR", "__PYVENV_LAUNCHER__", "VIRTUAL_ENV")
OWN_PREFIX = "RUNNER_"


class ProcessLauncher:
    """Starts keepers as child processes, each in a session of its own, so that no signal of a terminal reaches them."""

    def __init__(self, withheld: Collection[str] = ()) -> None:
        """`withheld`: environment variables of ours that have secrets."""
        self._withheld = frozenset(withheld)

    def start(self, request: InstanceRequest) -> ProcessInstance:
        """Errors: OSError when the interpreter or the working directory cannot be used."""
        with open(request.log or os.devnull, "ab") as log:
            process = subprocess.Popen(
                [request.python, request.agent, request.sockets],
                env=child_environment(os.environ, request, self._withheld),
                cwd=request.working_dir,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        return ProcessInstance(process, request.sockets)

    def close(self, warn: Callable[[str], None]) -> None:
        """There is nothing to give back: the script's user is the submitter."""


class ProcessInstance:
    """A keeper that is a child of this process."""

    def __init__(self, process: subprocess.Popen[bytes], sockets: str) -> None:
        self._process, self._sockets = process, sockets

    @property
    def pid(self) -> int:
        return self._process.pid

    def kill(self) -> None:
        """Asks the keeper to kill everything, which takes it some milliseconds; then kills it and whatever is left. Idempotent."""
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)
            self.wait(ASK_SECONDS)
        if self._process.poll() is None:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
        self._sweep()

    def wait(self, timeout: float | None = None) -> int | None:
        """The exit status, or None after `timeout` seconds. Once the keeper is gone, so is all that it has started."""
        try:
            status = self._process.wait(timeout)
        except subprocess.TimeoutExpired:
            return None
        if status:
            self._sweep()
        return status

    def let_go(self) -> None:
        self.wait(ASK_SECONDS)

    def _sweep(self) -> None:
        """A keeper that was killed has left orphans: they carry its mark in their environment."""
        deadline = time.monotonic() + ASK_SECONDS
        while (left := marked(f"{INSTANCE_MARK}={self._sockets}")) and time.monotonic() < deadline:
            for pid in left:
                with contextlib.suppress(ProcessLookupError, PermissionError):
                    os.kill(pid, signal.SIGKILL)
            time.sleep(0.005)  # they are no children of ours: nothing tells of their end


def child_environment(own: Mapping[str, str], request: InstanceRequest, withheld: Collection[str] = ()) -> dict[str, str]:
    """What the user's interpreter is started with: our environment without what concerns us alone, and the request's on top of it.

    Removed are variables of ours (`RUNNER_…`), those that would send the user's Python to the library of the one that hosts us, and
    those `withheld`.
    """
    removed = {*HOST_ONLY, *withheld}
    kept = {name: value for name, value in own.items() if name not in removed and not name.startswith(OWN_PREFIX)}
    return {**kept, **request.environment, INSTANCE_MARK: request.sockets, WORKER_MARK: NO_WORKER}


def marked(mark: str) -> list[int]:
    """Living processes that were started, or whose ancestors were, with this word in their environment."""
    word = b"\0" + os.fsencode(mark) + b"\0"
    found = []
    for entry in Path("/proc").iterdir() if Path("/proc").is_dir() else ():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):  # it has just ended, or is another user's
                if word in b"\0" + (entry / "environ").read_bytes() + b"\0":
                    found.append(int(entry.name))
    return found
