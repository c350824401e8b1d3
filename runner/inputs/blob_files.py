"""Lists of blobs, in the order of a local tree: that of the bytes of names.

One request after the other gives 5,000 names each. Where these lie in a few large folders, the folders are listed side by side. Storage
may sort otherwise than by bytes, and what comes out here is in order nevertheless:

* by UTF-16 (emulators): names that first differ in a character beyond U+FFFF are held until all of their kind are there;
* folder by folder, so that `a/x` comes before `a-b` (accounts with a hierarchical namespace): these list a folder as a blob of its own
  before what is in it, at which we go on level by level.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Generator, Iterator
from contextlib import closing
from dataclasses import dataclass, field
from heapq import heappop, heappush, nsmallest
from itertools import chain, groupby
from typing import TYPE_CHECKING

from runner.errors import UserError
from runner.inputs.files import Block, Strays
from runner.inputs.patterns import MAGIC, Pattern
from runner.inputs.read_ahead import ReadAhead
from runner.model.datastore import BlobInfo
from runner.storage.markers import is_folder_marker, is_marked

if TYPE_CHECKING:
    from runner.storage.blob import BlobContainer

FULL = 4_000  # names in the first answer from which on it is asked how the rest is best listed
FEW_FOLDERS = 16  # that these names lie in, for the folders to be listed side by side
SIDE_BY_SIDE = 8  # listings
PAGES_AHEAD = 2
LONGEST_NAME, LONGEST_PATH = 255, 3_500  # bytes that file systems take; the path leaves room for the folder it will lie in


@dataclass(kw_only=True)
class BlobTree:
    """The blobs below a folder of a container as files. `prefix`: of the folder, "" or ending in "/"."""

    container: BlobContainer
    prefix: str
    hidden: bool = True  # whether names that begin with "." count
    pattern: str = ""  # that their paths below the folder match
    leave_out: str = ""  # relative path of one that does not count
    strays: Strays = field(default_factory=Strays)
    _free: threading.Semaphore = field(default_factory=lambda: threading.Semaphore(SIDE_BY_SIDE))

    def __post_init__(self) -> None:
        self._compiled = Pattern(self.pattern) if self.pattern else None

    def blocks(self, after: str = "") -> Iterator[Block]:
        """The files that come after the relative path `after`, in order, lazily. Errors: those of BlobContainer."""
        behind = self.prefix + after if after else ""
        with closing(self._walk(self._start(), behind)) as pages:
            for page in _ascending(_by_code_points(pages)):
                files = [each for each in page if each.path > behind and self._counts(each)]
                yield from _blocks(files, len(self.prefix))

    def _start(self) -> str:
        """What all names begin with that can match."""
        fixed = MAGIC.split(self.pattern, maxsplit=1)[0] if MAGIC.search(self.pattern) else ""
        return self.prefix if "./" in fixed or "//" in fixed or fixed.startswith("/") else self.prefix + fixed

    def _counts(self, blob: BlobInfo) -> bool:
        path = blob.path[len(self.prefix) :]
        if is_folder_marker(blob) or path == self.leave_out or not path:
            return False
        if not self.hidden and (path[0] == "." or "/." in path):
            return False
        if self._compiled is not None and not self._compiled.matches(path):
            return False
        reason = why_no_file(path)
        if reason:
            self.strays.add(os.fsencode(path), reason)
        return not reason

    # Pages of blobs, nearly in order

    def _walk(self, prefix: str, after: str) -> Generator[list[BlobInfo], None, None]:
        pages = ReadAhead(self.container.pages(prefix), ahead=1)
        try:
            first = next(pages, [])
            if len(first) < FULL or not _in_few_folders(first, len(prefix)):
                for page in chain([first], pages):
                    at = next((at for at, blob in enumerate(page) if is_marked(blob)), len(page))
                    if at:
                        yield page[:at]
                        after = max(after, page[at - 1].path)
                    if at < len(page):
                        break
                else:
                    return
        finally:
            pages.close()
        yield from self._levels(prefix, after)

    def _levels(self, prefix: str, after: str) -> Iterator[list[BlobInfo]]:
        """A folder is due when a blob comes that stands behind it: by then all are known that stand before it."""
        due: list[str] = []
        started: dict[str, ReadAhead[list[BlobInfo]]] = {}
        try:
            for blobs, folders in self.container.level(prefix):
                for folder in folders:
                    if folder > after or after.startswith(folder):
                        heappush(due, folder)
                self._start_some(due, started, after)
                for blob in sorted(blobs, key=_path):
                    while due and due[0] < blob.path:
                        yield from self._folder(heappop(due), started, after)
                        self._start_some(due, started, after)
                    if blob.path > after:
                        yield [blob]
            while due:
                yield from self._folder(heappop(due), started, after)
                self._start_some(due, started, after)
        finally:
            for pages in started.values():
                pages.close()
                self._free.release()

    def _start_some(self, due: list[str], started: dict[str, ReadAhead[list[BlobInfo]]], after: str) -> None:
        """Listings of the next folders, while there may be more of them."""
        for folder in nsmallest(SIDE_BY_SIDE, due):
            if folder not in started:
                if not self._free.acquire(blocking=False):
                    return
                started[folder] = ReadAhead(self._walk(folder, after), ahead=PAGES_AHEAD)

    def _folder(self, folder: str, started: dict[str, ReadAhead[list[BlobInfo]]], after: str) -> Iterator[list[BlobInfo]]:
        pages = started.get(folder)
        if pages is None:
            yield from self._walk(folder, after)
            return
        yield from pages
        del started[folder]
        self._free.release()


def why_no_file(path: str) -> str:
    """Why no file can have the name of a blob, or an empty text."""
    parts = path.split("/")
    if "" in parts or "." in parts or ".." in parts:
        return "named as no file can be: with nothing, '.' or '..' between two '/'"
    if "\0" in path:
        return "named as no file can be: with a NUL character"
    if len(path) * 4 > LONGEST_NAME and (
        len(path.encode()) > LONGEST_PATH or any(len(part.encode("utf-8", "surrogatepass")) > LONGEST_NAME for part in parts)
    ):
        return "named at greater length than a file can be"
    return ""


def _path(blob: BlobInfo) -> str:
    return blob.path


def _in_few_folders(blobs: list[BlobInfo], start: int) -> bool:
    found: set[str] = set()
    for blob in blobs:
        end = blob.path.find("/", start)
        found.add(blob.path[:end] if end >= 0 else blob.path)
        if len(found) > FEW_FOLDERS:
            return False
    return True


def _by_code_points(pages: Iterator[list[BlobInfo]]) -> Iterator[list[BlobInfo]]:
    """UTF-16 has characters beyond U+FFFF before some others: names that have one are held with all that begin alike."""
    held: list[BlobInfo] = []
    stem = ""
    for page in pages:
        out: list[BlobInfo] = []
        for blob in page:
            if held:
                if blob.path.startswith(stem):
                    held.append(blob)
                    continue
                out += sorted(held, key=_path)
                held = []
            at = -1 if blob.path.isascii() else next((at for at, char in enumerate(blob.path) if char > "\uffff"), -1)
            if at < 0:
                out.append(blob)
            else:
                held, stem = [blob], blob.path[:at]
        if out:
            yield out
    if held:
        yield sorted(held, key=_path)


def _ascending(pages: Iterator[list[BlobInfo]]) -> Iterator[list[BlobInfo]]:
    """The same. Raises a UserError for an order that is not that of bytes: what was listed could not be told from what was not."""
    last = ""
    for page in pages:
        for blob in page:
            if blob.path <= last and last:
                raise UserError(f"the storage does not list blobs in the order of their names: '{blob.path}' came behind '{last}'")
            last = blob.path
        yield page


def _blocks(blobs: list[BlobInfo], start: int) -> Iterator[Block]:
    for folder, files in groupby(blobs, key=lambda blob: blob.path[start : blob.path.rfind("/") + 1]):
        members = list(files)
        skip = start + len(folder)
        names = [blob.path[skip:].encode() for blob in members]
        yield Block(folder.encode(), names, [blob.size for blob in members], [blob.etag for blob in members])
