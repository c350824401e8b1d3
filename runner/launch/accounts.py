"""The submitter's account in an image that knows nothing of it: `getpass`, `os.path.expanduser` and what builds on them work."""

from __future__ import annotations

import os
import pwd
from pathlib import Path

from runner.model.docker import BindMount

HOME, TEMPORARY = "/run/runner/home", "/run/runner/tmp"
STAND_IN = "runner"  # where this machine has no name for the user either, or the image gives it to somebody else


def account_files(passwd: str, group: str, *, uid: int, gid: int, folder: Path) -> tuple[BindMount, ...]:
    """`/etc/passwd` and `/etc/group` of the image with the user's and the group's entry added; nothing where they are there already."""
    users, groups = _entries(passwd), _entries(group)
    name = own_name(uid)
    name = STAND_IN if name in (entry[0] for entry in users) else name
    added = {
        "passwd": "" if any(entry[2:3] == [str(uid)] for entry in users) else f"{name}:x:{uid}:{gid}::{HOME}:/bin/sh\n",
        "group": "" if any(entry[2:3] == [str(gid)] for entry in groups) else f"{name}:x:{gid}:\n",
    }
    mounts = []
    for file, text in (("passwd", passwd), ("group", group)):
        if added[file]:
            folder.mkdir(parents=True, exist_ok=True)
            (folder / file).write_text(text.rstrip("\n") + "\n" * bool(text.strip()) + added[file])
            mounts.append(BindMount(source=str(folder / file), target=f"/etc/{file}"))
    return tuple(mounts)


def own_name(uid: int) -> str:
    """The user's name on this machine."""
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return STAND_IN


def own_user() -> str:
    return f"{os.getuid()}:{os.getgid()}"


def account_variables(uid: int) -> dict[str, str]:
    return {"HOME": HOME, "TMPDIR": TEMPORARY, "USER": own_name(uid), "LOGNAME": own_name(uid)}


def _entries(text: str) -> list[list[str]]:
    return [line.split(":") for line in text.splitlines() if line and not line.startswith("#")]
