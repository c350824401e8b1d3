"""What `workspace.yml` says.

    datastores:        {name: {type: local, path: folder, shared: true}}
    default_datastore: name
    computes:          {name: {type: local}}
    default_compute:   name
    environments:      {name: {version: {image: …, conda_file: …, build: {path: …, dockerfile_path: …}}}}
    mlflow:            {tracking_uri: http://server:5000}
    defaults:          {free_space_floor: 512MB, max_snapshot: 300MB}
    docker, instance_types: see docker_settings.py; computes of type ray, quotas, administrators: see cluster_settings.py;
    datastores of type azure_blob, data: see datastore_settings.py

A datastore is `shared` if all machines of a cluster, and those that submit to it, have it at the same path.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

from runner.errors import UserError, UserErrors, did_you_mean
from runner.model.cluster import Quotas, RayCompute
from runner.model.datastore import DataAsset
from runner.model.docker import DockerSettings, InstanceType
from runner.storage.datastores import BlobDatastore
from runner.workspace.cluster_settings import RAY, ClusterReading
from runner.workspace.datastore_settings import AZURE_BLOB, DatastoreReading
from runner.workspace.docker_settings import DockerReading
from runner.workspace.units import parse_size

if TYPE_CHECKING:
    from runner.spec.yaml_source import Node

DEFAULT_DATASTORE = "workspaceblobstore"  # Azure's name for it
LOCAL = "local"
NO_FOLDERS = ("databricks", "databricks-uc", "uc")  # MLflow's words for a service
_KNOWN = (
    *("datastores", "default_datastore", "computes", "default_compute", "environments", "docker", "instance_types"),
    *("quotas", "administrators", "defaults", "data", "mlflow"),
)
_STORE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]*")


@dataclass(frozen=True, kw_only=True)
class EnvironmentEntry:
    """A version of a named environment; paths are absolute."""

    image: str | None = None
    conda_file: Path | None = None
    build_context: Path | None = None
    dockerfile: str | None = None


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What `workspace.yml` says, or what holds without it. `datastores` and `computes` do not repeat the built-in ones."""

    datastores: Mapping[str, Path] = field(default_factory=dict)  # those that are folders
    blob_stores: Mapping[str, BlobDatastore] = field(default_factory=dict)  # those of type azure_blob
    data: Mapping[str, Mapping[str, DataAsset]] = field(default_factory=dict)  # data assets: name → version → entry
    shared: frozenset[str] = frozenset()  # names of datastores
    default_datastore: str = DEFAULT_DATASTORE
    computes: Mapping[str, str] = field(default_factory=dict)  # name → type
    ray_computes: Mapping[str, RayCompute] = field(default_factory=dict)  # those of type ray
    default_compute: str = LOCAL
    environments: Mapping[str, Mapping[str, EnvironmentEntry]] = field(default_factory=dict)
    docker: DockerSettings = field(default_factory=DockerSettings)
    instance_types: Mapping[str, InstanceType] = field(default_factory=dict)
    quotas: Quotas = field(default_factory=Quotas)
    administrators: str | None = None  # a group of users
    tracking_uri: str = ""  # of MLflow: a server, or a folder as a file: address
    free_space_floor: int = 512 * 1024 * 1024  # bytes that must be free before a job starts
    max_snapshot: int = 300 * 1024 * 1024  # bytes of a code folder, as on Azure

    @property
    def secret_variables(self) -> frozenset[str]:
        """The environment variables that credentials and tokens are read from: no script is to see them."""
        named = (*(store.secret.env for store in self.blob_stores.values()), *(one.token_env for one in self.ray_computes.values()))
        return frozenset(name for name in named if name)


def read_settings(file: Path) -> Settings:
    """The settings in a `workspace.yml`; the defaults if there is no such file. Mistakes are `UserError`s with file:line."""
    if not file.is_file():
        return Settings()
    if not file.read_bytes().strip():
        return Settings()
    from runner.spec.yaml_source import read_yaml  # only where there is something to read

    return _Reading().settings(read_yaml(file))


class _Reading:
    def __init__(self) -> None:
        self._errors: list[UserError] = []

    def settings(self, root: Node) -> Settings:
        self._check(root, ("$schema", *_KNOWN))
        named = self._named(root, "datastores")
        blob_nodes = {name: node for name, node in named if node.is_mapping and self._type(node, LOCAL, AZURE_BLOB) == AZURE_BLOB}
        datastores = {name: self._datastore(node) for name, node in named if name not in blob_nodes}
        remote = DatastoreReading(self._errors)
        blob_stores = {name: remote.blob(name, node) for name, node in blob_nodes.items()}
        self._check_names(blob_nodes)
        shared = frozenset(name for name, node in named if name in datastores and self._shared(node))
        computes = {name: self._compute(node) for name, node in self._named(root, "computes")}
        cluster = ClusterReading(self._errors)
        clusters = {name: cluster.compute(name, node) for name, node in self._named(root, "computes") if computes[name] == RAY}
        environments = {
            name: {version: self._environment(entry) for version, entry in self._entries(node)}
            for name, node in self._named(root, "environments")
        }
        containers = DockerReading(self._errors)
        defaults = root.get("defaults")
        if defaults:
            self._check(defaults, ("free_space_floor", "max_snapshot"))
        settings = Settings(
            datastores=datastores,
            blob_stores=blob_stores,
            data={name: self._versions(node, remote) for name, node in self._named(root, "data")},
            shared=shared,
            default_datastore=self._choice(root, "default_datastore", DEFAULT_DATASTORE, {**datastores, **blob_stores}),
            computes=computes,
            ray_computes=clusters,
            default_compute=self._choice(root, "default_compute", LOCAL, computes),
            environments=environments,
            docker=containers.docker(root.get("docker")),
            instance_types={name: containers.instance_type(node) for name, node in self._named(root, "instance_types")},
            quotas=cluster.quotas(root.get("quotas")),
            administrators=cluster.administrators(root.get("administrators")),
            tracking_uri=self._tracking_uri(root.get("mlflow")),
            free_space_floor=self._size(defaults, "free_space_floor", Settings.free_space_floor),
            max_snapshot=self._size(defaults, "max_snapshot", Settings.max_snapshot),
        )
        self._check_clusters(root, settings)
        if self._errors:
            raise self._errors[0] if len(self._errors) == 1 else UserErrors(self._errors)
        return settings

    def _error(self, problem: str, node: Node, allowed: str = "", todo: str = "") -> None:
        self._errors.append(UserError(problem, place=node.place, allowed=allowed, todo=todo))

    def _check(self, node: Node, known: tuple[str, ...]) -> None:
        if not node.is_mapping:
            self._error(f"must be a mapping, not {node.kind}", node)
        for key, child in node.entries.items():
            if key not in known:
                self._error(f"unknown key '{key}'", child, ", ".join(known), did_you_mean(key, known))

    def _entries(self, node: Node) -> list[tuple[str, Node]]:
        if not node.is_mapping and not node.is_unset:
            self._error(f"must be a mapping, not {node.kind}", node)
        return list(node.entries.items())

    def _named(self, root: Node, key: str) -> list[tuple[str, Node]]:
        node = root.get(key)
        return self._entries(node) if node else []

    def _text(self, node: Node, key: str, *, required: bool = False) -> str | None:
        child = node.get(key)
        if child is None:
            if required:
                self._error(f"`{key}` is missing", node)
            return None
        if child.is_mapping or child.is_list:
            self._error(f"must be one value, not {child.kind}", child)
            return None
        return child.text

    def _path(self, node: Node, key: str, *, required: bool = False) -> Path | None:
        text = self._text(node, key, required=required)
        return None if text is None else node.base / Path(text).expanduser()

    def _type(self, node: Node, *known: str) -> str:
        kind = self._text(node, "type") or LOCAL
        if kind not in known:
            near = did_you_mean(kind, known)
            self._error(f"the type '{kind}' is not supported by this version", node.get("type") or node, ", ".join(known), near)
        return kind

    def _datastore(self, node: Node) -> Path:
        self._check(node, ("type", "path", "shared", "description"))
        return self._path(node, "path", required=True) or node.base

    def _check_names(self, nodes: Mapping[str, Node]) -> None:
        """Those of datastores in blob storage stand in addresses."""
        for name, node in nodes.items():
            if name == DEFAULT_DATASTORE:
                self._error(f"'{name}' is always a folder of this machine", node, todo="give the datastore another name")
            elif not _STORE_NAME.fullmatch(name):
                self._error(f"'{name}' is not a name of a datastore", node, "letters, digits, _ and -")

    def _versions(self, node: Node, reading: DatastoreReading) -> dict[str, DataAsset]:
        found = {}
        for version, entry in self._entries(node):
            reading.version(version, entry)
            found[version] = reading.data(entry)
        return found

    def _shared(self, node: Node) -> bool:
        written, path = node.get("shared"), node.get("path")
        if written is None:
            return False
        if not isinstance(written.value, bool):
            self._error(f"must be true or false, not {written.kind}", written)
        elif written.value and path and not path.is_mapping and not path.is_list and not Path(path.text).is_absolute():
            todo = "write the path at which every machine of the cluster has this folder"
            self._error(f"the path of a shared datastore must be absolute, not '{path.text}'", path, todo=todo)
        return written.value is True

    def _compute(self, node: Node) -> str:
        if not node.is_mapping or self._type(node, LOCAL, RAY) != RAY:
            self._check(node, ("type", "description"))
            return LOCAL
        return RAY

    def _check_clusters(self, root: Node, settings: Settings) -> None:
        """A cluster finds jobs by their folders: they must lie where all of its machines see them."""
        for name, node in self._named(root, "computes"):
            if name in settings.ray_computes and name == LOCAL:
                self._error("'local' is always this machine", node, todo="give the cluster another name")
            elif name in settings.ray_computes and settings.default_datastore not in settings.shared:
                todo = "mark it, or another one and make that the default: datastores: {NAME: {path: /srv/runner/data, shared: true}}, "
                todo += "default_datastore: NAME; every machine of the cluster must have the folder at that path"
                is_not = "is in blob storage" if settings.default_datastore in settings.blob_stores else "is not"
                self._error(
                    f"the compute '{name}' needs a default datastore that is shared, and '{settings.default_datastore}' {is_not}",
                    node,
                    todo=todo,
                )

    def _environment(self, node: Node) -> EnvironmentEntry:
        self._check(node, ("image", "conda_file", "build", "description"))
        build = node.get("build")
        if build:
            self._check(build, ("path", "dockerfile_path"))
        return EnvironmentEntry(
            image=self._text(node, "image"),
            conda_file=self._path(node, "conda_file"),
            build_context=self._path(build, "path", required=True) if build else None,
            dockerfile=self._text(build, "dockerfile_path") if build else None,
        )

    def _tracking_uri(self, node: Node | None) -> str:
        """No message quotes it: it may have a password."""
        if node is None:
            return ""
        self._check(node, ("tracking_uri",))
        text, place = (self._text(node, "tracking_uri", required=True) or "").strip(), node.get("tracking_uri") or node
        scheme, colon, rest = text.partition(":")
        if (not colon and text not in NO_FOLDERS) or (scheme == "file" and not rest.startswith("/")):
            folder = unquote(rest) if colon else text
            return (node.base / Path(folder).expanduser()).absolute().as_uri() if folder else ""
        allowed = "http(s)://… of a tracking server, or a folder: a path, or file:///…"
        if scheme not in ("http", "https", "file"):
            todo = "let a server have it, `mlflow server --backend-store-uri …`, and write that server's address here"
            self._error(f"runs of MLflow cannot be kept at an address of the kind {scheme}:", place, allowed, todo)
        elif not rest.lstrip("/"):
            self._error("this is no address", place, allowed)
        elif scheme == "file" and urlsplit(text).netloc not in ("", "localhost"):
            self._error("this is a folder of another machine", place, allowed, "write file:///… with three strokes")
        return text

    def _choice(self, root: Node, key: str, default: str, named: Mapping[str, object]) -> str:
        name = self._text(root, key) or default
        name = name.removeprefix("azureml:")
        if name != default and name not in named:
            known = [default, *named]
            self._error(f"'{name}' is not known here", root.get(key) or root, ", ".join(known), did_you_mean(name, known))
        return name

    def _size(self, defaults: Node | None, key: str, default: int) -> int:
        node = defaults.get(key) if defaults else None
        if node is None:
            return default
        try:
            return parse_size(node.text, node.place)
        except UserError as error:
            self._errors.append(error)
            return default
