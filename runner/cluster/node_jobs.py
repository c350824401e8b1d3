"""What the jobs of a user have on a node: their workers' copies of the code, homes and folders for temporary files.

An instance removes what was its own when it ends. What killed ones have left, the next instance removes: whose lock nobody holds is dead.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
from pathlib import Path

LOCK = ".held"


class NodeJob:
    """The folder of one job, held by one of its instances for as long as this object is open."""

    def __init__(self, jobs: Path, name: str) -> None:
        self.folder = jobs / name
        self.folder.mkdir(parents=True, exist_ok=True)
        self._lock = os.open(self.folder / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        fcntl.flock(self._lock, fcntl.LOCK_SH)  # several instances of a job may follow one another closely
        _sweep(jobs, name)

    def close(self, own: Path) -> None:
        """Removes what was this instance's `own`, and the whole when no other instance is here."""
        shutil.rmtree(own, ignore_errors=True)
        os.close(self._lock)
        _remove_if_dead(self.folder)


def _sweep(jobs: Path, but: str) -> None:
    for folder in jobs.iterdir():
        if folder.name != but:
            _remove_if_dead(folder)


def _remove_if_dead(folder: Path) -> None:
    with contextlib.suppress(OSError):  # it is held, or gone already
        lock = os.open(folder / LOCK, os.O_RDWR | os.O_CLOEXEC)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(folder, ignore_errors=True)
        finally:
            os.close(lock)
