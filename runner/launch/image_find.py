"""The image of a job's environment, from a name, a Dockerfile and a conda file: what the job's containers are started from."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from runner.errors import UserError
from runner.launch.conda_file import NeedsConda, read_conda
from runner.launch.image_base import BUILD, after_image, built_image, context_of, made_before, named_image, short
from runner.launch.image_env import PREFIX, derived_image, write_recipe
from runner.launch.image_probe import ImageFacts, cached_facts, exchange_folder, probe_image
from runner.launch.image_stream import OnCancel, Say
from runner.launch.image_way import Way, choose_way, errors_of
from runner.model.docker import DockerSettings
from runner.model.image_reference import map_image, parse_reference
from runner.model.job import Environment

if TYPE_CHECKING:
    from runner.launch.image import Engine
    from runner.launch.image_record import Image

ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}  # the kernel's names → Docker's


@dataclass(frozen=True, kw_only=True)
class ImageFound:
    """An image that is on this machine, and how its Python is called."""

    id: str  # sha256:…
    reference: str  # what to show: a name, or where it was built from
    digest: str  # of the registry, for the named image: name@sha256:…; empty for one that is local only
    python: tuple[str, ...]  # the words of the command
    facts: ImageFacts
    environment: Mapping[str, str] = field(default_factory=dict)  # what is on top of the image's own variables: nothing so far


def find_image(
    environment: Environment,
    *,
    docker: DockerSettings,
    cache: Path,
    say: Say,
    warn: Say | None = None,
    on_cancel: OnCancel = lambda _stop: None,
    refresh: bool = False,
) -> ImageFound:
    """The image for an environment with `image` or `build`; pulled, built and extended by its conda file where that has not been done.

    `say` gets progress and all output, line by line; `warn` what the conda file says and is not followed. `on_cancel` is handed functions
    that stop what is running, which then ends with a UserError. `refresh` pulls a named image even if it is there.
    Errors: UserError for everything that fails, in the words of the engine, pip or conda.
    """
    from runner.launch.image import connected

    with connected() as engine:
        name, base = base_image(engine, environment, docker=docker, cache=cache, say=say, on_cancel=on_cancel, refresh=refresh)
        for notice in architecture_notice(base, name):
            (warn or say)(notice)
        facts = probe_image(engine, base.id, cache=cache, mount_label=docker.mount_label)
        image = base
        if environment.conda is not None:
            facts.python(after_image(name))
            way = choose_way(environment, facts, after_image(name))
            for notice in way.notices:
                (warn or say)(notice)
            image = derived_image(
                engine, base, way, name=name, facts=facts, environment=environment, docker=docker, cache=cache, say=say, on_cancel=on_cancel
            )  # fmt: skip
            facts = probe_image(engine, image.id, cache=cache, mount_label=docker.mount_label)
    return ImageFound(id=image.id, reference=name, digest=digest_of(base, name), python=facts.python(after_image(name)), facts=facts)


def base_image(
    engine: Engine, environment: Environment, *, docker: DockerSettings, cache: Path, say: Say, on_cancel: OnCancel, refresh: bool
) -> tuple[str, Image]:  # fmt: skip
    if environment.build_context is not None:
        return built_image(engine, environment, docker=docker, cache=cache, say=say, on_cancel=on_cancel)
    if environment.image is None:
        raise UserError("the environment names no image", todo="give `image` or `build`")
    try:
        return named_image(engine, environment.image, docker=docker, say=say, on_cancel=on_cancel, refresh=refresh)
    except UserError as error:
        todo = "; or ".join(filter(None, (error.todo, "run the job without containers: --local")))
        raise UserError(error.problem, place=error.place, allowed=error.allowed, todo=todo) from error


def architecture_notice(image: Image, name: str) -> tuple[str, ...]:
    """Such an image may run, slowly, where the machine emulates the other one; where it does not, it seems to have no Python."""
    own = ARCHITECTURES.get(os.uname().machine)
    if own is None or image.architecture in ("", own):
        return ()
    return (f"the image {after_image(name)} is made for {image.architecture}, and this machine is {own}",)


def digest_of(image: Image, name: str) -> str:
    """The digest under the name's own repository, else any that the image has."""
    if not image.digests:
        return ""
    own = [digest for digest in image.digests if same_repository(digest, name)]
    return (own or list(image.digests))[0]


def same_repository(digest: str, name: str) -> bool:
    try:
        one, other = parse_reference(digest), parse_reference(name)
    except UserError:
        return False
    return (one.registry, one.repository) == (other.registry, other.repository)


@dataclass(frozen=True, kw_only=True)
class ImagePlan:
    """What `find_image` would do, for `job validate`."""

    text: str  # one line
    ready: bool  # nothing is to be pulled, built or installed
    notices: tuple[str, ...] = ()


def describe_image(environment: Environment, *, docker: DockerSettings, cache: Path) -> ImagePlan:
    """What would be pulled, built and installed; asks the engine of this machine and no registry, and starts nothing.

    Errors: UserError where there is no engine, for a build context or conda file that is wrong, and for a conda file that the image cannot
    follow, as far as the image is known here.
    """
    from runner.launch.image import connected

    with connected() as engine:
        name, text, base = _describe_base(engine, environment, docker)
        if environment.conda is None:
            return ImagePlan(text=text, ready=base is not None)
        facts = cached_facts(base.id, cache) if base else None
        if base is None or facts is None:
            return _describe_unknown(environment, text)
        facts.python(after_image(name))
        way = choose_way(environment, facts, after_image(name))
        found = _derived_before(engine, base, way, environment)
    state = f"made before: {short(found.id)}" if found else f"to be installed with {way.maker}"
    return ImagePlan(text=f"{text}; its conda file: {state}", ready=found is not None, notices=way.notices)


def present_id(name: str, *, docker: DockerSettings) -> str:
    """The id of a named image, by the workspace's image map; empty where it is not on this machine. Errors: UserError without an engine."""
    from runner.launch.image import connected

    with connected() as engine:
        found = engine.find(map_image(name, docker.image_map))
        return found.id if found else ""


def _describe_base(engine: Engine, environment: Environment, docker: DockerSettings) -> tuple[str, str, Image | None]:
    if environment.build_context is not None:
        context = context_of(environment, docker)
        name, found = f"{BUILD}{context.folder}", made_before(engine, context.content_hash)
        state = f"built before: {short(found.id)}" if found else f"to be built, {len(context.files)} files"
        return name, f"{name} ({state})", found
    name = map_image(environment.image or "", docker.image_map)
    found = engine.find(name)
    state = f"on this machine: {short(found.id)}" if found else "to be pulled"
    instead = f", in the place of {environment.image}" if name != environment.image else ""
    return name, f"{name} ({state}{instead})", found


def _describe_unknown(environment: Environment, text: str) -> ImagePlan:
    """Whether pip will do is known when the image's Python is."""
    notices: tuple[str, ...] = ()
    maker = "pip, or its conda"
    try:
        notices = read_conda(environment.conda or {}, environment.conda_path).notices
    except UserError as error:
        if not all(isinstance(one, NeedsConda) for one in errors_of(error)):
            raise
        maker = "its conda"
    return ImagePlan(text=f"{text}; its conda file: to be installed with {maker}, unless that has been done", ready=False, notices=notices)


def _derived_before(engine: Engine, base: Image, way: Way, environment: Environment) -> Image | None:
    with exchange_folder() as folder:
        return made_before(engine, write_recipe(folder / "in", base.id, way, environment.conda_path).content_hash)


__all__ = ["PREFIX", "ImageFound", "ImagePlan", "describe_image", "find_image", "present_id"]
