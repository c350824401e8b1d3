"""A job goes on elsewhere: its folder is made from the archive, by the machine that now owns it."""

from __future__ import annotations

import shutil
import tarfile
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from runner.engine.journal import raise_epoch
from runner.errors import JobConflict, UserError
from runner.model.paths import JobPaths
from runner.storage import addresses
from runner.storage.problems import BlobChanged, BlobMissing
from runner.storage.stores import Stores
from runner.workspace.archive import ownership
from runner.workspace.archive.archive import Archive, Archived
from runner.workspace.archive.ownership import SILENT, Ownership, Seen
from runner.workspace.archive.places import Places, places_of
from runner.workspace.records import load_record, write_json
from runner.workspace.transfer import transfer

EPOCHS = 1000  # of the journal, of each owner: what one writes has a name that no other gives


def take_over(archive: Archive, name: str, seen: Seen) -> Ownership:
    """Makes a job of another machine's this process's, and sees to it that the owner before writes nothing more.

    Errors: JobConflict while that may be alive.
    """
    if seen.lives:
        raise _alive(name, seen)
    places = places_of(name)
    try:
        owned = ownership.take_over(archive.container, places.owner, seen)
    except BlobChanged:
        raise _alive(name, seen) from None
    for each in _all_places(archive, places):
        _change(archive, each.journal)
        _change(archive, each.manifest)
    return owned


def fetch(archive: Archive, name: str, owned: Ownership, draft: JobPaths, final: JobPaths) -> None:
    """Makes the folder `draft`, which will be `final`, and the logs. Errors: UserError for an archive that is not complete."""
    places = places_of(name)
    _fetched(archive, places.root, draft.root)
    (draft.root / "owner.json").unlink()
    with suppress(BlobMissing):
        archive.container.folder(places.logs)
        _fetched(archive, places.logs, final.logs, needed=False)
    record = load_record(draft)
    if record is None or not draft.spec.exists():
        raise UserError(f"the archive of job {name} is not complete: it was cut short before it had begun", todo="create the job anew")
    for folder in (draft.root, *sorted((draft.root / "steps").glob("*"))):
        _complete(draft if folder == draft.root else draft.step(folder.name), owned.owner.epoch)
    jobs = {step: replace(job, logs=str(final.step(step).logs)) for step, job in record.jobs.items()}
    write_json(draft.record, replace(record, logs=str(final.logs), jobs=jobs).to_json())
    ownership.remember(draft.ownership, owned)


def unpack(packed: Path, folder: Path) -> None:
    """What `copier.pack` has made. Nothing leaves the folder, whatever stands in it. Errors: UserError for what that has not made."""
    with tarfile.open(packed) as tar:
        for member in tar:
            names = member.name.split("/")
            if not (member.isfile() or member.isdir()) or any(name in ("", ".", "..") for name in names):
                raise UserError(f"{packed.name} has '{member.name}' in it, which no job puts there", todo="create the job anew")
            path = folder.joinpath(*names)
            if member.isdir():
                path.mkdir(parents=True, exist_ok=True)
                continue
            path.parent.mkdir(parents=True, exist_ok=True)
            data = tar.extractfile(member)
            assert data is not None
            with data, open(path, "wb") as out:
                shutil.copyfileobj(data, out)
            path.chmod(member.mode & 0o777)


def _complete(paths: JobPaths, epoch: int) -> None:
    packed = paths.root / "code.tar"
    if packed.exists():
        paths.code.mkdir(exist_ok=True)
        unpack(packed, paths.code)
        packed.unlink()
    if paths.journal.exists():
        raise_epoch(paths.journal, EPOCHS * (epoch - 1) + 1)


def _fetched(archive: Archive, place: str, target: Path, *, needed: bool = True) -> None:
    """Logs may be written by the owner before, even now."""
    source = archive.address(place).rstrip("/")
    for left in (2, 1, 0):
        try:
            transfer(source, str(target), Stores([archive.store]))
        except BlobChanged:
            if not left:
                raise
        except BlobMissing:
            if needed:
                raise
            return
        except UserError:
            if needed:
                raise
            return
        else:
            return


def _all_places(archive: Archive, places: Places) -> list[Places]:
    steps = archive.container.folder(f"{places.root}steps/")[1]
    return [places, *(places.step(addresses.base_name(step)) for step in steps)]


def _change(archive: Archive, path: str) -> None:
    """Gives a blob another ETag."""
    container = archive.container
    for _ in range(20):
        with suppress(BlobChanged):
            try:
                container.touch(path, etag=container.info(path).etag)
            except BlobMissing:
                pass
            return
    raise BlobChanged(f"'{container.address(path)}' is written by somebody else all the time")


def _alive(name: str, seen: Seen) -> JobConflict:
    return JobConflict(
        f"job {name} runs as {seen.who}, which was heard of {seen.age:.0f} s ago",
        todo=f"stop it with `runner job cancel {name}`; one that has died can be taken over when it has been silent for {SILENT:.0f} s",
    )


def check_portable(found: Archived) -> None:
    """Errors: UserError for a job that has left what it still needs on the machine where it ran."""
    here = [
        f"{port['path']} ('{name}')"
        for job in (found.record, *found.record.jobs.values())
        for name, port in job.outputs.items()
        if port.get("type") != "uri_file" and not addresses.is_address(str(port["path"]))
    ]
    if here:
        raise UserError(
            f"job {found.record.name} cannot go on here: files that its script has written lie on {found.host}: "
            + ", ".join(sorted(set(here))),
            todo=f"resume it on {found.host}; outputs in a datastore of type azure_blob can be gone on with from anywhere",
        )
