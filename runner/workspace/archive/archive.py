"""All jobs in the datastore, as any machine sees them."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Collection, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace

from runner.model.datastore import BlobStore
from runner.model.moments import utc
from runner.storage import addresses
from runner.storage.blob import BlobContainer
from runner.storage.problems import BlobMissing
from runner.workspace.archive import ownership
from runner.workspace.archive.ownership import Seen
from runner.workspace.archive.places import JOBS, Places, data_of, places_of
from runner.workspace.records import JobRecord, interrupted

THREADS = 8  # that ask at the same time
ANSWER = 30.0  # seconds that somebody who asks waits for a datastore that does not answer


@dataclass(frozen=True, kw_only=True)
class Archived:
    """A job as its owner has described it last. `seen` is None where nobody has asked who that is: of an ended job."""

    record: JobRecord
    seen: Seen | None

    @property
    def owner(self) -> str:
        return self.seen.owner.id if self.seen else ""

    @property
    def host(self) -> str:
        return self.seen.owner.host if self.seen else "another machine"

    @property
    def shown(self) -> JobRecord:
        """As users see it: an owner that is gone for sure has been interrupted, and of one that is silent, it is said."""
        if self.record.finished or self.seen is None:
            return self.record
        if self.seen.lives:
            return replace(self.record, reason=self.record.reason or f"runs as {self.seen.who}")
        if self.seen.is_gone:
            return interrupted(self.record)
        since = utc(time.time() - self.seen.age)
        return replace(self.record, reason=f"not heard of since {since}: it ran as {self.seen.who}")


class Archive:
    """Nothing is asked of the network before a method is called. Errors of all: StorageUnavailable after ANSWER seconds; StorageRefused."""

    def __init__(self, store: BlobStore, *, say: Callable[[str], None] = lambda _text: None) -> None:
        self.store = store
        self.container = BlobContainer(store, say=say)
        self.container.patience.seconds = ANSWER

    def names(self) -> list[str]:
        return [folder[len(JOBS) :].rstrip("/") for folder in self.container.folder(JOBS)[1]]

    def look(self, name: str) -> Seen | None:
        """Who runs the job, or has done so; None where there is no such job."""
        return ownership.look(self.container, places_of(name).owner)

    def get(self, name: str, *, whose: bool = True) -> Archived | None:
        """None for a job that is not there. `whose`: also of an ended one."""
        record = self._record(name)
        seen = self.look(name) if record is None or whose or not record.finished else None
        if record is None and seen is not None:  # it is being made, or was cut short before there was a record
            record = JobRecord(name=name, type="parallel", status="Preparing", created_at=seen.owner.at)
        return None if record is None else Archived(record=self._elsewhere(record, places_of(name)), seen=seen)

    def _record(self, name: str) -> JobRecord | None:
        try:
            return JobRecord.from_json(json.loads(self.container.read(places_of(name).record)))
        except (BlobMissing, ValueError, TypeError, AttributeError):  # what others have put there is no record
            return None

    def find(self, names: Iterable[str], *, whose: Collection[str] = ()) -> list[Archived]:
        """Those of the names that are there; of which of them it is asked `whose` they are, even if they have ended."""
        with ThreadPoolExecutor(THREADS, thread_name_prefix="archive") as pool:
            found = list(pool.map(lambda name: self.get(name, whose=name in whose), names))
        return [each for each in found if each is not None]

    def address(self, place: str) -> str:
        return addresses.join(self.store.root, place)

    def _elsewhere(self, record: JobRecord, places: Places) -> JobRecord:
        """With the address of the logs, instead of the path that they have on the machine of the owner."""
        logs = self.address(places.logs)
        jobs = {name: replace(job, logs=self.address(places.step(name).logs)) for name, job in record.jobs.items()}
        error = record.error and {**record.error, "log": logs}
        return replace(record, logs=logs, jobs=jobs, error=error)

    def delete(self, name: str) -> int:
        """All there is of a job, its outputs in its own place included; how many bytes. The caller owns it, which is what goes last."""
        found, places = self.get(name, whose=False), places_of(name)
        steps = (step.name for step in found.record.jobs.values()) if found else ()
        size = sum(self._delete_below(data_of(job)) for job in (*steps, name))
        size += self._delete_below(places.root, but=places.owner)
        self.container.delete(places.owner)
        return size

    def _delete_below(self, prefix: str, *, but: str = "") -> int:
        size = 0
        for page in self.container.pages(prefix):
            doomed = [info for info in page if info.path != but]
            with ThreadPoolExecutor(THREADS, thread_name_prefix="archive") as pool:
                list(pool.map(self.container.delete, [info.path for info in doomed]))
            size += sum(info.size for info in doomed)
        return size
