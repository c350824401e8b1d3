"""Does an input still hold what an earlier run of the job has listed?

Files that were changed or are gone are an error that names them. New ones that sort before the last known one are left out, with a warning
that counts them, so that every mini-batch keeps its number; what sorts behind is listed as usual.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Sequence

from runner.errors import UserError
from runner.inputs.file_list import NO_STORES, Position, Root, entries_with_root
from runner.inputs.files import EXAMPLES, FileEntry
from runner.inputs.split import Group, files_of
from runner.storage.stores import Stores


class Differences:
    """What is not as it was."""

    def __init__(self) -> None:
        self.examples: list[str] = []
        self.count = 0
        self.ignored = 0  # new files that come too late

    def compare(self, known: FileEntry, now: FileEntry) -> None:
        if known.size != now.size:
            self._add(f"{known.path!r} had {known.size} bytes and has {now.size}")
        elif known.version != now.version:
            self._add(f"{known.path!r} was written again")

    def missing(self, known: FileEntry) -> None:
        self._add(f"{known.path!r} is gone")

    def _add(self, text: str) -> None:
        self.count += 1
        if self.count <= EXAMPLES:
            self.examples.append(text)

    def settle(self, warn: Callable[[str], None]) -> None:
        """Raises the error, or gives the warning, if there is one to give."""
        if self.count:
            more = f", and {self.count - len(self.examples)} more" if self.count > len(self.examples) else ""
            raise UserError(
                f"the input is not what it was when the job began: {'; '.join(self.examples)}{more}",
                todo="restore the files, or start a new job instead of resuming this one",
            )
        if self.ignored:
            files = "1 file is" if self.ignored == 1 else f"{self.ignored} files are"
            warn(f"{files} new in the input since the job began, in places it has passed: left out")


class _Route:
    """Says which root each known file came from: those of one root go up; one that does not belongs to a later root."""

    def __init__(self, roots: Sequence[Root]) -> None:
        self._roots, self.root, self._last = roots, 0, b""

    def follow(self, path: str) -> bytes:
        key, root = os.fsencode(path), self.root
        while root < len(self._roots) and not (self._roots[root].holds(path) and (root > self.root or key > self._last)):
            root += 1
        if root < len(self._roots):  # otherwise the roots are others than they were: the file will count as gone
            self.root, self._last = root, key
        return key


def verify(known: Iterable[bytes], roots: Sequence[Root], warn: Callable[[str], None], stores: Stores = NO_STORES) -> Position:
    """Compares the manifest lines of an earlier run, split by count, with the files there are; returns where that run had got to."""
    differences, route = Differences(), _Route(roots)
    listing = entries_with_root(roots, stores)
    end = (len(roots), FileEntry("", 0, 0))
    number, entry = next(listing, end)
    last = ""
    for old in _files(known):
        key, last = route.follow(old.path), old.path
        while (
            entry.path != old.path
            and number < len(roots)
            and (number < route.root or (number == route.root and os.fsencode(entry.path) < key))
        ):
            differences.ignored += 1
            number, entry = next(listing, end)
        if entry.path == old.path:
            differences.compare(old, entry)
            number, entry = next(listing, end)
        else:
            differences.missing(old)
    differences.settle(warn)
    return Position(route.root, last)


def _files(lines: Iterable[bytes]) -> Iterator[FileEntry]:
    for line in lines:
        yield from files_of(line)[0]


def verify_groups(known: Iterable[bytes], groups: Iterator[Group], names: tuple[str, ...], warn: Callable[[str], None]) -> Iterator[Group]:
    """The same for mini-batches made by keys, both in the order of their keys; gives the groups that come after the known ones."""
    differences = Differences()
    group = next(groups, None)
    for line in known:
        files, keys = files_of(line)
        wanted = tuple(keys.get(name, "") for name in names)
        while group and group.keys < wanted:
            differences.ignored += len(group.files)
            group = next(groups, None)
        there = {}
        if group and group.keys == wanted:
            there = {file.path: file for file in group.files}
            group = next(groups, None)
        for file in files:
            if file.path in there:
                differences.compare(file, there.pop(file.path))
            else:
                differences.missing(file)
        differences.ignored += len(there)
    differences.settle(warn)
    if group:
        yield group
        yield from groups
