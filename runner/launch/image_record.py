"""What is known of an image on this machine, and the names of those that we made."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from runner.model.image_reference import parse_reference

LABEL_IMAGE = "runner.image"  # the content hash of an image that we made
REPOSITORY = "runner/image"  # its tag is the same hash: so no clean-up of untagged images takes it


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
