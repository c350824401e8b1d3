"""Folders of outputs in blob storage, on this side."""

from __future__ import annotations

from pathlib import Path

from runner.model.job import JobOutput
from runner.outputs.folders import upload_paths

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
