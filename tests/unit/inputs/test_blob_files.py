"""Lists of blobs: the order of a local tree, whatever order the storage has."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path

import pytest

from runner.errors import UserError
from runner.inputs import blob_files
from runner.inputs.blob_files import BlobTree
from runner.inputs.files import FileEntry, Strays, entries_of, list_folder
from runner.model.datastore import BlobInfo
from runner.storage.problems import StorageUnavailable

FOLDER = {"hdi_isfolder": "true"}
AWKWARD = [
    "a",
    "a-b",
    "a.txt",
    "a0",
    "b",
    "b c",
    "b!",
    "c-1/x",
    "c/x",
    "c/y/z",
    "c0/x",
    "ü",
    "Z",
    "~",
    "\uff21",
    "\ue000",
    "😀",
    "k😀/x",
    "k\uff21",
]


def utf16(name: str) -> bytes:
    return name.encode("utf-16-be")


def by_folder(name: str) -> list[bytes]:
    return [part.encode() for part in name.split("/")]


class Container:
    """As BlobContainer lists, in an order of its own, `page` names at a time."""

    def __init__(self, names: list[str], *, order: Callable[[str], object] = str.encode, page: int = 3, folders: bool = False) -> None:
        blobs = {name: BlobInfo(path=name, size=len(name), etag=f"0x{at}") for at, name in enumerate(names)}
        if folders:
            for name in names:
                for at, char in enumerate(name):
                    if char == "/":
                        blobs[name[:at]] = BlobInfo(path=name[:at], size=0, etag="0x", metadata=FOLDER)
        self.blobs = sorted(blobs.values(), key=lambda blob: order(blob.path))  # type: ignore[arg-type, return-value]
        self.page, self.asked, self.lock = page, 0, threading.Lock()

    def pages(self, prefix: str) -> Iterator[list[BlobInfo]]:
        found = (blob for blob in self.blobs if blob.path.startswith(prefix))
        while page := list(islice(found, self.page)):
            with self.lock:
                self.asked += 1
            yield page

    def level(self, prefix: str) -> Iterator[tuple[list[BlobInfo], list[str]]]:
        entries: dict[str, BlobInfo | None] = {}
        for blob in self.blobs:
            if blob.path.startswith(prefix):
                end = blob.path.find("/", len(prefix))
                if end < 0:
                    entries[blob.path] = blob
                else:
                    entries.setdefault(blob.path[: end + 1], None)
        rest = iter(entries.items())
        while page := list(islice(rest, self.page)):
            yield [blob for _, blob in page if blob], [name for name, blob in page if not blob]


def listed(container: object, prefix: str = "", after: str = "", **settings: object) -> list[str]:
    tree = BlobTree(container=container, prefix=prefix, **settings)  # type: ignore[arg-type]
    return [entry.path for entry in entries_of(tree.blocks(after))]


@pytest.mark.parametrize("page", [1, 3, 1000])
@pytest.mark.parametrize("side_by_side", [False, True])
@pytest.mark.parametrize(
    ("order", "folders"), [(str.encode, False), (utf16, False), (by_folder, True)], ids=["bytes", "utf16", "hierarchical"]
)
def test_the_order_is_that_of_a_local_tree(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, page: int, side_by_side: bool, order: Callable[[str], object], folders: bool
) -> None:
    names = [f"in/{name}" for name in AWKWARD]
    for name in names:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    want = [entry.path for entry in list_folder(tmp_path / "in", hidden=True)]
    if side_by_side:
        monkeypatch.setattr(blob_files, "FULL", 1)
    container = Container([*names, "in-", "in0"], order=order, page=page, folders=folders)
    assert listed(container, "in/") == want
    for at, name in enumerate(want):
        assert listed(container, "in/", after=name) == want[at + 1 :]


def test_sizes_and_versions() -> None:
    tree = BlobTree(container=Container(["in/a", "in/b/c"]), prefix="in/")  # type: ignore[arg-type]
    assert list(entries_of(tree.blocks())) == [FileEntry("a", 4, "0x0"), FileEntry("b/c", 6, "0x1")]


def test_a_few_large_folders_are_listed_side_by_side(monkeypatch: pytest.MonkeyPatch) -> None:
    names = [f"in/{folder}/{number:03}" for folder in "abc" for number in range(100)]
    monkeypatch.setattr(blob_files, "FULL", 10)
    container = Container(names, page=10)
    threads: set[str] = set()
    pages = container.pages

    def noted(prefix: str) -> Iterator[list[BlobInfo]]:
        threads.add(prefix)
        return pages(prefix)

    container.pages = noted  # type: ignore[method-assign]
    assert listed(container, "in/") == [name[3:] for name in names]
    assert threads == {"in/", "in/a/", "in/b/", "in/c/"}


def test_it_is_lazy_and_ends_with_its_reader() -> None:
    container = Container([f"{number:04}" for number in range(1000)], page=10)
    blocks = BlobTree(container=container, prefix="").blocks()  # type: ignore[arg-type]
    next(blocks)
    next(blocks)
    blocks.close()  # type: ignore[attr-defined]
    assert container.asked <= 5


def test_hidden_names_patterns_and_what_is_left_out() -> None:
    names = ["in/.a", "in/.g/x", "in/b/.c", "in/b/d.csv", "in/e.csv", "in/MLTable", "in/f/g/h.csv"]
    container = Container(names)
    assert listed(container, "in/", hidden=False, leave_out="MLTable") == ["b/d.csv", "e.csv", "f/g/h.csv"]
    assert listed(container, "in/") == sorted(name[3:] for name in names)
    assert listed(container, "in/", pattern="**/*.csv") == ["b/d.csv", "e.csv", "f/g/h.csv"]
    assert listed(container, "in/", pattern="*/*.csv") == ["b/d.csv"]
    assert listed(container, "in/", pattern="f/g/*") == ["f/g/h.csv"]
    assert listed(container, "in/", pattern="./b/*.csv") == ["b/d.csv"]


def test_only_what_a_pattern_begins_with_is_listed() -> None:
    container = Container([f"in/{year}/{day:03}" for year in range(2000, 2025) for day in range(100)], page=50)
    assert len(listed(container, "in/", pattern="2024*/*")) == 100
    assert container.asked <= 4


def test_names_that_no_file_can_have() -> None:
    strays = Strays()
    names = ["in/a", "in//b", "in/../c", "in/./d", "in/e/", "in/f\0", "in/" + "g" * 300, "in/" + "ü" * 200, "in/h/" * 1000 + "i"]
    container = Container(names)
    container.blobs.insert(-1, BlobInfo(path="in/z/", size=0, etag="0x"))
    assert listed(container, "in/", strays=strays) == ["a"]
    said = list[str]()
    strays.tell(said.append)
    assert [text.partition(":")[0] for text in said] == [
        "left out of the input, since they are named as no file can be",
        "left out of the input, since it is named as no file can be",
        "left out of the input, since they are named at greater length than a file can be",
    ]
    for name in ("'/b'", "'../c'", "'./d'", "'e/'"):
        assert name in said[0]


def test_an_order_that_cannot_be_mended_is_an_error() -> None:
    container = Container(["a", "b", "c"], order=lambda name: {"a": 0, "b": 2, "c": 1}[name], page=1)
    with pytest.raises(UserError, match="'b' came behind 'c'"):
        listed(container)


def test_what_fails_in_the_thread_fails_here() -> None:
    class Away(Container):
        def pages(self, prefix: str) -> Iterator[list[BlobInfo]]:
            yield from islice(super().pages(prefix), 2)
            raise StorageUnavailable("away")

    blocks = BlobTree(container=Away(["a", "b", "c", "d"], page=1), prefix="").blocks()  # type: ignore[arg-type]
    assert [os.fsdecode(next(blocks).names[0]) for _ in range(2)] == ["a", "b"]
    with pytest.raises(StorageUnavailable):
        next(blocks)
