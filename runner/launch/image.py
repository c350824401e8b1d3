"""The Docker engine, as far as images go: look them up, pull, build, run a short container, commit, list, remove.

Only this file, docker_client.py and container.py import `docker`; the rest of `image_*.py` decides what is asked of it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from typing import IO, Any

import docker
import docker.auth
import docker.utils.build

from runner.errors import UserError
from runner.launch.docker_client import (
    API_SECONDS,
    FAILURES,
    EngineError,
    check_address,
    make_client,
    need_helpers,
    plainly,
    with_credentials,
)
from runner.launch.engine_address import FIRST_SECONDS, Address, addresses, knock, no_engine
from runner.launch.engine_kind import EngineKind, kind_of
from runner.launch.image_changes import changes_of
from runner.launch.image_record import LABEL_IMAGE, REPOSITORY, Image, engine_name, image_of
from runner.launch.image_stream import Event, Request
from runner.launch.owners import LABEL_OWNER, own_mark
from runner.model.docker import BindMount, ContainerRequest
from runner.model.image_reference import parse_reference

COMMIT_SECONDS = 3600


class NoSuchCommand(EngineError):
    """The image lacks the program that a container was to start."""


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
