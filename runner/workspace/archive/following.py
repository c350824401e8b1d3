"""Following a job that runs elsewhere: its record and the last lines of its log, as its owner has archived them."""

from __future__ import annotations

import time
from collections.abc import Callable

from runner.errors import UserError
from runner.model.events import Message, Observer, Progressed, StatusChanged
from runner.storage.problems import BlobMissing, StorageUnavailable
from runner.workspace.archive.archive import Archive, Archived
from runner.workspace.archive.places import places_of
from runner.workspace.records import JobRecord

PAUSE = 2.0  # seconds between two looks: a datastore wakes nobody
OLD = 30.0  # seconds after which it is said how old what is shown is
LINES = 20  # of the log, that there were before
MOST = 64 << 10  # bytes of the log at a time

Moments = Callable[[float], None]


class Follower:
    """`look` tells `watch` what is new since the last time."""

    def __init__(self, archive: Archive, name: str, watch: Observer) -> None:
        self._archive, self._name, self._watch = archive, name, watch
        self._status: tuple[str, str] = ("", "")
        self._log = places_of(name).logs + "sys/master_role.txt"
        self._read = -1  # bytes of the log
        self._old = False

    def look(self) -> JobRecord:
        """Errors: UserError where there is no such job any more."""
        found = self._archive.get(self._name)
        if found is None:
            raise UserError(f"job {self._name} is not in the datastore '{self._archive.store.name}' any more", todo="runner job list")
        record = found.shown
        self._lines()
        now = time.time()
        for step, job in (("", record), *record.jobs.items()):
            if not step and (job.status, job.reason) != self._status and not job.finished:
                self._status = (job.status, job.reason)
                self._watch(StatusChanged(at=now, status=job.status, reason=job.reason))
            self._watch(Progressed(at=now, step=step, progress=job.progress))
        self._age(found)
        return record

    def _age(self, found: Archived) -> None:
        if found.seen is None or found.record.finished:
            return
        old = found.seen.age > OLD
        if old != self._old:
            text = f"what is shown is {found.seen.age:.0f} s old: nothing newer has arrived" if old else "there is news again"
            self._watch(Message(at=time.time(), level="WARNING", text=text))
        self._old = old

    def _lines(self) -> None:
        """Whole lines of the log that are new."""
        try:
            size = self._archive.container.info(self._log).size
            start = max(0, size - MOST) if self._read < 0 else min(self._read, size)
            data = self._archive.container.read(self._log, start, min(MOST, size - start))
        except BlobMissing:
            return
        whole = data[: data.rfind(b"\n") + 1]
        lines = whole.decode("utf-8", "replace").splitlines()
        if self._read < 0:
            lines = lines[-LINES:]
        self._read = start + len(whole)
        for line in lines:
            self._watch(Message(at=time.time(), level=_level(line), text=line))


def _level(line: str) -> str:
    words = line.split(maxsplit=2)
    return "WARNING" if len(words) > 1 and words[1] in ("WARNING", "ERROR") else "INFO"


def follow(archive: Archive, name: str, watch: Observer, *, pause: float = PAUSE) -> JobRecord:
    """Until the job has ended. A datastore that does not answer is told of, and asked again."""
    follower, silent = Follower(archive, name, watch), False
    while True:
        try:
            record = follower.look()
        except StorageUnavailable as error:
            if not silent:
                watch(Message(at=time.time(), level="WARNING", text=error.strerror or str(error)))
            silent = True
        else:
            silent = False
            if record.finished:
                return record
        time.sleep(pause)
