"""The configuration of an image as lines of a Dockerfile: Podman's commit reads no other form."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any


def changes_of(config: Mapping[str, Any]) -> list[str]:
    """All that a committed container would otherwise have of its own. A value of several lines cannot be written: it stays the base's."""
    return [line for line in _lines(config) if "\n" not in line]


def _lines(config: Mapping[str, Any]) -> Iterator[str]:
    yield from (f"ENV {pair}" for pair in config.get("Env") or ())
    yield from (f"LABEL {name}={value}" for name, value in (config.get("Labels") or {}).items())
    for field, word in (("Entrypoint", "ENTRYPOINT"), ("Cmd", "CMD")):
        yield f"{word} {json.dumps(list(config.get(field) or ()))}"
    for field, word, otherwise in (("User", "USER", "0:0"), ("WorkingDir", "WORKDIR", "/")):
        yield f"{word} {config.get(field) or otherwise}"
