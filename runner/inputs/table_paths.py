"""Where the `paths` of an MLTable file lead, and what lies there when it is in blob storage."""

from __future__ import annotations

import os
import posixpath

from runner.errors import NotSupportedHere, UserError, did_you_mean
from runner.model.datastore import BlobStore
from runner.storage import addresses
from runner.storage.addresses import is_address
from runner.storage.datastores import path_below
from runner.storage.problems import BlobMissing
from runner.storage.stores import Stores
from runner.storage.uri import Uri


def locate(uri: Uri, folder: str, stores: Stores) -> str:
    """The absolute path or the address of what an MLTable file in `folder` names. Errors: UserError without a place."""
    if uri.kind in ("asset", "registry"):
        raise NotSupportedHere(f"'{uri.text}' is a data asset, and `paths` name files", todo="write the path of its data")
    if not uri.is_local:
        return _named(uri, stores)
    if not is_address(folder):
        return os.path.normpath(os.path.join(folder, uri.path))
    if uri.path.startswith("/"):
        raise UserError(
            f"'{uri.text}' is a path of a machine, and this MLTable file lies in blob storage",
            allowed="relative paths, azureml://datastores/…, https://…",
            todo="make it relative to the MLTable file",
        )
    container, inside = stores.at(folder)
    path = posixpath.normpath(posixpath.join(inside, uri.path))
    if path.split("/")[0] == "..":
        raise UserError(f"'{uri.text}' leads out of the container", todo="write fewer '..'")
    return container.address("" if path == "." else path)


def _named(uri: Uri, stores: Stores) -> str:
    """What is not relative: by the store that it lies in."""
    if ".." in uri.path.split("/"):
        raise UserError(f"'{uri.text}' has '..' in it, which could leave the container", todo="write the path without '..'")
    for store in stores.known:
        path = _path_in(uri, store)
        if path is not None:
            return addresses.join(store.root, path).rstrip("/")
    datastores = [store.name for store in stores.known if store.root == addresses.datastore_root(store.name)]
    raise UserError(
        f"'{uri.text}' lies in no store that this job knows",
        allowed=", ".join(sorted({store.name for store in stores.known})),
        todo=did_you_mean(uri.datastore, datastores) or "describe it as a datastore in workspace.yml",
    )


def _path_in(uri: Uri, store: BlobStore) -> str | None:
    """None for what lies elsewhere."""
    if uri.kind == "datastore":
        return uri.path if store.root == addresses.datastore_root(uri.datastore) else None
    if uri.kind == "blob" and (uri.account, uri.container) == (addresses.base_name(store.endpoint), store.container):
        return uri.path  # an emulator, whose URL ends in the account, stands in for it
    return path_below(uri, store.endpoint, store.container)


def is_there(location: str, stores: Stores) -> bool:
    """Whether a file or folder has that very name, whatever characters it has."""
    if not is_address(location):
        return os.path.lexists(location)
    container, path = stores.at(location)
    try:
        container.info(path)
    except BlobMissing:
        return container.holds(f"{path}/")
    return True
