"""Where the assets of a workspace that are registered lie: one YAML file for each name and version, beside it what was kept with it.

    assets/components/NAME:VERSION.yml     as Azure's own file of such an asset, with absolute paths
    assets/content/RANDOM/…                code, conda files, build contexts, as they were when they were registered

A file appears by a link to its final name: two processes never overwrite one another. Where several users share the workspace, each can
register, and nobody can change what another one has.
"""

from __future__ import annotations

import contextlib
import os
import secrets
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeVar

from runner.errors import UserError
from runner.model.datastore import DataAsset

Kind = Literal["component", "data", "environment", "model"]
Plain = dict[str, Any]
T = TypeVar("T")

_FOLDERS: Mapping[str, str] = {"component": "components", "data": "data", "environment": "environments", "model": "models"}
_OF_ENVIRONMENT = ("image", "conda_file", "build", "os_type")  # what a job takes from it


@dataclass(frozen=True, kw_only=True)
class AssetFiles:
    """Of one workspace. Nothing is made before the first registration."""

    root: Path

    def files(self, kind: Kind) -> dict[str, Path]:
        """By `name:version`."""
        try:
            found = sorted(self._folder(kind).glob("[!.]*.yml"))
        except OSError:
            return {}
        return {path.name.removesuffix(".yml"): path for path in found}

    def since(self, kind: Kind, key: str) -> float | None:
        """When it was registered, in seconds since 1970; None for what was not."""
        try:
            return (self._folder(kind) / f"{key}.yml").stat().st_mtime
        except OSError:
            return None

    def read(self, kind: Kind, key: str) -> Plain:
        return _read(self._folder(kind) / f"{key}.yml")

    def publish(self, kind: Kind, key: str, asset: Mapping[str, Any]) -> bool:
        """Whether the asset has got this name; it has not where there is one already."""
        with self._draft(kind, asset) as draft:
            try:
                (self._folder(kind) / f"{key}.yml").hardlink_to(draft)
            except FileExistsError:
                return False
        return True

    def rewrite(self, kind: Kind, key: str, asset: Mapping[str, Any]) -> None:
        """Puts another text in the place of one that is there: its description, for example, has changed."""
        with self._draft(kind, asset) as draft:
            draft.replace(self._folder(kind) / f"{key}.yml")

    def content(self) -> Path:
        """A new, empty folder for what is kept."""
        folder = self.root / "content" / secrets.token_hex(8)
        folder.mkdir(parents=True)
        return folder

    def make(self, make_for_all: Callable[[Path], None] | None) -> None:
        """The folders; `make_for_all` where several users have theirs in them."""
        for folder in (self.root, self.root / "content", *(self.root / name for name in _FOLDERS.values())):
            if make_for_all:
                make_for_all(folder)
            else:
                folder.mkdir(parents=True, exist_ok=True)

    @contextlib.contextmanager
    def _draft(self, kind: Kind, asset: Mapping[str, Any]) -> Iterator[Path]:
        import yaml

        draft = self._folder(kind) / f".{secrets.token_hex(8)}"
        try:
            with draft.open("x", encoding="utf-8") as file:
                yaml.safe_dump(dict(asset), file, sort_keys=False, allow_unicode=True)
                file.flush()
                os.fsync(file.fileno())
            yield draft
        except OSError as error:
            if isinstance(error, FileExistsError):
                raise
            raise UserError(f"{error.filename or draft} cannot be written: {error.strerror}") from None
        finally:
            draft.unlink(missing_ok=True)

    def _folder(self, kind: Kind) -> Path:
        return self.root / _FOLDERS[kind]


class Known(Mapping[str, T]):
    """All assets of a kind by `name:version`: those that workspace.yml describes, and the registered ones, read when they are used."""

    def __init__(self, described: Mapping[str, T], files: Mapping[str, Path], make: Callable[[Plain], T]) -> None:
        self._described, self._files, self._make = described, files, make

    def __getitem__(self, key: str) -> T:
        return self._described[key] if key in self._described else self._make(_read(self._files[key]))

    def __iter__(self) -> Iterator[str]:
        return iter(dict.fromkeys((*self._described, *self._files)))

    def __len__(self) -> int:
        return len({*self._described, *self._files})

    def __contains__(self, key: object) -> bool:
        return key in self._described or key in self._files


def as_data(asset: Plain) -> DataAsset:
    return DataAsset(path=asset["path"], type=asset.get("type", ""), description=asset.get("description") or "")


def as_environment(asset: Plain) -> Mapping[str, object]:
    return {key: asset[key] for key in _OF_ENVIRONMENT if asset.get(key) is not None}


def next_version(name: str, keys: Iterable[str]) -> str:
    """As on Azure: 1, 2, 3, …"""
    numbers = [int(version) for own, _, version in (key.partition(":") for key in keys) if own == name and version.isdigit()]
    return str(max(numbers, default=0) + 1)


def _read(file: Path) -> Plain:
    from runner.spec.yaml_source import read_yaml

    plain = read_yaml(file).plain()
    if not isinstance(plain, dict):
        raise UserError(f"{file} is no asset: somebody has changed it", todo="remove the file, and register the asset again")
    return plain
