"""The private copy of the code folder that each worker runs in."""

from __future__ import annotations

import errno
import fcntl
import filecmp
import os
import shutil
import stat
from pathlib import Path

KEEP_SIZE = 1 << 20  # files that the script wrote beside its code are kept up to this size
KEEP_COUNT = 100
FICLONE = 0x40049409  # of linux/fs.h: shares the blocks of a file, where the file system can

_can_clone = True


def copy_code(code: Path, copy: Path) -> None:
    """A copy that its owner may change; blocks are shared where the file system can."""
    shutil.rmtree(copy, ignore_errors=True)
    shutil.copytree(code, copy, symlinks=True, copy_function=clone_file)


def let_in(*paths: Path) -> None:
    """Everybody may change what is there: the worker is another user's. The folders above are the submitter's alone."""
    for path in paths:
        for folder, _, files in os.walk(path):
            _open(Path(folder), 0o777)
            for name in files:
                _open(Path(folder, name), 0o666)


def _open(path: Path, more: int) -> None:
    status = path.lstat()
    if status.st_uid == os.getuid() and not stat.S_ISLNK(status.st_mode):  # the rest is a worker's own
        path.chmod(status.st_mode | more)


def keep_written(code: Path, copy: Path, target: Path) -> None:
    """Moves the small files that a worker made or changed in its copy to `target` (in the job's logs)."""
    kept = 0
    for folder, folders, files in os.walk(copy):
        folders[:] = [name for name in folders if name != "__pycache__"]
        relative = os.path.relpath(folder, copy)
        for name in files:
            path, original = Path(folder, name), code / relative / name
            if kept >= KEEP_COUNT or path.is_symlink() or not path.is_file() or path.stat().st_size > KEEP_SIZE:
                continue
            if original.is_file() and filecmp.cmp(path, original):
                continue
            (target / relative).mkdir(parents=True, exist_ok=True)
            shutil.move(path, target / relative / name)
            kept += 1


def clone_file(source: str, target: str) -> str:
    """As shutil.copy2; blocks are shared where the file system can."""
    global _can_clone
    if _can_clone:
        with open(source, "rb") as read, open(target, "wb") as write:
            try:
                fcntl.ioctl(write, FICLONE, read.fileno())
            except OSError as error:
                if error.errno not in (errno.EOPNOTSUPP, errno.EXDEV, errno.EINVAL, errno.ENOTTY, errno.ENOSYS, errno.EPERM):
                    raise
                _can_clone = False
            else:
                shutil.copystat(source, target)
                return target
    return shutil.copy2(source, target)
