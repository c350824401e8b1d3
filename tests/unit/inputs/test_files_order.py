"""Order and completeness of listings: bytes of the relative path, whatever the names."""

from __future__ import annotations

import os
import random
from pathlib import Path

import pytest

from runner.inputs.files import FileEntry, Tree, entries_of, list_folder

HOSTILE = [
    b"with space", b" leading", b"trailing ", b"-rf", b"--help", b"new\nline", b"tab\t", b"quote'\"", b"back\\slash", b"$HOME`x`",
    "ärger ü".encode(),
    "日本語.png".encode(), "\U0001f600".encode(), b"\xff\xfe undecodable", b"\x80", b"\xc3", b"\xe2\x82",
    "\ue000".encode(), "\uffff".encode(), "\U00010000".encode(),
    b"n" * 255, b"*", b"[ab]", b"{a}", b"~", b"#", b"%41", b"\x01\x7f", b"a,b", b"a;b", b"_u", b"con", b"nul.txt",
]  # fmt: skip


def make(root: Path, paths: list[bytes]) -> None:
    for path in paths:
        full = os.path.join(os.fsencode(root), path)
        os.makedirs(os.path.dirname(full), exist_ok=True)
        with open(full, "wb") as file:
            file.write(path)


def listed(root: Path, *, hidden: bool = False) -> list[bytes]:
    return [os.fsencode(entry.path) for entry in list_folder(root, hidden=hidden)]


def test_folders_are_compared_with_their_slash(tmp_path: Path) -> None:
    paths = [b"a/x", b"a-b", b"a.txt", b"a/y/z", b"a/y-", b"a0", b"b/1", b"b.d/1", b"b-d/1", b"A", b"ab/c", b"\xff/1", b"z"]
    make(tmp_path, paths)
    assert listed(tmp_path) == sorted(paths)


def test_hostile_names(tmp_path: Path) -> None:
    paths = HOSTILE + [name + b"/" + other for name in (b"-dir \n", b"\xff\xff", "ü".encode()) for other in HOSTILE]
    make(tmp_path, paths)
    assert listed(tmp_path) == sorted(paths)


@pytest.mark.parametrize("seed", range(20))
def test_any_tree_is_listed_in_order_and_from_any_place(tmp_path: Path, seed: int) -> None:
    chance = random.Random(seed)
    alphabet = [b"a", b"-", b".x", b"0", b"b", b"\xff", b" ", b"~"]
    paths: set[bytes] = set()
    for _ in range(60):
        path = b"/".join(b"n" + b"".join(chance.choices(alphabet, k=chance.randint(0, 3))) for _ in range(chance.randint(1, 4)))
        if not any(other.startswith(path + b"/") or path.startswith(other + b"/") for other in paths):
            paths.add(path)
    make(tmp_path, sorted(paths))
    assert listed(tmp_path) == sorted(paths)
    tree = Tree(str(tmp_path), hidden=False)
    for after in [*chance.sample(sorted(paths), 10), b"n", b"m", b"nz", b"n/a/zz", b"nn/\xff\xff"]:
        assert [os.fsencode(entry.path) for entry in entries_of(tree.blocks(after))] == [path for path in sorted(paths) if path > after]


def test_sizes_and_times(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"12345")
    os.utime(tmp_path / "a", ns=(7, 1_234_567_890_123_456_789))
    (tmp_path / "empty").touch()
    assert next(list_folder(tmp_path, hidden=False)) == FileEntry("a", 5, 1_234_567_890_123_456_789)
    assert [entry.size for entry in list_folder(tmp_path, hidden=False)] == [5, 0]


def test_blocks_grow_and_lose_nothing(tmp_path: Path) -> None:
    make(tmp_path, [b"%05d" % number for number in range(3000)])
    blocks = list(Tree(str(tmp_path), hidden=False).blocks())
    assert [len(block.names) for block in blocks[:6]] == [1, 2, 4, 8, 16, 32]
    assert [name for block in blocks for name in block.names] == [b"%05d" % number for number in range(3000)]
