"""Whose rights a container has: the submitter's, or those of `--user`; with an account in the image either way, so that `getpass`,
`os.path.expanduser` and what builds on them work."""

from __future__ import annotations

import os
import pwd
from dataclasses import dataclass
from pathlib import Path

from runner.errors import Place, UserError, did_you_mean
from runner.model.docker import BindMount

HOME, TEMPORARY = "/run/runner/home", "/run/runner/tmp"
STAND_IN = "runner"  # where this machine has no name for the user either, or the image gives it to somebody else


@dataclass(frozen=True, kw_only=True)
class Account:
    """Numbers of user and group, and the user's name where it has one on this machine."""

    uid: int
    gid: int
    name: str = STAND_IN

    def __str__(self) -> str:
        return f"{self.uid}:{self.gid}"

    @property
    def variables(self) -> dict[str, str]:
        return {"HOME": HOME, "TMPDIR": TEMPORARY, "USER": self.name, "LOGNAME": self.name}


def submitter(*, as_root: bool = False) -> Account:
    """Whom a container takes for the submitter: the same numbers, or root, where root inside is the submitter outside."""
    if as_root:
        return Account(uid=0, gid=0, name="root")
    uid = os.getuid()
    try:
        return Account(uid=uid, gid=os.getgid(), name=pwd.getpwuid(uid).pw_name)
    except KeyError:
        return Account(uid=uid, gid=os.getgid())


def account_of(user: str, passwd: str, group: str) -> Account:
    """What `--user NAME|UID[:GROUP|GID]` means in an image with these files. Errors: UserError for a name that the image lacks."""
    name, _, group_name = user.partition(":")
    entry = next((one for one in _entries(passwd) if name in (one[0], one[2])), None)
    if entry is None and not name.isdigit():
        known = [one[0] for one in _entries(passwd)]
        raise UserError(
            f"the image has no user '{name}'",
            place=Place(field="resources.docker_args"),
            allowed="a number, or one of " + ", ".join(known),
            todo=did_you_mean(name, known),
        )
    gid = _group(group_name, group) if group_name else int(entry[3]) if entry else 0
    return Account(uid=int(entry[2] if entry else name), gid=gid, name=entry[0] if entry else STAND_IN)


def account_files(account: Account, passwd: str, group: str, *, folder: Path) -> tuple[BindMount, ...]:
    """`/etc/passwd` and `/etc/group` of the image with the account's entries added; nothing where they are there already."""
    users, groups = _entries(passwd), _entries(group)
    name = STAND_IN if account.name in (entry[0] for entry in users) else account.name
    known_user, known_group = (any(entry[2] == str(one) for entry in found) for one, found in ((account.uid, users), (account.gid, groups)))
    added = {
        "passwd": "" if known_user else f"{name}:x:{account}::{HOME}:/bin/sh\n",
        "group": "" if known_group else f"{name}:x:{account.gid}:\n",
    }
    mounts = []
    for file, text in (("passwd", passwd), ("group", group)):
        if added[file]:
            folder.mkdir(parents=True, exist_ok=True)
            (folder / file).write_text(text.rstrip("\n") + "\n" * bool(text.strip()) + added[file])
            mounts.append(BindMount(source=str(folder / file), target=f"/etc/{file}"))
    return tuple(mounts)


def _group(name: str, group: str) -> int:
    if name.isdigit():
        return int(name)
    found = next((entry for entry in _entries(group) if entry[0] == name), None)
    if found is None:
        raise UserError(
            f"the image has no group '{name}'",
            place=Place(field="resources.docker_args"),
            allowed="a number, or one of " + ", ".join(entry[0] for entry in _entries(group)),
        )
    return int(found[2])


def _entries(text: str) -> list[list[str]]:
    """Lines of four fields and more with a number in the third; anything else is no account."""
    entries = (line.split(":") for line in text.splitlines() if not line.startswith("#"))
    return [entry for entry in entries if len(entry) >= 4 and entry[2].isdigit() and (len(entry) < 7 or entry[3].isdigit())]
