"""Where an instance's finished work goes: chosen once, from what its settings say."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from functools import partial
from pathlib import Path

from runner.engine.settings import InstanceSettings
from runner.outputs.blocks import BlockRows, PartRows
from runner.outputs.folders import LocalFolder, PlacedFolder
from runner.outputs.outlet import Folder, Outlet, Rows
from runner.outputs.rows import PartWriter
from runner.outputs.uploads import FolderUpload
from runner.storage import addresses
from runner.storage.stores import Stores

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
    withheld: list[Folder] = [PlacedFolder(Path(own), Path(place)) for own, place in settings.placed.items()]
    goes_on_for = partial(_goes_on_for, settings.worker.node, settings.instances, settings.beside)
    for address, local in settings.uploads.items():
        container, path = stores.at(address)
        kept_out, files = _names(settings.kept_out, address), _names(settings.upload_files, address)
        (withheld if address in settings.withheld else folders).append(
            FolderUpload(
                container, path, Path(local), job=settings.worker.job, node=settings.worker.node, goes_on_for=goes_on_for,
                kept_out=kept_out, files=files, warn=warn,
            )
        )  # fmt: skip
    return Outlet(
        rows, folders, withheld=withheld, background=bool(settings.rows_blob or settings.uploads or settings.placed), changed=changed
    )


def _names(of: Iterable[str], folder: str) -> frozenset[str]:
    return frozenset(name for one in of if (name := addresses.relative(one, folder)))


def _goes_on_for(node: str, instances: int, beside: Collection[str], other: str) -> bool:
    """Whether `node` takes over the files of a node that is not there any more.

    A job begins, and goes on, with node_0 to the last of its `instances`; those that take the place of lost ones have higher numbers.
    """
    number, of = int(node.rpartition("_")[2]), other.rpartition("_")[2]
    if not of.isdecimal() or other in beside:
        return False
    return number >= instances or (int(of) >= instances and int(of) % instances == number)
