"""A connection to the Docker engine, its refusals in its own words, and the credentials that it is given for registries."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

import docker
import docker.auth
import docker.credentials.errors
import requests.exceptions
import urllib3.exceptions

from runner.launch.engine_address import Address, wrong_address
from runner.launch.image_stream import Event
from runner.model.image_reference import hide_credentials

API_SECONDS = 120  # for one short request
HELPER_FAILURE = docker.credentials.errors.StoreError  # which the library wraps in words of Python
# What the library lets through: its own errors, and those of the libraries below it when an engine ends in the middle of an answer.
FAILURES = (
    docker.errors.DockerException,
    docker.errors.StreamParseError,
    HELPER_FAILURE,
    requests.exceptions.RequestException,
    urllib3.exceptions.HTTPError,
)


class EngineError(Exception):
    """The engine refused; in its own words."""

    def __init__(self, error: BaseException | str) -> None:
        told = error.__cause__ if isinstance(error, BaseException) and isinstance(error.__cause__, HELPER_FAILURE) else error
        explanation = getattr(told, "explanation", None) or str(told)
        super().__init__(hide_credentials(str(explanation)))


def check_address(address: Address) -> None:
    """Errors: UserError for what is no address, and for Windows' named pipes, which the library takes for one here as well."""
    try:
        parsed = docker.utils.parse_host(address.url, tls=bool(address.certificates))
    except (docker.errors.DockerException, ValueError) as error:
        raise wrong_address(address, error) from error
    if parsed.startswith("npipe:"):
        raise wrong_address(address, "named pipes are Windows'")


def make_client(address: Address, version: str, *, seconds: float | None = API_SECONDS) -> Any:
    """`seconds`: for each request; None: no limit."""
    tls = None
    if address.certificates:
        files = [os.path.join(address.certificates, name) for name in ("cert.pem", "key.pem", "ca.pem")]
        tls = docker.tls.TLSConfig(client_cert=(files[0], files[1]), ca_cert=files[2], verify=address.verify)
    return docker.APIClient(base_url=address.url, version=version, tls=tls, timeout=seconds)


@contextmanager
def plainly() -> Iterator[None]:
    """What the library raises as an EngineError: the engine's words without the library's."""
    try:
        yield
    except FAILURES as error:
        raise EngineError(error) from error


def need_helpers(registry: str | None = None) -> None:
    """Errors: EngineError for a credential helper that is missing, of the registry or of any; the library would print a warning first."""
    with plainly():
        config = docker.auth.load_config()
        names = [config.get_credential_store(registry)] if registry else [config.creds_store, *config.cred_helpers.values()]
    for name in names:
        if name and shutil.which(f"docker-credential-{name}") is None:
            raise EngineError(f"the credential helper docker-credential-{name} is not installed, or not on the PATH")


def login_of(name: str) -> str:
    """As whom Docker's configuration has this image pulled: a user's name, or that of a credential helper; never a secret."""
    with suppress(*FAILURES, KeyError, TypeError, ValueError, AttributeError, OSError):
        registry = docker.auth.resolve_repository_name(name)[0]
        config = docker.auth.load_config()
        if helper := config.get_credential_store(registry):
            return f"helper {helper}"
        return str((config.resolve_authconfig(registry) or {}).get("username") or "")
    return ""


def with_credentials(ask: Callable[[Any], Iterable[Event]], client: Any) -> Iterable[Event]:
    """Errors: EngineError also for credential helpers whose answer is none: the library believes them."""
    try:
        return ask(client)
    except FAILURES:
        raise
    except (KeyError, TypeError, ValueError) as error:
        raise EngineError(f"a credential helper (docker-credential-…) gave no credentials, but something else: {error}") from error
