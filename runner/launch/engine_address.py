"""Where Docker engines are asked for, in the order in which Docker's own client looks; and what to do where there is none."""

from __future__ import annotations

import hashlib
import json
import os
import socket
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from runner.errors import UserError

DEFAULT_SOCKETS = ("/var/run/docker.sock", "{XDG_RUNTIME_DIR}/docker.sock")  # of root's engine, and of a rootless one
WITHOUT_ENGINE = "or add --local to run the script in processes of this machine, without the image"
KNOCK_SECONDS = 20


@dataclass(frozen=True, kw_only=True)
class Address:
    """Where an engine is asked for, and who said so."""

    url: str
    source: str
    certificates: str = ""  # a folder with ca.pem, cert.pem, key.pem
    verify: bool = True

    def __str__(self) -> str:
        return f"{self.url} ({self.source})"

    @property
    def owner(self) -> int | None:
        """Whose the socket is; None where that cannot be known from here."""
        try:
            return Path(self.url.removeprefix("unix://")).stat().st_uid if self.url.startswith("unix://") else None
        except OSError:
            return None


def addresses(environment: Mapping[str, str] = os.environ) -> list[Address]:
    """DOCKER_HOST, else the context that is chosen, else the usual sockets. Errors: UserError for a context that is not there."""
    config = Path(environment.get("DOCKER_CONFIG") or Path.home() / ".docker")
    if host := environment.get("DOCKER_HOST"):
        verify = bool(environment.get("DOCKER_TLS_VERIFY"))
        folder = environment.get("DOCKER_CERT_PATH") or (str(config) if verify else "")
        return [Address(url=host, source="from DOCKER_HOST", certificates=folder, verify=verify)]
    name = environment.get("DOCKER_CONTEXT") or read_json(config / "config.json").get("currentContext") or "default"
    if name != "default":
        return [context_address(name, config / "contexts")]
    runtime = environment.get("XDG_RUNTIME_DIR", "")
    paths = [path.format(XDG_RUNTIME_DIR=runtime) for path in DEFAULT_SOCKETS if runtime or "{" not in path]
    existing = [path for path in paths if Path(path).exists()]
    return [Address(url=f"unix://{path}", source="the usual place") for path in existing or paths]


def context_address(name: str, contexts: Path) -> Address:
    """Of one of Docker's contexts, which lie in folders named by hashes."""
    folder = hashlib.sha256(name.encode()).hexdigest()
    endpoint = (read_json(contexts / "meta" / folder / "meta.json").get("Endpoints") or {}).get("docker") or {}
    if not endpoint.get("Host"):
        raise UserError(f"Docker has no context {name!r}", todo="see `docker context ls`, or unset DOCKER_CONTEXT")
    certificates = contexts / "tls" / folder / "docker"
    return Address(
        url=endpoint["Host"],
        source=f"Docker's context {name!r}",
        certificates=str(certificates) if certificates.is_dir() else "",
        verify=not endpoint.get("SkipTLSVerify"),
    )


def read_json(path: Path) -> Mapping[str, Any]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def knock(url: str) -> None:
    """Errors: OSError for a socket at which nobody listens, plainly; the library would leave it open, and wrap the error."""
    if url.startswith("unix://"):
        with socket.socket(socket.AF_UNIX) as door:
            door.settimeout(KNOCK_SECONDS)
            door.connect(url.removeprefix("unix://"))


def no_engine(refusals: Sequence[tuple[Address, Exception]]) -> UserError:
    reasons = "; ".join(f"{address}: {reason(error)}" for address, error in refusals)
    if any(isinstance(cause, PermissionError) for _, error in refusals for cause in causes(error)):
        todo = "let your user use it (`sudo usermod -aG docker $USER`, then log in again), or use a rootless engine,"
        return UserError(f"you may not use the Docker engine: tried {reasons}", todo=f"{todo} {WITHOUT_ENGINE}")
    todo = "start Docker (`sudo systemctl start docker`), or say where it is with DOCKER_HOST or `docker context use`,"
    return UserError(f"no Docker engine answers: tried {reasons}", todo=f"{todo} {WITHOUT_ENGINE}")


def causes(error: BaseException) -> Iterator[BaseException]:
    """The error, and all that stands behind it: the libraries wrap it several times."""
    stack: list[object] = [error]
    seen: set[int] = set()
    while stack:
        one = stack.pop()
        if isinstance(one, BaseException) and id(one) not in seen:
            seen.add(id(one))
            yield one
            stack += [one.__cause__, one.__context__, *one.args]


def reason(error: BaseException) -> str:
    """What the system said, where it was asked."""
    system = next((cause for cause in causes(error) if isinstance(cause, OSError) and isinstance(cause.strerror, str)), None)
    return str(system.strerror if system else error)
