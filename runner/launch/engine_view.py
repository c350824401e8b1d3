"""What a Docker engine is, and whether it sees a file of this machine's at the same path: an engine may have other mounts than we do."""

from __future__ import annotations

import io
import tarfile
from contextlib import suppress
from pathlib import Path
from typing import Any

from runner.launch.docker_client import EngineError, plainly
from runner.launch.image import Engine
from runner.launch.owners import LABEL_OWNER, own_mark

EMPTY_IMAGE = "runner/probe:latest"  # without a file in it: nothing is pulled, and nothing of it ever runs
TARGET = "/probe"
LARGEST = 1 << 16  # bytes of a file that is read so


def engine_version(engine: Engine) -> str:
    """Errors: EngineError."""
    client = engine.client()
    try:
        with plainly():
            return str(client.version().get("Version"))
    finally:
        client.close()


def read_through(engine: Engine, path: str) -> bytes:
    """What the engine has at this path. A container is made for it and never started: a bind mount shows in its archive all the same.

    Errors: EngineError, also where there is nothing at the path.
    """
    client = engine.client()
    try:
        with plainly():
            made = _container(client, path)
            try:
                name = f"{TARGET}/{Path(path).name}"
                return _content(b"".join(client.get_archive(made, name)[0]))
            finally:
                with suppress(Exception):  # the next job's sweep has it
                    client.remove_container(made, force=True, v=True)
    finally:
        client.close()


def _container(client: Any, path: str) -> str:
    if not client.images(name=EMPTY_IMAGE, quiet=True):
        _make_image(client)
    # Its folder: of a single file that is mounted Podman makes no archive.
    mount = {"Type": "bind", "Source": str(Path(path).parent), "Target": TARGET, "ReadOnly": True}
    body = {
        "Image": EMPTY_IMAGE,
        "Cmd": ["none"],
        "Labels": {LABEL_OWNER: own_mark()},
        "HostConfig": {"Mounts": [mount], "NetworkMode": "none"},
    }
    return str(client.create_container_from_config(body)["Id"])


def _make_image(client: Any) -> None:
    nothing = io.BytesIO()
    tarfile.open(fileobj=nothing, mode="w").close()
    repository, _, tag = EMPTY_IMAGE.partition(":")
    client.import_image_from_data(nothing.getvalue(), repository=repository, tag=tag)


def _content(archive: bytes) -> bytes:
    try:
        with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
            file = tar.extractfile(tar.next() or "nothing")
            return b"" if file is None else file.read(LARGEST)
    except (tarfile.TarError, KeyError) as error:
        raise EngineError(f"it gave no archive: {error}") from error
