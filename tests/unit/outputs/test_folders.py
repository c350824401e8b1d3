"""Folders of outputs in blob storage, on this side."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from runner.model.job import JobOutput
from runner.outputs.folders import PlacedFolder, replace_whole, upload_paths

ADDRESS = "azureml://datastores/az/paths/files"


def test_each_run_has_a_new_folder_whose_name_no_script_could_foresee(tmp_path: Path) -> None:
    outputs = {"files": JobOutput(type="uri_folder", path=ADDRESS)}
    elsewhere, root = tmp_path / "elsewhere", tmp_path / "node_0" / "outputs"
    (elsewhere / "files").mkdir(parents=True)
    (elsewhere / "files" / "kept.txt").touch()
    first = Path(upload_paths(root, outputs)[ADDRESS])
    (first / "one.txt").touch()
    for name in ("outputs", "outputs-link"):
        root.with_name(name).symlink_to(elsewhere)
    second = Path(upload_paths(root, outputs)[ADDRESS])
    assert second != first
    assert second.resolve().is_relative_to(root.parent)
    assert not list(second.iterdir())
    assert not first.exists()
    assert (elsewhere / "files" / "kept.txt").exists()


def test_what_is_put_in_its_place(tmp_path: Path) -> None:
    """Over what is there, which stays where nothing new has its name; links are links."""
    own, place = tmp_path / "own", tmp_path / "place"
    for folder in (own / "deep" / "empty", place / "deep"):
        folder.mkdir(parents=True)
    (own / "deep" / "new.txt").write_text("new")
    (own / "link").symlink_to("deep")
    (place / "deep" / "new.txt").write_text("before")
    (place / "old.txt").write_text("old")
    for _ in range(2):  # again, should a crash have come between
        PlacedFolder(own, place).sync()
    assert (place / "deep" / "new.txt").read_text() == "new"
    assert (place / "deep" / "empty").is_dir()
    assert os.readlink(place / "link") == "deep"
    assert (place / "old.txt").read_text() == "old"


def test_from_another_file_system_it_comes_whole_as_well(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source, target = tmp_path / "source", tmp_path / "target"
    source.write_text("new")
    target.write_text("old")
    rename = Path.rename

    def refused(self: Path, to: Path) -> Path:
        if self == source:
            raise OSError(errno.EXDEV, "another file system")
        assert (self.read_text(), target.read_text()) == ("new", "old")
        return rename(self, to)

    monkeypatch.setattr(Path, "rename", refused)
    replace_whole(source, target)
    assert [path.name for path in tmp_path.iterdir()] == ["target"]
    assert target.read_text() == "new"
