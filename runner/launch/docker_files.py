"""Environment variables and labels of `docker_args`, and the files that list them (docker/cli `opts/env.go`, `pkg/kvfile`)."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from runner.errors import UserError
from runner.launch.docker_draft import Draft
from runner.launch.docker_paths import HostPathError, may_read, real_path
from runner.model.docker import LABEL_PREFIX

_WHITE = " \t"
_LARGEST = 1 << 20  # bytes of a file of variables or labels
_OURS = "RUNNER_"
_BREAKING = ("PYTHONHOME", "PYTHONINSPECT")  # with these no worker would start, or none would end


def check_variable(name: str, flag: str) -> None:
    """Refuses what the runner itself sets, and what breaks its workers."""
    if name.upper().startswith(_OURS) or name in _BREAKING:
        raise UserError(
            f"{flag}: '{name}' is a name of the runner's own" if name not in _BREAKING else f"{flag}: '{name}' would break the workers",
            allowed=f"names that do not begin with {_OURS}, nor {', '.join(_BREAKING)}",
        )


def check_label(name: str, flag: str) -> None:
    if name.lower().startswith(LABEL_PREFIX):
        problem = f"{flag}: '{name}' is a label of the runner's own"
        raise UserError(problem, allowed=f"labels that do not begin with {LABEL_PREFIX}")


def finish_environment(draft: Draft) -> dict[str, str | None]:
    """Variables by name: those of files first, then `-e`, wherever it stands. A name alone takes its value from the client."""
    found: dict[str, str | None] = {}
    for file in draft.all("--env-file"):
        for name, value in read_pairs(draft, file, "--env-file"):
            check_variable(name, f"--env-file {file}")
            if value is not None or name in draft.environment:
                found[name] = draft.environment[name] if value is None else value
    for one in draft.all("--env"):
        name, sign, text = one.partition("=")
        check_variable(name, "--env")
        found[name] = text if sign else draft.environment.get(name)
    return found


def finish_labels(draft: Draft) -> dict[str, str]:
    found: dict[str, str] = {}
    for file in draft.all("--label-file"):
        for name, value in read_pairs(draft, file, "--label-file"):
            check_label(name, f"--label-file {file}")
            found[name] = value or ""
    for one in draft.all("--label"):
        name, _, text = one.partition("=")
        check_label(name, "--label")
        found[name] = text
    return found


def variable(value: str) -> None:
    if not value.partition("=")[0]:
        raise ValueError("NAME=VALUE, or NAME for its value on this side")


def label(value: str) -> None:
    name = value.partition("=")[0].lstrip(_WHITE)
    if not name or set(name) & set(_WHITE):
        raise ValueError("NAME=VALUE with a name without blanks")


def read_pairs(draft: Draft, file: str, flag: str) -> list[tuple[str, str | None]]:
    """The lines of a file as (name, value); None where a name stands alone. Empty lines and those that begin with # don't count."""
    text = read_text(Path(draft.directory, file), file, flag, draft.reader_uid)
    found: list[tuple[str, str | None]] = []
    for number, line in enumerate(text.removeprefix("\ufeff").split("\n"), 1):
        line = line.removesuffix("\r").lstrip()
        if not line or line.startswith("#"):
            continue
        name, sign, value = line.partition("=")
        if not name or set(name) & set(_WHITE) or "\0" in line:
            problem = f"{flag} {file}, line {number}: '{name}' is not a name"
            raise UserError(problem, allowed="NAME=VALUE or NAME, without blanks in the name")
        found.append((name, value if sign else None))
    return found


def read_text(path: Path, shown: str, flag: str, reader_uid: int) -> str:
    """The text of a small regular file which the user `reader_uid` may read; what was opened is what was checked."""
    try:
        descriptor = os.open(real_path(str(path)), os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        with os.fdopen(descriptor, "rb") as file:
            status = os.fstat(file.fileno())
            if not stat.S_ISREG(status.st_mode) or status.st_size > _LARGEST:
                raise UserError(f"{flag} {shown} is not a regular file of at most 1 MB", todo=f"looked at {path}")
            if not may_read(status, reader_uid):
                raise PermissionError
            return file.read(_LARGEST).decode()
    except (PermissionError, HostPathError):
        raise UserError(f"{flag} {shown}: the one who submits the job may not read this file", todo="name a file of your own") from None
    except OSError as error:
        raise UserError(f"{flag} {shown} cannot be read: {error.strerror}", todo=f"looked for {path}") from None
    except ValueError:
        raise UserError(f"{flag} {shown} is no text in UTF-8", todo="store it in UTF-8") from None
