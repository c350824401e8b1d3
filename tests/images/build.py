"""Makes the images of the tests, `runner-test/NAME:latest`, in the engine at DOCKER_HOST or the default socket; nothing is pulled.

python tests/images/build.py [NAME …]     all of them where none is named
"""

from __future__ import annotations

import fcntl
import io
import sys
import tarfile
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import docker
from docker.errors import BuildError, ImageNotFound

sys.path.insert(0, str(Path(__file__).parents[2]))
from tests.images.recipes import RECIPES, Recipe, recipe_digest, with_parents
from tests.images.sources import CannotBuild, Lacking, archive, cache_folder

LABEL = "runner.test-image"
# As in the images that are published: without a PATH some programs fall back on one of their own.
PATH = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


def tag_of(name: str) -> str:
    return f"runner-test/{name}:latest"


def ensure(names: list[str]) -> dict[str, str]:
    """The ids of these images; those that are missing or made by another recipe are made now."""
    client = docker.from_env(timeout=300)
    try:
        needed = with_parents(names)
        if not all(find(client, name) for name in needed):
            with one_at_a_time():
                for name in needed:
                    if not find(client, name):
                        make(client, name)
        return {name: client.images.get(tag_of(name)).id for name in names}
    finally:
        client.close()


def find(client: docker.DockerClient, name: str) -> bool:
    try:
        return client.images.get(tag_of(name)).labels.get(LABEL) == recipe_digest(name)
    except ImageNotFound:
        return False


@contextmanager
def one_at_a_time() -> Iterator[None]:
    """Several processes of a test run may want the same image at once."""
    with open(cache_folder() / "lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def make(client: docker.DockerClient, name: str) -> None:
    started = time.monotonic()
    recipe, label = RECIPES[name], {LABEL: recipe_digest(name)}
    if isinstance(recipe.start, str):
        build_on_top(client, name, recipe, label)
    else:
        changes = [f"ENV {PATH}", 'CMD ["sh"]', *(f"LABEL {key}={value}" for key, value in label.items())]
        repository, tag = tag_of(name).split(":")
        client.api.import_image_from_file(str(archive(recipe.start)), repository=repository, tag=tag, changes=changes)
    size = client.images.get(tag_of(name)).attrs["Size"] / 1e6
    print(f"{tag_of(name)}: made in {time.monotonic() - started:.1f} s, {size:.0f} MB", file=sys.stderr, flush=True)


def build_on_top(client: docker.DockerClient, name: str, recipe: Recipe, label: dict[str, str]) -> None:
    layers = [archive(layer) for layer in recipe.layers]
    lines = [f"FROM {tag_of(str(recipe.start))}", *(f"ADD {layer.name} /" for layer in layers), *recipe.lines]
    with tempfile.TemporaryFile(dir=cache_folder()) as context:
        with tarfile.open(fileobj=context, mode="w") as tar:
            dockerfile = "\n".join(lines).encode()
            member = tarfile.TarInfo("Dockerfile")
            member.size = len(dockerfile)
            tar.addfile(member, io.BytesIO(dockerfile))
            for layer in layers:
                tar.add(layer, layer.name)
        context.seek(0)
        try:
            client.images.build(
                fileobj=context, custom_context=True, tag=tag_of(name), labels=label, rm=True, forcerm=True, network_mode="none"
            )
        except BuildError as error:
            log = "".join(line.get("stream", "") for line in error.build_log)
            raise CannotBuild(f"{tag_of(name)}: {error}\n{log[-3000:]}") from error


def main(names: list[str]) -> int:
    if unknown := [name for name in names if name not in RECIPES]:
        print(f"unknown image {unknown[0]!r}: known are {', '.join(RECIPES)}", file=sys.stderr)
        return 2
    started = time.monotonic()
    try:
        made = ensure(names or list(RECIPES))
    except CannotBuild as error:
        print(f"needs {error}" if isinstance(error, Lacking) else error, file=sys.stderr)
        return 1
    for name, identifier in made.items():
        print(f"{tag_of(name)}  {identifier}")
    print(f"{len(made)} images in {time.monotonic() - started:.1f} s", file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
