"""Files that all jobs of a node share."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from runner.inputs.download import Blob
from runner.inputs.node_cache import NodeCache
from runner.storage.problems import BlobChanged

from .fake_blobs import FakeContainer


def some(container: FakeContainer, *names: str) -> dict[str, Blob]:
    return {f"top/{name}": container.blob(name) for name in names}


def made(container: FakeContainer, size: int = 10, *names: str) -> dict[str, Blob]:
    container.blobs |= {name: name.encode() * size for name in names}
    return some(container, *names)


def test_they_are_brought_once_and_checked_at_each_use(tmp_path: Path) -> None:
    container, cache = FakeContainer(), NodeCache(tmp_path)
    blobs = made(container, 10, "a", "b/c")
    use = cache.get(blobs)
    assert (use.folder / "top/b/c").read_bytes() == b"b/c" * 10
    assert not os.stat(use.folder / "top/a").st_mode & 0o222
    assert cache.get(blobs).folder == use.folder
    assert sorted(container.reads) == ["a", "b/c"]
    (use.folder / "top/a").chmod(0o600)
    (use.folder / "top/a").write_bytes(b"short")
    assert (cache.get(blobs).folder / "top/a").read_bytes() == b"a" * 10
    container.etags["a"] = "0x2"
    assert cache.get(some(container, "a", "b/c")).folder != use.folder


def test_who_comes_later_waits_for_the_first(tmp_path: Path) -> None:
    container = FakeContainer(before_read=lambda _path: time.sleep(0.2))
    blobs = made(container, 10, "a")
    folders = list[Path]()
    threads = [threading.Thread(target=lambda: folders.append(NodeCache(tmp_path).get(blobs).folder)) for _ in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (len(set(folders)), len(folders), container.reads) == (1, 5, ["a"])


def test_what_fails_leaves_nothing_and_is_tried_again(tmp_path: Path) -> None:
    container, cache = FakeContainer(), NodeCache(tmp_path)
    blobs = made(container, 10, "a", "b")
    container.etags["b"] = "0x2"
    with pytest.raises(BlobChanged):
        cache.get(blobs)
    assert [path for path in tmp_path.iterdir() if path.is_dir()] == []
    assert (cache.get(some(container, "a", "b")).folder / "top/b").exists()


def test_what_was_not_used_for_longest_makes_room_unless_it_is_in_use(tmp_path: Path) -> None:
    container, cache = FakeContainer(), NodeCache(tmp_path, kept=250)
    uses = [cache.get(made(container, 100, name)) for name in "ab"]
    for at, use in enumerate(uses):
        os.utime(use.folder.parent.with_suffix(".use"), (at, at))
    uses[1].close()
    third = cache.get(made(container, 100, "c"))
    assert [use.folder.exists() for use in (*uses, third)] == [True, False, True]
    uses[0].close()
    third.close()
    cache.get(made(container, 240, "d"))
    assert [use.folder.exists() for use in (*uses, third)] == [False, False, False]


def test_what_a_killed_process_has_begun_is_done_afresh(tmp_path: Path) -> None:
    container, cache = FakeContainer(), NodeCache(tmp_path)
    blobs = made(container, 10, "a")
    folder = cache.get(blobs).folder.parent
    script = f"""
import fcntl, os, time
os.rename({str(folder)!r}, {str(folder.with_suffix(".filling"))!r})
lock = open({str(folder.with_suffix(".fill"))!r}, "w")
fcntl.flock(lock, fcntl.LOCK_EX)
print("locked", flush=True)
time.sleep(60)
"""
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        threading.Timer(0.3, process.kill).start()
        began = time.monotonic()
        assert (cache.get(blobs).folder / "top/a").exists()
        assert 0.2 < time.monotonic() - began < 30
    assert not folder.with_suffix(".filling").exists()
