"""`--security-opt`, as docker's own command line reads it (docker/cli `cli/command/container/opts.go`)."""

from __future__ import annotations

import json
from pathlib import Path

from runner.errors import UserError
from runner.launch.docker_draft import Draft
from runner.launch.docker_files import read_text

NO_NEW_PRIVILEGES = "no-new-privileges"
_ALLOWED = "no-new-privileges[=true|false], seccomp=…, apparmor=…, label=…, systempaths=unconfined"
_BUILT_IN = ("unconfined", "builtin")  # names of seccomp's that are no files


def split_option(option: str) -> tuple[str, str]:
    """Name and value; an old way to write them has a colon. `no-new-privileges` alone means true."""
    name, sign, value = option.partition("=")
    if not sign:
        name, sign, value = option.partition(":")
    return name, value if sign else "true" * (name == NO_NEW_PRIVILEGES)


def capability(name: str) -> str:
    """As the engine writes it: `CAP_NET_ADMIN`; `ALL` stands for all."""
    name = name.strip().upper()
    return name if name == "ALL" or name.startswith("CAP_") else f"CAP_{name}"


def finish_capabilities(draft: Draft) -> None:
    """Sorted and without repeats; what is both added and dropped is added."""
    added, dropped = set(map(capability, draft.all("--cap-add"))), set(map(capability, draft.all("--cap-drop")))
    dropped -= added
    for field, names in (("CapAdd", added), ("CapDrop", dropped)):
        if names:
            draft.host[field] = ["ALL"] if "ALL" in names else sorted(names)


def finish_security(draft: Draft) -> tuple[str, ...]:
    """The options for the engine: profiles as their text, and paths of the system unmasked where that was asked for."""
    found: list[str] = []
    for option in draft.all("--security-opt"):
        name, value = split_option(option)
        if not value or name == "credentialspec":
            raise UserError(f"--security-opt {option} is not known", allowed=_ALLOWED)
        if option == "systempaths=unconfined":
            draft.host |= {"MaskedPaths": [], "ReadonlyPaths": []}
        elif name == "seccomp" and value not in _BUILT_IN:
            found.append(f"seccomp={_profile(draft, value)}")
        else:
            found.append(option)
    return tuple(found)


def _profile(draft: Draft, file: str) -> str:
    text = read_text(Path(draft.directory, file), file, "--security-opt seccomp", draft.reader_uid)
    try:
        return json.dumps(json.loads(text), separators=(",", ":"))
    except ValueError:
        raise UserError(f"--security-opt seccomp: {file} is not JSON", todo="name a profile of seccomp in JSON") from None
