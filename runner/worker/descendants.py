"""Finding and killing all that a worker has started, whatever it does to get away: new sessions, double forks, ignored signals."""

import os
import signal
import time
from typing import Callable, Dict, NamedTuple, Set

from .protocol import WORKER_MARK

MARK = b"\0" + WORKER_MARK.encode("ascii") + b"="
FREEZE_ROUNDS = 50  # scans after which even those that still multiply are killed
FIRST_PAUSE, LONGEST_PAUSE = 0.001, 0.02  # seconds between a round of kills and the next look

Entry = NamedTuple("Entry", [("parent", int), ("session", int)])


def living() -> Dict[int, Entry]:
    """All processes of this machine or container that have not ended; nothing where there is no /proc."""
    table = {}
    for name in os.listdir("/proc") if os.path.isdir("/proc") else ():
        if name.isdigit():
            try:
                with open("/proc/%s/stat" % name, "rb") as file:
                    state, parent, _, session = file.read().rpartition(b")")[2].split()[:4]
            except (OSError, ValueError):  # it has just ended
                continue
            if state not in (b"Z", b"X"):
                table[int(name)] = Entry(int(parent), int(session))
    return table


def below(root: int, table: Dict[int, Entry]) -> Set[int]:
    """The descendants of a process, without itself."""
    children: Dict[int, list] = {}
    for pid, entry in table.items():
        children.setdefault(entry.parent, []).append(pid)
    found: Set[int] = set()
    front = list(children.get(root, ()))
    while front:
        pid = front.pop()
        if pid not in found:
            found.add(pid)
            front.extend(children.get(pid, ()))
    return found


def of_worker(keeper: int, worker: int, mark: str) -> Set[int]:
    """What belongs to a worker, alive or dead: all below it, of its session, or with its mark, among the descendants of the keeper."""
    table = living()
    ours = below(keeper, table)
    tree = below(worker, table)
    return {pid for pid in ours if pid == worker or pid in tree or table[pid].session == worker or _mark(pid) == mark}


def of_keeper(keeper: int) -> Set[int]:
    """Everything that descends from the keeper."""
    return below(keeper, living())


def kill_all(find: Callable[[], Set[int]], seconds: float) -> bool:
    """Kills what `find` names until it names nothing; False when some are still there after `seconds`.

    All are stopped before the first is killed, so that none can start others while its kin are being killed.
    """
    deadline, pause = time.monotonic() + seconds, FIRST_PAUSE
    while True:
        victims = _freeze(find, deadline)
        for pid in victims:
            _send(pid, signal.SIGKILL)
        if not victims:
            return True
        if time.monotonic() > deadline:
            return False
        time.sleep(pause)  # the kernel takes a moment to end them, and only children of ours would wake us
        pause = min(2 * pause, LONGEST_PAUSE)


def _freeze(find: Callable[[], Set[int]], deadline: float) -> Set[int]:
    frozen: Set[int] = set()
    for _ in range(FREEZE_ROUNDS):
        fresh = find() - frozen
        for pid in fresh:
            _send(pid, signal.SIGSTOP)
        frozen |= fresh
        if not fresh or time.monotonic() > deadline:
            break
    return frozen


def _send(pid: int, number: int) -> None:
    try:
        os.kill(pid, number)
    except (ProcessLookupError, PermissionError):
        pass


def _mark(pid: int) -> str:
    try:
        with open("/proc/%d/environ" % pid, "rb") as file:
            return (b"\0" + file.read()).partition(MARK)[2].partition(b"\0")[0].decode("ascii", "replace")
    except OSError:
        return ""
