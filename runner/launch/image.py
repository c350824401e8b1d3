"""The Docker engine, as far as images go: look them up, pull, build, run a short container, commit, list, remove.

Only this file and container.py import `docker`; the rest of `image_*.py` decides what is asked of it.
"""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from typing import IO, Any

import docker
import docker.auth
import docker.credentials.errors
import docker.utils.build
import requests.exceptions
import urllib3.exceptions

from runner.errors import UserError
from runner.launch.engine_address import FIRST_SECONDS, Address, addresses, knock, no_engine, wrong_address
from runner.launch.engine_kind import EngineKind, kind_of
from runner.launch.image_changes import changes_of
from runner.launch.image_stream import Event, Request
from runner.launch.owners import LABEL_OWNER, own_mark
from runner.model.docker import BindMount, ContainerRequest
from runner.model.image_reference import hide_credentials, parse_reference

LABEL_IMAGE = "runner.image"  # the content hash of an image that we made
REPOSITORY = "runner/image"  # its tag is the same hash: so no clean-up of untagged images takes it
API_SECONDS = 120  # for one short request
COMMIT_SECONDS = 3600
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


class NoSuchCommand(EngineError):
    """The image lacks the program that a container was to start."""


@dataclass(frozen=True, kw_only=True)
class Image:
    """An image that is on this machine. `config` is what its containers start with, in the engine's own form."""

    id: str
    tags: tuple[str, ...] = ()
    digests: tuple[str, ...] = ()  # name@sha256:…
    labels: Mapping[str, str]
    config: Mapping[str, Any]
    size: int = 0
    architecture: str = ""  # amd64, arm64, …
    created: str = ""  # 2026-01-31T12:00:00Z

    @property
    def own_tag(self) -> str:
        """The tag that we gave it, as this engine writes it (some put a registry before it); empty for others' images."""
        wanted = f"{REPOSITORY}:{self.labels.get(LABEL_IMAGE)}"
        return next((tag for tag in self.tags if tag == wanted or tag.endswith(f"/{wanted}")), "")

    @property
    def environment(self) -> dict[str, str]:
        pairs = (entry.partition("=") for entry in self.config.get("Env") or ())
        return {name: value for name, _, value in pairs}


def connect() -> Engine:
    """The engine of DOCKER_HOST, of Docker's current context, or at the usual sockets. Errors: UserError that says what was tried."""
    refusals: list[tuple[Address, Exception]] = []
    for address in addresses():
        check_address(address)
        try:
            knock(address.url)
            with closing(make_client(address, "auto", seconds=FIRST_SECONDS)) as first:
                version = first.api_version
            client = make_client(address, version)
        except (*FAILURES, OSError, ValueError) as error:  # ValueError: an address that cannot be encoded
            refusals.append((address, error))
        else:
            return Engine(client, address)
    raise no_engine(refusals)


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
def connected() -> Iterator[Engine]:
    """The engine, whose refusals within the block become UserErrors."""
    engine = connect()
    try:
        yield engine
    except EngineError as error:
        raise UserError(f"the Docker engine at {engine.address} refuses: {error}", todo="see the engine's own log") from error
    finally:
        engine.close()


@contextmanager
def plainly() -> Iterator[None]:
    """What the library raises as an EngineError: the engine's words without the library's."""
    try:
        yield
    except FAILURES as error:
        raise EngineError(error) from error


class Engine:
    """One engine. Errors: EngineError, unless it says otherwise."""

    def __init__(self, client: Any, address: Address) -> None:
        self._client, self.address = client, address

    def close(self) -> None:
        """Closes its connections."""
        self._client.close()

    def kind(self) -> EngineKind:
        with plainly():
            return kind_of(self._client.info())

    # Images

    def find(self, name: str) -> Image | None:
        """The image with this name, digest or id, if it is on this machine."""
        with plainly():
            try:
                found = self._client.inspect_image(engine_name(name))
            except docker.errors.ImageNotFound:
                return None
        return image_of(found)

    def own_images(self, hash_: str | None = None) -> list[Image]:
        """Those that we made: with our label, and tagged with what the label says; or only the one with this hash.

        An image that somebody made on top of one of ours has inherited the label, and not the tag.
        """
        label = LABEL_IMAGE if hash_ is None else f"{LABEL_IMAGE}={hash_}"
        with plainly():
            ids = [found["Id"] for found in self._client.images(filters={"label": label})]
        images = [image for one in ids if (image := self.find(one)) is not None]
        return [image for image in images if image.own_tag]

    def remove(self, name: str) -> None:
        with plainly(), suppress(docker.errors.ImageNotFound):
            self._client.remove_image(name)

    def pull(self, name: str, request: Request) -> Iterator[Event]:
        """What the engine tells while it pulls. Errors: EngineError; Stopped at the end of the request's time or on its cancellation."""
        reference = parse_reference(name)
        repository = name.partition("@")[0] if reference.digest else name
        repository = repository.removesuffix(f":{reference.tag}") if reference.tag else repository
        tag = reference.digest or reference.tag or "latest"
        need_helpers(docker.auth.resolve_repository_name(repository)[0])
        return self._long(request, lambda client: client.pull(repository, tag=tag, stream=True, decode=True))

    def build(
        self, context: IO[bytes], request: Request, *, dockerfile: str, hash_: str, arguments: Mapping[str, str]
    ) -> Iterator[Event]:  # fmt: skip
        """What the engine tells while it builds; the image gets our label and tag. Errors: as for `pull`."""
        options = {
            "dockerfile": dockerfile,
            "tag": f"{REPOSITORY}:{hash_}",
            "labels": {LABEL_IMAGE: hash_},
            "buildargs": dict(arguments),
            "rm": True,
            "forcerm": True,
        }
        need_helpers()
        return self._long(request, lambda client: client.build(fileobj=context, custom_context=True, decode=True, **options))

    def client(self) -> Any:
        """A connection of its own, for requests that take as long as a container lives."""
        return make_client(self.address, self._client.api_version, seconds=None)

    def _long(self, request: Request, ask: Callable[[Any], Iterable[Event]]) -> Iterator[Event]:
        client = make_client(self.address, self._client.api_version)
        client.hooks["response"].append(lambda response, *_args, **_options: request.opened(response))
        with plainly(), closing(client), closing(request.events(lambda: with_credentials(ask, client))) as events:
            for event in events:
                if "error" in event:
                    raise EngineError((event.get("errorDetail") or {}).get("message") or event["error"])
                yield event

    # Containers

    @contextmanager
    def container(self, request: ContainerRequest, *, network: str | None = None) -> Iterator[Container]:
        """A started container, removed at the end in any case. Errors: also NoSuchCommand."""
        options = {**mount_options(request), "network_mode": network, "userns_mode": request.userns or None}
        with plainly():
            host = self._client.create_host_config(**options)
            created = self._client.create_container(
                request.image,
                command=list(request.command),
                entrypoint=[],
                name=request.name,
                user=request.user,
                labels={**request.labels, LABEL_OWNER: own_mark()},
                environment=dict(request.environment),
                working_dir=request.working_dir,
                host_config=host,
                use_config_proxy=False,  # or the addresses of Docker's configuration would be committed with the image
            )
        container = Container(self._client, created["Id"])
        try:
            container.start()
            yield container
        finally:
            container.remove()

    def containers_named(self, prefix: str) -> list[str]:
        """The names of all containers, stopped ones as well, that begin so."""
        with plainly():
            found = self._client.containers(all=True, filters={"name": prefix})
        names = [name.lstrip("/") for one in found for name in one["Names"]]
        return [name for name in names if name.startswith(prefix)]

    def remove_container(self, name: str) -> None:
        """One that an earlier process left when it was killed."""
        with plainly(), suppress(docker.errors.NotFound):
            self._client.remove_container(name, force=True, v=True)


class Container:
    """A container of an Engine."""

    def __init__(self, client: Any, id_: str) -> None:
        self._client, self.id = client, id_

    def start(self) -> None:
        try:
            self._client.start(self.id)
        except FAILURES as error:
            text = str(EngineError(error))
            missing = "executable file not found" in text or ("exec:" in text and "no such file or directory" in text)
            raise (NoSuchCommand if missing else EngineError)(error) from error

    def wait(self, *, until: float, meanwhile: Callable[[], None] = lambda: None) -> int | None:
        """The exit status, or None at `until` (monotonic). `meanwhile` is called every now and then, and may raise."""
        pause = 0.02
        while True:
            with plainly():
                state = self._client.inspect_container(self.id)["State"]
            meanwhile()
            if state["Status"] in ("exited", "dead"):
                return int(state["ExitCode"])
            if time.monotonic() >= until:
                return None
            time.sleep(pause)
            pause = min(0.25, pause * 1.3)

    def commit(self, *, hash_: str, config: Mapping[str, Any]) -> None:
        """Makes an image of the container's files, with this configuration in the engine's own form. Large ones take minutes."""
        with plainly():
            changes = changes_of(config) if kind_of(self._client.info()).podman else None
            self._client.timeout = COMMIT_SECONDS
            try:
                self._client.commit(self.id, repository=REPOSITORY, tag=hash_, conf=dict(config), changes=changes)
            finally:
                self._client.timeout = API_SECONDS

    def remove(self) -> None:
        with plainly(), suppress(docker.errors.NotFound):
            self._client.remove_container(self.id, force=True, v=True)


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


def image_of(found: Mapping[str, Any]) -> Image:
    config = found.get("Config") or {}
    return Image(
        id=found["Id"],
        tags=tuple(found.get("RepoTags") or ()),
        digests=tuple(found.get("RepoDigests") or ()),
        labels=config.get("Labels") or {},
        config=config,
        size=int(found.get("Size") or 0),
        architecture=found.get("Architecture") or "",
        created=(found.get("Created") or "1970-01-01T00:00:00Z")[:19] + "Z",  # without the nanoseconds
    )


def engine_name(name: str) -> str:
    """The name by which the engine finds an image: a digest counts, and a tag beside it does not."""
    reference = parse_reference(name)
    if reference.is_id or not (reference.digest and reference.tag):
        return name
    return name.replace(f":{reference.tag}@", "@", 1)


def mount_options(request: ContainerRequest) -> dict[str, Any]:
    """Bind mounts that fail when their source is missing; SELinux labels exist in the older form only, which makes it."""
    if not request.mount_label:
        return {"mounts": [bind(mount) for mount in request.mounts]}
    mode = f",{request.mount_label}"
    return {"binds": [f"{one.source}:{one.target}:{'ro' if one.read_only else 'rw'}{mode}" for one in request.mounts]}


def bind(mount: BindMount) -> Any:
    return docker.types.Mount(target=mount.target, source=mount.source, type="bind", read_only=mount.read_only)


def files_of_context(folder: str, ignored: list[str], dockerfile: str) -> list[str]:
    """What belongs to a build context by the lines of its .dockerignore: names relative to the folder; links are not followed."""
    return sorted(docker.utils.build.exclude_paths(folder, ignored, dockerfile=dockerfile))
