"""Files → mini-batches: by count, as a stream, or by partition keys, once all are known.

A mini-batch is one line of the manifest: `{"files":[[path,size,version],…]}`, with `"keys":{…}` when split by keys; JSON in
ASCII, bytes that are no UTF-8 as `\\udcXX`. The lines of hundreds of thousands of mini-batches a second are made here, so they
are put together as text, many at a time.
"""

from __future__ import annotations

import heapq
import json
import os
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from itertools import groupby
from json.encoder import encode_basestring_ascii
from pathlib import Path
from typing import IO, NamedTuple

from runner.inputs.files import BLOCK, PATIENCE, Block, FileEntry, Pace
from runner.model.batch import Chunk

FILES_EACH = 10  # the default of mini_batch_size
IN_MEMORY = 250_000  # files that grouping keeps in memory
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
    """`["path",size,version]` of each file."""
    folder = encode_basestring_ascii(os.fsdecode(block.folder))[1:-1]
    # Neither decoding nor escaping reaches across a "/", nor makes one: all names are escaped in one go.
    names = encode_basestring_ascii(os.fsdecode(b"/".join(block.names)))[1:-1].split("/")
    versions = map(_text, block.versions) if block.versions and isinstance(block.versions[0], str) else block.versions
    return [f'["{folder}{name}",{size},{version}]' for name, size, version in zip(names, block.sizes, versions, strict=False)]


def _text(version: int | str) -> str:
    return encode_basestring_ascii(str(version))


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


def by_keys(
    files: Iterable[FileEntry], keys_of: Callable[[str], tuple[str, ...]], scratch: Path, *, limit: int = IN_MEMORY
) -> Iterator[Group]:
    """One group for each combination of keys that occurs, sorted by keys; reads all files first.

    Of more than `limit` files the rest waits in nameless files below `scratch`; then memory holds `limit` files, or the largest group.
    """
    runs: list[IO[str]] = []
    try:
        held: list[_Keyed] = []
        for file in files:
            held.append((keys_of(file.path), file))
            if len(held) == limit:
                runs.append(_spilled(held, scratch))
                held = []
        held.sort(key=_keys)
        # Equal keys come out in the order of the runs, which is that of the input.
        merged = heapq.merge(*map(_spilled_again, runs), held, key=_keys)
        for keys, members in groupby(merged, key=_keys):
            yield Group(keys, [file for _, file in members])
    finally:
        for run in runs:
            run.close()


_Keyed = tuple[tuple[str, ...], FileEntry]


def _keys(keyed: _Keyed) -> tuple[str, ...]:
    return keyed[0]


def _spilled(held: list[_Keyed], scratch: Path) -> IO[str]:
    held.sort(key=_keys)
    run = tempfile.TemporaryFile("w+", encoding="ascii", dir=scratch)  # noqa: SIM115 - closed by `by_keys`
    run.writelines(json.dumps(keyed) + "\n" for keyed in held)
    run.seek(0)
    return run


def _spilled_again(run: IO[str]) -> Iterator[_Keyed]:
    for line in run:
        keys, file = json.loads(line)
        yield tuple(keys), FileEntry(*file)


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
