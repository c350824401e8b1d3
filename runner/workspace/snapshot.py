"""The snapshot of a code folder: what a job runs does not change when the user goes on editing."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from runner.errors import Place, UserError
from runner.workspace.units import show_size

IGNORE_FILES = (".amlignore", ".gitignore")  # the first one found counts, as on Azure
_YAML = (".yml", ".yaml")
_LARGEST_YAML = 1 << 20  # bytes
# A SAS, a connection string, or a secret of a datastore that is written out, not one that names a file or a variable.
_CREDENTIAL = re.compile(
    rb"[?&]sig=|\bAccountKey=|\b(?:account_key|sas_token|connection_string|client_secret)[\"']?\s*:[ \t]*(?![{\s#])\S", re.IGNORECASE
)
_NEVER = frozenset((".git", ".runner", "__pycache__", ".ipynb_checkpoints"))


@dataclass(frozen=True, kw_only=True)
class Snapshot:
    """What `copy_to` copies: files relative to `source`, and their bytes in all. `withheld`: files with a credential in them."""

    source: Path
    files: tuple[str, ...]
    bytes: int
    withheld: tuple[str, ...] = ()

    def copy_to(self, target: Path) -> None:
        """Copies the files (links as what they point to), with their modes and times."""
        target.mkdir(parents=True)
        made = {target}
        for name in self.files:
            copy = target / name
            if copy.parent not in made:
                copy.parent.mkdir(parents=True, exist_ok=True)
                made.add(copy.parent)
            shutil.copy2(self.source / name, copy)


def plan_snapshot(source: Path, *, limit: int | None) -> Snapshot:
    """Lists what belongs to the code by `.amlignore`, or else `.gitignore`, in its top folder.

    More than `limit` bytes raise a `UserError` that names the largest files; None means no limit.
    """
    ignored = _matcher(source)
    files: list[str] = []
    sizes: list[int] = []
    withheld: list[str] = []
    for name, size in _walk(source, "", ignored, frozenset()):
        if _has_credential(source / name, size):
            withheld.append(name)
            continue
        files.append(name)
        sizes.append(size)
    total = sum(sizes)
    if limit is not None and total > limit:
        raise _too_large(source, total, limit, files, sizes)
    return Snapshot(source=source, files=tuple(files), bytes=total, withheld=tuple(withheld))


def _has_credential(file: Path, size: int) -> bool:
    """Job files and settings that lie among the code, with a key or a signature of Azure storage in them."""
    if file.suffix not in _YAML or size > _LARGEST_YAML:
        return False
    try:
        return _CREDENTIAL.search(file.read_bytes()) is not None
    except OSError:  # whoever copies it will say why
        return False


def _walk(source: Path, below: str, ignored: Callable[[str], bool], above: frozenset[tuple[int, int]]) -> Iterator[tuple[str, int]]:
    here = os.stat(source / below)  # noqa: PTH116  (the folder's identity, to stop at links that go round in circles)
    identity = (here.st_dev, here.st_ino)
    if identity in above:
        return
    with os.scandir(source / below) as entries:
        ordered = sorted(entries, key=lambda entry: entry.name)
    for entry in ordered:
        name = below + entry.name
        if entry.name in _NEVER or ignored(name + "/" if entry.is_dir() else name):
            continue
        if entry.is_dir():
            yield from _walk(source, name + "/", ignored, above | {identity})
        elif entry.is_file():
            yield name, entry.stat().st_size


def _matcher(source: Path) -> Callable[[str], bool]:
    file = next((source / name for name in IGNORE_FILES if (source / name).is_file()), None)
    if file is None:
        return lambda _name: False
    from pathspec import GitIgnoreSpec

    try:
        return GitIgnoreSpec.from_lines(file.read_text(encoding="utf-8-sig").splitlines()).match_file
    except ValueError as error:
        raise UserError(f"the pattern cannot be read: {error}", place=Place(file=str(file)), todo="write patterns as git does") from error


def _too_large(source: Path, total: int, limit: int, files: list[str], sizes: list[int]) -> UserError:
    largest = sorted(zip(sizes, files, strict=True), reverse=True)[:3]
    return UserError(
        f"the code folder {source} holds {show_size(total)}, more than {show_size(limit)}; the largest files are "
        + ", ".join(f"{name} ({show_size(size)})" for size, name in largest),
        place=Place(field="code"),
        todo="leave out what the script does not need with an `.amlignore` file in that folder, or pass --allow-large-snapshot",
    )
