"""Files → lines of the manifest."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from itertools import count
from pathlib import Path

import pytest

from runner.inputs.files import Block, FileEntry, Tree
from runner.inputs.split import Held, by_count, by_keys, files_of, fragments, group_chunks, remainder
from runner.model.batch import Chunk


def block(*names: bytes, folder: bytes = b"") -> Block:
    return Block(folder, list(names), [len(name) for name in names], list(range(len(names))))


def split(blocks: list[Block], files_each: int) -> list[Chunk]:
    held = Held()
    return [*by_count(blocks, files_each, held), *remainder(held, files_each)]


def test_lines() -> None:
    chunks = split([block(b"a", b"bb", folder=b"x/"), block(b"ccc")], 2)
    assert [line for chunk in chunks for line in chunk.lines] == [b'{"files":[["x/a",1,0],["x/bb",2,1]]}', b'{"files":[["ccc",3,0]]}']
    assert [(chunk.items, chunk.bytes, chunk.largest) for chunk in chunks] == [(2, 3, 3), (1, 3, 3)]


@pytest.mark.parametrize("files_each", [1, 2, 3, 7, 10, 1000])
def test_every_file_once_in_order(files_each: int) -> None:
    names = [b"%04d" % number for number in range(500)]
    blocks = [block(*names[at : at + 37], folder=b"f/") for at in range(0, 500, 37)]
    chunks = split(blocks, files_each)
    batches = [files_of(line)[0] for chunk in chunks for line in chunk.lines]
    assert [file.path for batch in batches for file in batch] == [f"f/{name.decode()}" for name in names]
    assert {len(batch) for batch in batches[:-1]} <= {files_each}
    assert sum(chunk.items for chunk in chunks) == 500
    assert sum(chunk.bytes for chunk in chunks) == 2000
    assert max(chunk.largest for chunk in chunks) == 4 * min(files_each, 500)


def test_hostile_names_survive() -> None:
    odd = ["é", "\U0001f600", "\u2028", "quote\"'", "back\\slash", "a\nb", "\x7f\x01"]
    names = [b"\xff\xfe", b"\xe2\x82", *(name.encode() for name in odd)]
    names.append("\U0001f600".encode() + b"\x80")
    lines = split([block(*names, folder=b'd"\xff/')], 1)
    assert all(line.isascii() and b"\n" not in line for chunk in lines for line in chunk.lines)
    assert [os.fsencode(files_of(line)[0][0].path) for chunk in lines for line in chunk.lines] == [b'd"\xff/' + name for name in names]
    assert [json.loads(text)[0] for text in fragments(block(*names))] == [os.fsdecode(name) for name in names]


def test_chunks_are_small_at_first() -> None:
    blocks = [block(*(b"%04d" % number for number in range(1000))) for _ in range(20)]
    held = Held()
    sizes = [len(chunk.lines) for chunk in by_count(blocks, 1, held, clock=lambda: 0)]
    assert sizes[:6] == [1, 2, 4, 8, 16, 32]
    assert max(sizes) == 4096
    assert sum(sizes) == 20_000


def test_nothing_waits_long_for_others() -> None:
    seconds = count(0, 0.03)  # each look at the clock 30 ms later: a slow disk
    blocks = [block(b"x", b"y") for _ in range(100)]
    sizes = [len(chunk.lines) for chunk in by_count(blocks, 1, Held(), clock=lambda: next(seconds))]
    assert sum(sizes) == 200
    assert max(sizes) <= 8


def test_what_remains_is_held() -> None:
    held = Held()
    assert len(list(by_count([block(b"a", b"b", b"c")], 2, held))) == 1
    chunks = [*by_count([block(b"d", b"e")], 2, held)]
    assert [file.path for chunk in chunks for line in chunk.lines for file in files_of(line)[0]] == ["c", "d"]
    assert [chunk.items for chunk in remainder(held, 2)] == [1]
    assert list(remainder(held, 2)) == []


def test_lines_come_while_the_listing_goes_on(tmp_path: Path) -> None:
    for folder in range(3):
        (tmp_path / str(folder)).mkdir()
        (tmp_path / str(folder) / "file").touch()
    asked: list[str] = []

    def watched() -> Iterator[Block]:
        for one in Tree(str(tmp_path), hidden=False).blocks():
            asked.append(one.folder.decode())
            yield one

    assert next(by_count(watched(), 1, Held())).lines[0].startswith(b'{"files":[["0/file"')
    assert asked == ["0/"]


@pytest.mark.parametrize("limit", [1, 2, 3, 5, 100])
def test_by_keys_merges_and_sorts(tmp_path: Path, limit: int) -> None:
    files = [FileEntry(path, 1, 0) for path in ("b/1/\udcff", "a/2/y", "b/2/z", "a/1/w", "a/2/v")]
    groups = list(by_keys(files, lambda path: (path.split("/")[0],), tmp_path, limit=limit))
    assert [(group.keys, [file.path for file in group.files]) for group in groups] == [
        (("a",), ["a/2/y", "a/1/w", "a/2/v"]),
        (("b",), ["b/1/\udcff", "b/2/z"]),
    ]
    chunks = list(group_chunks(groups, ("letter",)))
    assert chunks[0].lines[1] == b'{"files":[["b/1/\\udcff",1,0],["b/2/z",1,0]],"keys":{"letter":"b"}}'
    assert (chunks[0].items, chunks[0].bytes, chunks[0].largest) == (5, 5, 3)
    assert files_of(chunks[0].lines[1]) == ([files[0], files[2]], {"letter": "b"})
    assert [len(chunk.lines) for chunk in group_chunks(groups, ("letter",), lines_each=1)] == [1, 1]
    assert list(tmp_path.iterdir()) == []
