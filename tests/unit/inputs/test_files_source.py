"""The input that is split, when it consists of files: first runs, later runs, long lists, mistakes."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import pytest

from runner.errors import UserError
from runner.inputs import files, lister
from runner.inputs.file_list import Position, Root
from runner.inputs.file_source import FileSource
from runner.inputs.keys import PartitionFormat
from runner.inputs.known import verify
from runner.inputs.split import files_of
from runner.model.batch import Chunk
from runner.model.job import JobInput, Step


def grow(root: Path, *paths: str) -> None:
    for path in paths:
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_bytes(os.fsencode(path))


class Bench:
    """A folder input and what its source says."""

    def __init__(self, root: Path) -> None:
        self.root, self.said = root, list[str]()

    def source(self, files_each: int = 2, roots: Sequence[Root] = (), **settings: object) -> FileSource:
        form = settings.pop("partition_format", None)
        step = Step(
            name="s",
            inputs={"i": JobInput(type="uri_folder", path=str(self.root))},
            input_data="i",
            mini_batch_size=files_each,
            **settings,  # type: ignore[arg-type]
        )
        here = Root(kind="folder", path=str(self.root), hidden=False, absolute=False, place={"field": "inputs.i"})
        return FileSource(
            step,
            roots or [here],
            root=str(self.root),
            what="a uri_folder",
            partition_format=PartitionFormat.parse(str(form)) if form else None,
            scratch=self.root.parent,
            warn=self.said.append,
        )

    def lines(self, known: Sequence[bytes] = (), **settings: object) -> list[bytes]:
        return [line for chunk in self.chunks(known, **settings) for line in chunk.lines]

    def chunks(self, known: Sequence[bytes] = (), **settings: object) -> list[Chunk]:
        return list(self.source(**settings).chunks(iter(known)))  # type: ignore[arg-type]


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    root = tmp_path / "in"
    root.mkdir()
    return Bench(root)


def paths(lines: Sequence[bytes]) -> list[list[str]]:
    return [[file.path for file in files_of(line)[0]] for line in lines]


def test_first_run(bench: Bench) -> None:
    grow(bench.root, "a", "b/c", "d", "e", "f")
    source = bench.source()
    assert paths(bench.lines()) == [["a", "b/c"], ["d", "e"], ["f"]]
    assert (source.summary.kind, source.summary.root, source.loader) == ("files", str(bench.root), None)
    assert source.summary.description == "a uri_folder, 2 per mini-batch"


def test_ten_files_by_default(bench: Bench) -> None:
    grow(bench.root, *(f"{number:02}" for number in range(25)))
    step = Step(name="s", inputs={}, input_data="i")
    root = Root(kind="folder", path=str(bench.root), hidden=False, absolute=False)
    source = FileSource(step, [root], root=str(bench.root), what="a uri_folder", scratch=bench.root, warn=bench.said.append)
    assert [len(files) for chunk in source.chunks(iter(())) for files in paths(chunk.lines)] == [10, 10, 5]


def test_a_later_run_goes_on_behind_the_known_ones(bench: Bench) -> None:
    grow(bench.root, "a", "b/c", "d", "e", "f")
    lines = bench.lines()
    assert bench.lines(lines) == []
    assert bench.lines(lines[:2]) == lines[2:]
    assert bench.lines(lines[:1]) == lines[1:]
    grow(bench.root, "g", "h")
    assert paths(bench.lines(lines)) == [["g", "h"]]
    assert bench.said == []


def test_new_files_in_places_that_are_passed_are_left_out(bench: Bench) -> None:
    grow(bench.root, "b", "d/e", "f")
    lines = bench.lines()
    grow(bench.root, "a", "d/a", "d/z", "c/1", "c/2", "z")
    assert paths(bench.lines(lines)) == [["z"]]
    assert bench.said == ["5 files are new in the input since the job began, in places it has passed: left out"]


def test_changed_and_missing_files_are_named_and_counted(bench: Bench) -> None:
    grow(bench.root, *(f"{number:02}" for number in range(20)))
    lines = bench.lines()
    (bench.root / "00").unlink()
    (bench.root / "01").write_text("longer")
    os.utime(bench.root / "02", ns=(0, 0))
    (bench.root / "19").unlink()
    with pytest.raises(UserError) as caught:
        bench.lines(lines)
    assert caught.value.problem == (
        "the input is not what it was when the job began: '00' is gone; '01' had 2 bytes and has 6; '02' was written again; '19' is gone"
    )
    for number in range(3, 19):
        (bench.root / f"{number:02}").unlink()
    with pytest.raises(UserError, match=r"and 10 more\n") as caught:
        bench.lines(lines)
    assert caught.value.problem.count(";") == 9


def test_a_missing_file_beside_new_ones(bench: Bench) -> None:
    grow(bench.root, "b", "d", "f")
    lines = bench.lines()
    (bench.root / "d").unlink()
    grow(bench.root, "c", "e")
    with pytest.raises(UserError, match=r"'d' is gone\n"):
        bench.lines(lines)


def test_several_roots_with_files_that_occur_twice(tmp_path: Path) -> None:
    grow(tmp_path, "a/1", "a/2", "a/deep/3", "b/1.csv", "b/2.txt", "one")
    bench = Bench(tmp_path)
    roots = [
        Root(kind="file", path=str(tmp_path / "one")),
        Root(kind="folder", path=str(tmp_path / "a")),
        Root(kind="pattern", path=str(tmp_path / "b"), pattern="*.csv"),
        Root(kind="folder", path=str(tmp_path / "a/deep")),
        Root(kind="file", path=str(tmp_path / "one")),
        Root(kind="folder", path=str(tmp_path / "a")),
    ]
    lines = bench.lines(roots=roots, files_each=1)
    want = ["one", "a/1", "a/2", "a/deep/3", "b/1.csv", "a/deep/3", "one", "a/1", "a/2", "a/deep/3"]
    assert [files[0] for files in paths(lines)] == [str(tmp_path / path) for path in want]
    for known in range(1, len(lines) + 1):
        assert bench.lines(lines[:known], roots=roots, files_each=1) == lines[known:]
    assert bench.said == []
    grow(tmp_path, "a/0", "b/0.csv", "a/9")
    assert [os.path.relpath(files[0], tmp_path) for files in paths(bench.lines(lines[:7], roots=roots, files_each=1))] == [
        "a/0",
        "a/1",
        "a/2",
        "a/9",
        "a/deep/3",
    ]
    assert bench.said == ["3 files are new in the input since the job began, in places it has passed: left out"]
    assert verify(lines[:6], roots, bench.said.append) == Position(3, str(tmp_path / "a/deep/3"))
    (tmp_path / "one").unlink()
    with pytest.raises(UserError, match=r"one' is gone; .*one' is gone\n"):
        bench.lines(lines, roots=roots, files_each=1)


@pytest.mark.parametrize("files_each", [1, 3, 10])
def test_a_child_goes_on_with_long_lists(bench: Bench, monkeypatch: pytest.MonkeyPatch, files_each: int) -> None:
    grow(bench.root, *(f"{number % 7}/{number:03}" for number in range(200)), "new\nline", "\udcff", "ü/'")
    os.mkfifo(bench.root / "pipe")
    os.mkfifo(bench.root / "6/pipe")
    at_home = bench.chunks(files_each=files_each)
    for limit in (1, 2, 25, 100, 202, 203, 204):
        monkeypatch.setattr(lister.count_chunks, "__kwdefaults__", {"at_home": limit})
        bench.said.clear()
        chunks = bench.chunks(files_each=files_each)
        assert [line for chunk in chunks for line in chunk.lines] == [line for chunk in at_home for line in chunk.lines]
        assert sum(chunk.items for chunk in chunks) == 203
        assert sum(chunk.bytes for chunk in chunks) == sum(chunk.bytes for chunk in at_home)
        assert bench.said == ["left out of the input, since they are a named pipe: 'pipe', '6/pipe'"]


def test_mistakes_found_by_the_child_are_the_users(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    grow(bench.root, "a", "b")
    monkeypatch.setattr(lister.count_chunks, "__kwdefaults__", {"at_home": 1})
    gone = Root(kind="folder", path=str(bench.root / "gone"), place={"file": "MLTable", "line": 3})
    roots = [Root(kind="folder", path=str(bench.root)), gone]
    with pytest.raises(UserError, match=r"MLTable:3: .*gone' cannot be listed: No such file") as caught:
        bench.lines(roots=roots)
    assert caught.value.todo == "check the path"


def test_a_child_ends_with_its_reader(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    grow(bench.root, *(f"{number:03}" for number in range(50)))
    monkeypatch.setattr(lister.count_chunks, "__kwdefaults__", {"at_home": 3})
    chunks = bench.source(files_each=1).chunks(iter(()))
    for _ in range(3):
        next(chunks)
    started = time.monotonic()
    chunks.close()  # type: ignore[attr-defined]
    assert time.monotonic() - started < 5


def test_by_keys(bench: Bench) -> None:
    grow(bench.root, "b/2024/1.csv", "a/2025/2.csv", "a/2024/3.csv", "b/2024/4.csv")
    form = "/{store}/{year:yyyy}/{n}.csv"
    lines = bench.lines(partition_keys=("store",), partition_format=form)
    assert [(files_of(line)[1], paths([line])[0]) for line in lines] == [
        ({"store": "a"}, ["a/2024/3.csv", "a/2025/2.csv"]),
        ({"store": "b"}, ["b/2024/1.csv", "b/2024/4.csv"]),
    ]
    both = bench.lines(partition_keys=("year", "store"), partition_format=form)
    assert [files_of(line)[1] for line in both] == [
        {"year": "2024-01-01T00:00:00", "store": "a"},
        {"year": "2024-01-01T00:00:00", "store": "b"},
        {"year": "2025-01-01T00:00:00", "store": "a"},
    ]
    assert bench.source(partition_keys=("store",), partition_format=form).summary.description == "a uri_folder, by store"


def test_by_keys_in_a_later_run(bench: Bench) -> None:
    settings: dict[str, object] = {"partition_keys": ("s",), "partition_format": "/{s}/{n}.csv"}
    grow(bench.root, "b/1.csv", "b/2.csv", "d/1.csv", "e/1.csv")
    lines = bench.lines(**settings)
    assert bench.lines(lines[:2], **settings) == lines[2:]
    grow(bench.root, "a/1.csv", "b/3.csv", "c/1.csv", "f/1.csv")
    assert [files_of(line)[1] for line in bench.lines(lines, **settings)] == [{"s": "f"}]
    assert bench.said == ["3 files are new in the input since the job began, in places it has passed: left out"]
    (bench.root / "d/1.csv").unlink()
    with pytest.raises(UserError, match=r"'d/1\.csv' is gone"):
        bench.lines(lines, **settings)


def test_the_first_mini_batch_comes_at_once(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    grow(bench.root, *(f"{folder:03}/{number}" for folder in range(100) for number in range(20)))
    monkeypatch.setattr(files, "_DELAY", 0.001)  # listing all takes more than 2 s
    started = time.monotonic()
    times = [time.monotonic() - started for _ in bench.source(files_each=10).chunks(iter(()))]
    assert times[0] < 0.8
    assert times[-1] > 2
    assert max(later - earlier for earlier, later in pairwise(times)) < 0.5


def test_a_path_without_keys(bench: Bench) -> None:
    grow(bench.root, "a/1.csv", "a/readme.txt")
    with pytest.raises(UserError, match=r"a/readme.txt' does not fit the partition format '/\{s\}/\{n\}.csv'"):
        bench.lines(partition_keys=("s",), partition_format="/{s}/{n}.csv")


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"mini_batch_size_has_unit": True}, "`mini_batch_size`: mini_batch_size has a unit of bytes.*split by number of files"),
        (
            {"partition_keys": ("x",)},
            "`partition_keys`: 'i' is a uri_folder, whose files have no keys.*extract_columns_from_partition_format",
        ),
        ({"partition_keys": ("stor",), "partition_format": "/{store}/{n}.csv"}, "no key 'stor'.*allowed: store, n.*did you mean 'store'"),
    ],
)
def test_mistakes(bench: Bench, settings: dict[str, object], message: str) -> None:
    with pytest.raises(UserError, match=f"(?s){message}"):
        bench.source(**settings)  # type: ignore[arg-type]


def test_nothing_found(bench: Bench) -> None:
    grow(bench.root, ".hidden", ".git/x")
    with pytest.raises(UserError, match=r"`inputs.i`: there is no file in '.*in' \(names that begin with '.' are left out\)"):
        bench.lines()
    for pattern, message in (("x/**", r"write '\*\*/\*'"), ("{a,b}", "one entry for each"), ("*.csv", "no file matches '.*in/\\*.csv'")):
        with pytest.raises(UserError, match=message):
            bench.lines(roots=[Root(kind="pattern", path=str(bench.root), pattern=pattern)])
    with pytest.raises(UserError, match=r"MLTable:4: there is no file in"):
        bench.lines(roots=[Root(kind="folder", path=str(bench.root)), empty_folder(bench)])


def empty_folder(bench: Bench) -> Root:
    (bench.root / "empty").mkdir()
    return Root(kind="folder", path=str(bench.root / "empty"), place={"file": "MLTable", "line": 4})
