"""Containers that were to become images, left behind by processes that were killed."""

from __future__ import annotations

import hashlib
import socket
from pathlib import Path
from typing import TYPE_CHECKING

from runner.launch.image_cache import locked_if_free

if TYPE_CHECKING:
    from runner.launch.image import Engine

PREFIX = "runner-install-"


def container_name(hash_: str, cache: Path) -> str:
    """The same for all processes of a workspace on a machine: who holds the lock may remove what a killed one has left."""
    who = hashlib.sha256(f"{socket.gethostname()}\0{cache.resolve()}".encode()).hexdigest()[:8]
    return f"{PREFIX}{hash_}-{who}"


def sweep(engine: Engine, cache: Path) -> None:
    """Removes this workspace's containers of that kind for which no process holds the lock."""
    for name in engine.containers_named(PREFIX):
        hash_ = name.removeprefix(PREFIX).partition("-")[0]
        if name == container_name(hash_, cache):
            with locked_if_free(cache, hash_) as free:
                if free:
                    engine.remove_container(name)
