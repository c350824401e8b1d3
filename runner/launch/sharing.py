"""Folders of the submitter's that containers of another user (`--user`) write to: opened before, given back afterwards."""

from __future__ import annotations

import os
import stat
import time
import uuid
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from runner.errors import UserError
from runner.launch.accounts import Account
from runner.launch.image import connected
from runner.launch.image_probe import IN, SCRIPTS
from runner.model.docker import LABEL_JOB, BindMount, ContainerRequest

SECONDS = 600.0  # for the files of a job
EVERYBODY, EVERYBODY_WRITES = 0o777, 0o666


@dataclass(kw_only=True)
class Sharing:
    """Does nothing where the container's user is the submitter."""

    job: str
    image: str
    python: str
    account: Account  # the containers' user
    own: Account  # whom containers take for the submitter
    userns: str = ""
    _modes: dict[str, int] = field(default_factory=dict)  # of folders and files, before they were opened
    _folders: dict[str, BindMount] = field(default_factory=dict)

    @property
    def foreign(self) -> bool:
        return self.account.uid != self.own.uid

    def open(self, mounts: Iterable[BindMount]) -> None:
        """Lets the container's user write to the writable ones among the mounts, and remembers what they were."""
        if not self.foreign:
            return
        for mount in mounts:
            if not mount.read_only:
                self._folders[mount.source] = mount
                if self.account.uid:  # root may write anyway
                    self._open(Path(mount.source))

    def give_back(self, warn: Callable[[str], None]) -> None:
        """Everything in these folders belongs to the submitter again."""
        if self._folders:
            try:
                self._run()
            except UserError as error:
                warn(f"files that belong to the container's user ({self.account}) could not be given back: {error}")
        for folder, mode in self._modes.items():
            with suppress(OSError):
                Path(folder).chmod(mode)
        self._folders, self._modes = {}, {}

    def _open(self, top: Path) -> None:
        """What is there already, too: an earlier run of the job may have left files that are now written again."""
        for root, folders, files in os.walk(top):
            for path, more in ((Path(root), EVERYBODY), *((Path(root, name), EVERYBODY_WRITES) for name in files)):
                status = path.lstat()
                mode = stat.S_IMODE(status.st_mode)
                if status.st_uid == os.getuid() and not stat.S_ISLNK(status.st_mode) and mode | more != mode:
                    self._modes.setdefault(str(path), mode)
                    path.chmod(mode | more)
            folders[:] = [name for name in folders if not Path(root, name).is_symlink()]

    def _run(self) -> None:
        """Only root may give files away, and the submitter may be root in a container only."""
        folders = [mount for mount in self._folders.values() if Path(mount.source).exists()]
        request = ContainerRequest(
            image=self.image,
            command=(self.python, f"{IN}/give_back.py", str(self.own.uid), str(self.own.gid), *(mount.target for mount in folders)),
            name=f"runner-back-{uuid.uuid4().hex[:12]}",
            labels={LABEL_JOB: self.job},
            mounts=(BindMount(source=str(SCRIPTS), target=IN), *folders),
            user="0:0",
            userns=self.userns,
        )
        with connected() as engine, engine.container(request, network="none") as container:
            container.wait(until=time.monotonic() + SECONDS)
