"""What resolving a job needs to know of the workspace and the command line, and the way from a written path to a local one."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from runner.errors import NotSupportedHere, Place, UserError, did_you_mean
from runner.model.docker import DockerPolicy
from runner.storage.uri import Uri, local_path, parse_uri

DEFAULT_DATASTORE = "workspaceblobstore"


@dataclass(frozen=True, kw_only=True)
class ResolveContext:
    """`environments` and `data` hold what the workspace knows by name: keys are `name:version`, or `name` where there are no versions."""

    name: str  # of the job
    root: Path  # the workspace's folder
    datastores: Mapping[str, Path]  # name → local folder
    default_datastore: str = DEFAULT_DATASTORE
    computes: Collection[str] = ("local",)
    clusters: Collection[str] = ()  # those of the computes that are not this machine
    shared: Collection[Path] = ()  # folders that the machines of clusters have at the same path
    uploads: Mapping[str, str] = field(default_factory=dict)  # local path of an input → where the cluster finds it
    default_compute: str = "local"
    instance_types: Collection[str] = ()
    environments: Mapping[str, Mapping[str, object]] = field(
        default_factory=dict
    )  # values as in `task.environment`; paths relative to `root`
    data: Mapping[str, str] = field(default_factory=dict)  # data assets: local paths
    docker_policy: DockerPolicy = field(default_factory=DockerPolicy)  # its data roots include the datastores' folders
    local: bool = False  # --local
    experiment: str = ""  # the name of the current folder


def add_local(place: Place) -> str:
    """The advice to run on this machine, as one can follow it: what has no file comes from Python."""
    return "add --local" if place.file else "add --local (in Python: local=True)"


def placed(error: UserError, place: Place) -> UserError:
    """The same error with a place."""
    return type(error)(error.problem, place=place, allowed=error.allowed, todo=error.todo)


def parse_at(text: str, place: Place) -> Uri:
    try:
        return parse_uri(text)
    except UserError as error:
        raise placed(error, place) from None


def locate(text: str, base: Path, context: ResolveContext, place: Place) -> str:
    """The absolute local path of what the user wrote; NotSupportedHere for what lies elsewhere."""
    uri = parse_at(text, place)
    if uri.kind == "local":
        return local_path(uri, base)
    if uri.kind == "datastore":
        folder = datastore_root(uri.datastore, context, place)
        return local_path(Uri(kind="local", text=text, path=uri.path), folder)
    if uri.kind == "asset":
        key = find_version(uri, context.data)
        if key is not None:
            return str(Path(context.root, context.data[key]))
        raise UserError(
            f"the workspace has no data asset '{text}'",
            place=place,
            allowed=listed(context.data, "data assets"),
            todo="give a local path, or a path in a datastore that is a local folder",
        )
    raise NotSupportedHere(
        f"'{text}' lies elsewhere, and this build reads and writes local folders only",
        place=place,
        allowed="a local path, azureml://datastores/<a datastore with a local folder>/paths/<path>",
        todo="copy the data to this machine and give its local path",
    )


def datastore_root(name: str, context: ResolveContext, place: Place) -> Path:
    if name in context.datastores:
        return context.datastores[name]
    raise NotSupportedHere(
        f"the datastore '{name}' is not mapped to a folder of this machine",
        place=place,
        allowed=listed(context.datastores, "datastores"),
        todo=did_you_mean(name, context.datastores) or "map it to a local folder in workspace.yml, or give a local path",
    )


def find_version(uri: Uri, known: Iterable[str]) -> str | None:
    """The key (`name:version` or `name`) of an asset; without a version or with `@latest`, the highest one."""
    versions = {key: key.partition(":")[2] for key in known if key.partition(":")[0] == uri.name}
    if uri.version is not None:
        return next((key for key, version in versions.items() if version == uri.version), None)
    if uri.label not in (None, "latest") or not versions:
        return None
    return max(versions, key=lambda key: [(int(part), "") if part.isdigit() else (-1, part) for part in re.split(r"[.-]", versions[key])])


def listed(names: Iterable[str], what: str) -> str:
    return ", ".join(sorted(names)) or f"(the workspace has no {what})"
