"""What belongs to a list of files, what is left out, and when the first ones come."""

from __future__ import annotations

import os
import socket
import time
from pathlib import Path

import pytest

from runner.errors import InputError, UserError
from runner.inputs import files
from runner.inputs.files import Tree, entries_of, list_folder, status_of
from runner.inputs.patterns import Pattern, split_pattern


def names(root: Path, *, hidden: bool = False) -> list[str]:
    return [entry.path for entry in list_folder(root, hidden=hidden)]


def grow(root: Path, *paths: str) -> None:
    for path in paths:
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).touch()


def test_hidden_names_at_every_level(tmp_path: Path) -> None:
    grow(tmp_path, "a", ".b", ".c/d", "e/.f", "e/_g")
    assert names(tmp_path) == ["a", "e/_g"]
    assert names(tmp_path, hidden=True) == [".b", ".c/d", "a", "e/.f", "e/_g"]


def test_links_are_followed(tmp_path: Path) -> None:
    grow(tmp_path, "other/x", "other/deep/y", "root/a")
    (tmp_path / "root/file").symlink_to("../other/x")
    (tmp_path / "root/folder").symlink_to("../other")
    (tmp_path / "root/folder.txt").touch()
    assert names(tmp_path / "root") == ["a", "file", "folder.txt", "folder/deep/y", "folder/x"]


@pytest.mark.parametrize("target", [".", "..", "../..", "../../outside"])
def test_links_to_a_folder_around_them_are_left_out(tmp_path: Path, target: str) -> None:
    grow(tmp_path, "root/a/b", "outside/c")
    (tmp_path / "outside/back").symlink_to(tmp_path / "root/a")
    (tmp_path / "root/a/loop").symlink_to(target)
    said: list[str] = []
    found = [entry.path for entry in list_folder(tmp_path / "root", hidden=False, warn=said.append)]
    assert found[0] == "a/b"
    assert len(found) < 10
    assert len(said) == 1
    assert "a link to a folder that contains it" in said[0]


def test_other_kinds_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    grow(tmp_path, "a")
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "nowhere").symlink_to("gone")
    (tmp_path / "self").symlink_to("self")
    monkeypatch.chdir(tmp_path)  # socket paths are short
    with socket.socket(socket.AF_UNIX) as server:
        server.bind("sock")
        said: list[str] = []
        assert [entry.path for entry in list_folder(tmp_path, hidden=False, warn=said.append)] == ["a"]
    assert sorted(said) == [
        "left out of the input, since it is a link that leads nowhere: 'self'",
        "left out of the input, since it is a link to nothing: 'nowhere'",
        "left out of the input, since it is a named pipe: 'pipe'",
        "left out of the input, since it is a socket: 'sock'",
    ]


def test_many_of_a_kind_are_counted(tmp_path: Path) -> None:
    for number in range(12):
        (tmp_path / f"{number:02}").symlink_to("gone")
    said: list[str] = []
    assert list(list_folder(tmp_path, hidden=False, warn=said.append)) == []
    assert len(said) == 1
    assert said[0].endswith(" and 2 more")


def test_missing_and_wrong_roots(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for path, reason in (("gone", "No such file"), ("file", "Not a directory")):
        with pytest.raises(UserError, match=reason) as caught:
            names(tmp_path / path)
        assert str(tmp_path / path) in str(caught.value)
    with pytest.raises(InputError, match="No such file"):
        status_of(str(tmp_path / "gone"))


def test_files_that_vanish_are_left_out(tmp_path: Path) -> None:
    grow(tmp_path, *(f"{number:02}" for number in range(20)))
    said: list[str] = []
    listing = list_folder(tmp_path, hidden=False, warn=said.append)
    assert next(listing).path == "00"
    (tmp_path / "15").unlink()
    (tmp_path / "16").unlink()
    assert len(list(listing)) == 17
    assert said == ["left out of the input, since they are gone since the folder was read: '15', '16'"]


def test_one_file_can_be_left_out(tmp_path: Path) -> None:
    grow(tmp_path, "MLTable", "sub/MLTable", "sub/x")
    assert [entry.path for entry in list_folder(tmp_path, hidden=True, leave_out="MLTable")] == ["sub/MLTable", "sub/x"]
    assert [entry.path for entry in list_folder(tmp_path, hidden=True, leave_out="sub/MLTable")] == ["MLTable", "sub/x"]


def test_the_first_files_are_there_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    grow(tmp_path, *(f"{folder:03}/{number}" for folder in range(100) for number in range(20)))
    monkeypatch.setattr(files, "_DELAY", 0.001)  # listing all takes more than 2 s
    started = time.monotonic()
    assert next(list_folder(tmp_path, hidden=False)).path == "000/0"
    assert time.monotonic() - started < 0.8


@pytest.mark.parametrize(
    ("pattern", "want"),
    [
        ("*.csv", ["_u.csv", "a.csv"]),
        ("./*.csv", ["_u.csv", "a.csv"]),
        ("**/*.csv", ["_u.csv", "a.csv", "x/.h.csv", "x/b.csv", "x/y/c1.csv", "x/y/c2.csv"]),
        ("*/*.csv", ["x/.h.csv", "x/b.csv"]),
        ("x/**/c?.csv", ["x/y/c1.csv", "x/y/c2.csv"]),
        ("**/y/*", ["x/y/c1.csv", "x/y/c2.csv"]),
        ("x/y/c[0-1].csv", ["x/y/c1.csv"]),
        ("x/**/**/c2.csv", ["x/y/c2.csv"]),
        ("**", []),
        ("x/**", []),
        ("{a,b}.csv", []),
        ("*", ["_u.csv", "a.csv", "b.txt"]),
        ("", []),
    ],
)
def test_patterns(tmp_path: Path, pattern: str, want: list[str]) -> None:
    grow(tmp_path, "a.csv", "_u.csv", "b.txt", "x/b.csv", "x/.h.csv", "x/y/c1.csv", "x/y/c2.csv")
    tree = Tree(str(tmp_path), hidden=True, pattern=Pattern(pattern))
    assert [entry.path for entry in entries_of(tree.blocks())] == want
    every = [entry.path for entry in list_folder(tmp_path, hidden=True)]
    assert [path for path in every if Pattern(pattern).matches(path)] == want


def test_patterns_enter_no_folder_in_vain(tmp_path: Path) -> None:
    grow(tmp_path, "a/x.csv", "b/x.csv")
    opened: list[bytes] = []

    class Watched(Tree):
        def _scan(self, path: bytes, *, told: bool) -> tuple[list[bytes], set[bytes]]:
            opened.append(path)
            return super()._scan(path, told=told)

    assert len(list(Watched(str(tmp_path), hidden=True, pattern=Pattern("a/*.csv")).blocks())) == 1
    assert opened == [b"", b"a/"]


@pytest.mark.parametrize(
    ("text", "want"),
    [
        ("/data/2024/**/*.csv", ("/data/2024", "**/*.csv")),
        ("*.csv", (".", "*.csv")),
        ("/*.csv", ("/", "*.csv")),
        ("/data/a.csv", ("/data", "a.csv")),
        ("/d[ab]/c/x?", ("/", "d[ab]/c/x?")),
    ],
)
def test_split_pattern(text: str, want: tuple[str, str]) -> None:
    assert split_pattern(text) == want
