"""Who has done what on the cluster: a file of JSON lines that only grows, for the administrators.

No secret stands in it: of variables and registries there are names only.
"""

from __future__ import annotations

import grp
import json
import logging
import os
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from runner.model.image_reference import hide_credentials
from runner.model.job import Step
from runner.model.moments import utc
from runner.pipeline.site import Site

log = logging.getLogger(__name__)
FILE = "audit.log"
MODE = 0o640
LONGEST = 4000  # characters of one text
# Options of `docker run` that take NAME=VALUE, whose value may be a secret.
WITH_VALUES = ("-e", "--env", "-l", "--label", "--log-opt", "--storage-opt", "--annotation", "--driver-opt", "--health-cmd")


class AuditLog:
    """Every record is on the disk when `write` returns. The file may be renamed at any time: the next record makes a new one."""

    def __init__(self, state: Path, group: str | None = None) -> None:
        self._path, self._group = state / FILE, group
        self._lock = threading.Lock()
        self._file = self._open()

    def write(self, event: str, **fields: object) -> None:
        """Errors: OSError."""
        record = {"at": utc(time.time()), "event": event, **{name: value for name, value in fields.items() if value not in (None, "")}}
        line = json.dumps(record, ensure_ascii=True, default=str).encode() + b"\n"
        with self._lock:
            self._follow()
            written = os.write(self._file, line)
            if written < len(line):  # a full disk: the next record begins on a line of its own
                with suppress(OSError):
                    os.write(self._file, b"\n")
                raise OSError(28, os.strerror(28), str(self._path))
            os.fsync(self._file)

    def note(self, event: str, **fields: object) -> None:
        """As `write`, of what has happened already and cannot be refused any more: a full disk does not stop it."""
        try:
            self.write(event, **fields)
        except OSError:
            log.exception("not in the audit log: %s %s", event, fields)

    def _follow(self) -> None:
        """Somebody may have renamed the file."""
        try:
            there, ours = os.lstat(self._path), os.fstat(self._file)
            same = (there.st_dev, there.st_ino) == (ours.st_dev, ours.st_ino)
        except FileNotFoundError:
            same = False
        if not same:
            os.close(self._file)
            self._file = self._open()

    def _open(self) -> int:
        file = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC, MODE)
        with suppress(OSError):  # made by logrotate, for whomever it was told
            os.fchmod(file, MODE)
            if self._group:
                with suppress(KeyError):
                    os.fchown(file, -1, grp.getgrnam(self._group).gr_gid)
        return file


def used_by(step: Step, site: Site, seconds: float) -> dict[str, object]:
    """With what an instance is started on its node: for the audit log, and so without secrets. `seconds`: until it had its image."""
    words: dict[str, object] = {"variables": sorted(step.environment_variables)}
    if not site.container:
        return words
    words |= {**site.image, "docker_args": without_values(step.resources.docker_args), "image_seconds": float(seconds)}
    if site.image.get("image_digest"):
        from runner.launch.docker_client import login_of  # has been loaded anyway

        words["login"] = login_of(site.image["image"])
    return words


def short(text: str) -> str:
    return text if len(text) <= LONGEST else f"{text[:LONGEST]}…"


def without_values(words: Sequence[str]) -> list[str]:
    """`docker_args` without the values of variables and the like, and without credentials in addresses."""
    shown, option = [], ""
    for word in words:
        if option:
            shown.append(_name_only(word, option))
            option = ""
            continue
        name, equals, value = word.partition("=")
        if word in WITH_VALUES:
            shown.append(word)
            option = word
        elif equals and name in WITH_VALUES:
            shown.append(f"{name}={_name_only(value, name)}")
        elif word[:2] in ("-e", "-l") and not word.startswith("--") and len(word) > 2:
            shown.append(word[:2] + _name_only(word[2:], word[:2]))
        else:
            shown.append(short(hide_credentials(word)))
    return shown


def _name_only(text: str, option: str) -> str:
    if option == "--health-cmd":
        return "…"
    name, equals, _ = text.partition("=")
    return f"{short(name)}=…" if equals else short(name)
