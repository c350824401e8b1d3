"""Local inputs of a job that runs elsewhere: copied into the default datastore once for each content, as Azure does.

    <default datastore>/LocalUpload/<SHA-256 of names, sizes and contents>/<name of the file or folder>

What lies in a shared datastore is used where it is. A copy is written beside its place and renamed: it is there as a whole or not at all.
"""

from __future__ import annotations

import hashlib
import os
import secrets
import shutil
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from runner.errors import Place, UserError, UserErrors
from runner.model.job import Environment, Job, PipelineJob, Step
from runner.storage.addresses import is_address
from runner.storage.stores import Stores
from runner.workspace.config import Workspace
from runner.workspace.units import show_size

if TYPE_CHECKING:
    from runner.spec.yaml_source import Node

LARGE = 10 << 30  # bytes from which on it is said that a shared datastore is the better place
_TOLD = 256 << 20  # bytes from which on progress is told
_EVERY = 2.0  # seconds between two lines of it
_CHUNK = 1 << 20
_STALE = 86400.0  # seconds after which a copy that nobody finished is removed

_FILES_OF_PIP = ("-r", "--requirement", "-c", "--constraint", "-e", "--editable", "./", "../", "/", "file:")

Say = Callable[[str], None]


@dataclass(frozen=True, kw_only=True)
class Local:
    """Something on this machine that a job needs: `what` names it in messages."""

    path: str
    what: str
    place: Place


def check_reachable(job: Job, workspace: Workspace, stores: Stores) -> None:
    """Raises `UserError`s for MLTable and conda files that name what the cluster would not find. `stores` opens addresses in tables."""
    from runner.inputs.mltable import find

    errors: list[UserError] = []
    for step in _steps(job):
        for port in step.inputs.values():
            if port.type == "mltable" and port.path and not is_address(port.path) and find(Path(port.path)):
                errors += _outside(Path(port.path), workspace, stores)
        if step.environment is not None and step.environment.conda is not None:
            errors += _named_by_conda(step.environment, workspace)
    errors = list({error.describe(): error for error in errors}.values())
    if errors:
        raise errors[0] if len(errors) == 1 else UserErrors(errors)


def place_inputs(job: Job, workspace: Workspace, say: Say) -> dict[str, str]:
    """Copies what must be copied; local path → where the cluster finds it, for all that lies elsewhere than it is written."""
    placed: dict[str, str] = {}
    for local in local_data(job):
        if local.path not in placed:
            shared = shared_path(local.path, workspace)
            placed[local.path] = _upload(local, workspace, say) if shared is None else shared
    return {path: there for path, there in placed.items() if path != there}


def local_data(job: Job) -> Iterator[Local]:
    """Inputs, models and build contexts that are there; outputs of earlier steps are not yet."""
    for step in _steps(job):
        prefix = f"jobs.{step.step}." if step.step else ""
        found = [(port.path, f"input '{name}'", f"inputs.{name}") for name, port in step.inputs.items() if port.is_data]
        found.append((step.model, "model", "task.model"))
        found.append((step.environment.build_context if step.environment else None, "build context", "task.environment.build"))
        for path, what, field in found:
            if path is not None and not is_address(path) and os.path.exists(path):  # noqa: PTH110
                yield Local(path=path, what=what, place=Place(field=prefix + field))


def shared_path(path: str, workspace: Workspace) -> str | None:
    """The path by which all machines find this one, or None if it lies in no shared datastore, wherever links lead."""
    real = Path(os.path.realpath(path))
    for folder in workspace.shared_datastores.values():
        root = Path(os.path.realpath(folder))
        if real.is_relative_to(root):
            return path if Path(path).is_relative_to(folder) else str(folder / real.relative_to(root))
    return None


def _steps(job: Job) -> Iterable[Step]:
    return job.steps.values() if isinstance(job, PipelineJob) else (job,)


def _outside(folder: Path, workspace: Workspace, stores: Stores) -> Iterator[UserError]:
    from runner.inputs.mltable import read
    from runner.spec.yaml_source import read_yaml
    from runner.storage.uri import parse_uri, without_query

    there = shared_path(str(folder), workspace)
    paths = read_yaml(Path(there or folder, "MLTable")).get("paths")
    if refusals := [_signed(node) for node in (paths.walk() if paths else ()) if without_query(node.text) != node.text]:
        yield from refusals
        return
    table, moves = read(Path(there or folder), stores), there is None
    for entry, node in zip(table.entries, paths.items if paths else (), strict=True):
        text = next(iter(node.entries.values())).text
        if is_address(entry.location):
            continue
        absolute = parse_uri(text).path.startswith("/")
        if moves and not absolute:
            if not Path(entry.location).is_relative_to(table.folder):
                yield _refusal(text, "leads out of the table's folder, which is copied to the cluster", entry.place, workspace)
        elif shared_path(entry.location, workspace) != entry.location:
            yield _refusal(text, "lies on this machine only", entry.place, workspace)


def _signed(node: Node) -> UserError:
    return UserError(
        "there is a SAS in the table, and others may read what a cluster reads",
        place=node.place,
        todo="describe the container as a datastore in workspace.yml, and leave the SAS out",
    )


def _named_by_conda(environment: Environment, workspace: Workspace) -> Iterator[UserError]:
    """Lines for pip that name files: they are read where the environment is made, on the nodes."""
    path = environment.conda_path
    if path is not None and shared_path(path, workspace) == path:
        return
    dependencies = (environment.conda or {}).get("dependencies")
    for item in dependencies if isinstance(dependencies, list) else ():
        for line in item.get("pip") or () if isinstance(item, dict) else ():
            if str(line).startswith(_FILES_OF_PIP):
                yield UserError(
                    f"'{line}' in the conda file names a file of this machine, which the nodes of the cluster do not have",
                    place=Place(file=path, field="dependencies"),
                    todo="write the packages themselves, or put the conda file, and what it names, into a shared datastore",
                )


def _refusal(text: str, problem: str, place: Place, workspace: Workspace) -> UserError:
    folders = ", ".join(map(str, workspace.shared_datastores.values()))
    return UserError(
        f"'{text}' {problem}",
        place=place,
        allowed=f"a relative path inside the folder, or an absolute one below {folders}",
        todo="put the files into the table's folder, or into a shared datastore",
    )


@dataclass(frozen=True, kw_only=True)
class _Content:
    """Names below the path that is copied ("" for a file itself), and the bytes they have."""

    root: str
    names: tuple[str, ...]
    bytes: int


def _upload(local: Local, workspace: Workspace, say: Say) -> str:
    content = _contents(local)
    copied = _Progress(f"the {local.what} ({local.path})", content.bytes, say)
    hash_ = _digest(content, copied.reading)
    base = os.path.basename(local.path.rstrip("/")) or "root"
    final = _place(workspace.uploads, hash_)
    if not (final / base).exists():
        _check_room(local, content, workspace)
        if content.bytes > LARGE:
            say(f"the {local.what} has {show_size(content.bytes)}: put it into a shared datastore, where nothing need be copied")
        _remove_stale(workspace.uploads)
        _copy(local, content, hash_, final, copied.copying)
    else:
        os.utime(final)  # `job prune` leaves alone what has just been used
    return str(final / base)


def _place(uploads: Path, hash_: str) -> Path:
    """One's own: what another user has put there under this name need not have the content that it claims."""
    final = uploads / hash_
    try:
        foreign = final.lstat().st_uid != os.geteuid()
    except FileNotFoundError:
        return final
    return uploads / f"{hash_}-{os.geteuid()}" if foreign else final


def _copy(local: Local, content: _Content, hash_: str, final: Path, told: Callable[[int], None]) -> None:
    draft = final.with_name(f".{final.name}.{secrets.token_hex(6)}")
    base = os.path.basename(local.path.rstrip("/")) or "root"
    try:
        target = draft / base
        draft.mkdir()
        if content.names != ("",):
            target.mkdir()
        if _digest(content, told, target) != hash_:
            raise UserError(f"the {local.what} changed while it was copied: {local.path}", place=local.place, todo="submit the job again")
        try:
            draft.rename(final)
        except OSError:
            if not (final / base).exists():  # or else somebody was faster
                raise
    except OSError as error:
        raise UserError(f"the {local.what} could not be copied to {final.parent}: {error}", place=local.place) from error
    finally:
        shutil.rmtree(draft, ignore_errors=True)


def _contents(local: Local) -> _Content:
    if not os.path.isdir(local.path):  # noqa: PTH112
        return _Content(root=local.path, names=("",), bytes=os.stat(local.path).st_size)  # noqa: PTH116
    names: list[str] = []
    total = 0
    try:
        for name, size in _walk(local.path, "", frozenset()):
            names.append(name)
            total += size
    except OSError as error:
        raise UserError(f"the {local.what} cannot be read: {error}", place=local.place) from error
    return _Content(root=local.path, names=tuple(sorted(names)), bytes=total)


def _walk(root: str, below: str, above: frozenset[tuple[int, int]]) -> Iterator[tuple[str, int]]:
    """Files, links as what they point to; a link that leads back is passed over."""
    here = os.stat(os.path.join(root, below))  # noqa: PTH116
    identity = (here.st_dev, here.st_ino)
    if identity in above:
        return
    with os.scandir(os.path.join(root, below)) as entries:
        for entry in entries:
            if entry.is_dir():
                yield from _walk(root, f"{below}{entry.name}/", above | {identity})
            elif entry.is_file():
                yield below + entry.name, entry.stat().st_size


def _digest(content: _Content, told: Callable[[int], None], target: Path | None = None) -> str:
    """The hash of names, sizes and contents; with a `target`, the files are copied there on the way."""
    digest = hashlib.sha256()
    base = os.path.basename(content.root.rstrip("/"))
    for name in content.names:
        source = os.path.join(content.root, name) if name else content.root
        shown = os.fsencode(os.path.join(base, name) if name else base)
        digest.update(b"%d:" % len(shown) + shown)
        size = 0
        copy = None if target is None else target / name if name else target
        for chunk in _chunks(source, copy):
            size += len(chunk)
            digest.update(chunk)
            told(len(chunk))
        digest.update(b"=%d\n" % size)
    return digest.hexdigest()


def _chunks(source: str, copy: Path | None) -> Iterator[bytes]:
    with open(source, "rb") as file:
        if copy is None:
            while chunk := file.read(_CHUNK):
                yield chunk
            return
        copy.parent.mkdir(parents=True, exist_ok=True)
        with open(copy, "xb") as out:
            while chunk := file.read(_CHUNK):
                out.write(chunk)
                yield chunk
    shutil.copystat(source, copy)


class _Progress:
    """Lines of progress for what takes its time."""

    def __init__(self, what: str, total: int, say: Say) -> None:
        self._what, self._total, self._say = what, total, say
        self._done = {"reading": 0, "copying": 0}
        self._at = time.monotonic()

    def reading(self, count: int) -> None:
        self._tell("reading", count)

    def copying(self, count: int) -> None:
        self._tell("copying", count)

    def _tell(self, doing: str, count: int) -> None:
        self._done[doing] += count
        if self._total >= _TOLD and time.monotonic() - self._at >= _EVERY:
            self._at = time.monotonic()
            self._say(f"{doing} {self._what}: {show_size(self._done[doing])} of {show_size(self._total)}")


def _check_room(local: Local, content: _Content, workspace: Workspace) -> None:
    free = shutil.disk_usage(workspace.uploads).free
    if free - content.bytes < workspace.settings.free_space_floor:
        raise UserError(
            f"the {local.what} has {show_size(content.bytes)}, and only {show_size(free)} are free in {workspace.uploads}",
            place=local.place,
            todo="make room there, or put the data into a shared datastore that has it",
        )


def _remove_stale(uploads: Path) -> None:
    """What this user's killed uploads have left."""
    with os.scandir(uploads) as entries:
        for entry in entries:
            status = entry.stat(follow_symlinks=False)
            if entry.name.startswith(".") and status.st_uid == os.geteuid() and status.st_mtime < time.time() - _STALE:
                shutil.rmtree(entry.path, ignore_errors=True)
