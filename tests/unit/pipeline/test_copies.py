"""Copies of outputs: whole, also where something is already, and not made for whoever does not want them any more."""

from __future__ import annotations

from pathlib import Path

import pytest

from runner.pipeline.copies import copy_output, has_files
from runner.storage.stores import Stores


@pytest.fixture
def made(tmp_path: Path) -> Path:
    """An output with a file, a folder, and links to both."""
    made = tmp_path / "made"
    (made / "sub").mkdir(parents=True)
    (made / "a").write_text("a")
    (made / "sub" / "b").write_text("b")
    (made / "to_file").symlink_to("a")
    (made / "to_folder").symlink_to("sub")
    return made


def copy(source: Path, target: Path, *, stop: bool = False) -> None:
    copy_output(str(source), str(target), Stores(), lambda: stop)


@pytest.mark.parametrize("there", ["nothing", "empty", "files"])
def test_a_folder(made, tmp_path, there):
    target = tmp_path / "deep" / "target"
    if there != "nothing":
        target.mkdir(parents=True)
    if there == "files":
        (target / "mine").write_text("mine")
        (target / "a").write_text("older")
    copy(made, target)
    found = {path.relative_to(target).as_posix() for path in target.rglob("*")}
    assert found == {"a", "sub", "sub/b", "to_file", "to_folder"} | ({"mine"} if there == "files" else set())
    assert (target / "a").read_text() == (target / "to_file").read_text() == "a"
    assert (target / "to_folder" / "b").read_text() == "b"
    assert sorted(path.name for path in target.parent.iterdir()) == ["target"], "no draft is left"


def test_a_file_takes_the_place_of_another(made, tmp_path):
    (tmp_path / "rows.txt").write_text("older")
    copy(made / "a", tmp_path / "rows.txt")
    assert (tmp_path / "rows.txt").read_text() == "a"


def test_a_copy_that_is_not_wanted_any_more(made, tmp_path):
    with pytest.raises(OSError, match="cancelled"):
        copy(made, tmp_path / "target", stop=True)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["made"]


def test_what_is_not_there(tmp_path):
    with pytest.raises(OSError):
        copy(tmp_path / "none", tmp_path / "target")
    assert list(tmp_path.iterdir()) == []
    assert not has_files(str(tmp_path / "none"), Stores())
