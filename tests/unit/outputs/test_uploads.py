"""Output folders in blob storage: what has changed is uploaded, and nothing else."""

from __future__ import annotations

import os
import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from runner.outputs import uploads
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

    def put(self, path: str, data: bytes) -> str:
        if self.broken:
            raise self.broken
        with self.lock:
            self.puts.append(path)
            self.blobs[path] = data
        return "etag"

    def delete(self, path: str) -> None:
        self.blobs.pop(path, None)

    def stage(self, path: str, block: str, data: bytes) -> None:
        with self.lock:
            self.blocks[block] = data

    def commit(self, path: str, blocks: Sequence[str]) -> str:
        if self.losses:
            self.losses -= 1
            self.blocks.clear()
            raise BlocksLost("another instance writes this file, too")
        return self.put(path, b"".join(self.blocks[one] for one in blocks))


def written(folder: Path, name: str, text: str, *, age: float = 10.0) -> None:
    """A file that was last changed some time ago."""
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    then = path.stat().st_mtime_ns - int(age * 1e9)
    os.utime(path, ns=(then, then))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "out"
    folder.mkdir()
    return folder


def test_what_has_changed_is_uploaded_once(folder: Path) -> None:
    container = FakeContainer()
    upload = FolderUpload(container, "a/b", folder)
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
    upload = FolderUpload(container, "", folder)
    written(folder, "one.txt", "1", age=0)
    upload.sync()
    stamp = (folder / "one.txt").stat()
    (folder / "one.txt").write_text("2")
    os.utime(folder / "one.txt", ns=(stamp.st_atime_ns, stamp.st_mtime_ns))  # within one tick of the clock
    upload.sync()
    assert container.blobs == {"one.txt": b"2"}


def test_what_has_gone_is_deleted_and_what_was_there_before_is_not(folder: Path) -> None:
    container = FakeContainer({"out/old.txt": b"of an earlier run"})
    upload = FolderUpload(container, "out", folder)
    written(folder, "x.tmp", "half")
    upload.sync()
    (folder / "x.tmp").rename(folder / "x.txt")
    upload.sync()
    assert container.blobs == {"out/old.txt": b"of an earlier run", "out/x.txt": b"half"}


def test_what_the_runner_writes_itself_is_kept_out(folder: Path) -> None:
    container = FakeContainer()
    written(folder, "rows.txt", "not the rows")
    written(folder, "other/rows.txt", "another file")
    FolderUpload(container, "out", folder, kept_out=frozenset({"rows.txt"})).sync()
    assert set(container.blobs) == {"out/other/rows.txt"}


def test_links_and_what_is_no_file(folder: Path, tmp_path: Path) -> None:
    container = FakeContainer()
    written(tmp_path, "elsewhere.txt", "linked")
    (folder / "link.txt").symlink_to(tmp_path / "elsewhere.txt")
    (folder / "nowhere.txt").symlink_to(tmp_path / "nowhere.txt")
    (folder / "circle").symlink_to(folder)
    os.mkfifo(folder / "pipe")
    FolderUpload(container, "", folder).sync()
    assert container.blobs == {"link.txt": b"linked"}


def test_a_failure_is_told_and_nothing_counts_as_uploaded(folder: Path) -> None:
    container = FakeContainer(broken=StorageUnavailable("gone"))
    upload = FolderUpload(container, "", folder)
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
    FolderUpload(container, "", folder).sync()
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

    upload = FolderUpload(FakeContainer(), "", folder, now=clock, sleep=sleep)
    for _ in range(3):
        upload.sync()
    assert len(slept) == 2
    assert min(slept) >= 7


def test_many_files(folder: Path, azurite: Azurite) -> None:
    name = azurite.container()
    for number in range(300):
        written(folder, f"{number % 7}/ä {number}.txt", str(number))
    FolderUpload(BlobContainer(azurite.store(name)), "a", folder).sync()
    with azurite.client(name) as client:
        found = {blob.name for blob in client.list_blobs()}
    assert found == {f"a/{number % 7}/ä {number}.txt" for number in range(300)}
