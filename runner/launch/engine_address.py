"""Where Docker engines are asked for, in the order in which Docker's own client looks; and what to do where there is none."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import socket
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from runner.errors import Place, UserError
from runner.model.image_reference import hide_credentials

DEFAULT_SOCKETS = ("/var/run/docker.sock", "{XDG_RUNTIME_DIR}/docker.sock")  # of root's engine, and of a rootless one
FROM_VARIABLE = "from DOCKER_HOST"
WITHOUT_ENGINE = "or add --local to run the script in processes of this machine, without the image"
FIRST_SECONDS = 10  # for the first answer of an engine: one that runs gives it at once
# What Docker's configuration has, as far as it is read here or by the library, which would stumble over anything else.
TEXTS = ("currentContext", "credsStore")
TABLES = {"auths": dict, "credHelpers": str, "proxies": dict, "HttpHeaders": str}  # and what their values are


@dataclass(frozen=True, kw_only=True)
class Address:
    """Where an engine is asked for, and who said so."""

    url: str
    source: str
    certificates: str = ""  # a folder with ca.pem, cert.pem, key.pem
    verify: bool = True

    def __str__(self) -> str:
        return f"{hide_credentials(self.url)} ({self.source})"

    @property
    def owner(self) -> int | None:
        """Whose the socket is; None where that cannot be known from here."""
        try:
            return Path(self.url.removeprefix("unix://")).stat().st_uid if self.url.startswith("unix://") else None
        except OSError:
            return None


def addresses(environment: Mapping[str, str] = os.environ) -> list[Address]:
    """DOCKER_HOST, else the context that is chosen, else the usual sockets.

    Errors: UserError for a context that is not there, and for a configuration that cannot be read: it has the credentials as well.
    """
    usual = Path(os.path.expanduser("~")) / ".docker"  # noqa: PTH111  # Path.home() fails for a user without a home
    config = Path(environment.get("DOCKER_CONFIG") or usual)
    settings = read_config(config / "config.json")
    if not (config / "config.json").exists():
        read_config(usual / "config.json")  # the library takes its credentials then
    if host := environment.get("DOCKER_HOST"):
        verify = bool(environment.get("DOCKER_TLS_VERIFY"))
        folder = environment.get("DOCKER_CERT_PATH") or (str(config) if verify else "")
        return [Address(url=host, source=FROM_VARIABLE, certificates=folder, verify=verify)]
    name = environment.get("DOCKER_CONTEXT") or settings.get("currentContext") or "default"
    if name != "default":
        return [context_address(name, config / "contexts")]
    runtime = environment.get("XDG_RUNTIME_DIR", "")
    paths = [path.format(XDG_RUNTIME_DIR=runtime) for path in DEFAULT_SOCKETS if runtime or "{" not in path]
    existing = [path for path in paths if Path(path).exists()]
    return [Address(url=f"unix://{path}", source="the usual place") for path in existing or paths]


def context_address(name: str, contexts: Path) -> Address:
    """Of one of Docker's contexts, which lie in folders named by hashes."""
    folder = hashlib.sha256(name.encode(errors="surrogatepass")).hexdigest()
    endpoint: Any = read_json(contexts / "meta" / folder / "meta.json")
    for key in ("Endpoints", "docker"):
        endpoint = endpoint.get(key) if isinstance(endpoint, dict) else None
    if not isinstance(endpoint, dict) or not isinstance(endpoint.get("Host"), str) or not endpoint["Host"]:
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


def read_config(path: Path) -> Mapping[str, Any]:
    """Docker's configuration; empty where there is none. Errors: UserError: without it, one would be a stranger to all registries."""
    todo = "mend or remove this file of Docker's, or name another folder with DOCKER_CONFIG"
    try:
        text = path.read_text(encoding="utf-8")
        found = json.loads(text) if text.strip() else {}  # as Docker's client takes an empty one
    except (FileNotFoundError, NotADirectoryError):
        return {}
    except OSError as error:
        raise UserError(f"cannot be read: {error.strerror}", place=Place(file=str(path)), todo=todo) from error
    except json.JSONDecodeError as error:
        raise UserError(f"is no JSON: {error.msg}", place=Place(file=str(path), line=error.lineno), todo=todo) from error
    except (ValueError, RecursionError) as error:
        raise UserError("is no JSON in UTF-8", place=Place(file=str(path)), todo=todo) from error
    if not isinstance(found, dict):
        raise UserError("is no object of JSON", place=Place(file=str(path)), allowed="{…}", todo=todo)
    for field, allowed in wrong_settings(found):
        raise UserError("has another value than Docker writes", place=Place(file=str(path), field=field), allowed=allowed, todo=todo)
    return found


def wrong_settings(config: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """The keys that are not what they should be, and what they should be."""
    words = {str: "a text", dict: "an object"}
    yield from ((key, words[str]) for key in TEXTS if not isinstance(config.get(key) or "", str))
    for table, kind in TABLES.items():
        entries = config.get(table, {})
        if entries is None and table != "proxies":
            continue  # to Docker's client and to the library, the same as absent
        if not isinstance(entries, dict):
            yield table, words[dict]
            continue
        yield from ((f"{table}.{name}", words[kind]) for name, entry in entries.items() if not isinstance(entry, kind))
        if table == "auths":
            yield from ((f"{table}.{name}.auth", "user:password in base64") for name, entry in entries.items() if not is_login(entry))


def is_login(entry: Any) -> bool:
    """Whether it has a user and a password that can be decoded, or leaves them to something else."""
    if "identitytoken" in entry or "auth" not in entry:
        return True
    try:
        return ":" in base64.b64decode(entry["auth"]).decode()
    except (TypeError, ValueError):
        return False


def knock(url: str) -> None:
    """Errors: OSError for a socket at which nobody listens, plainly; the library would leave it open, and wrap the error."""
    if url.startswith("unix://"):
        with socket.socket(socket.AF_UNIX) as door:
            door.settimeout(FIRST_SECONDS)
            door.connect(url.removeprefix("unix://"))


def no_engine(refusals: Sequence[tuple[Address, Exception]]) -> UserError:
    reasons = "; ".join(f"{address}: {reason(error)}" for address, error in refusals)
    if any(isinstance(cause, PermissionError) for _, error in refusals for cause in causes(error)):
        todo = "let your user use it (`sudo usermod -aG docker $USER`, then log in again), or use a rootless engine,"
        return UserError(f"you may not use the Docker engine: tried {reasons}", todo=f"{todo} {WITHOUT_ENGINE}")
    todo = "start Docker (`sudo systemctl start docker`), or say where it is with DOCKER_HOST or `docker context use`,"
    return UserError(f"no Docker engine answers: tried {reasons}", todo=f"{todo} {WITHOUT_ENGINE}")


def wrong_address(address: Address, error: Exception | str) -> UserError:
    place = "DOCKER_HOST" if address.source == FROM_VARIABLE else address.source
    problem = hide_credentials(str(error)).removesuffix(f": {hide_credentials(address.url)}")
    return UserError(
        f"{address} is no address of a Docker engine: {problem}",
        allowed="unix:///path/of/a/socket, tcp://host:port",
        todo=f"mend {place}, {WITHOUT_ENGINE}",
    )


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
    found = list(causes(error))
    system = next((cause for cause in found if isinstance(cause, OSError) and isinstance(cause.strerror, str)), None)
    if system is None and any(isinstance(cause, TimeoutError) for cause in found):
        return f"no answer within {FIRST_SECONDS} seconds"
    return hide_credentials(str(system.strerror if system else error))
