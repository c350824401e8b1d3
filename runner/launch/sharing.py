"""Folders of the submitter's that containers of another user (`--user`) write to: opened before, given back afterwards.

What has been opened stands in a record until it is given back, so that the next run of a job whose driver was killed, or its removal,
does it (`recover`).
"""

from __future__ import annotations

import json
import os
import shutil
import stat
import time
import uuid
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from runner.errors import UserError
from runner.launch.accounts import Account
from runner.launch.image import connected
from runner.launch.image_probe import IN, SCRIPTS, exchange_folder, mounts_of
from runner.model.docker import LABEL_JOB, BindMount, ContainerRequest

SECONDS = 600.0  # for the files of a job
EVERYBODY, EVERYBODY_WRITES = 0o777, 0o666
OTHERS_WRITE = 0o022
GRAIN = 2  # seconds by which the clock of a file system may be behind


@dataclass(kw_only=True)
class Sharing:
    """Does nothing where the container's user is the submitter."""

    job: str
    image: str
    python: str
    account: Account  # the containers' user
    own: Account  # whom containers take for the submitter
    record: Path
    userns: str = ""
    since: int = field(default_factory=lambda: int(time.time()) - GRAIN)
    modes: dict[str, int] = field(default_factory=dict)  # of folders and files, before they were opened
    folders: dict[str, BindMount] = field(default_factory=dict)

    @property
    def foreign(self) -> bool:
        return self.account.uid != self.own.uid

    def open(self, mounts: Iterable[BindMount]) -> None:
        """Lets the container's user write to the writable ones among the mounts, and remembers what they were."""
        if not self.foreign:
            return
        for mount in mounts:
            if not mount.read_only:
                self.folders[mount.source] = mount
        self._save()
        if self.account.uid:  # root may write anyway
            for mount in self.folders.values():
                self._open(mount)
            self._save()

    def give_back(self, warn: Callable[[str], None]) -> None:
        """What the container's user has made or changed in these folders is the submitter's, and what was opened is closed again."""
        if not self.folders:
            return
        try:
            self._run()
        except UserError as error:
            warn(f"files that belong to the container's user ({self.account}) could not be given back: {error}")
            return
        for name, mode in self.modes.items():
            with suppress(OSError):
                Path(name).chmod(mode)
        for mount in self.folders.values():
            if not mount.shared:
                for path, status in _walk(Path(mount.source)):
                    _change(path, status, status.st_mode & ~OTHERS_WRITE)
        self.folders, self.modes = {}, {}
        self.record.unlink(missing_ok=True)

    def _open(self, mount: BindMount) -> None:
        """What is there already, too: an earlier run of the job may have left files that are now written again."""
        top = Path(mount.source)
        for path, status in _walk(top) if mount.whole else [(top, top.lstat())]:
            more = EVERYBODY if stat.S_ISDIR(status.st_mode) else EVERYBODY_WRITES
            if _change(path, status, status.st_mode | more):
                self.modes.setdefault(str(path), stat.S_IMODE(status.st_mode))

    def _run(self) -> None:
        """Only root may give files away, and the submitter may be root in a container only."""
        folders = [mount for mount in self.folders.values() if Path(mount.source).exists()]
        numbers = (self.account.uid, self.since, self.own.uid, self.own.gid)
        words = [f"{'all' if mount.whole else 'in'}:{mount.target}" for mount in folders]
        with exchange_folder() as exchanged:  # where this is a container itself, the engine cannot see what is installed in it
            shutil.copy(SCRIPTS / "give_back.py", exchanged / "in" / "give_back.py")
            request = ContainerRequest(
                image=self.image,
                command=(self.python, f"{IN}/give_back.py", *map(str, numbers), *words),
                name=f"runner-back-{uuid.uuid4().hex[:12]}",
                labels={LABEL_JOB: self.job},
                mounts=(*mounts_of(exchanged), *folders),
                user="0:0",
                userns=self.userns,
            )
            with connected() as engine, engine.container(request, network="none") as container:
                container.wait(until=time.monotonic() + SECONDS)

    def _save(self) -> None:
        kept = {**asdict(self), "record": str(self.record)}
        new = self.record.with_suffix(".new")
        new.write_text(json.dumps(kept))
        new.replace(self.record)


def recover(record: Path, warn: Callable[[str], None]) -> None:
    """Gives back what a driver that was killed had opened; nothing where there is no such record."""
    try:
        kept: dict[str, Any] = json.loads(record.read_text())
    except (OSError, ValueError):
        return
    accounts = {name: Account(**kept[name]) for name in ("account", "own")}
    folders = {source: BindMount(**mount) for source, mount in kept["folders"].items()}
    Sharing(**{**kept, **accounts, "folders": folders, "record": record}).give_back(warn)


def _walk(top: Path) -> Iterator[tuple[Path, os.stat_result]]:
    """A folder and all that is in it; nothing where there is none."""
    for path in (top, *(Path(root, name) for root, names, files in os.walk(top) for name in (*names, *files))):
        with suppress(FileNotFoundError):  # it has just gone
            yield path, path.lstat()


def _change(path: Path, status: os.stat_result, mode: int) -> bool:
    """Whether the mode was another one, and could be changed: of links and other people's files it is not."""
    if status.st_uid != os.getuid() or stat.S_ISLNK(status.st_mode) or mode == status.st_mode:
        return False
    with suppress(FileNotFoundError):
        path.chmod(stat.S_IMODE(mode))
    return True
