"""Removal of jobs and caches that are no longer wanted."""

from __future__ import annotations

import contextlib
import os
import shutil
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from runner.errors import JobConflict, UserError
from runner.model.moments import seconds_of
from runner.model.paths import JobPaths
from runner.workspace.jobs import JobStore
from runner.workspace.locks import is_held
from runner.workspace.records import JobRecord

_ABANDONED = 3600.0  # seconds after which a draft without an owner counts as left over


@dataclass(frozen=True, kw_only=True)
class Removal:
    """Something that is, or would be, removed: a `job`, a `cache` entry, or a `draft` that was left over."""

    kind: str
    name: str
    bytes: int
    last_used: float  # seconds since the epoch
    paths: tuple[Path, ...]


def delete_job(store: JobStore, name: str) -> Removal:
    """Removes a job's folder, its logs, and the outputs in its own place of the default datastore; never outputs that the job
    file gave a path of their own. Raises `JobConflict` for a running job."""
    record = store.get(store.paths(name).root.name)
    removal = _of_job(store, record)
    lock = store.take(name)
    try:
        store.check_ended(record)
        store.elsewhere.delete(name)
        _remove(removal)
    finally:
        lock.release()
    return removal


def delete_elsewhere(store: JobStore, name: str) -> Removal | None:
    """Removes a job of which the datastore alone has anything; None where it has nothing."""
    size = store.elsewhere.delete(name)
    return None if size is None else Removal(kind="job", name=name, bytes=size, last_used=0.0, paths=())


def plan_prune(store: JobStore, *, keep: float | None, max_size: int | None, now: float | None = None) -> list[Removal]:
    """What goes: all that was last used more than `keep` seconds ago, then the oldest until at most `max_size` bytes are left.

    Running jobs stay, and while one runs so do the caches.
    """
    now = time.time() if now is None else now
    candidates = sorted(_candidates(store, now), key=lambda one: one.last_used)
    chosen = [one for one in candidates if one.kind == "draft" or (keep is not None and one.last_used < now - keep)]
    if max_size is not None:
        left = _size(store, candidates) - sum(one.bytes for one in chosen)
        for one in candidates:
            if left <= max_size:
                break
            if one not in chosen:
                chosen.append(one)
                left -= one.bytes
    return chosen


def prune(store: JobStore, removals: Iterable[Removal], say: Callable[[str], None]) -> Iterator[Removal]:
    """Removes what `plan_prune` chose, and gives each when it is gone; a job that has been resumed in the meantime stays."""
    for one in removals:
        try:
            if one.kind == "job":
                delete_job(store, one.name)
            else:
                _remove(one)
        except JobConflict:
            say(f"job {one.name} is running again: kept")
            continue
        yield one


def size_of(path: Path) -> int:
    """Bytes on disk of everything below; files that vanish meanwhile count nothing."""
    total = 0
    stack = [path]
    while stack:
        try:
            with os.scandir(stack.pop()) as entries:
                for entry in entries:
                    if entry.is_dir(follow_symlinks=False):
                        stack.append(Path(entry.path))
                    else:
                        total += entry.stat(follow_symlinks=False).st_blocks * 512
        except (FileNotFoundError, NotADirectoryError, PermissionError):
            continue
    return total


def _candidates(store: JobStore, now: float) -> Iterator[Removal]:
    running = False
    for record in store.here().values():
        if not record.finished or store.is_running(record.name):
            running = True
        elif _is_own(store.workspace.job_paths(record.name).root):
            yield _of_job(store, record)
    if not running:
        yield from _cache_entries(store.workspace.cache)
    if store.workspace.is_shared:
        yield from _uploads(store, now)
    for root in _entries(store.workspace.drafts):
        if _is_own(root) and root.stat().st_mtime < now - _ABANDONED and not is_held(root / "owner.lock"):
            yield Removal(kind="draft", name=root.name, bytes=size_of(root), last_used=root.stat().st_mtime, paths=(root,))


def _size(store: JobStore, candidates: Iterable[Removal]) -> int:
    """Bytes of the workspace; in a shared one, of what is this user's."""
    if store.workspace.is_shared:
        return sum(one.bytes for one in candidates)
    return size_of(store.workspace.state) + sum(size_of(path) for path in _outside(store))


def _uploads(store: JobStore, now: float) -> Iterator[Removal]:
    """This user's copies of local inputs that no job of theirs names; other users' jobs name their own only."""
    specs = [store.workspace.job_paths(name).spec for name in store.names()]
    used = [spec.read_bytes() for spec in specs if os.access(spec, os.R_OK)]
    for entry in _entries(store.workspace.uploads):
        status = entry.lstat()
        recent = status.st_mtime > now - _ABANDONED  # of a job that is just being made, perhaps
        if status.st_uid != os.geteuid() or recent or any(os.fsencode(entry.name) in text for text in used):
            continue
        name = f"{entry.parent.name}/{entry.name}"
        yield Removal(kind="cache", name=name, bytes=size_of(entry), last_used=status.st_mtime, paths=(entry,))


def _is_own(root: Path) -> bool:
    """Whether this user may remove it; root may remove everything."""
    return os.geteuid() in (0, root.stat().st_uid)


def _of_job(store: JobStore, record: JobRecord) -> Removal:
    paths = store.workspace.job_paths(record.name)
    names = (record.name, *(step.name for step in record.jobs.values()))
    folders = (paths.root, *map(store.workspace.data_folder, names))
    when = record.ended_at or record.started_at or record.created_at
    last_used = seconds_of(when) if when else paths.record.stat().st_mtime
    return Removal(kind="job", name=record.name, bytes=sum(map(size_of, folders)), last_used=last_used, paths=folders)


def _cache_entries(cache: Path) -> Iterator[Removal]:
    """One for each `cache/<kind>/<entry>`."""
    for kind in _entries(cache):
        for entry in _entries(kind) if kind.is_dir() else [kind]:
            size = size_of(entry) if entry.is_dir() else entry.stat().st_size
            name = str(entry.relative_to(cache))
            yield Removal(kind="cache", name=name, bytes=size, last_used=entry.stat().st_mtime, paths=(entry,))


def _entries(folder: Path) -> list[Path]:
    return sorted(folder.iterdir()) if folder.is_dir() else []


def _outside(store: JobStore) -> list[Path]:
    """Data folders of jobs that do not lie below `.runner/`."""
    folders = [store.workspace.data_folder(name) for name in store.names()]
    return [folder for folder in folders if not folder.is_relative_to(store.workspace.state)]


def _remove(removal: Removal) -> None:
    for path in removal.paths:
        if path.is_dir() and not path.is_symlink():
            remove_folder(path)
        else:
            path.unlink(missing_ok=True)


def remove_folder(path: Path) -> None:
    """As a whole: a folder that is half removed would look like a broken job."""
    doomed = path.with_name(f".{path.name[:200]}.removed")
    _take_back(path)
    _remove_tree(doomed)
    try:
        path.rename(doomed)
    except OSError:
        doomed = path
    _remove_tree(doomed)
    if doomed.exists():
        left = next((Path(root, name) for root, _, files in os.walk(doomed) for name in files), doomed)
        raise UserError(f"{path} cannot be removed: {left} belongs to another user, or its folder does", todo=f"as root: rm -rf {doomed}")


def _take_back(job: Path) -> None:
    """What a container of another user has made, and a driver that was killed has not given back."""
    for folder in (job, *job.glob("steps/*")):
        record = JobPaths(folder, folder).lent
        if record.exists():
            from runner.launch.sharing import recover  # loads the Docker SDK

            recover(record, lambda _why: None)


def _remove_tree(folder: Path) -> None:
    """Also folders that user code has closed to everybody, its owner included."""
    for place, names, _ in os.walk(folder):
        for name in names:
            path = Path(place, name)
            if not os.access(path, os.R_OK | os.W_OK | os.X_OK) and not path.is_symlink():
                with contextlib.suppress(OSError):  # another user's
                    path.chmod(0o700)
    shutil.rmtree(folder, ignore_errors=True)
