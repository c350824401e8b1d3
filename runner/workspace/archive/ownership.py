"""Who runs a job, wherever: the blob `owner.json`, which is only ever replaced by who knows what stands in it (its ETag).

The owner renews it every few seconds, so that others see that it lives. Who takes a job over replaces it, and the owner before finds
another ETag at its next renewal. What a user elsewhere asks of the owner is written into it, too: a request that it finds in the same way.
"""

from __future__ import annotations

import getpass
import json
import os
import secrets
import socket
import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from runner.engine.sole_file import Superseded
from runner.errors import JobConflict, Place
from runner.model.moments import utc
from runner.storage.blob import BlobContainer
from runner.storage.problems import BlobChanged, BlobMissing
from runner.workspace.records import read_json, write_json

BEAT = 10.0  # seconds between two renewals
SILENT = 60.0  # seconds after which nobody can say whether an owner lives


@dataclass(frozen=True, kw_only=True)
class Owner:
    """`place` tells processes apart whose numbers are the same: the boot of the machine and its name space of processes."""

    id: str
    epoch: int = 1
    host: str = ""
    user: str = ""
    place: str = ""
    pid: int = 0
    started: int = 0  # of the process, as the kernel counts it
    at: str = ""
    beat: int = 0
    cancel: bool = False  # somebody elsewhere asks for it
    ended: bool = False  # it has put everything away and gone

    def to_bytes(self) -> bytes:
        return json.dumps(asdict(self), indent=2).encode() + b"\n"

    @staticmethod
    def from_bytes(data: bytes) -> Owner:
        values: Mapping[str, object] = json.loads(data)
        return Owner(**{key: value for key, value in values.items() if key in Owner.__dataclass_fields__})  # type: ignore[arg-type]


@dataclass(frozen=True, kw_only=True)
class Seen:
    """What stands in `owner.json`, and how many seconds ago it was written."""

    owner: Owner
    etag: str
    age: float

    @property
    def lives(self) -> bool:
        """Whether it may be running: it has neither gone for sure, nor been silent for long."""
        return self.age < SILENT and not self.is_gone

    @property
    def is_gone(self) -> bool:
        """For sure."""
        return self.owner.ended or _is_gone(self.owner)

    @property
    def who(self) -> str:
        return f"{self.owner.user} on {self.owner.host} (pid {self.owner.pid})"


def without_life(seen: Seen) -> Seen:
    """As of an owner that has gone for sure: the caller knows."""
    return replace(seen, owner=replace(seen.owner, ended=True))


def look(container: BlobContainer, path: str) -> Seen | None:
    """None where there is no such job."""
    try:
        found = container.fetch(path)
        return Seen(owner=Owner.from_bytes(found.data), etag=found.etag, age=found.age)
    except (BlobMissing, ValueError, TypeError, AttributeError):  # what others have put there is no owner
        return None


class Ownership:
    """Of one job, by this process. Any thread may use it. Errors of all methods: Superseded when the job is another's by now."""

    def __init__(self, container: BlobContainer, path: str, owner: Owner, etag: str) -> None:
        self._container, self._path = container, path
        self.owner, self._etag = owner, etag
        self._lock = threading.Lock()
        self._renewed = _now()
        self._lost = False

    @property
    def etag(self) -> str:
        return self._etag

    @property
    def cancelled(self) -> bool:
        return self.owner.cancel

    @property
    def lost(self) -> bool:
        return self._lost

    @property
    def due(self) -> float:
        """Seconds until it is to be renewed."""
        return self._renewed + BEAT - _now()

    def renew(self) -> None:
        """Says that this process lives, and proves that the job is still its own."""
        self._write()

    def release(self) -> None:
        self._write(ended=True, cancel=False)

    def check(self) -> None:
        """Without asking anybody."""
        if self._lost:
            raise Superseded

    def _write(self, **changes: bool) -> None:
        with self._lock:
            self.check()
            began = _now()
            for _ in range(5):  # a request may come in between, and be answered by another
                owner = replace(_signed(self.owner), beat=self.owner.beat + 1, **changes)  # type: ignore[arg-type]
                try:
                    self._etag = self._container.put(self._path, owner.to_bytes(), etag=self._etag)
                except BlobChanged:
                    seen = look(self._container, self._path)
                    if seen is None or (seen.owner.id, seen.owner.epoch) != (owner.id, owner.epoch):
                        self._lost = True
                        raise Superseded from None
                    self._etag = seen.etag
                    self.owner = replace(self.owner, beat=seen.owner.beat, cancel=self.owner.cancel or seen.owner.cancel)
                    continue
                self.owner = owner
                self._renewed = began
                return
            raise Superseded


def claim(container: BlobContainer, path: str, job: str) -> Ownership:
    """Makes a new job this process's. Errors: JobConflict where the name is taken, by whomever."""
    owner = _signed(Owner(id=secrets.token_hex(16)))
    try:
        return Ownership(container, path, owner, container.put(path, owner.to_bytes(), etag=""))
    except BlobChanged:
        raise taken(container, job, look(container, path)) from None


def taken(container: BlobContainer, job: str, seen: Seen | None) -> JobConflict:
    by = f", by {seen.who}" if seen is not None else ""
    return JobConflict(
        f"the name {job!r} is taken by another job in the datastore '{container.store.name}'{by}",
        place=Place(field="name"),
        todo=f"choose another name, or delete that job (`runner job delete {job}`); "
        f"one that was cut short goes on with `runner job resume {job}`",
    )


def take_over(container: BlobContainer, path: str, seen: Seen) -> Ownership:
    """Makes a job this process's that was another's. Errors: BlobChanged if that has spoken, or a third was faster."""
    owner = _signed(Owner(id=secrets.token_hex(16), epoch=seen.owner.epoch + 1))
    return Ownership(container, path, owner, container.put(path, owner.to_bytes(), etag=seen.etag))


def ask_to_cancel(container: BlobContainer, path: str) -> bool:
    """Leaves the request for the owner, which finds it when it renews; False where it has gone for sure. Errors: BlobChanged."""
    for _ in range(20):
        seen = look(container, path)
        if seen is None or seen.is_gone:
            return False
        with suppress(BlobChanged):  # it has just spoken
            container.put(path, replace(seen.owner, cancel=True).to_bytes(), etag=seen.etag)
            return True
    raise BlobChanged(f"'{container.address(path)}' changes all the time")


# What a folder remembers: as which owner its job was run here the last time.


def remember(file: Path, ownership: Ownership) -> None:
    write_json(file, {"id": ownership.owner.id, "epoch": ownership.owner.epoch, "etag": ownership.etag})


def remembered(file: Path) -> str:
    """The id; "" for a folder of a job that was never archived."""
    return str((read_json(file) or {}).get("id", ""))


def recall(container: BlobContainer, path: str, file: Path) -> Ownership | None:
    """What another process of this machine has claimed for this one; None where nothing was. Asks nobody."""
    known = read_json(file)
    if known is None:
        return None
    return Ownership(container, path, Owner(id=known["id"], epoch=known["epoch"]), known["etag"])


def _signed(owner: Owner) -> Owner:
    pid = os.getpid()
    return replace(owner, host=socket.gethostname(), user=_user(), place=_place(), pid=pid, started=_started(pid), at=utc(time.time()))


def _now() -> float:
    """Goes on while a machine sleeps."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a uid without a name
        return str(os.getuid())


def _place() -> str:
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip() + " " + os.readlink("/proc/self/ns/pid")  # noqa: PTH115
    except OSError:
        return ""


def _started(pid: int) -> int:
    """0 for a process that is not there, or has ended and is not yet fetched by its parent."""
    try:
        state, *values = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        return 0 if state in "ZX" else int(values[18])
    except (OSError, ValueError, IndexError):
        return 0


def _is_gone(owner: Owner) -> bool:
    """It ran where this process runs, and is no more."""
    return bool(owner.place) and owner.place == _place() and _started(owner.pid) != owner.started
