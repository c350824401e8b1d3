"""Output folders in blob storage: what has changed is uploaded, and nothing else."""

from __future__ import annotations

import os
import shutil
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

import pytest

from runner.errors import UserError
from runner.model.datastore import BlobInfo
from runner.outputs import uploads
from runner.outputs.tree import Tree
from runner.outputs.uploads import FolderUpload
from runner.storage.blob import BlobContainer
from runner.storage.problems import BlocksLost, StorageUnavailable
from tests.azurite import Azurite


@dataclass
class FakeContainer:
    blobs: dict[str, bytes] = field(default_factory=dict)
    blocks: dict[str, bytes] = field(default_factory=dict)
    puts: list[str] = field(default_factory=list)
    broken: Exception | None = None
    losses: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)

    def info(self, path: str) -> BlobInfo:
        raise NotImplementedError

    def put(self, path: str, data: bytes, *, etag: str | None, metadata: Mapping[str, str]) -> str:
        if self.broken:
            raise self.broken
        with self.lock:
            self.puts.append(path)
            self.blobs[path] = data
        return "etag"

    def pages(self, prefix: str) -> Iterator[list[BlobInfo]]:
        yield from ()

    def read_into(self, path: str, out: IO[bytes], *, size: int, etag: str) -> None:
        raise NotImplementedError

    def delete(self, path: str, *, etag: str) -> None:
        self.blobs.pop(path, None)

    def stage(self, path: str, block: str, data: bytes) -> None:
        with self.lock:
            self.blocks[block] = data

    def commit(self, path: str, blocks: Sequence[str], *, etag: str | None, metadata: Mapping[str, str]) -> str:
        if self.losses:
            self.losses -= 1
            self.blocks.clear()
            raise BlocksLost("another instance writes this file, too")
        return self.put(path, b"".join(self.blocks[one] for one in blocks), etag=etag, metadata=metadata)


def folder_upload(container: uploads.Uploading, prefix: str, local: Path, *, node: str = "node_0", **more: Any) -> FolderUpload:
    return FolderUpload(container, prefix, local, job="job", node=node, **more)


def written(folder: Path, name: str, text: str, *, age: float = 10.0) -> None:
    """A file that was last changed some time ago."""
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    then = path.stat().st_mtime_ns - int(age * 1e9)
    os.utime(path, ns=(then, then))
    time.sleep(0.03 if age > 1 else 0)  # utime is a change of its own


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "out"
    folder.mkdir()
    return folder


def test_what_has_changed_is_uploaded_once(folder: Path) -> None:
    container = FakeContainer()
    upload = folder_upload(container, "a/b", folder)
    written(folder, "one.txt", "1")
    written(folder, "deep/er/two.txt", "2")
    upload.sync()
    assert container.blobs == {"a/b/one.txt": b"1", "a/b/deep/er/two.txt": b"2"}
    upload.sync()
    assert len(container.puts) == 2
    written(folder, "one.txt", "!", age=5)
    upload.sync()
    assert container.blobs["a/b/one.txt"] == b"!"
    assert len(container.puts) == 3


def test_a_file_that_has_just_changed_is_looked_at_again(folder: Path) -> None:
    container = FakeContainer()
    upload = folder_upload(container, "", folder)
    written(folder, "one.txt", "1", age=0)
    upload.sync()
    stamp = (folder / "one.txt").stat()
    (folder / "one.txt").write_text("2")
    os.utime(folder / "one.txt", ns=(stamp.st_atime_ns, stamp.st_mtime_ns))  # within one tick of the clock
    upload.sync()
    assert container.blobs == {"one.txt": b"2"}


def test_what_has_gone_is_deleted_and_what_was_there_before_is_not(folder: Path) -> None:
    container = FakeContainer({"out/old.txt": b"of an earlier run"})
    upload = folder_upload(container, "out", folder)
    written(folder, "x.tmp", "half")
    upload.sync()
    (folder / "x.tmp").rename(folder / "x.txt")
    upload.sync()
    assert container.blobs == {"out/old.txt": b"of an earlier run", "out/x.txt": b"half"}


def test_what_the_runner_writes_itself_is_kept_out(folder: Path) -> None:
    container = FakeContainer()
    written(folder, "rows.txt", "not the rows")
    written(folder, "other/rows.txt", "another file")
    folder_upload(container, "out", folder, kept_out=frozenset({"rows.txt"})).sync()
    assert set(container.blobs) == {"out/other/rows.txt"}


def test_links_lead_nowhere_and_are_told_once(folder: Path, tmp_path: Path) -> None:
    container, said = FakeContainer(), list[str]()
    written(tmp_path, "secret/access.json", "the key")
    written(folder, "own.txt", "own")
    (folder / "link.txt").symlink_to(tmp_path / "secret" / "access.json")
    (folder / "nowhere.txt").symlink_to(tmp_path / "nowhere.txt")
    (folder / "circle").symlink_to(folder)
    (folder / "away").symlink_to(tmp_path / "secret")
    os.mkfifo(folder / "pipe")
    upload = folder_upload(container, "", folder, warn=said.append)
    upload.sync()
    upload.sync()
    assert container.blobs == {"own.txt": b"own"}
    assert len(said) == 1
    assert all(name in said[0] for name in ("'away'", "'circle'", "'link.txt'", "'nowhere.txt'"))


def test_a_link_that_takes_the_place_of_what_was_looked_at(folder: Path, tmp_path: Path) -> None:
    written(tmp_path, "secret/access.json", "the key")
    written(folder, "deep/access.json", "own")
    tree = Tree(folder)
    assert list(tree.look().files) == ["deep/access.json"]
    shutil.rmtree(folder / "deep")
    (folder / "deep").symlink_to(tmp_path / "secret")
    assert tree.open("deep/access.json") is None
    (folder / "access.json").symlink_to(tmp_path / "secret" / "access.json")
    assert tree.open("access.json") is None
    os.mkfifo(folder / "pipe")
    assert tree.open("pipe") is None
    folder.rename(tmp_path / "other")
    folder.symlink_to(tmp_path / "secret")
    assert tree.open("access.json") is None
    assert not tree.look().files


def test_another_name_of_a_file_of_somebody_else(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    container, said = FakeContainer(), list[str]()
    written(folder, "own.txt", "own")
    written(tmp_path, "else.txt", "of somebody else")
    os.link(tmp_path / "else.txt", folder / "hard.txt")
    monkeypatch.setattr(os, "geteuid", lambda: os.getuid() + 1)
    folder_upload(container, "", folder, warn=said.append).sync()
    assert container.blobs == {"own.txt": b"own"}
    assert "'hard.txt'" in said[0]


def test_a_change_that_keeps_size_and_time(folder: Path) -> None:
    container = FakeContainer()
    upload = folder_upload(container, "", folder)
    written(folder, "one.txt", "1")
    upload.sync()
    stamp = (folder / "one.txt").stat()
    (folder / "one.txt").write_text("2")
    os.utime(folder / "one.txt", ns=(stamp.st_atime_ns, stamp.st_mtime_ns))
    upload.sync()
    assert container.blobs == {"one.txt": b"2"}


@pytest.mark.parametrize("name", [b"\xff.txt", b"a\nb", "\uffff".encode(), b"a\\b", b"/".join([b"x" * 200] * 6)])
def test_names_that_no_blob_can_have(folder: Path, name: bytes) -> None:
    container = FakeContainer()
    written(folder, os.fsdecode(name), "1")
    with pytest.raises(UserError, match="no blob can have the name") as raised:
        folder_upload(container, "out", folder).sync()
    raised.value.describe().encode()
    assert not container.blobs


def test_an_output_that_is_a_file_is_made_a_folder(folder: Path) -> None:
    written(folder, "report.txt/page.txt", "1")
    with pytest.raises(UserError, match=r"'out/report\.txt' is an output of type uri_file, and the script has made a folder of it"):
        folder_upload(FakeContainer(), "out", folder, files={"report.txt"}).sync()


def test_a_script_appends_to_what_it_wrote_in_an_earlier_life(tmp_path: Path, azurite: Azurite) -> None:
    name = azurite.container()
    container = BlobContainer(azurite.store(name))
    container.put("a/deep/rows.txt", b"of somebody else")
    lives = [tmp_path / life for life in ("first", "second")]
    for life in lives:
        life.mkdir()
    first = folder_upload(container, "a", lives[0])
    first.prepare()
    written(lives[0], "rows ä.txt", "1\n")
    written(lives[0], "deep/er/one.txt", "one")
    first.sync()
    second = folder_upload(container, "a", lives[1])
    second.prepare()
    assert (lives[1] / "deep/er/one.txt").read_text() == "one"
    with open(lives[1] / "rows ä.txt", "a") as file:
        file.write("2\n")
    before = container.info("a/deep/er/one.txt").etag
    second.sync()
    assert container.read("a/rows ä.txt") == b"1\n2\n"
    assert container.info("a/deep/er/one.txt").etag == before
    assert not (lives[1] / "deep/rows.txt").exists()


@dataclass
class Pair:
    """Two instances of a job and their container."""

    name: str
    container: BlobContainer
    folders: list[Path]
    uploads: list[FolderUpload]
    said: list[str]


@pytest.fixture
def pair(tmp_path: Path, azurite: Azurite) -> Pair:
    name, said = azurite.container(), list[str]()
    container = BlobContainer(azurite.store(name))
    folders = [tmp_path / node for node in ("one", "two")]
    for folder in folders:
        folder.mkdir()
    pair = [folder_upload(container, "a", each, node=f"node_{at}", warn=said.append) for at, each in enumerate(folders)]
    for each in pair:
        each.prepare()
    return Pair(name, container, folders, pair, said)


@pytest.mark.parametrize("block", [uploads.BLOCK, 1000])
def test_two_instances_that_write_the_same_name(pair: Pair, block: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(uploads, "BLOCK", block)
    for turn in (0, 1):
        for at in (0, 1):
            written(pair.folders[at], "same.txt", f"{turn} of {at} " * 300, age=10 + turn)
            written(pair.folders[at], f"own{at}.txt", f"own {turn}", age=10 + turn)
            pair.uploads[at].sync()
    assert pair.container.read("a/same.txt") == b"1 of 1 " * 300
    assert pair.container.info("a/same.txt").metadata["runner_node"] == "node_1"
    assert pair.container.read("a/own0.txt") == b"own 1"
    assert pair.said == [  # once each, however often
        "'same.txt': written by node_0 and by node_1; the upload of node_1 came last and is kept",
        "'same.txt': written by node_1 and by node_0; the upload of node_0 came last and is kept",
    ]


def test_a_file_of_another_instance_is_not_deleted(pair: Pair) -> None:
    for at in (0, 1):
        written(pair.folders[at], "same.txt", f"of {at}")
        pair.uploads[at].sync()
    (pair.folders[0] / "same.txt").unlink()
    pair.uploads[0].sync()
    assert pair.container.read("a/same.txt") == b"of 1"
    (pair.folders[1] / "same.txt").unlink()
    pair.uploads[1].sync()
    assert not pair.container.holds("a/")


def test_what_a_lost_instance_has_uploaded_is_gone_on_with(pair: Pair, tmp_path: Path) -> None:
    written(pair.folders[0], "all.txt", "1\n")
    written(pair.folders[1], "all1.txt", "2\n")
    for each in pair.uploads:
        each.sync()
    (tmp_path / "third").mkdir()
    third = folder_upload(
        pair.container, "a", tmp_path / "third", node="node_2", goes_on_for=lambda node: node == "node_1", warn=pair.said.append
    )
    third.prepare()
    assert [path.name for path in (tmp_path / "third").iterdir()] == ["all1.txt"]
    for name in ("all.txt", "all1.txt"):
        with open(tmp_path / "third" / name, "a") as file:
            file.write("3\n")
    third.sync()
    assert pair.container.read("a/all1.txt") == b"2\n3\n"
    assert pair.container.info("a/all1.txt").metadata["runner_node"] == "node_2"
    assert pair.container.read("a/all.txt") == b"3\n"
    assert pair.said == ["'all.txt': written by node_0 and by node_2; the upload of node_2 came last and is kept"]


@pytest.mark.parametrize("known", [uploads.MOST_KNOWN, 0])
def test_what_lies_there_of_another_job_is_replaced_and_not_spoken_of(
    tmp_path: Path, azurite: Azurite, known: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(uploads, "MOST_KNOWN", known)
    said = list[str]()
    container = BlobContainer(azurite.store(azurite.container()))
    container.put("a/one.txt", b"old", metadata={"runner_job": "earlier", "runner_node": "node_1"})
    container.put("a/two.txt", b"old")
    (tmp_path / "out").mkdir()
    upload = folder_upload(container, "a", tmp_path / "out", warn=said.append)
    upload.prepare()
    for name in ("one.txt", "two.txt"):
        written(tmp_path / "out", name, "new")
    upload.sync()
    assert [container.read(f"a/{name}") for name in ("one.txt", "two.txt")] == [b"new", b"new"]
    assert not said


def test_a_failure_is_told_and_nothing_counts_as_uploaded(folder: Path) -> None:
    container = FakeContainer(broken=StorageUnavailable("gone"))
    upload = folder_upload(container, "", folder)
    written(folder, "one.txt", "1")
    with pytest.raises(StorageUnavailable):
        upload.sync()
    container.broken = None
    upload.sync()
    assert container.blobs == {"one.txt": b"1"}


def test_large_files_go_in_blocks(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(uploads, "BLOCK", 1000)
    container = FakeContainer(losses=2)
    written(folder, "large.bin", "0123456789" * 1000)
    folder_upload(container, "", folder).sync()
    assert container.blobs == {"large.bin": b"0123456789" * 1000}
    assert len(container.blocks) == 10


def test_looking_takes_a_small_part_of_the_time(folder: Path) -> None:
    now, slept = [0.0], []

    def clock() -> float:
        now[0] += 1.0  # so that each look takes a second
        return now[0]

    def sleep(seconds: float) -> None:
        slept.append(seconds)
        now[0] += seconds

    upload = folder_upload(FakeContainer(), "", folder, now=clock, sleep=sleep)
    for _ in range(3):
        upload.sync()
    assert len(slept) == 2
    assert min(slept) >= 7


def test_many_files(folder: Path, azurite: Azurite) -> None:
    name = azurite.container()
    for number in range(300):
        written(folder, f"{number % 7}/ä {number}.txt", str(number))
    folder_upload(BlobContainer(azurite.store(name)), "a", folder).sync()
    with azurite.client(name) as client:
        found = {blob.name for blob in client.list_blobs()}
    assert found == {f"a/{number % 7}/ä {number}.txt" for number in range(300)}
