"""Finding and killing all that a worker has started, whatever it does to get away: new sessions, double forks, ignored signals.

The keeper adopts orphans, so everything that has lost its parent is a child of its own. Processes are stopped before their children
are listed: what is stopped starts no others. A list of children is read in one go, which is fast enough to catch processes that
live for half a millisecond and leave a successor.
"""

import os
import signal
import time
from typing import Callable, Iterable, List

from .protocol import WORKER_MARK

MARK = b"\0" + WORKER_MARK.encode("ascii") + b"="
LOOKS = 3  # that must find nothing: one may fall between the end of a process and the sight of its successor
EXEC_LOOKS = 4  # at a process that shows no environment at all
FIRST_PAUSE, LONGEST_PAUSE = 0.0005, 0.02  # seconds between a round of kills and the next look


def children(pid: int) -> List[int]:
    """Its children, those included that have ended and were not waited for; nothing when it is gone."""
    try:
        threads = os.listdir("/proc/%d/task" % pid)
    except OSError:
        return []
    found: List[int] = []
    for thread in threads:
        try:
            with open("/proc/%d/task/%s/children" % (pid, thread), "rb") as file:
                found.extend(map(int, file.read().split()))
        except FileNotFoundError:
            if os.path.isdir("/proc/%d/task/%s" % (pid, thread)):
                return _children_by_search(pid)  # of a kernel without these lists
        except OSError:
            pass
    return found


def belongs(pid: int, worker: int, mark: str) -> bool:
    """Whether a living process is of a worker's session, or carries its mark."""
    state, _, session = _stat(pid)
    return state not in "ZX" and (session == worker or _mark(pid) == mark)


def kill_all(find: Callable[[], Iterable[int]], seconds: float, reap: Callable[[], None]) -> bool:
    """Kills the processes that `find` names, and all below them, until it names none; False when `seconds` were not enough.

    `reap` collects children that have ended, so that they are not named again.
    """
    deadline, pause, empty = time.monotonic() + seconds, FIRST_PAUSE, 0
    while True:
        roots = []
        for pid in find():
            _send(pid, signal.SIGSTOP)
            roots.append(pid)
        _kill_trees(roots)
        empty = 0 if roots else empty + 1
        if empty == LOOKS:
            return True
        if time.monotonic() > deadline:
            return False
        time.sleep(pause)  # the kernel takes a moment to end them
        pause = min(2 * pause, LONGEST_PAUSE) if roots else FIRST_PAUSE
        reap()


def _kill_trees(roots: List[int]) -> None:
    """Of stopped processes."""
    stopped = list(roots)
    seen = set(roots)
    for pid in stopped:  # which grows
        for child in children(pid):
            if child not in seen:
                _send(child, signal.SIGSTOP)
                seen.add(child)
                stopped.append(child)
    for pid in stopped:
        _send(pid, signal.SIGKILL)


def _send(pid: int, number: int) -> None:
    try:
        os.kill(pid, number)
    except (ProcessLookupError, PermissionError):
        pass


def _stat(pid: int) -> "tuple[str, int, int]":
    """(state, parent, session); state X when it is gone."""
    try:
        with open("/proc/%d/stat" % pid, "rb") as file:
            state, parent, _, session = file.read().rpartition(b")")[2].split()[:4]
    except (OSError, ValueError):
        return "X", 0, 0
    return state.decode("ascii"), int(parent), int(session)


def _mark(pid: int) -> str:
    """A process that is just being replaced by another program (exec) has no environment for a moment: it is looked at again."""
    for _ in range(EXEC_LOOKS):
        try:
            with open("/proc/%d/environ" % pid, "rb") as file:
                environment = file.read()
        except OSError:
            return ""
        if environment:
            return (b"\0" + environment).partition(MARK)[2].partition(b"\0")[0].decode("ascii", "replace")
        time.sleep(FIRST_PAUSE)
    return ""


def _children_by_search(pid: int) -> List[int]:
    return [int(name) for name in os.listdir("/proc") if name.isdigit() and _stat(int(name))[1] == pid]
