"""The datastores and data assets of a workspace, as `runner datastore` and `runner data` show them and copy from and to them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from runner.errors import Place, UserError, did_you_mean
from runner.spec.blobs import CHECK_SECONDS, Blobs
from runner.spec.context import ResolveContext, latest_of, locate
from runner.storage.addresses import base_name, is_address
from runner.storage.problems import StorageUnavailable
from runner.storage.stores import Stores
from runner.workspace.clusters import say_on_stderr
from runner.workspace.datastore_settings import AZURE_BLOB, open_secrets
from runner.workspace.listing import find
from runner.workspace.settings import LOCAL
from runner.workspace.transfer import SILENCE, Watch, is_single, target_of, transfer

if TYPE_CHECKING:
    from runner.model.datastore import DataAsset
    from runner.storage.blob import BlobContainer
    from runner.workspace.config import Workspace

Say = Callable[[str], None]


def list_datastores(workspace: Workspace) -> list[dict[str, object]]:
    """All, the folders first. Nothing is asked of the network."""
    return [_datastore(workspace, name) for name in _names(workspace)]


def describe_datastore(workspace: Workspace, name: str) -> dict[str, object]:
    """One by name; nothing is asked of the network. Errors: UserError for an unknown one."""
    _check_known(workspace, name)
    return _datastore(workspace, name)


def show_datastore(workspace: Workspace, name: str) -> tuple[dict[str, object], UserError | None]:
    """One by name, and why it cannot be reached, if so. Errors: UserError for an unknown one."""
    _check_known(workspace, name)
    refusal = _refusal(workspace, name)
    state = f"Unreachable: {refusal.problem}" if refusal else "Reachable"
    return _datastore(workspace, name) | {"address": f"azureml://datastores/{name}/paths/", "state": state}, refusal


def create_datastore(workspace: Workspace, name: str) -> bool:
    """Makes the container or folder that workspace.yml describes; False when it is there already. Errors: UserError."""
    _check_known(workspace, name)
    if name not in workspace.settings.blob_stores:
        folder = workspace.datastores[name]
        there = folder.is_dir()
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UserError(f"{folder} cannot be made: {error.strerror}", todo="make it by hand, or name another folder") from None
        return not there
    try:
        return _opened(workspace, name).create()
    except StorageUnavailable as error:
        raise _silent(error) from None


def _opened(workspace: Workspace, name: str) -> BlobContainer:
    """Its container, for somebody who is waiting."""
    opened = workspace.settings.blob_stores[name].open()
    container, _ = Stores([opened], say=say_on_stderr, patience=CHECK_SECONDS).at(opened.root)
    return container


def _place(workspace: Workspace, text: str, field: str, say: Say) -> tuple[str, Stores]:
    """The local path or address of what is written as in a job file, and what opens it. Errors: UserError."""
    blobs = Blobs(workspace.settings.blob_stores, say=say)
    context = ResolveContext(name="", root=workspace.root, datastores=workspace.datastores, data=workspace.data, blobs=blobs)
    path = locate(text, workspace.root, context, Place(field=field))
    return path, Stores(blobs.used, say=say, patience=SILENCE)


def _in_datastore(workspace: Workspace, name: str, path: str) -> str:
    """How a job file writes a path in a datastore. Errors: UserError for an unknown datastore."""
    _check_known(workspace, name)
    return f"azureml://datastores/{name}/paths/{path.lstrip('/')}"


def _warn_of_secrets(workspace: Workspace, say: Say) -> None:
    for text in open_secrets(workspace.root / "workspace.yml", workspace.settings.blob_stores.values()):
        say(f"Warning: {text}")


def upload(workspace: Workspace, name: str, source: Path, target: str, *, watch: Watch, say: Say = say_on_stderr) -> str:
    """Copies a file or folder of this machine into a datastore; returns where it now is. `target` is "" for its own name at the top."""
    _warn_of_secrets(workspace, say)
    written = target or source.absolute().name
    place, stores = _place(workspace, _in_datastore(workspace, name, written), "--target", say)
    into = written.endswith("/") and is_single(str(source), stores)
    place = target_of(str(source), place, into=into)
    transfer(str(source), place, stores, watch=watch)
    return place


def download(workspace: Workspace, name: str, source: str, target: Path | None, *, watch: Watch, say: Say = say_on_stderr) -> Path:
    """The other way; a file goes into `target` if that is a folder. Without one: by its own name into the current folder."""
    _warn_of_secrets(workspace, say)
    place, stores = _place(workspace, _in_datastore(workspace, name, source), "--source", say)
    return _fetch(place, stores, target, name, watch)


def upload_data(workspace: Workspace, name: str, version: str | None, source: Path, *, watch: Watch, say: Say = say_on_stderr) -> str:
    """Copies a file or folder of this machine to where a data asset lies."""
    _warn_of_secrets(workspace, say)
    key = _find(workspace, name, version)
    _check_chosen(workspace, key, name, version)
    place, stores = _place(workspace, f"azureml:{key}", "--name", say)
    single, kind = is_single(str(source), stores), workspace.data[key].type or "uri_folder"
    if single != (kind == "uri_file"):
        what = "a file" if single else "a folder"
        raise UserError(f"{source} is {what}, and the data asset {key} is of type {kind}", place=Place(field="--source"))
    transfer(str(source), place, stores, watch=watch)
    return place


def _check_chosen(workspace: Workspace, key: str, name: str, version: str | None) -> None:
    """Errors: UserError where one version of several would be replaced that nobody has named."""
    own = key.partition(":")[0]
    versions = [each for each in workspace.data if each.partition(":")[0] == own]
    if len(versions) > 1 and not version and name.removeprefix("azureml:") == own:
        raise UserError(
            f"the data asset {own} has several versions", allowed=", ".join(versions), todo=f"name the one to replace: {versions[-1]}"
        )


def download_data(
    workspace: Workspace, name: str, version: str | None, target: Path | None, *, watch: Watch, say: Say = say_on_stderr
) -> Path:
    """Copies a data asset to this machine."""
    _warn_of_secrets(workspace, say)
    place, stores = _place(workspace, f"azureml:{_find(workspace, name, version)}", "--name", say)
    return _fetch(place, stores, target, name.partition(":")[0], watch)


def _fetch(place: str, stores: Stores, target: Path | None, name: str, watch: Watch) -> Path:
    """`name`: of the datastore or asset, for the whole of it."""
    own = base_name(place) if not is_address(place) or stores.at(place)[1] else name
    into = target is not None and target.is_dir() and is_single(place, stores)
    goal = Path(own) if target is None else target / own if into else target
    transfer(place, str(goal), stores, watch=watch)
    return goal


def list_data(workspace: Workspace, name: str | None = None) -> list[dict[str, object]]:
    """All versions of all data assets, or of one. Errors: UserError for an unknown one."""
    if name is not None:
        _find(workspace, name, None)
    known = workspace.data
    latest = latest_of(known)
    return [_asset(known, latest, key) for key in known if name in (None, key.partition(":")[0])]


def show_data(workspace: Workspace, name: str, version: str | None) -> dict[str, object]:
    """One version: the latest where none is named, here or as `name:version`."""
    known = workspace.data
    return _asset(known, latest_of(known), _find(workspace, name, version))


def _names(workspace: Workspace) -> list[str]:
    return [*workspace.datastores, *workspace.settings.blob_stores]


def _check_known(workspace: Workspace, name: str) -> None:
    known = _names(workspace)
    if name not in known:
        raise UserError(f"there is no datastore {name!r}", allowed=", ".join(known), todo=did_you_mean(name, known))


def _datastore(workspace: Workspace, name: str) -> dict[str, object]:
    """The same fields for every kind; what does not apply is None."""
    store = workspace.settings.blob_stores.get(name)
    fields: dict[str, object] = {"name": name, "type": LOCAL if store is None else AZURE_BLOB}
    fields["default"] = name == workspace.settings.default_datastore
    if store is None:
        shared = name in workspace.settings.shared
        more = {"account_name": None, "container_name": None, "endpoint": None, "credentials": None}
        return fields | {"path": str(workspace.datastores[name]), "shared": shared} | more
    try:
        account, url = store.where()
    except UserError as error:
        account, url = store.account, f"unknown: {error.problem}"
    return fields | {
        "path": None,
        "shared": None,
        "account_name": account,
        "container_name": store.container,
        "endpoint": url,
        "credentials": store.describe(),
    }


def _silent(error: StorageUnavailable) -> UserError:
    return UserError(error.strerror or str(error), todo="check the endpoint, and the network of this machine")


def _refusal(workspace: Workspace, name: str) -> UserError | None:
    """Why it cannot be reached."""
    if name not in workspace.settings.blob_stores:
        folder = workspace.datastores[name]
        missing = UserError("there is no such folder (yet)", todo=f"make it: runner datastore create {name}")
        return None if folder.is_dir() else missing
    try:
        _opened(workspace, name).holds("")
    except UserError as error:
        return error
    except StorageUnavailable as error:
        return _silent(error)
    return None


def _find(workspace: Workspace, name: str, version: str | None) -> str:
    """The key of a version of a data asset."""
    return find(workspace, "data", f"{name}:{version}" if version else name)


def _asset(known: Mapping[str, DataAsset], latest: Mapping[str, str], key: str) -> dict[str, object]:
    name, _, version = key.partition(":")
    entry = known[key]
    return {
        "name": name,
        "version": version,
        "type": entry.type or "uri_folder",
        "path": entry.path,
        "latest": latest[name] == key,
        "description": entry.description,
    }
