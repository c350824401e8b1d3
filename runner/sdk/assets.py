"""Environments, data and models as Python objects. Azure's names and keywords."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from typing import Any, ClassVar

from runner.sdk.record import Record, Registered, coerced, refuse_unknown

PathLike = str | os.PathLike[str]


class BuildContext(Record):
    """`environment.build`: a folder with a Dockerfile."""

    _FIELDS = ("path", "dockerfile_path")

    def __init__(self, *, dockerfile_path: str | None = None, path: PathLike | None = None) -> None:
        self.dockerfile_path = dockerfile_path
        self.path = path


class Asset(Record, Registered):
    """What has a name and a version."""

    _EMPTY = frozenset(("tags", "properties"))

    def _reference(self) -> str:
        """How a job refers to it in its workspace."""
        return f"azureml:{self.name}:{self.version}" if self.version is not None else f"azureml:{self.name}@latest"


class Environment(Asset):
    """`task.environment`: an image, a conda file (a path or its content), or a folder to build the image from."""

    _FIELDS = ("name", "version", "description", "image", "conda_file", "build", "tags", "properties", "datastore", "os_type")
    _COERCE: ClassVar[Mapping[str, Callable[[Any], Any]]] = {"build": coerced(BuildContext)}

    def __init__(
        self,
        *,
        name: str | None = None,
        version: str | None = None,
        description: str | None = None,
        image: str | None = None,
        build: BuildContext | Mapping[str, Any] | None = None,
        conda_file: PathLike | Mapping[str, Any] | None = None,
        tags: Mapping[str, str] | None = None,
        properties: Mapping[str, str] | None = None,
        datastore: str | None = None,
        **kwargs: Any,
    ) -> None:
        self.os_type = kwargs.pop("os_type", None)
        refuse_unknown("Environment", kwargs, self._FIELDS)
        self.name, self.version, self.description = name, version, description
        self.image, self.build, self.conda_file, self.datastore = image, build, conda_file, datastore
        self.tags, self.properties = dict(tags or {}), dict(properties or {})

    def _as_setting(self) -> dict[str, Any] | str:
        """For `task.environment`: one without content is one of the workspace, by its name."""
        named = self.name and self.image is None and self.build is None and self.conda_file is None
        return self._reference() if named else self._to_mapping()


class Data(Asset):
    """A data asset; as an input it stands for its path, or for the asset of its name in the workspace."""

    _FIELDS = ("name", "version", "description", "tags", "properties", "path", "type", "datastore")

    def __init__(
        self,
        *,
        name: str | None = None,
        version: str | None = None,
        description: str | None = None,
        tags: Mapping[str, str] | None = None,
        properties: Mapping[str, str] | None = None,
        path: PathLike | None = None,
        type: str = "uri_folder",  # noqa: A002 — Azure's name
        **kwargs: Any,
    ) -> None:
        self.datastore = kwargs.pop("datastore", None)
        refuse_unknown("Data", kwargs, self._FIELDS)
        self.name, self.version, self.description, self.type = name, version, description, type
        self.path = path
        self.tags, self.properties = dict(tags or {}), dict(properties or {})


class Model(Asset):
    """A model; as an input or `task.model` it stands for its path, or for the model of its name in the workspace."""

    _FIELDS = ("name", "version", "type", "path", "utc_time_created", "flavors", "description", "tags", "properties", "stage", "datastore")

    def __init__(
        self,
        *,
        name: str | None = None,
        version: str | None = None,
        type: str | None = None,  # noqa: A002 — Azure's name
        path: PathLike | None = None,
        utc_time_created: str | None = None,
        flavors: Mapping[str, Any] | None = None,
        description: str | None = None,
        tags: Mapping[str, str] | None = None,
        properties: Mapping[str, str] | None = None,
        stage: str | None = None,
        **kwargs: Any,
    ) -> None:
        self.datastore = kwargs.pop("datastore", None)
        refuse_unknown("Model", kwargs, self._FIELDS)
        self.name, self.version, self.type, self.path = name, version, type or "custom_model", path
        self.utc_time_created, self.flavors, self.stage = utc_time_created, flavors, stage
        self.description, self.tags, self.properties = description, dict(tags or {}), dict(properties or {})


def location(asset: Data | Model) -> str:
    """Where a job finds the asset: its path, or else its name in the workspace."""
    return os.fspath(asset.path) if asset.path is not None else asset._reference()
