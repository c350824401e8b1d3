"""Jobs of the workspace on other machines, where the default datastore is in blob storage: what is known of them, and whose each job is.

Without such a datastore there is nothing elsewhere, and all of this says so without asking anybody.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import cached_property
from typing import TYPE_CHECKING, Any

from runner.errors import JobConflict, UserError
from runner.model.paths import JobPaths
from runner.storage.problems import BlobChanged, StorageUnavailable
from runner.storage.stores import Stores
from runner.workspace.config import Workspace
from runner.workspace.locks import is_held
from runner.workspace.names import check_name
from runner.workspace.records import COMPLETED, JobRecord

if TYPE_CHECKING:
    from runner.model.events import Observer
    from runner.workspace.archive.archive import Archive, Archived
    from runner.workspace.archive.archiver import Archiver
    from runner.workspace.archive.ownership import Ownership

_TODO = "try again when it answers"


class TakenOver(JobConflict):
    """The job that this process ran is another machine's by now."""


def _nothing() -> None:
    pass


class Elsewhere:
    """Errors of all methods, unless they say otherwise: UserError for a datastore that refuses or does not answer."""

    def __init__(self, workspace: Workspace, say: Callable[[str], None]) -> None:
        self._workspace, self._say = workspace, say
        self._told = False

    @cached_property
    def archive(self) -> Archive | None:
        if self._workspace.archive_store is None:
            return None
        from runner.workspace.archive.archive import Archive  # loads the SDK

        return Archive(self._workspace.archive_store.open(), say=self._say)

    # What is known

    def newest(self, here: JobRecord | None, name: str) -> JobRecord | None:
        """What there is to say of a job, of which this machine says `here`. A datastore that does not answer leaves it at that."""
        if self._workspace.archive_store is None or (here is not None and self._is_settled(here)):
            return here
        try:
            found = self.holds(name)
        except UserError as error:
            if here is None:
                raise
            self._tell(error)
            return here
        return found.shown if found else here

    def all(self, here: Mapping[str, JobRecord]) -> list[JobRecord]:
        """The jobs of this machine and of all others."""
        settled = {name for name, record in here.items() if self._is_settled(record)}
        try:
            with self._asking():
                if self.archive is None:
                    return list(here.values())
                found = self.archive.find([name for name in self.archive.names() if name not in settled], whose=here)
        except UserError as error:
            self._tell(error)
            return list(here.values())
        others = {each.record.name: each.shown for each in found if not self._is_mine(each, here.get(each.record.name))}
        return list({**here, **others}.values())

    def holds(self, name: str) -> Archived | None:
        """A job that is another machine's now, whatever this one has of it; None for all others."""
        here = self._here(check_name(name))
        if (here is not None and self._is_settled(here)) or self.archive is None:
            return None
        with self._asking():
            found = self.archive.get(name)
        return None if found is None or self._is_mine(found, here) else found

    def check_free(self, name: str) -> None:
        """Errors: JobConflict for a name that a job has anywhere."""
        if self.archive is None:
            return
        from runner.workspace.archive.ownership import taken

        with self._asking():
            seen = self.archive.look(name)
        if seen is not None:
            raise taken(self.archive.container, name, seen)

    def stores(self, name: str) -> dict[str, Any] | None:
        """What `stores.json` of a job elsewhere says; None where it uses no container."""
        from runner.storage.problems import BlobMissing
        from runner.workspace.archive.places import places_of

        assert self.archive is not None
        with self._asking(), suppress(BlobMissing):
            found: dict[str, Any] = json.loads(self.archive.container.read(places_of(name).stores))
            return found
        return None

    def logs(self) -> Stores:
        """What opens the logs of a job elsewhere, for somebody who is waiting."""
        from runner.workspace.transfer import SILENCE

        assert self.archive is not None
        return Stores([self.archive.store], say=self._say, patience=SILENCE)

    def follow(self, name: str, watch: Observer) -> JobRecord:
        """Until a job elsewhere has ended."""
        from runner.workspace.archive.following import follow

        assert self.archive is not None
        return follow(self.archive, name, watch)

    # Whose a job is

    def claim(self, name: str, draft: JobPaths) -> None:
        """Makes a job this machine's that is being created. Errors: JobConflict."""
        if self.archive is None:
            return
        from runner.workspace.archive import ownership
        from runner.workspace.archive.places import places_of

        with self._asking():
            ownership.remember(draft.ownership, ownership.claim(self.archive.container, places_of(name).owner, name))

    def give_back(self, name: str) -> None:
        """The job was not created after all."""
        if self.archive is not None:
            from runner.workspace.archive.places import places_of

            with self._asking():
                self.archive.container.delete(places_of(name).owner)

    def retake(self, name: str) -> None:
        """Goes on with a job of this machine, whose lock the caller holds. Errors: JobConflict if another one has it by now."""
        if self.archive is None:
            return
        from runner.workspace.archive import ownership
        from runner.workspace.archive.places import places_of

        container, place, paths = self.archive.container, places_of(name).owner, self._workspace.job_paths(name)
        with self._asking():
            seen = self.archive.look(name)
            if seen is None:
                owned = ownership.claim(container, place, name)
            elif seen.owner.id != ownership.remembered(paths.ownership):
                raise JobConflict(f"job {name} is that of {seen.who} by now", todo=f"see `runner job show {name}`")
            else:
                owned = ownership.take_over(container, place, seen)
            ownership.remember(paths.ownership, owned)

    def archiver(self, name: str, *, cancel: Callable[[], None], lost: Callable[[], None], say: Callable[[str], None]) -> Archiver | None:
        """For the owner process of a job that was claimed or retaken; see Archiver. Asks nobody."""
        store, paths = self._workspace.archive_store, self._workspace.job_paths(name)
        if store is None:
            return None
        from runner.storage.blob import BlobContainer
        from runner.workspace.archive.archiver import Archiver
        from runner.workspace.archive.ownership import recall
        from runner.workspace.archive.places import places_of

        container, places = BlobContainer(store.open(), say=say), places_of(name)
        owned = recall(container, places.owner, paths.ownership)
        if owned is None:  # it was made when the default datastore was another
            return None
        return Archiver(paths, places, container, owned, cancel=cancel, lost=lost, say=say)

    def is_behind(self, name: str) -> bool:
        """Whether the datastore has not got all of a job that has ended here."""
        if self.archive is None:
            return False
        from runner.workspace.archive.ownership import remembered

        with self._asking():
            seen = self.archive.look(name)
        return seen is not None and not seen.owner.ended and seen.owner.id == remembered(self._workspace.job_paths(name).ownership)

    def put_away(self, name: str) -> None:
        """Copies a job of this machine that was changed without an owner process, and gives it back. The caller has retaken it."""
        archiver = self.archiver(name, cancel=_nothing, lost=_nothing, say=self._say)
        if archiver is not None:
            archiver.start()
            archiver.settle()
            archiver.finish()

    def take_over(self, found: Archived) -> Ownership:
        """Makes a job of another machine's this one's. Errors: JobConflict while its owner may be alive."""
        from runner.workspace.archive.fetching import check_portable, take_over

        assert self.archive is not None
        assert found.seen is not None
        check_portable(found)
        with self._asking():
            return take_over(self.archive, found.record.name, found.seen)

    def fetch(self, name: str, owned: Ownership, draft: JobPaths) -> None:
        """Fills the folder that a job goes on with here; what cannot be completed is given back."""
        from runner.workspace.archive.fetching import fetch

        assert self.archive is not None
        try:
            with self._asking():
                fetch(self.archive, name, owned, draft, self._workspace.job_paths(name))
        except BaseException:
            owned.release()
            raise

    def cancel(self, found: Archived) -> bool:
        """Asks the owner elsewhere; False if it is gone for sure."""
        from runner.workspace.archive.ownership import ask_to_cancel
        from runner.workspace.archive.places import places_of

        assert self.archive is not None
        with self._asking():
            return ask_to_cancel(self.archive.container, places_of(found.record.name).owner)

    def delete(self, name: str) -> int | None:
        """All that the datastore has of a job, wherever it ran; how many bytes, None where there is nothing.

        Errors: JobConflict while it may be running elsewhere.
        """
        if self.archive is None:
            return None
        from runner.workspace.archive import ownership
        from runner.workspace.archive.fetching import take_over

        paths = self._workspace.job_paths(name)
        with self._asking():
            seen = self.archive.look(name)
            if seen is None:
                return None
            if seen.owner.id == ownership.remembered(paths.ownership):  # the caller holds its lock
                seen = ownership.without_life(seen)
            take_over(self.archive, name, seen)
            return self.archive.delete(name)

    def _here(self, name: str) -> JobRecord | None:
        from runner.workspace.records import load_quietly

        return load_quietly(self._workspace.job_paths(name))

    def _is_settled(self, here: JobRecord) -> bool:
        """What this machine says of a job is all there is to say: it runs here, or is complete."""
        paths = self._workspace.job_paths(here.name)
        return (here.status == COMPLETED and not here.incomplete) or is_held(paths.lock) or not paths.ownership.exists()

    def _is_mine(self, found: Archived, here: JobRecord | None) -> bool:
        from runner.workspace.archive.ownership import remembered

        return here is not None and remembered(self._workspace.job_paths(here.name).ownership) == found.owner

    def _tell(self, error: UserError) -> None:
        if not self._told:
            self._say(f"{error.problem}; what is shown is what this machine knows")
        self._told = True

    @contextmanager
    def _asking(self) -> Iterator[None]:
        try:
            yield
        except StorageUnavailable as error:
            raise UserError(error.strerror or str(error), todo=_TODO) from None
        except BlobChanged as error:
            raise JobConflict(f"another process was faster: {error.problem}", todo="see `runner job list`") from None
