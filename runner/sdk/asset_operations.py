"""`MLClient.components`, `.data`, `.environments`, `.models`: what is registered in the workspace under a name and a version."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from runner.errors import UserError, did_you_mean
from runner.sdk.assets import Data, Environment, Model
from runner.sdk.foreign import foreign_asset, is_foreign
from runner.sdk.function_component import is_pipeline_function, mapping_of_function
from runner.sdk.loading import component_of
from runner.sdk.record import UnknownNameError, not_found, refuse_unknown
from runner.sdk.step import Component
from runner.sdk.submitted import CreationContext

if TYPE_CHECKING:
    from runner.workspace.assets import Kind, Plain
    from runner.workspace.config import Workspace

Find = Callable[[], "Workspace"]
Entity = Component | Data | Environment | Model


class AssetOperations:
    """Of one kind of asset. `find` gives the workspace as it is now."""

    _KIND: ClassVar[Kind]
    _CLASS: ClassVar[type[Any]]
    _ABSENT: ClassVar[tuple[str, ...]] = ("archive", "restore")
    _NEEDS_VERSION = True  # or else `get` without one means the latest, as on Azure

    def __init__(self, find: Find) -> None:
        self._find = find

    def create_or_update(self, entity: Any = None, version: str | None = None, **kwargs: Any) -> Any:
        """Registers it and returns it with its version: the next number where it has none. Errors: `UserError` for one that is there
        already with another content; its description and tags may change. `skip_if_no_change=True`: the latest version, if that is the
        same.
        """
        entity = kwargs.pop(self._KIND, entity)
        refuse_unknown("create_or_update", kwargs, (self._KIND, "version", "skip_validation", "skip_if_no_change"))
        from runner.spec.python_source import from_python
        from runner.workspace.registration import register

        if kwargs.get("skip_validation"):
            warnings.warn("skip_validation has no effect: what is registered is checked", stacklevel=2)
        mapping, base = self._mapping(entity)
        if version is not None:
            mapping["version"] = version
        key, asset = register(
            self._find(),
            self._KIND,
            from_python(mapping, base=base),
            skip_if_no_change=bool(kwargs.get("skip_if_no_change")),
        )
        return self._entity(key, asset, self._latest(key))

    def get(self, name: str, version: str | None = None, label: str | None = None) -> Any:
        """One version; `label="latest"`: the highest. Errors: a `UserError` that lists the known ones; it is Azure's
        `ResourceNotFoundError` as well, where the script has imported that.
        """
        if version is not None and label is not None:
            raise UserError("version and label exclude each other", todo="give one of them")
        if self._NEEDS_VERSION and version is None and label is None:
            raise UserError(f"the version of {self._KIND} '{name}' is not named", todo='give version="1", say, or label="latest"')
        from runner.workspace.listing import find, load

        workspace = self._find()
        reference = f"{name}@{label}" if label is not None else f"{name}:{version}" if version is not None else name
        try:
            key = find(workspace, self._KIND, reference)
        except UserError as error:
            raise not_found(error) from None
        return self._entity(key, load(workspace, self._KIND, key), self._latest(key))

    def list(self, name: str | None = None, **kwargs: Any) -> Iterable[Any]:
        """The versions of that name, the latest first; without a name one entry for each, with its `latest_version`."""
        refuse_unknown("list", kwargs, ("stage", "list_view_type", "max_results"))
        from runner.workspace.listing import keys, load

        view = kwargs.get("list_view_type")
        if view is not None and str(getattr(view, "value", view)) == "ArchivedOnly":
            return iter(())
        workspace = self._find()
        found, own = [], keys(workspace, self._KIND, name)
        for key in own[: kwargs.get("max_results")]:
            latest = key if name is None else own[0]
            entity = self._entity(key, load(workspace, self._KIND, key), latest.partition(":")[2])
            if name is None:
                entity.version = None
            found.append(entity)
        return iter(found)

    def _latest(self, key: str) -> str:
        from runner.workspace.listing import keys

        return keys(self._find(), self._KIND, key.partition(":")[0])[0].partition(":")[2]

    def _mapping(self, entity: Any) -> tuple[dict[str, Any], Path]:
        if self._KIND == "component" and is_pipeline_function(entity):
            return mapping_of_function(entity), Path.cwd()
        if is_foreign(entity) and kind_of_entity(entity) == self._KIND:
            return foreign_asset(entity)
        if isinstance(entity, Mapping) and not isinstance(entity, self._CLASS):
            return dict(entity), Path.cwd()
        if not isinstance(entity, self._CLASS):
            raise UserError(
                f"an object of type {type(entity).__qualname__} cannot be registered here",
                allowed=f"{self._CLASS.__name__}, or what load_{self._KIND} gives",
            )
        return entity._to_mapping(), Path.cwd()

    def _entity(self, key: str, asset: Plain, latest: str) -> Any:
        name, _, version = key.partition(":")
        entity = self._made({**asset, "name": name, "version": version})
        moment = self._find().assets.since(self._KIND, key)
        made = datetime.fromtimestamp(moment, tz=timezone.utc) if moment else None
        entity._now_known(CreationContext(created_at=made), latest)
        return entity

    def _made(self, asset: Plain) -> Any:
        known = self._CLASS._FIELDS
        return self._CLASS(**{key: value for key, value in asset.items() if key in known})

    def __getattr__(self, name: str) -> Any:
        if name in self._ABSENT:
            raise UnknownNameError(f"{type(self).__name__}.{name} is not available in this release of runner")
        known = ("create_or_update", "get", "list")
        raise UnknownNameError(f"{type(self).__name__} has no attribute `{name}`", todo=did_you_mean(name, known))


class ComponentOperations(AssetOperations):
    """`MLClient.components`."""

    _KIND = "component"
    _CLASS = Component
    _ABSENT = ("archive", "restore", "download", "prepare_for_sign", "validate")
    _NEEDS_VERSION = False

    def _made(self, asset: Plain) -> Any:
        return component_of(asset)


class DataOperations(AssetOperations):
    """`MLClient.data`."""

    _KIND = "data"
    _CLASS = Data
    _ABSENT = ("archive", "restore", "import_data", "list_materialization_status", "mount", "share")


class EnvironmentOperations(AssetOperations):
    """`MLClient.environments`."""

    _KIND = "environment"
    _CLASS = Environment
    _ABSENT = ("archive", "restore", "share")


class ModelOperations(AssetOperations):
    """`MLClient.models`."""

    _KIND = "model"
    _CLASS = Model
    _ABSENT = ("archive", "restore", "download", "package", "share")


def kind_of_entity(entity: object) -> Kind | None:
    """What kind of asset an object of ours or of the real package is; None where it is none."""
    names = [cls.__name__ for cls in type(entity).__mro__]
    kinds: tuple[tuple[str, Kind], ...] = (
        ("Component", "component"),
        ("Data", "data"),
        ("Environment", "environment"),
        ("Model", "model"),
    )
    if is_pipeline_function(entity):
        return "component"
    known = isinstance(entity, Entity) or is_foreign(entity)
    return next((kind for name, kind in kinds if name in names), None) if known else None
