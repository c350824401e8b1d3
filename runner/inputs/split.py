"""Files → mini-batches: by count, as a stream, or by partition keys, once all are known.

A mini-batch is one line of the manifest: `{"files":[[path,size,mtime_ns],…]}`, with `"keys":{…}` when split by keys; JSON in
ASCII, bytes that are no UTF-8 as `\\udcXX`. The lines of hundreds of thousands of mini-batches a second are made here, so they
are put together as text, many at a time.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterable, Iterator
from json.encoder import encode_basestring_ascii
from typing import NamedTuple

from runner.inputs.files import BLOCK, PATIENCE, Block, FileEntry, Pace
from runner.model.batch import Chunk

FILES_EACH = 10  # the default of mini_batch_size
_OPEN, _CLOSE = '{"files":[', "]}"


class Held:
    """Files that are not yet in a mini-batch: as text for the manifest, and their sizes."""

    def __init__(self, texts: Iterable[str] = (), sizes: Iterable[int] = ()) -> None:
        self.texts, self.sizes = list(texts), list(sizes)

    def add(self, block: Block) -> None:
        self.texts += fragments(block)
        self.sizes += block.sizes

    def take(self, files: int, files_each: int) -> Chunk:
        """A chunk of mini-batches from the first `files` files."""
        chunk = _chunk(self.texts[:files], self.sizes[:files], files_each)
        del self.texts[:files], self.sizes[:files]
        return chunk


def by_count(blocks: Iterable[Block], files_each: int, held: Held, *, clock: Callable[[], float] = time.monotonic) -> Iterator[Chunk]:
    """Whole mini-batches of `files_each` files: few to a chunk at first, and none waits long for others. What remains stays in `held`."""
    pace, due = Pace(), clock() + PATIENCE
    for block in blocks:
        held.add(block)
        while (ready := len(held.texts) // files_each) and (ready >= pace.size or clock() >= due):
            yield held.take(files_each * min(ready, pace.size), files_each)
            pace.took(0)
            due = clock() + PATIENCE
    while ready := len(held.texts) // files_each:
        yield held.take(files_each * min(ready, BLOCK), files_each)


def remainder(held: Held, files_each: int) -> Iterator[Chunk]:
    """The last mini-batch, which is short."""
    if held.texts:
        yield held.take(len(held.texts), files_each)


def fragments(block: Block) -> list[str]:
    """`["path",size,mtime_ns]` of each file."""
    folder = encode_basestring_ascii(os.fsdecode(block.folder))[1:-1]
    # Neither decoding nor escaping reaches across a "/", nor makes one: all names are escaped in one go.
    names = encode_basestring_ascii(os.fsdecode(b"/".join(block.names)))[1:-1].split("/")
    return [f'["{folder}{name}",{size},{mtime}]' for name, size, mtime in zip(names, block.sizes, block.mtimes, strict=False)]


def _chunk(files: list[str], sizes: list[int], files_each: int) -> Chunk:
    if files_each == 1:
        batches, largest = files, max(sizes)
    else:
        starts = range(0, len(files), files_each)
        batches = [",".join(files[at : at + files_each]) for at in starts]
        largest = max(sum(sizes[at : at + files_each]) for at in starts)
    text = _OPEN + f"{_CLOSE}\n{_OPEN}".join(batches) + _CLOSE
    return Chunk(lines=text.encode("ascii").split(b"\n"), items=len(files), bytes=sum(sizes), largest=largest)


class Group(NamedTuple):
    """The files of one combination of keys, in the order of the input."""

    keys: tuple[str, ...]
    files: list[FileEntry]


def by_keys(files: Iterable[FileEntry], keys_of: Callable[[str], tuple[str, ...]]) -> list[Group]:
    """One group for each combination that occurs, sorted by keys. All files are in memory: about 300 bytes each."""
    groups: dict[tuple[str, ...], list[FileEntry]] = {}
    for file in files:
        groups.setdefault(keys_of(file.path), []).append(file)
    return [Group(keys, groups[keys]) for keys in sorted(groups)]


def group_chunks(groups: Iterable[Group], names: tuple[str, ...], *, lines_each: int = 1024) -> Iterator[Chunk]:
    """The manifest lines of groups, with their keys under the given names."""
    lines: list[bytes] = []
    items = size = largest = 0
    for group in groups:
        lines.append(
            json.dumps({"files": group.files, "keys": dict(zip(names, group.keys, strict=True))}, separators=(",", ":")).encode("ascii")
        )
        held = sum(file.size for file in group.files)
        items, size, largest = items + len(group.files), size + held, max(largest, held)
        if len(lines) == lines_each:
            yield Chunk(lines=lines, items=items, bytes=size, largest=largest)
            lines, items, size, largest = [], 0, 0, 0
    if lines:
        yield Chunk(lines=lines, items=items, bytes=size, largest=largest)


def files_of(line: bytes) -> tuple[list[FileEntry], dict[str, str]]:
    """The files and the keys (empty when split by count) of a line of the manifest."""
    record = json.loads(line)
    return [FileEntry(*file) for file in record["files"]], record.get("keys", {})
