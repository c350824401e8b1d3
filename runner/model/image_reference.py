"""Names of images, as Docker reads them: `registry.example:5000/team/scorer:1.2`, `…@sha256:…`, or an id `sha256:…`."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from runner.errors import Place, UserError

ALLOWED = "[registry[:port]/]name[:tag], name@sha256:<64 hex digits>, or the id of an image of this machine"

_HOST_PART = r"[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?"
_REGISTRY = re.compile(rf"(?:{_HOST_PART}(?:\.{_HOST_PART})*|\[[0-9a-fA-F:]+\])(?::[0-9]{{1,5}})?")
_PART = re.compile(r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*")
_TAG = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}")
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}|sha512:[0-9a-f]{128}")
_LONGEST = 255  # characters of a name without its tag


@dataclass(frozen=True, kw_only=True)
class ImageReference:
    """The parts of a name. `registry` is empty where none is written, which is the engine's default; an id has nothing but `digest`."""

    registry: str
    repository: str  # without the registry
    tag: str = ""
    digest: str = ""

    @property
    def is_id(self) -> bool:
        return not self.repository

    @property
    def full(self) -> str:
        """With what Docker adds to a short name; one without a registry begins with a slash: `python` is `/library/python:latest`."""
        if self.is_id:
            return self.digest
        tag = self.tag or ("" if self.digest else "latest")
        return f"{self.registry}/{self.repository}" + (f":{tag}" if tag else "") + (f"@{self.digest}" if self.digest else "")


def parse_reference(text: str, place: Place | None = None) -> ImageReference:
    """The parts of an image's name. Errors: UserError that says which part is wrong."""
    if _DIGEST.fullmatch(text):
        return ImageReference(registry="", repository="", digest=text)
    name, at, digest = text.partition("@")
    if at and not _DIGEST.fullmatch(digest):
        raise _wrong(text, f"'{digest}' is no digest", place)
    head, slash, last = name.rpartition("/")
    last, colon, tag = last.partition(":")
    if colon and not _TAG.fullmatch(tag):
        raise _wrong(text, f"'{tag}' is no tag", place)
    registry, repository = _split_registry(head + slash + last)
    if registry and not _REGISTRY.fullmatch(registry):
        raise _wrong(text, f"'{registry}' is no registry", place)
    for part in repository.split("/"):
        if not _PART.fullmatch(part):
            raise _wrong(text, _wrong_part(part), place)
    if len(repository) > _LONGEST:
        raise _wrong(text, f"it is longer than {_LONGEST} characters", place)
    if not registry and "/" not in repository:
        repository = f"library/{repository}"
    return ImageReference(registry=registry, repository=repository, tag=tag, digest=digest)


def _split_registry(name: str) -> tuple[str, str]:
    """Docker's rule: the first part is a registry if it could be no part of a repository, or is `localhost`."""
    first, slash, rest = name.partition("/")
    if slash and (first == "localhost" or first != first.lower() or re.search(r"[.:\[]", first)):
        return first, rest
    return "", name


def _wrong_part(part: str) -> str:
    if not part:
        return "a part of the name is empty"
    if _PART.fullmatch(part.lower()):
        return f"'{part}' has capital letters"
    return f"'{part}' is no part of a name: small letters, digits, and single . _ - between them"


def _wrong(text: str, why: str, place: Place | None) -> UserError:
    todo = "registry credentials come from Docker's own configuration, not from the name" if "@" in text and "://" in text else ""
    return UserError(f"'{hide_credentials(text)}' is no name of an image: {why}", place=place, allowed=ALLOWED, todo=todo)


def hide_credentials(text: str) -> str:
    """The text without user names, passwords and tokens that stand in addresses (`https://user:secret@host`)."""
    return re.sub(r"(://)[^/\s@'\"]+(?=@)", r"\1****", text)


def map_image(text: str, image_map: Mapping[str, str]) -> str:
    """The name that stands in the place of this one: the longest prefix of the map wins, and what follows it stays.

    Prefixes are compared with the name as it is written, then with its full form, so that `/` leads all names without a registry.
    """
    for name in dict.fromkeys((text, parse_reference(text).full)):
        prefixes = [prefix for prefix in image_map if prefix and name.startswith(prefix)]
        if prefixes:
            longest = max(prefixes, key=len)
            return image_map[longest] + name[len(longest) :]
    return text
