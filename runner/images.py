"""What `runner image …` calls: the images of jobs and environments, made before a job needs them, and those that we have made."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from runner.client import Client
from runner.errors import UserError
from runner.model.job import Environment, PipelineJob
from runner.model.moments import seconds_of

if TYPE_CHECKING:
    from runner.launch.image_find import ImageFound
    from runner.spec.load import LoadedJob

Say = Callable[[str], None]


@dataclass(frozen=True, kw_only=True)
class OwnImage:
    """An image that we made: `name` is its tag."""

    name: str
    hash: str
    id: str
    bytes: int
    created: str
    made_from: str  # empty for an image that this workspace has not used
    last_used: float | None  # seconds since the epoch; None likewise


@dataclass(frozen=True, kw_only=True)
class PulledImage:
    """A named image that is on this machine now. `reference` is its name after the image map."""

    name: str
    reference: str
    id: str
    digest: str


OwnImages = list[OwnImage]  # `list` is a method of the class below
Environments = list[Environment]


class Images:
    """The images of one workspace; `client` knows it. Errors: UserError, also where there is no engine."""

    def __init__(self, client: Client) -> None:
        self._workspace, self._client = client.workspace, client
        self._docker = client.workspace.settings.docker

    # What is to be made

    def of_job(self, loaded: LoadedJob) -> Environments:
        """The environments of a job's steps that ask for an image, each once."""
        job = self._client.resolve(loaded, local=True)  # where it will run does not matter
        steps = list(job.steps.values()) if isinstance(job, PipelineJob) else [job]
        found: Environments = []
        for step in steps:
            one = step.environment
            if one is not None and one.is_container and one not in found:
                found.append(one)
        return found

    def of_name(self, name: str) -> Environment:
        """An environment of the workspace: `name`, `name:version`, `name@latest`, with or without `azureml:`."""
        from runner.spec.context import ResolveContext
        from runner.spec.environment import read_environment
        from runner.spec.expressions import Scope
        from runner.spec.problems import Problems
        from runner.spec.python_source import from_python

        workspace = self._workspace
        context = ResolveContext(
            name="image", root=workspace.root, datastores=workspace.datastores, environments=workspace.environments, local=True
        )  # fmt: skip
        text = name if name.startswith("azureml:") else f"azureml:{name}"
        problems = Problems()
        environment = read_environment(from_python(text, base=workspace.root), Scope(), context, problems)
        problems.raise_if_any()
        if environment is None or not environment.is_container:
            raise UserError(f"the environment '{name}' asks for no image", todo="give it `image` or `build` in workspace.yml")
        return environment

    # Making it

    def pull(self, name: str, *, say: Say) -> PulledImage:
        """Pulls a named image, also when it is there: its tag may mean another one by now."""
        from runner.launch.image import connected
        from runner.launch.image_base import named_image
        from runner.launch.image_find import digest_of

        with connected() as engine:
            mapped, image = named_image(engine, name, docker=self._docker, say=say, on_cancel=_leave, refresh=True)
        return PulledImage(name=name, reference=mapped, id=image.id, digest=digest_of(image, mapped))

    def build(self, environment: Environment, *, say: Say, warn: Say) -> ImageFound:
        """Pulls, builds and installs what the environment needs, as far as it has not been done."""
        from runner.launch.image_find import find_image

        self._workspace.make()
        return find_image(environment, docker=self._docker, cache=self._workspace.cache, say=say, warn=warn)

    # Keeping house

    def list(self) -> OwnImages:
        """All that runners have made on this engine, the last used first."""
        from runner.launch.image import connected
        from runner.launch.image_cache import last_used, made_from
        from runner.launch.image_record import LABEL_IMAGE

        cache = self._workspace.cache
        with connected() as engine:
            images = engine.own_images()
        found = [
            OwnImage(
                name=image.own_tag,
                hash=hash_,
                id=image.id,
                bytes=image.size,
                created=image.created,
                made_from=made_from(cache, hash_),
                last_used=last_used(cache, hash_),
            )
            for image in images
            if (hash_ := image.labels[LABEL_IMAGE])
        ]
        return sorted(found, key=used_at, reverse=True)

    def plan_prune(self, *, keep: float, everything: bool = False, now: float | None = None) -> OwnImages:
        """Those that were last used more than `keep` seconds ago; with `everything` also those that this workspace has never used."""
        limit = (time.time() if now is None else now) - keep
        return [one for one in self.list() if used_at(one) < limit and (everything or one.last_used is not None)]

    def prune(self, images: Iterable[OwnImage], say: Say) -> Iterator[OwnImage]:
        """Removes them and gives each when it is gone; one that a container uses stays."""
        from runner.launch.docker_client import EngineError
        from runner.launch.image import connected
        from runner.launch.image_cache import forget

        with connected() as engine:
            for one in images:
                try:
                    engine.remove(one.name)
                except EngineError as error:
                    say(f"{one.name} is kept: {error}")
                    continue
                forget(self._workspace.cache, one.hash, one.id)
                yield one


def used_at(image: OwnImage) -> float:
    """When it was last used, or else made."""
    return image.last_used if image.last_used is not None else seconds_of(image.created)


def _leave(_stop: Callable[[], None]) -> None:
    """Nobody cancels a command but with Ctrl-C, which ends what runs by itself."""
