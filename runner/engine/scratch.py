"""The folder of an instance's sockets, mapped slots and tables: in memory, where there is room for it."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import tempfile
import time
from pathlib import Path

from runner.worker.protocol import SOCKET_NAME

MEMORY = "/dev/shm"  # noqa: S108
ROOM = 512 << 20  # bytes that must be free in it
PREFIX = "runner-"
INNER = "i"
STALE_SECONDS = 60.0


def make_scratch() -> Path:
    """A new folder of its own. Those that killed processes have left behind are removed on the way.

    It stands in another folder that is for this user only: a container may be given it, and be another user's, and nobody else gets in.
    """
    parent = _parent()
    _sweep(parent)
    folder = Path(tempfile.mkdtemp(prefix=PREFIX, dir=parent)) / INNER
    folder.mkdir(0o700)
    return folder


def remove_scratch(folder: Path) -> None:
    shutil.rmtree(folder.parent, ignore_errors=True)


def _parent() -> str:
    try:
        usage = os.statvfs(MEMORY)
    except OSError:
        return tempfile.gettempdir()
    return MEMORY if os.access(MEMORY, os.W_OK) and usage.f_bavail * usage.f_frsize > ROOM else tempfile.gettempdir()


def _sweep(parent: str) -> None:
    """A keeper removes its folder, whatever happens; but a driver that is killed before its keeper runs leaves one."""
    with contextlib.suppress(OSError):
        for entry in os.scandir(parent):
            if entry.name.startswith(PREFIX) and entry.is_dir(follow_symlinks=False):
                with contextlib.suppress(OSError):
                    status = entry.stat()
                    stale = status.st_uid == os.getuid() and status.st_mtime < time.time() - STALE_SECONDS
                    if stale and is_dead(Path(entry.path, INNER)):
                        shutil.rmtree(entry.path, ignore_errors=True)


def is_dead(folder: Path) -> bool:
    """Whether nobody listens at its socket any more, or a keeper has removed it."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        try:
            probe.connect(str(folder / SOCKET_NAME))
        except (ConnectionRefusedError, FileNotFoundError):
            return True
        except OSError:
            return False
    return False
