"""Where an instance's finished work goes: chosen once, from what its settings say."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

from runner.engine.settings import InstanceSettings
from runner.outputs.blocks import BlockRows, PartRows
from runner.outputs.folders import LocalFolder
from runner.outputs.outlet import Folder, Outlet, Rows
from runner.outputs.rows import PartWriter
from runner.outputs.uploads import FolderUpload
from runner.storage import addresses
from runner.storage.stores import Stores

JOB, NODE = "runner_job", "runner_node"  # metadata of what scripts have written: whose it is
FLUSH_BYTES = 8 << 20  # rows that make a flush due at once


def open_outlet(
    settings: InstanceSettings, stores: Stores, warn: Callable[[str], None], prefix: str, changed: Callable[[], None]
) -> Outlet:
    """`prefix` of the names of parts. Errors: UserError for an address that `stores` do not know."""
    parts = PartWriter(settings.parts, prefix)
    rows: Rows = PartRows(parts, FLUSH_BYTES)
    if settings.rows_blob:
        container, path = stores.at(settings.rows_blob)
        rows = BlockRows(container, path, parts=parts, folder=settings.parts, changed=changed)
    folders: list[Folder] = [LocalFolder(Path(folder)) for folder in settings.synced]
    marks = {JOB: settings.worker.job, NODE: settings.worker.node}
    for address, local in settings.uploads.items():
        container, path = stores.at(address)
        kept_out, files = _names(settings.kept_out, address), _names(settings.upload_files, address)
        folders.append(FolderUpload(container, path, Path(local), marks=marks, kept_out=kept_out, files=files, warn=warn))
    return Outlet(rows, folders, background=bool(settings.rows_blob or settings.uploads), changed=changed)


def _names(of: Iterable[str], folder: str) -> frozenset[str]:
    return frozenset(name for one in of if (name := addresses.relative(one, folder)))
