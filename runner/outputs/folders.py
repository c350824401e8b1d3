"""Output folders that scripts write to.

One instance writes to the place itself. Where a job has several, each has a folder of its own, as on Azure each has a mount of its own,
and they are united at the end: of the same name in two of them the file changed last wins, with a warning that names both.
What is to be seen whole or not at all is written to such a folder as well, and put in its place by the instance (PlacedFolder).
An output in blob storage has a folder of each instance, too; what changes in it is uploaded (uploads.py).
"""

from __future__ import annotations

import ctypes
import errno
import os
import shutil
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from runner.model.job import JobOutput
from runner.storage import addresses


def instance_paths(root: Path, node: str, outputs: Mapping[str, JobOutput]) -> dict[str, str]:
    """Final path → the path below `root` that this instance's scripts get; made on the way."""
    moved = {}
    for name, output in outputs.items():
        if addresses.is_address(output.path):
            continue
        own = root / node / name
        if output.type == "uri_file":
            own = own / Path(output.path).name
        moved[output.path] = str(own)
        (own.parent if output.type == "uri_file" else own).mkdir(parents=True, exist_ok=True)
    return moved


def upload_paths(root: Path, outputs: Mapping[str, JobOutput]) -> dict[str, str]:
    """Address of the folder of each output that is in blob storage → this instance's own folder for it, made empty.

    Those of an earlier life go: what had changed for finished mini-batches was uploaded, and is brought back from there (uploads.py).
    The new ones have a name that no script could foresee, and put a link to elsewhere in its place.
    """
    for old in root.parent.glob(f"{root.name}-*"):
        shutil.rmtree(old, ignore_errors=True)
    root = root.with_name(f"{root.name}-{os.urandom(4).hex()}")
    found: dict[str, str] = {}
    for name, output in outputs.items():
        if addresses.is_address(output.path):
            folder = addresses.parent(output.path) if output.type == "uri_file" else output.path
            own = root / name
            found.setdefault(folder, str(own))
            Path(found[folder]).mkdir(parents=True, exist_ok=True)
    return found


def make(outputs: Iterable[JobOutput]) -> None:
    """Local output folders exist before init()."""
    for output in outputs:
        if addresses.is_address(output.path):
            continue
        path = Path(output.path)
        (path.parent if output.type == "uri_file" else path).mkdir(parents=True, exist_ok=True)


def unite(root: Path, outputs: Mapping[str, JobOutput], warn: Callable[[str], None]) -> None:
    """Moves what the instances wrote to the outputs; idempotent, so that it may be done again after a crash."""
    for name, output in outputs.items():
        if addresses.is_address(output.path):
            continue
        target = Path(output.path).parent if output.type == "uri_file" else Path(output.path)
        taken: dict[Path, tuple[int, str]] = {}
        for node in sorted(path.name for path in root.iterdir()) if root.is_dir() else ():
            for path in sorted(one for one in (root / node / name).rglob("*") if not one.is_dir() or one.is_symlink()):
                _move(path, target / path.relative_to(root / node / name), node, taken, warn)


def _move(path: Path, target: Path, node: str, taken: dict[Path, tuple[int, str]], warn: Callable[[str], None]) -> None:
    changed = path.lstat().st_mtime_ns
    if target in taken:
        before, other = taken[target]
        winner = node if changed >= before else other
        warn(f"{target.name}: written by {other} and by {node}; the file of {winner} was changed last and is kept")
        if winner == other:
            return
    taken[target] = (changed, node)
    target.parent.mkdir(parents=True, exist_ok=True)
    replace_whole(path, target)


def replace_whole(path: Path, target: Path) -> None:
    """Moves a file so that nobody sees half of it, also from another file system."""
    try:
        path.rename(target)
    except OSError as error:
        if error.errno != errno.EXDEV:
            raise
        beside = target.with_name(f".{os.urandom(4).hex()}.partial")
        shutil.copy2(path, beside, follow_symlinks=False)
        beside.rename(target)
        path.unlink()


@dataclass(frozen=True)
class LocalFolder:
    """`Folder` (outlet.py) of this machine."""

    path: Path

    def prepare(self) -> None:
        """What scripts have written is still there."""

    def sync(self) -> None:
        sync_filesystem(self.path)


@dataclass(frozen=True)
class PlacedFolder:
    """`Folder` (outlet.py) of this machine that scripts do not write to themselves, but to their `own`: it gets what is in there."""

    own: Path
    place: Path

    def prepare(self) -> None:
        """Nothing of an earlier life counts."""

    def sync(self) -> None:
        sync_filesystem(self.own)  # a file that is in its place is whole, whatever happens to the machine
        for path in sorted(self.own.rglob("*")):
            target = self.place / path.relative_to(self.own)
            if path.is_dir() and not path.is_symlink():
                target.mkdir(parents=True, exist_ok=True)
            else:
                replace_whole(path, target)
        sync_filesystem(self.place)


def sync_filesystem(folder: Path) -> None:
    """Makes all that was written to the folder's file system durable (syncfs of Linux; sync elsewhere)."""
    file = os.open(folder, os.O_RDONLY)
    try:
        syncfs = getattr(ctypes.CDLL(None, use_errno=True), "syncfs", None)
        if syncfs is None:
            os.sync()
        elif syncfs(file) != 0:
            error = ctypes.get_errno()
            raise OSError(error, os.strerror(error), str(folder))
    finally:
        os.close(file)
