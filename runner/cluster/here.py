"""The nodes that were started on this machine: a file for each, by which `runner cluster stop` finds them, and nobody else's Ray."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

PATIENCE = 30.0  # seconds


@dataclass(frozen=True, kw_only=True)
class Started:
    """A running `runner cluster head` or `join`."""

    pid: int
    since: int  # as the kernel counts; with it the number means no later process
    what: str  # `head` or `node`
    address: str  # of the head
    ready: bool = False  # Ray runs, and of a head the scheduler, too


def folder() -> Path:
    """Of root, of a user who is logged in, of any other."""
    if not os.geteuid():
        return Path("/run/runner")
    runtime = os.environ.get("XDG_RUNTIME_DIR")
    return Path(runtime) / "runner" if runtime else Path(f"/tmp/runner-{os.geteuid()}")  # noqa: S108 - made 0700, and checked


@contextmanager
def registered(what: str, address: str) -> Iterator[Callable[[bool], None]]:
    """For as long as the block lasts; what it gives is told whether the node is ready."""
    place = folder()
    place.mkdir(mode=0o700, parents=True, exist_ok=True)
    if place.stat().st_uid != os.geteuid():
        raise PermissionError(f"{place} is another user's")
    file = place / f"cluster-{os.getpid()}.json"

    def write(ready: bool) -> None:
        record = Started(pid=os.getpid(), since=since(os.getpid()), what=what, address=address, ready=ready)
        temporary = file.with_suffix(".new")
        temporary.write_text(json.dumps(asdict(record)))
        temporary.replace(file)

    write(False)
    try:
        yield write
    finally:
        file.unlink(missing_ok=True)


def since(pid: int) -> int:
    """When the process was started; 0 when it has ended."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0
    return 0 if fields[0] == "Z" else int(fields[19])


def started_here() -> list[Started]:
    """Those that still run. Files of others are removed."""
    found = []
    for file in sorted(folder().glob("cluster-*.json")):
        try:
            record = Started(**json.loads(file.read_text()))
        except (OSError, ValueError, TypeError):
            continue  # being written, or being removed
        if since(record.pid) == record.since:
            found.append(record)
        else:
            file.unlink(missing_ok=True)
    return found


def stop(record: Started, patience: float = PATIENCE) -> bool:
    """Ends it, and with it all that it started; False when it had to be killed."""
    _send(record, signal.SIGTERM)
    end = time.monotonic() + patience
    while since(record.pid) == record.since and time.monotonic() < end:
        time.sleep(0.05)
    return not _send(record, signal.SIGKILL)


def _send(record: Started, number: int) -> bool:
    try:
        if since(record.pid) == record.since:
            os.kill(record.pid, number)
            return True
    except ProcessLookupError:
        pass
    return False
