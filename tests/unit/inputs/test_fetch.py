"""Files of mini-batches, brought here and taken away again."""

from __future__ import annotations

import errno
import json
import os
import threading
import time
from concurrent.futures import CancelledError
from pathlib import Path
from typing import Any

import pytest

from runner.errors import UserError
from runner.inputs import download
from runner.inputs.fetch import FileLoader
from runner.model.batch import Loaded
from runner.storage.problems import StorageRefused

from .fake_blobs import ROOT, FakeContainer, FakeStores


def line(*files: tuple[str, int] | tuple[str, int, str], **more: object) -> bytes:
    return json.dumps({"files": [[*file, "0x1"][:3] for file in files], **more}).encode()


def loader(container: FakeContainer) -> FileLoader:
    return FileLoader(FakeStores(container), root=f"{ROOT}/in")  # type: ignore[arg-type]


def load(made: FileLoader, scratch: Path, *lines: bytes) -> Loaded:
    return made.load(0, lines, scratch, "files")


def paths(loaded: Loaded, at: int = 0) -> list[str]:
    return [file[0] for file in json.loads(loaded.lines[at])["files"]]


def everything(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def test_files_are_laid_out_as_in_the_input_and_go_when_they_are_done(tmp_path: Path) -> None:
    made = loader(FakeContainer({"in/a": b"1", "in/b/c": b"22", "in/e": b""}))
    loaded = load(made, tmp_path, line(("a", 1), ("b/c", 2), keys={"k": "v"}), line(("e", 0)))
    assert paths(loaded) == [f"{tmp_path}/in/a", f"{tmp_path}/in/b/c"]
    assert json.loads(loaded.lines[0]) == {"files": [[f"{tmp_path}/in/a", 1, "0x1"], [f"{tmp_path}/in/b/c", 2, "0x1"]], "keys": {"k": "v"}}
    assert (loaded.bytes, loaded.failed) == (3, {})
    assert everything(tmp_path) == ["in/a", "in/b/c", "in/e"]
    assert (tmp_path / "in/b/c").read_bytes() == b"22"
    made.free(loaded.scratch)
    assert [path.name for path in tmp_path.iterdir()] == ["part"]


def test_a_file_stays_while_another_mini_batch_uses_it(tmp_path: Path) -> None:
    container = FakeContainer({"in/a": b"1", "in/b": b"2"})
    made = loader(container)
    first = load(made, tmp_path, line(("a", 1), ("a", 1)), line(("a", 1), ("b", 1)))
    second = load(made, tmp_path, line(("b", 1)))
    assert sorted(container.reads) == ["in/a", "in/b"]
    made.free(first.scratch)
    assert everything(tmp_path) == ["in/b"]
    third = load(made, tmp_path, line(("b", 1)))
    made.free(second.scratch)
    assert everything(tmp_path) == ["in/b"]
    made.free(third.scratch)
    assert everything(tmp_path) == []


def test_what_changed_or_is_gone_fails_its_own_mini_batch(tmp_path: Path) -> None:
    made = loader(FakeContainer({"in/a": b"1", "in/b": b"1", "in/c": b"1"}, etags={"in/b": "0x2"}))
    loaded = load(made, tmp_path, line(("a", 1), ("b", 1)), line(("c", 1)), line(("d", 1)))
    assert loaded.lines[0] == loaded.lines[2] == b""
    assert {at: (error.kind, error.item, error.message) for at, error in loaded.failed.items()} == {
        0: ("input", f"{ROOT}/in/b", f"'{ROOT}/in/b' has changed since it was listed, at the beginning of the job"),
        2: ("input", f"{ROOT}/in/d", f"'{ROOT}/in/d' is gone since it was listed, at the beginning of the job"),
    }
    assert everything(tmp_path) == ["in/c"]
    made.free(loaded.scratch)
    assert everything(tmp_path) == []


def test_two_versions_are_never_mixed(tmp_path: Path) -> None:
    container = FakeContainer({"in/a": b"1"})
    made = loader(container)
    first = load(made, tmp_path, line(("a", 1)))
    container.blobs["in/a"], container.etags["in/a"] = b"2", "0x2"
    second = load(made, tmp_path, line(("a", 1, "0x2")))
    assert [Path(paths(each)[0]).read_bytes() for each in (first, second)] == [b"1", b"2"]


def test_local_files_and_files_that_lie_elsewhere(tmp_path: Path) -> None:
    (tmp_path / "local").write_bytes(b"0")
    made = loader(FakeContainer({"other/a": b"1", "in/b": b"2"}))
    loaded = load(made, tmp_path / "s", line((f"{tmp_path}/local", 1), (f"{ROOT}/other/a", 1), (f"{ROOT}/in/b", 1)))
    assert paths(loaded) == [f"{tmp_path}/local", f"{tmp_path}/s/at/datastores/az/paths/other/a", f"{tmp_path}/s/in/b"]
    made.free(loaded.scratch)
    assert (tmp_path / "local").exists()


def test_a_file_and_a_folder_of_the_same_name(tmp_path: Path) -> None:
    made = loader(FakeContainer({"in/a": b"1", "in/a/b": b"2", "in/a/b/c": b"3"}))
    for order in (("a", "a/b", "a/b/c"), ("a/b/c", "a/b", "a")):
        loaded = load(made, tmp_path, line(*((name, 1) for name in order)))
        texts = {name: Path(path).read_text() for name, path in zip(order, paths(loaded), strict=True)}
        assert texts == {"a": "1", "a/b": "2", "a/b/c": "3"}
        made.free(loaded.scratch)
        assert everything(tmp_path) == []


def test_large_files_come_in_pieces(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(download, "PIECE", 1000)
    data = os.urandom(10_500)
    container = FakeContainer({"in/a": data})
    loaded = load(loader(container), tmp_path, line(("a", len(data))))
    assert Path(paths(loaded)[0]).read_bytes() == data
    assert len(container.reads) == 11


def test_half_a_file_is_never_seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(download, "PIECE", 4)
    waiting, go_on = threading.Barrier(2), threading.Event()

    def hold(_path: str) -> None:
        if len(container.reads) == 3:
            waiting.wait(10)
            go_on.wait(10)

    container = FakeContainer({"in/a": b"0123456789"}, before_read=hold)
    made, found = loader(container), list[Loaded]()
    thread = threading.Thread(target=lambda: found.append(load(made, tmp_path, line(("a", 10)))))
    thread.start()
    waiting.wait(10)
    assert not (tmp_path / "in/a").exists()
    go_on.set()
    thread.join()
    assert Path(paths(found[0])[0]).read_bytes() == b"0123456789"


def test_what_no_mini_batch_would_be_spared_is_raised(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: str) -> None:
        if path == "in/b":
            raise StorageRefused("not for you")

    made = loader(FakeContainer({"in/a": b"1", "in/b": b"1"}, before_read=refuse))
    with pytest.raises(StorageRefused):
        load(made, tmp_path, line(("a", 1)), line(("b", 1)))
    assert everything(tmp_path) == []

    def full(*_words: Any) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(download.os, "pwrite", full)
    with pytest.raises(UserError, match=r"(?s)no space left for files of the input.*smaller mini_batch_size"):
        load(made, tmp_path, line(("a", 1)))
    assert everything(tmp_path) == []


def test_nothing_more_comes_for_an_instance_that_has_ended(tmp_path: Path) -> None:
    go_on, begun = threading.Event(), threading.Event()

    def hold(_path: str) -> None:
        begun.set()
        go_on.wait(10)

    container = FakeContainer({f"in/{number}": b"1" for number in range(100)}, before_read=hold)
    made, failures = loader(container), list[BaseException]()

    def try_it() -> None:
        try:
            load(made, tmp_path, line(*((f"{number}", 1) for number in range(100))))
        except CancelledError as error:
            failures.append(error)

    thread = threading.Thread(target=try_it)
    thread.start()
    begun.wait(10)
    made.end(tmp_path)
    go_on.set()
    thread.join(10)
    assert len(failures) == 1
    assert len(container.reads) <= download.REQUESTS
    made.free([str(tmp_path / "in/1")])
    end = time.monotonic() + 10
    while everything(tmp_path):  # what was under way
        assert time.monotonic() < end
        time.sleep(0.01)
