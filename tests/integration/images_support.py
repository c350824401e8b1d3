"""What the tests of images share: a workspace's cache whose images are removed at the end, and what was said."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from runner.launch.image import connected
from runner.launch.image_find import ImageFound, find_image
from runner.launch.image_record import REPOSITORY, Image
from runner.model.docker import ContainerRequest, DockerSettings
from runner.model.job import Environment

# Where the machine's own proxy speaks for PyPI, containers need its certificate as well.
HOST_BUNDLE = "/etc/ssl/certs/ca-certificates.crt"


def settings(**changes: object) -> DockerSettings:
    bundle = HOST_BUNDLE if Path(HOST_BUNDLE).is_file() else None
    return DockerSettings(**{"ca_bundle": bundle, "pull_timeout": 120, "build_timeout": 300, **changes})  # type: ignore[arg-type]


@dataclass
class Finder:
    """`find` with a cache of its own; `said` and `warned` are what it told."""

    cache: Path
    said: list[str] = field(default_factory=list)
    warned: list[str] = field(default_factory=list)

    def find(self, environment: Environment, *, on_cancel: Callable[..., None] = lambda _stop: None, **changes: object) -> ImageFound:
        return find_image(
            environment, docker=settings(**changes), cache=self.cache, say=self.said.append, warn=self.warned.append, on_cancel=on_cancel
        )  # fmt: skip

    def image(self, found: ImageFound) -> Image:
        with connected() as engine:
            image = engine.find(found.id)
        assert image is not None
        return image

    def clean(self) -> None:
        with connected() as engine:
            for used in (self.cache / "images").glob("*.used"):
                engine.remove(f"{REPOSITORY}:{used.stem}")


def context(folder: Path, dockerfile: str, **files: str) -> Environment:
    """A build context that no other test has."""
    folder.mkdir(exist_ok=True)
    (folder / "unique").write_text(uuid.uuid4().hex)
    (folder / "Dockerfile").write_text(dockerfile)
    for name, text in files.items():
        (folder / name).write_text(text)
    return Environment(build_context=str(folder), dockerfile="Dockerfile")


def conda(image: str, *dependencies: object, path: Path | None = None) -> Environment:
    """An image with a conda file that no other test has."""
    unique = f"# {uuid.uuid4().hex}"
    listed = [entry for entry in dependencies if not isinstance(entry, dict)]
    pip = [line for entry in dependencies if isinstance(entry, dict) for line in entry["pip"]]
    parsed = {"name": "of-the-tests", "dependencies": [*listed, {"pip": [*pip, unique]}]}
    return Environment(image=image, conda=parsed, conda_path=str(path) if path else None)


def sleeper(image: str) -> ContainerRequest:
    return ContainerRequest(image=image, command=("sleep", "60"), name=f"runner-test-{uuid.uuid4().hex[:12]}")
