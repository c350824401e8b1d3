"""The image that an environment names or describes with a Dockerfile: found, pulled or built."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from runner.errors import Place, UserError
from runner.launch.image_cache import locked, touch
from runner.launch.image_context import BuildContext, read_context
from runner.launch.image_stream import Event, LastLines, OnCancel, PullProgress, Request, Say, Stopped, show_seconds
from runner.launch.network import proxy_environment
from runner.model.docker import DockerSettings
from runner.model.image_reference import map_image, parse_reference
from runner.model.job import Environment

if TYPE_CHECKING:
    from runner.launch.docker_client import EngineError
    from runner.launch.image import Engine
    from runner.launch.image_record import Image

# What is said of credential helpers, and what to do about it.
HELPER_ADVICE = (
    (
        r"docker-credential-.* is not installed",
        "install it, or take it out of Docker's config.json (`credsStore`, `credHelpers`) and log in again with `docker login`",
    ),
    (r"docker-credential-", "see what is wrong with this helper by hand: `echo REGISTRY | docker-credential-… get`"),
)
# What engines say when a pull fails, likewise.
PULL_ADVICE = (
    *HELPER_ADVICE,
    (r"reserved name", "name an image that has a Python: `scratch` only stands in Dockerfiles, for none"),
    (
        r"unauthorized|denied|authentication required|no basic auth|forbidden|\b401\b|\b403\b|incorrect username",
        "see that the name is right, and log in to its registry with `docker login`",
    ),
    (r"manifest unknown|not found|\b404\b", "see that its name, tag or digest is right"),
    (r"x509|certificate|http response to https", "let the engine trust the registry: see Docker's `certs.d` and `insecure-registries`"),
    (r"no space left", "make room where the engine keeps its images: `docker system df`, `runner image prune`"),
    (
        r"",
        (
            "see that the name is right, and that the engine reaches the registry (proxies of pulls are settings of the engine itself), "
            "or load the image into that engine with `docker load`"
        ),
    ),
)

BUILD = "the build of "  # begins what is shown in the place of a name; no name has spaces
# What the engine says of its own doings, between the lines of a build's commands.
NOISE = re.compile(r" ---> (Running in |Using cache)?[0-9a-f]*|Removing intermediate container [0-9a-f]+")


def named_image(
    engine: Engine, name: str, *, docker: DockerSettings, say: Say, on_cancel: OnCancel, refresh: bool = False
) -> tuple[str, Image]:  # fmt: skip
    """The name after the image map, and the image, which is pulled where it is absent (`refresh`: in any case)."""
    mapped = map_image(name, docker.image_map)
    if mapped != name:
        say(f"image map: {mapped} in the place of {name}")
    found = engine.find(mapped)
    if found is not None and (not refresh or parse_reference(mapped).is_id):
        return mapped, found
    if parse_reference(mapped).is_id:
        problem = f"the image {mapped} is not on this machine, and an id cannot be pulled"
        raise UserError(problem, place=Place(field="environment.image"), todo="name it by tag or digest")
    return mapped, pull(engine, mapped, seconds=docker.pull_timeout, say=say, on_cancel=on_cancel)


def pull(engine: Engine, name: str, *, seconds: float, say: Say, on_cancel: OnCancel) -> Image:
    """Pulls with the credentials of Docker's own configuration. Errors: UserError in the engine's words, with what to do."""
    from runner.launch.docker_client import EngineError

    say(f"pulling {name}")
    request, progress = Request(seconds), PullProgress(name)
    on_cancel(request.stop)
    try:
        for event in engine.pull(name, request):
            if (line := progress.feed(event)) is not None:
                say(line)
    except Stopped as stop:
        raise stopped(f"pulling {name}", stop, seconds, "docker.pull_timeout") from None
    except EngineError as error:
        raise pull_error(name, error) from error
    found = engine.find(name)
    if found is None:
        raise UserError(f"the engine says that it has pulled {name}, and does not know it", todo="try `docker pull` by hand")
    say(f"pulled {name}: {short(found.id)}")
    return found


def pull_error(name: str, error: EngineError) -> UserError:
    todo = next(advice for pattern, advice in PULL_ADVICE if re.search(pattern, str(error), re.IGNORECASE))
    return UserError(f"the image {name} cannot be pulled: {error}", place=Place(field="environment.image"), todo=todo)


def stopped(what: str, stop: Stopped, seconds: float, setting: str) -> UserError:
    if stop.cancelled:
        return UserError(f"{what} was cancelled")
    return UserError(f"{what} took longer than {show_seconds(seconds)}", todo=f"raise `{setting}` in workspace.yml if that is too short")


def context_of(environment: Environment, docker: DockerSettings) -> BuildContext:
    from runner.launch.image import files_of_context

    assert environment.build_context is not None
    return read_context(environment.build_context, environment.dockerfile or "Dockerfile", docker, files_of_context)


def built_image(
    engine: Engine, environment: Environment, *, docker: DockerSettings, cache: Path, say: Say, on_cancel: OnCancel
) -> tuple[str, Image]:  # fmt: skip
    """A name to show, and the image of `build`: made once for each content of its context."""
    context = context_of(environment, docker)
    hash_ = context.content_hash
    with locked(cache, hash_, say, on_cancel):
        found = made_before(engine, hash_)
        if found is None:
            say(f"building an image from {context.folder} ({context.dockerfile}, {len(context.files)} files)")
            build(engine, context, hash_, docker=docker, say=say, on_cancel=on_cancel)
            found = made_before(engine, hash_)
    if found is None:
        raise UserError("the engine says that it has built the image, and does not know it", todo="try `docker build` by hand")
    touch(cache, hash_, context.folder)
    return f"{BUILD}{context.folder}", found


def after_image(name: str) -> str:
    """What stands after the words "the image": a name as it is, or "of the build of …"."""
    return f"of {name}" if name.startswith(BUILD) else name


def made_before(engine: Engine, hash_: str) -> Image | None:
    return next(iter(engine.own_images(hash_)), None)


def build(engine: Engine, context: BuildContext, hash_: str, *, docker: DockerSettings, say: Say, on_cancel: OnCancel) -> None:
    from runner.launch.docker_client import EngineError

    request, lines = Request(docker.build_timeout), LastLines(say)
    on_cancel(request.stop)
    feed = build_lines(lines.feed)
    # Docker keeps these arguments out of the image's history, and RUN lines have them as variables.
    proxies = proxy_environment(docker)
    try:
        with context.archive() as archive:
            for event in engine.build(archive, request, dockerfile=context.dockerfile, hash_=hash_, arguments=proxies):
                feed(event)
    except Stopped as stop:
        raise stopped(f"the build of {context.folder}", stop, docker.build_timeout, "docker.build_timeout") from None
    except EngineError as error:
        lines.feed(str(error))
        raise lines.error(f"the build of {context.folder} failed", build_advice(str(error))) from error


def build_lines(feed: Say) -> Callable[[Event], None]:
    """Gives the output of a build on as whole lines: the engine sends pieces."""
    rest = ""

    def take(event: Event) -> None:
        nonlocal rest
        *lines, rest = (rest + str(event.get("stream", ""))).split("\n")
        for line in lines:
            if not NOISE.fullmatch(line.rstrip()):
                feed(line)

    return take


def build_advice(message: str) -> str:
    if "buildkit" in message.lower():
        return "this Dockerfile needs BuildKit: build it yourself with `docker build -t NAME`, and give that NAME as `image`"
    helper = next((advice for pattern, advice in HELPER_ADVICE if re.search(pattern, message)), None)
    return helper or "mend the Dockerfile; `docker build` with the same folder shows the same"


def short(image_id: str) -> str:
    """As Docker shows it."""
    return image_id.removeprefix("sha256:")[:12]
