"""What resolving a job needs to know of the workspace and the command line, and the way from a written path to where it leads."""

from __future__ import annotations

import os
import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from runner.errors import NotSupportedHere, Place, UserError, did_you_mean
from runner.model.datastore import DataAsset
from runner.model.docker import DockerPolicy
from runner.spec.blobs import Blobs
from runner.storage.addresses import is_address
from runner.storage.uri import Uri, local_path, parse_uri, without_query

DEFAULT_DATASTORE = "workspaceblobstore"


@dataclass(frozen=True, kw_only=True)
class ResolveContext:
    """`environments`, `data`, `models` and `components` hold what the workspace knows by name: keys are `name:version`, or `name` where
    there are no versions.
    """

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
    data: Mapping[str, DataAsset] = field(default_factory=dict)
    models: Mapping[str, DataAsset] = field(default_factory=dict)
    components: Mapping[str, Path] = field(default_factory=dict)  # the files that hold them
    blobs: Blobs = field(default_factory=Blobs)  # gathers the containers that the job uses
    identity: Mapping[str, object] | None = None  # of the job or step that is being read
    docker_policy: DockerPolicy = field(default_factory=DockerPolicy)  # its data roots include the datastores' folders
    local: bool = False  # --local
    python: bool = False  # --python: with --local, no environment is used
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


def locate(text: str, base: Path, context: ResolveContext, place: Place, *, model: bool = False) -> str:
    """The absolute local path of what the user wrote, or its address; NotSupportedHere for what cannot be reached."""
    return locate_data(text, base, context, place, model=model)[0]


def locate_data(text: str, base: Path, context: ResolveContext, place: Place, *, model: bool = False) -> tuple[str, str]:
    """The same, and the type that a data asset has; otherwise that is empty. `model`: a model is meant rather than data, should both
    have that name.
    """
    uri = parse_at(text, place)
    if uri.kind != "asset":
        return _locate(uri, base, context, place), ""
    asset = _asset(uri, context, place, model)
    named = parse_at(asset.path, place)
    if named.kind == "asset":
        raise UserError(f"the data asset '{text}' names another one, '{asset.path}'", place=place, todo="give it a path in workspace.yml")
    return _locate(named, context.root, context, place), asset.type


def _asset(uri: Uri, context: ResolveContext, place: Place, model: bool) -> DataAsset:
    for known in (context.models, context.data) if model else (context.data, context.models):
        key = find_version(uri, known)
        if key is not None:
            return known[key]
    what, create = ("model", "runner model create -f model.yml") if model else ("data asset", "runner data create -f data.yml")
    there = [*context.data, *context.models]
    raise UserError(
        f"the workspace has no {what} '{uri.text}'",
        place=place,
        allowed=listed(known_versions(uri, there), f"{what}s"),
        todo=did_you_mean(uri.name, names(there) - {uri.name})
        or f"register it: {create}; describe it below `data` in workspace.yml; or give its path",
    )


def locate_here(text: str, base: Path, context: ResolveContext, place: Place) -> str:
    """As `locate`, for what must be a file or folder of this machine."""
    path = locate(text, base, context, place)
    if is_address(path):
        raise NotSupportedHere(
            f"'{without_query(text)}' lies in blob storage", place=place, allowed="a path of this machine", todo="copy it to this machine"
        )
    return path


def _locate(uri: Uri, base: Path, context: ResolveContext, place: Place) -> str:
    if uri.kind == "local":
        return local_path(uri, base)
    if uri.kind == "datastore" and uri.datastore not in context.blobs.datastores:
        folder = datastore_root(uri.datastore, context, place)
        return local_path(Uri(kind="local", text=uri.text, path=uri.path), folder)
    if uri.kind == "registry":
        raise NotSupportedHere(
            f"'{uri.text}' lies in a registry, and this build has none",
            place=place,
            allowed="a local path, a path in a datastore, azureml:<name>:<version> of this workspace",
            todo="copy the data, and describe it below `data` in workspace.yml",
        )
    with at_place(place):
        return context.blobs.locate(uri, context.identity)


@contextmanager
def at_place(place: Place) -> Iterator[None]:
    """Gives errors of the block, which do not know it, their place."""
    try:
        yield
    except UserError as error:
        raise error if error.place else placed(error, place) from None


def datastore_root(name: str, context: ResolveContext, place: Place) -> Path:
    """The folder of a local datastore."""
    if name in context.datastores:
        return context.datastores[name]
    check_datastore(name, context, place)
    raise NotSupportedHere(
        f"the datastore '{name}' is in blob storage", place=place, allowed=listed(context.datastores, "datastores that are folders")
    )


def own_place(datastore: str, job: str, output: str, context: ResolveContext, place: Place) -> str:
    """Where an output without a path of its own lies, as on Azure."""
    path = f"azureml/{job}/{output}"
    if datastore in context.blobs.datastores:
        with at_place(place):
            uri = Uri(kind="datastore", text=f"azureml://datastores/{datastore}/paths/{path}", datastore=datastore, path=path)
            return context.blobs.locate(uri, context.identity)
    return os.path.join(datastore_root(datastore, context, place), path)


def check_datastore(name: str, context: ResolveContext, place: Place) -> None:
    """Errors: NotSupportedHere for one that the workspace does not have."""
    known = (*context.datastores, *context.blobs.datastores)
    if name in known:
        return
    raise NotSupportedHere(
        f"the workspace has no datastore '{name}'",
        place=place,
        allowed=listed(known, "datastores"),
        todo=did_you_mean(name, known) or "describe it below `datastores` in workspace.yml, or give a local path",
    )


def find_version(uri: Uri, known: Iterable[str]) -> str | None:
    """The key (`name:version` or `name`) of an asset; without a version or with `@latest`, the highest one."""
    versions = {key: key.partition(":")[2] for key in known if key.partition(":")[0] == uri.name}
    if uri.version is not None:
        return next((key for key, version in versions.items() if version == uri.version), None)
    if uri.label not in (None, "latest") or not versions:
        return None
    return max(versions, key=lambda key: version_order(versions[key]))


def latest_of(known: Iterable[str]) -> dict[str, str]:
    """Name → the key that is meant without a version."""
    found: dict[str, str] = {}
    for key in known:
        name, _, version = key.partition(":")
        if name not in found or version_order(found[name].partition(":")[2]) < version_order(version):
            found[name] = key
    return found


def version_order(version: str) -> list[tuple[int, str]]:
    """Sorts versions: by their numbers."""
    return [(int(part), "") if part.isdigit() else (-1, part) for part in re.split(r"[.-]", version)]


def names(keys: Iterable[str]) -> set[str]:
    return {key.partition(":")[0] for key in keys}


def known_versions(uri: Uri, keys: Iterable[str]) -> list[str]:
    """For messages: the versions of that name, or, where it has none, all that there is."""
    keys = list(keys)
    return [key for key in keys if key.partition(":")[0] == uri.name] or keys


def listed(names: Iterable[str], what: str) -> str:
    return ", ".join(sorted(names)) or f"(the workspace has no {what})"
