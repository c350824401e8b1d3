"""Numbered places where a test can have the whole process killed: `RUNNER_FAILPOINT=journal.synced:3` kills at the third passage.

`RUNNER_FAILPOINT_LOG=file` only writes down each passage, so that a test knows how many boundaries there are.
"""

from __future__ import annotations

import os
import signal
import threading

_target, _, _number = os.environ.get("RUNNER_FAILPOINT", "").partition(":")
_log = os.environ.get("RUNNER_FAILPOINT_LOG")
_lock = threading.Lock()
_passages = 0


def failpoint(name: str) -> None:
    """Does nothing unless the environment asks for it."""
    if _target or _log:
        _pass(name)


def _pass(name: str) -> None:
    global _passages
    with _lock:
        if _log:
            with open(_log, "a") as file:
                file.write(name + "\n")
        if name == _target:
            _passages += 1
            if _passages >= int(_number or 1):
                os.kill(os.getpid(), signal.SIGKILL)
