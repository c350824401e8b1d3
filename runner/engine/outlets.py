"""Where an instance's finished work goes: chosen once, from what its settings say."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from runner.engine.settings import InstanceSettings
from runner.outputs.blocks import BlockRows, PartRows
from runner.outputs.folders import LocalFolder
from runner.outputs.outlet import Folder, Outlet, Rows
from runner.outputs.rows import PartWriter
from runner.outputs.uploads import FolderUpload
from runner.storage import addresses
from runner.storage.stores import Stores

FLUSH_BYTES = 8 << 20  # rows that make a flush due at once


def open_outlet(settings: InstanceSettings, stores: Stores, prefix: str, changed: Callable[[], None]) -> Outlet:
    """`prefix` of the names of parts. Errors: UserError for an address that `stores` do not know."""
    parts = PartWriter(settings.parts, prefix)
    rows: Rows = PartRows(parts, FLUSH_BYTES)
    if settings.rows_blob:
        container, path = stores.at(settings.rows_blob)
        rows = BlockRows(container, path, parts=parts, folder=settings.parts, changed=changed)
    folders: list[Folder] = [LocalFolder(Path(folder)) for folder in settings.synced]
    for address, local in settings.uploads.items():
        container, path = stores.at(address)
        kept_out = frozenset(name for one in settings.kept_out if (name := addresses.relative(one, address)))
        folders.append(FolderUpload(container, path, Path(local), kept_out=kept_out))
    return Outlet(rows, folders, background=bool(settings.rows_blob or settings.uploads), changed=changed)
