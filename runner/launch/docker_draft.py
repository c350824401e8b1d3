"""What `docker_args` come to, as parts of the Engine API's body of `POST /containers/create`, and the draft that flags write into.

The body is the representation because it is complete, is what `docker inspect` shows, and needs no client library: the constructors of
the Docker SDK lack some fields (`Annotations`, `StartInterval`, `LinkLocalIPs`, masked paths) and rewrite others.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

Body = dict[str, object]


@dataclass(frozen=True, kw_only=True)
class Mount:
    """One mount as a flag wrote it. A volume without a source is an anonymous one."""

    flag: str  # --volume, --mount, --tmpfs
    kind: str  # bind, volume, tmpfs
    source: str
    target: str
    options: str = ""  # what stands behind the target of -v and --tmpfs
    value: Mapping[str, object] = field(default_factory=dict)  # of --mount: the entry of HostConfig.Mounts


@dataclass(frozen=True, kw_only=True)
class DockerArguments:
    """`docker_args`, parsed. `config`, `host`, `endpoints` are parts of the create body; what is merged by name stands apart."""

    config: Mapping[str, object] = field(default_factory=dict)  # fields of the body itself
    host: Mapping[str, object] = field(default_factory=dict)  # of its HostConfig
    endpoints: Mapping[str, Mapping[str, object]] = field(default_factory=dict)  # of its NetworkingConfig.EndpointsConfig
    environment: Mapping[str, str | None] = field(default_factory=dict)  # None: removed, also where the image sets it
    labels: Mapping[str, str] = field(default_factory=dict)
    mounts: tuple[Mount, ...] = ()
    security: tuple[str, ...] = ()  # HostConfig.SecurityOpt
    notices: tuple[str, ...] = ()


@dataclass(kw_only=True)
class Draft:
    """What the flags have written so far; docker_args.py finishes it."""

    environment: Mapping[str, str]  # of the client
    directory: Path  # of the job file: relative paths start here
    reader_uid: int  # whose permission to read files counts
    config: Body = field(default_factory=dict)
    host: Body = field(default_factory=dict)
    said: dict[str, list[str]] = field(default_factory=dict)  # flag → its values, for what is put together at the end
    mounts: list[Mount] = field(default_factory=list)
    networks: list[Body] = field(default_factory=list)

    def all(self, flag: str) -> list[str]:
        return self.said.get(flag, [])

    def last(self, flag: str) -> str:
        return (self.all(flag) or [""])[-1]


Setter = Callable[[Draft, str], None]


def text(value: str) -> str:
    return value


def config(field_: str, parse: Callable[[str], object] = text) -> Setter:
    """Sets a field of the body; the last flag wins."""

    def put(draft: Draft, value: str) -> None:
        draft.config[field_] = parse(value)

    return put


def host(field_: str, parse: Callable[[str], object] = text) -> Setter:
    """Sets a field of HostConfig; the last flag wins."""

    def put(draft: Draft, value: str) -> None:
        draft.host[field_] = parse(value)

    return put


def hosts(field_: str, parse: Callable[[str], object] = text) -> Setter:
    """Adds to a list of HostConfig."""

    def put(draft: Draft, value: str) -> None:
        known = draft.host.setdefault(field_, [])
        assert isinstance(known, list)
        found = parse(value)
        known.extend(found if isinstance(found, list) else [found])

    return put


def pairs(field_: str, parse: Callable[[str], tuple[str, str]]) -> Setter:
    """Adds to a mapping of HostConfig: the last value of a key wins."""

    def put(draft: Draft, value: str) -> None:
        known = draft.host.setdefault(field_, {})
        assert isinstance(known, dict)
        key, found = parse(value)
        known[key] = found

    return put


def later(flag: str, parse: Callable[[str], object] = text) -> Setter:
    """Checks a value and keeps it for the end."""

    def put(draft: Draft, value: str) -> None:
        parse(value)
        draft.said.setdefault(flag, []).append(value)

    return put
