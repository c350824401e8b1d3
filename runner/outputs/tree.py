"""A folder that scripts write to, as one reads it who may read more than they: no link in it is ever followed."""

from __future__ import annotations

import errno
import os
import stat
import weakref
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

Look = tuple[int, int, int, int]  # size, mtime_ns, ctime_ns and inode of a file

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC  # nobody waits for the other end of a pipe
_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_GONE = (errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.ENXIO)  # or something else has taken its place


@dataclass(frozen=True)
class Found:
    """Names are relative to the folder, with slashes. `left_out`: links, and hard links to files of somebody else."""

    files: dict[str, Look] = field(default_factory=dict)
    folders: set[str] = field(default_factory=set)
    left_out: list[str] = field(default_factory=list)


class Tree:
    """Threads may share it. The folder above is opened at once, before any script runs that could put another one in its place."""

    def __init__(self, folder: Path) -> None:
        self._name = folder.name
        self._above = os.open(folder.parent, _FOLDER)
        weakref.finalize(self, os.close, self._above)

    def look(self) -> Found:
        found, todo = Found(), [""]
        while todo:
            folder = todo.pop()
            for entry in self._entries(folder):
                name = f"{folder}/{entry.name}" if folder else entry.name
                if entry.is_dir(follow_symlinks=False):
                    todo.append(name)
                    found.folders.add(name)
                elif entry.is_symlink():
                    found.left_out.append(name)
                elif entry.is_file(follow_symlinks=False) and (status := _status(entry)):
                    if _is_of_others(status):
                        found.left_out.append(name)
                    else:
                        found.files[name] = look_of(status)
        return found

    def open(self, name: str) -> BinaryIO | None:
        """None where no file of the scripts' own is there any more. Errors: OSError."""
        folder, _, base = name.rpartition("/")
        try:
            above = self._open_folder(folder)
            try:
                file = os.fdopen(os.open(base, _FILE, dir_fd=above), "rb")
            finally:
                os.close(above)
        except OSError as error:
            if error.errno in _GONE:
                return None
            raise
        status = os.fstat(file.fileno())
        if stat.S_ISREG(status.st_mode) and not _is_of_others(status):
            return file
        file.close()
        return None

    def create(self, name: str) -> BinaryIO:
        """A file that is not there yet, with the folders that it stands in. Errors: OSError."""
        folder, _, base = name.rpartition("/")
        above = self._open_folder(folder, make=True)
        try:
            return os.fdopen(os.open(base, _NEW, 0o666, dir_fd=above), "wb")
        finally:
            os.close(above)

    def _entries(self, folder: str) -> Iterator[os.DirEntry[str]]:
        try:
            opened = self._open_folder(folder)
        except OSError as error:  # a script has taken it away again
            if error.errno in _GONE:
                return
            raise
        try:
            with os.scandir(opened) as entries:
                yield from entries
        finally:
            os.close(opened)

    def _open_folder(self, name: str, *, make: bool = False) -> int:
        opened = os.open(self._name, _FOLDER, dir_fd=self._above)
        for part in name.split("/") if name else ():
            above = opened
            try:
                if make:
                    _make(part, above)
                opened = os.open(part, _FOLDER, dir_fd=above)
            finally:
                os.close(above)
        return opened


def look_of(status: os.stat_result) -> Look:
    return status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino


def _make(name: str, above: int) -> None:
    try:
        os.mkdir(name, dir_fd=above)
    except FileExistsError:  # of another thread, or there is a file, which the caller finds out
        pass


def _status(entry: os.DirEntry[str]) -> os.stat_result | None:
    try:
        return entry.stat(follow_symlinks=False)
    except OSError:  # it has vanished
        return None


def _is_of_others(status: os.stat_result) -> bool:
    """Another name of a file that the script may not be able to read."""
    return status.st_nlink > 1 and status.st_uid != os.geteuid()
