"""Files that all jobs of a node share."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable
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
    use.close()
    assert (cache.get(blobs).folder / "top/a").read_bytes() == b"a" * 10
    container.etags["a"] = "0x2"
    assert cache.get(some(container, "a", "b/c")).folder != use.folder


def _rewrite(top: Path) -> None:
    before = (top / "a").stat()
    (top / "a").chmod(0o644)
    (top / "a").write_bytes(b"x" * 10)
    os.utime(top / "a", ns=(before.st_atime_ns, before.st_mtime_ns))


def _add(top: Path) -> None:
    top.chmod(0o755)
    (top / "more").write_bytes(b"x")
    (top / "link").symlink_to("/")


def _replace(top: Path) -> None:
    top.chmod(0o755)
    (top / "x").write_bytes(b"x" * 10)
    (top / "x").rename(top / "a")


@pytest.mark.parametrize("change", [_rewrite, _add, _replace])
@pytest.mark.parametrize("in_use", [True, False])
def test_what_a_script_has_changed_is_nothing_for_later_jobs(change: Callable[[Path], None], in_use: bool, tmp_path: Path) -> None:
    container, cache = FakeContainer(), NodeCache(tmp_path)
    blobs = made(container, 10, "a", "b/c")
    first = cache.get(blobs)
    folders = (first.folder.parent, first.folder, first.folder / "top", first.folder / "top/b")
    assert {path.stat().st_mode & 0o777 for path in folders} == {0o555}
    assert {(first.folder / "top" / name).stat().st_mode & 0o777 for name in ("a", "b/c")} == {0o444}
    change(first.folder / "top")
    changed = (first.folder / "top/a").read_bytes()
    if not in_use:
        first.close()
    second = cache.get(blobs)
    assert sorted(str(path.relative_to(second.folder)) for path in second.folder.rglob("*")) == ["top", "top/a", "top/b", "top/b/c"]
    assert (second.folder / "top/a").read_bytes() == b"a" * 10
    assert (second.folder != first.folder) is in_use
    if in_use:  # it keeps what it has
        assert (first.folder / "top/a").read_bytes() == changed
    assert cache.get(blobs).folder == second.folder
    assert len(container.reads) == 4


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
