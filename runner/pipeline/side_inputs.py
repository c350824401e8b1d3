"""Inputs that scripts get in another place than where they lie: those in blob storage, and MLTables of files that are evaluated."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from runner.errors import Place, UserError
from runner.inputs.download import Blob
from runner.inputs.file_list import Root, blob_status
from runner.inputs.files import FileEntry, Strays, entries_of, lay_out
from runner.inputs.node_cache import NodeCache, Use
from runner.model.job import JobInput, Step
from runner.storage.addresses import base_name, is_address, join
from runner.storage.problems import BlobChanged, BlobMissing, StorageUnavailable
from runner.storage.stores import Stores

EVALUATED = ("eval_mount", "eval_download")
BLOBS = "blobs"  # below the cache of a node
Say = Callable[[str], None]


@dataclass(kw_only=True)
class SideInputs:
    """`moved`: address or path of an input → where the script finds it, or the same where nothing may be put in its place."""

    moved: dict[str, str] = field(default_factory=dict)
    uses: list[Use] = field(default_factory=list)

    def close(self) -> None:
        """No script uses them any more."""
        for use in self.uses:
            use.close()


def lay_out_inputs(
    step: Step, scratch: Path, *, cache: Path, stores: Stores, say: Say = lambda _text: None, warn: Say = lambda _text: None
) -> SideInputs:
    """Brings what lies in blob storage to this machine. `cache`: that of the node; `scratch`: the job's. Errors: UserError; OSError."""
    laid = SideInputs()
    bring = _Bringer(NodeCache(cache / BLOBS), stores, laid, say, warn)
    try:
        for name, given in step.inputs.items():
            if name != step.input_data and given.is_data and given.path:
                _lay_out(name, given, bring, scratch / "eval" / name)
        if step.model and is_address(step.model) and step.model not in laid.moved:
            laid.moved[step.model] = bring.whole(step.model, Place(field="task.model"))
    except BaseException:
        laid.close()
        raise
    return laid


def _lay_out(name: str, given: JobInput, bring: _Bringer, target: Path) -> None:
    path, place = given.path or "", Place(field=f"inputs.{name}")
    if given.mode in EVALUATED:
        bring.laid.moved[path] = bring.evaluated(path, target, place)
    elif is_address(path):
        bring.laid.moved[path] = path if given.mode == "direct" else bring.whole(path, place)


@dataclass
class _Bringer:
    cache: NodeCache
    stores: Stores
    laid: SideInputs
    say: Say
    warn: Say

    def whole(self, address: str, place: Place) -> str:
        """Where the blob or the folder at that address is now."""
        name = base_name(address)
        kind = self.stores.kind(address)
        if kind == "nothing":
            raise UserError(f"there is nothing at '{address}'", place=place, todo="check the path")
        if kind == "file":
            files = {name: blob_status(address, self.stores)}
        else:
            files = {f"{name}/{entry.path[len(address) + 1 :]}": entry for entry in self._below(address)}
        return str(self._brought(files, address, place) / name)

    def evaluated(self, path: str, target: Path, place: Place) -> str:
        """A folder with the files that an MLTable resolves to: blobs as account/container/path."""
        from runner.inputs.mltable import read

        files = list(read(path, self.stores).files())
        blobs = {self._spread(entry.path): entry for entry in files if is_address(entry.path)}
        folder = self._brought(blobs, path, place) if blobs else None
        if folder is not None and len(blobs) == len(files):
            return str(folder)
        target.mkdir(parents=True, exist_ok=True)
        lay_out((entry for entry in files if not is_address(entry.path)), target)
        for account in folder.iterdir() if folder else ():
            link = target / account.name
            link.unlink(missing_ok=True)
            link.symlink_to(account)
        return str(target)

    def _below(self, address: str) -> Iterator[FileEntry]:
        strays = Strays()
        yield from entries_of(Root(kind="folder", path=address).blocks("", strays, self.stores))
        strays.tell(self.warn)

    def _spread(self, address: str) -> str:
        container, path = self.stores.at(address)
        return join(container.account, container.store.container, path)

    def _brought(self, files: Mapping[str, FileEntry], what: str, place: Place) -> Path:
        folders = {folder for name in files for folder in _folders(name)}
        blobs = {name: self._blob(entry) for name, entry in files.items() if name not in folders}
        for name in sorted(files.keys() & folders):
            self.warn(f"left out of the input, since there is a folder of the same name: {name!r}")
        size = sum(blob.size for blob in blobs.values())
        text = f"fetching '{what}': {len(blobs):,} file{'s' * (len(blobs) != 1)}, {size / 1e6:,.1f} MB"
        try:
            use = self.cache.get(blobs, begin=lambda: self.say(text))
        except (BlobChanged, BlobMissing) as error:
            raise UserError(f"'{what}' changes while it is fetched: {error.problem}", place=place, todo="try again") from None
        except UserError as error:
            raise UserError(error.problem, place=place, allowed=error.allowed, todo=error.todo) from None
        except StorageUnavailable as error:
            raise UserError(f"'{what}' cannot be fetched: {error.strerror}", place=place) from None
        self.laid.uses.append(use)
        return use.folder

    def _blob(self, entry: FileEntry) -> Blob:
        container, path = self.stores.at(entry.path)
        return Blob(container=container, path=path, size=entry.size, etag=str(entry.version))


def _folders(name: str) -> Iterator[str]:
    folder = os.path.dirname(name)
    while folder:
        yield folder
        folder = os.path.dirname(folder)
