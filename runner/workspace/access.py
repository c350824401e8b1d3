"""How the processes of a job get in to the containers of blobs that it uses.

Two files of the job's folder: `access.json` has the credentials, is for the job's user alone, and goes when the job has ended;
`stores.json` has the same without any secret, and stays, so that a job that goes on can be given its credentials anew.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from runner.errors import UserError
from runner.model.datastore import BlobStore, Credential
from runner.model.paths import JobPaths
from runner.storage import addresses
from runner.storage.datastores import without_secret
from runner.storage.patience import PATIENCE
from runner.storage.stores import Stores
from runner.workspace.locks import take_lock
from runner.workspace.records import read_json, write_json

if TYPE_CHECKING:
    from runner.workspace.config import Workspace

PRIVATE = 0o600
_OF_JOBS = ("managed_identity", "default")  # credentials that a job's identity chooses, and that have no secret


def write_access(paths: JobPaths, stores: Iterable[BlobStore]) -> None:
    """Nothing is written for a job that uses none."""
    used = list(stores)
    if used:
        write_json(paths.access, {"stores": [store.to_json() for store in used]}, mode=PRIVATE)
        write_json(paths.stores, {"stores": [without_secret(store).to_json() for store in used]})


def read_access(paths: JobPaths, *, say: Callable[[str], None] = lambda _text: None, over: Callable[[str], None] | None = None) -> Stores:
    """What the job's processes open addresses with. `say`, `over`: as those of `Stores`."""
    return Stores(_read(paths), say=say, over=over)


def drop_access(paths: JobPaths) -> None:
    """The job has ended."""
    with contextlib.suppress(OSError):
        paths.access.unlink(missing_ok=True)


def drop_left_access(paths: JobPaths, workspace: Workspace) -> None:
    """What the owner of a job has left that was killed: all that `renew_access` can do without. Nothing if the job goes on meanwhile."""
    with contextlib.suppress(OSError, ValueError, TypeError, KeyError):
        if paths.access.stat().st_uid != os.geteuid():
            return
        found = _read(paths)
        known = {store.root: store for store in _stores(read_json(paths.stores))}
        needed = [store for store in found if store.root not in known or not _is_to_be_had(known[store.root], workspace)]
        lock = take_lock(paths.lock) if needed != found else None
        if lock is None:
            return
        try:
            if needed:
                write_json(paths.access, {"stores": [store.to_json() for store in needed]}, mode=PRIVATE)
            else:
                drop_access(paths)
        finally:
            lock.release()


def _is_to_be_had(store: BlobStore, workspace: Workspace) -> bool:
    try:
        fresh_store(store, workspace)
    except UserError:
        return False
    return True


def renew_access(paths: JobPaths, workspace: Workspace) -> None:
    """Gives a job that is to go on its credentials anew, as the workspace has them now. Errors: UserError for what is not to be had."""
    known = _stores(read_json(paths.stores))
    if known:
        left = {store.root: store for store in _read(paths)}  # of a job whose processes were killed
        write_access(paths, [fresh_store(store, workspace, left.get(store.root)) for store in known])


def stores_again(
    paths: JobPaths,
    workspace: Workspace,
    address: str,
    *,
    say: Callable[[str], None],
    known: dict[str, Any] | None = None,
    patience: float = PATIENCE,
) -> Stores:
    """Opens an address that a job has used, whether it has ended or not. Errors: UserError for credentials that are not to be had.

    `known`: what `stores.json` says, of a job whose folder is not here. `patience`: as for `Stores`.
    """
    used = [store for store in _stores(known or read_json(paths.stores)) if addresses.relative(address, store.root) is not None]
    left = {store.root: store for store in _read(paths)}
    return Stores([fresh_store(store, workspace, left.get(store.root)) for store in used], say=say, patience=patience)


def fresh_store(store: BlobStore, workspace: Workspace, left: BlobStore | None = None) -> BlobStore:
    """A store with its secret; without one, `store` says what the job used. Errors: UserError."""
    credential = store.credential if store.credential.kind in _OF_JOBS else Credential()
    datastores = workspace.settings.blob_stores
    name = store.name if store.root == addresses.datastore_root(store.name) else ""
    if name in datastores:
        return datastores[name].open(credential)
    if name:
        raise UserError(
            f"the workspace has no datastore '{name}' any more, and the job uses it",
            allowed=", ".join(datastores),
            todo=f"describe it again in {workspace.root / 'workspace.yml'}",
        )
    if store.credential.kind != "sas":
        return store
    for one in datastores.values():
        with contextlib.suppress(UserError):
            opened = one.open()
            if (opened.endpoint, opened.container) == (store.endpoint, store.container):
                return replace(opened, root=store.root)
    if left is not None:
        return left
    raise UserError(
        f"{store.root} was reached with a SAS of the job file, which is not kept when a job has ended",
        todo=f"describe the container as a datastore in {workspace.root / 'workspace.yml'}, with that SAS or another credential",
    )


def _read(paths: JobPaths) -> list[BlobStore]:
    try:
        return _stores(read_json(paths.access))
    except PermissionError:
        return []


def _stores(data: dict[str, list[dict[str, object]]] | None) -> list[BlobStore]:
    return [BlobStore.from_json(store) for store in (data or {}).get("stores", ())]
