"""Keeps the archive of a running job up to date: a thread of its owner process, woken by the job's events.

The job itself is as fast and as safe as its folder is: it never waits for the archive before its end, and goes on without it.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from runner.engine.sole_file import Superseded
from runner.errors import UserError
from runner.model.datastore import BlobInfo
from runner.model.events import Event
from runner.model.paths import JobPaths
from runner.storage.blob import BlobContainer
from runner.storage.problems import BlobChanged, BlobMissing
from runner.workspace.archive.copier import Copier
from runner.workspace.archive.ownership import BEAT, Ownership
from runner.workspace.archive.places import Places

ROUND = 5.0  # seconds between the beginnings of two rounds
LAST, HURRY = 300.0, 30.0  # seconds for a datastore that does not answer at the job's end; when a user waits for that


class Archiver:
    """An observer of the job's events.

    `lost` is called once, when the job is another owner's; `cancel` when somebody elsewhere asks for that; `say` gets a line when the
    archive falls behind for a reason that does not pass, and when it is up to date again.
    """

    def __init__(
        self,
        paths: JobPaths,
        places: Places,
        container: BlobContainer,
        ownership: Ownership,
        *,
        cancel: Callable[[], None],
        lost: Callable[[], None],
        say: Callable[[str], None],
    ) -> None:
        self._paths, self._places, self._container, self._ownership = paths, places, container, ownership
        self._cancel, self._on_lost, self._say = cancel, lost, say
        self._changed, self._end = threading.Event(), threading.Event()
        self._copier: Copier | None = None
        self._told = ""
        self._asked = False
        self._was_told_lost = False
        self._rounds = threading.Lock()
        self._thread = threading.Thread(target=self._run, name="archive", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def __call__(self, _event: Event) -> None:
        self._changed.set()

    @contextmanager
    def owned(self) -> Iterator[None]:
        """For what only the owner may do here. Errors: Superseded."""
        self._ownership.check()
        yield

    def confirm(self) -> None:
        """Before the output is published: the datastore itself says that the job is still ours, and has all that is needed to tell by
        another machine that it was us who published. Errors: Superseded; StorageUnavailable, UserError.
        """
        with self._rounds:
            self._ownership.renew()
            try:
                self._round()
            except (BlobChanged, BlobMissing):
                self._begin_again()
                self._round()

    def hurry(self) -> None:
        """Somebody waits for the job's end."""
        self._container.patience.seconds = HURRY

    def settle(self) -> None:
        """Copies all that there is, and no more by itself. A datastore that does not answer is waited for, but not for ever.

        Errors: Superseded.
        """
        self._container.patience.seconds = min(self._container.patience.seconds, LAST)
        self._end.set()
        self._changed.set()
        self._thread.join()
        self._ownership.check()
        self._guarded(self._round)
        self._ownership.check()

    def finish(self) -> bool:
        """After the record was written for the last time: it goes, and so does the owner. Whether all is there. Errors: Superseded."""
        self._guarded(self._farewell)
        self._ownership.check()
        return not self._told

    # In the thread

    def _run(self) -> None:
        began = 0.0
        while not self._end.is_set() and not self._ownership.lost:
            began = time.monotonic()
            self._changed.clear()
            self._guarded(self._round)
            self._end.wait(max(0.0, began + ROUND - time.monotonic()))
            self._changed.wait(max(0.0, self._ownership.due))

    def _round(self) -> None:
        if self._copier is None:
            self._ownership.renew()
            known = {info.path: info for prefix in (self._places.root, self._places.logs) for info in self._listed(prefix)}
            self._copier = Copier(self._paths, self._places, self._container, known, still_mine=self._still_mine)
        elif self._ownership.due <= ROUND / 2:
            self._ownership.renew()
        self._obey()
        self._copier.copy()

    def _begin_again(self) -> None:
        if self._copier is not None:
            self._copier.close()
            self._copier = None

    def _still_mine(self) -> None:
        """Before each write: a process that was suspended does not go on where it was. Errors: Superseded."""
        self._ownership.check()
        if self._ownership.due < -BEAT:
            self._ownership.renew()

    def _listed(self, prefix: str) -> Iterator[BlobInfo]:
        for page in self._container.pages(prefix):
            yield from page

    def _farewell(self) -> None:
        if self._copier is None:
            self._round()
        assert self._copier is not None
        self._copier.copy_record()
        self._copier.close()
        self._ownership.release()

    def _obey(self) -> None:
        if self._ownership.cancelled and not self._asked:
            self._asked = True
            self._cancel()

    def _guarded(self, act: Callable[[], None]) -> None:
        """What goes wrong costs a round, not the job."""
        try:
            with self._rounds:
                act()
        except (Superseded, BlobChanged, BlobMissing):
            self._check()
        except (UserError, OSError) as error:
            text = error.strerror or str(error) if isinstance(error, OSError) else str(error)
            if not self._told:
                self._say(f"the job goes on, but its archive does not: {text}")
            self._told = text
            self._changed.set()
        else:
            if self._told:
                self._say("the archive is up to date again")
            self._told = ""

    def _check(self) -> None:
        """A blob is not what it was: written by another owner, or by somebody who has no business there. Then we begin again."""
        self._told = self._told or "written by somebody else"
        self._changed.set()
        self._begin_again()
        try:
            self._ownership.renew()
        except Superseded:
            if not self._was_told_lost:
                self._was_told_lost = True
                self._on_lost()
        except (UserError, OSError):
            pass  # asked again in the next round
