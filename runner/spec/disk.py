"""What stands at a path that a user wrote: answers also for names that are too long and folders that one may not enter."""

from __future__ import annotations

import os
import stat
from pathlib import Path


def is_file(path: str) -> bool:
    return stat.S_ISREG(_mode(path))


def is_folder(path: str) -> bool:
    return stat.S_ISDIR(_mode(path))


def is_pipe(path: str) -> bool:
    return stat.S_ISFIFO(_mode(path))


def lies_in(path: str, folder: str) -> bool:
    """Whether a path is inside a folder, whatever links lead there."""
    return Path(os.path.realpath(folder)) in Path(os.path.realpath(path)).parents


def trouble(path: str) -> str:
    """Why nothing can be read at a path, in words that follow its name; empty when something stands there."""
    try:
        Path(path).stat()
    except (FileNotFoundError, NotADirectoryError):
        return "does not exist"
    except (OSError, ValueError) as error:
        return f"cannot be reached: {getattr(error, 'strerror', None) or error}"
    return ""


def _mode(path: str) -> int:
    try:
        return Path(path).stat().st_mode
    except (OSError, ValueError):
        return 0
