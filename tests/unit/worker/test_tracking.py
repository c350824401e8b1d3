"""What workers make in the folder that MLflow keeps runs in: whole, or not at all."""

from __future__ import annotations

import os
from pathlib import Path
from types import ModuleType

import pytest

from runner.worker.tracking import make_draft, write_whole


class Killed(BaseException):
    """Stands for the SIGKILL of a worker that has opened the file and not written it."""


@pytest.fixture
def mlflow() -> ModuleType:
    """Its two functions, as far as they matter here."""

    def write_to(filename: str, data: str) -> None:
        with open(filename, "w") as file:
            if data == "killed":
                raise Killed
            file.write(data)

    def write_yaml(root: str, file_name: str, data: str, overwrite: bool = False) -> None:
        if Path(root, file_name).exists() and not overwrite:
            raise FileExistsError(file_name)
        write_to(f"{root}/{file_name}", data)

    module = ModuleType("mlflow.utils.file_utils")
    module.write_to, module.write_yaml = write_to, write_yaml  # type: ignore[attr-defined]
    return module


def test_a_file_of_the_store_is_never_half(mlflow: ModuleType, tmp_path: Path) -> None:
    store = tmp_path / "runs"
    folder = store / "0" / "run"
    folder.mkdir(parents=True)
    write_whole(mlflow, str(store))
    mlflow.write_to(str(folder / "model"), "net")
    mlflow.write_yaml(str(folder), "meta.yaml", "one", overwrite=True)
    with pytest.raises(Killed):
        mlflow.write_to(str(folder / "model"), "killed")
    with pytest.raises(Killed):
        mlflow.write_yaml(str(folder), "meta.yaml", "killed", True)
    assert ((folder / "model").read_text(), (folder / "meta.yaml").read_text()) == ("net", "one")
    with pytest.raises(FileExistsError):
        mlflow.write_yaml(str(folder), "meta.yaml", "two")
    assert not list((store / ".trash").iterdir())


def test_files_elsewhere_are_written_as_ever(mlflow: ModuleType, tmp_path: Path) -> None:
    write_whole(mlflow, str(tmp_path / "runs"))
    (tmp_path / "runs-of-others").mkdir()
    mlflow.write_to(str(tmp_path / "runs-of-others" / "model"), "net")
    assert (tmp_path / "runs-of-others" / "model").read_text() == "net"
    assert not (tmp_path / "runs").exists()


def test_a_version_without_them() -> None:
    module = ModuleType("mlflow.utils.yaml_utils")
    write_whole(module, "runs")
    assert not hasattr(module, "write_to")


def test_a_run_counts_when_all_of_it_is_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Killed at any of its files, a worker leaves a folder that is none yet, and the next one completes it."""
    folder, moves = tmp_path / "0" / "run", []
    draft = {"folder": str(folder), "folders": ["params"], "files": {"meta.yaml": "name: run", "tags/a": "1", "tags/b": "2"}}
    replace = os.replace

    def move(source: str, target: str) -> None:
        moves.append(Path(target).name)
        if len(moves) % 2 == 0:
            raise Killed
        replace(source, target)

    monkeypatch.setattr(os, "replace", move)
    for left in (["a"], ["a", "b"]):
        with pytest.raises(Killed):
            make_draft(str(tmp_path), draft)
        assert not (folder / "meta.yaml").exists()
        assert sorted(path.name for path in (folder / "tags").iterdir()) == left
    make_draft(str(tmp_path), draft)
    assert moves == ["a", "b", "b", "meta.yaml", "meta.yaml"]
    assert (folder / "meta.yaml").read_text() == "name: run"
    assert not [path for path in (tmp_path / ".trash").iterdir() if path.is_dir()]


def test_what_another_worker_has_made_stays(tmp_path: Path) -> None:
    (tmp_path / "run" / "tags").mkdir(parents=True)
    (tmp_path / "run" / "tags" / "a").write_text("changed")
    make_draft(str(tmp_path), {"folder": str(tmp_path / "run"), "folders": [], "files": {"meta.yaml": "", "tags/a": "1"}})
    assert (tmp_path / "run" / "tags" / "a").read_text() == "changed"
    assert (tmp_path / "run" / "meta.yaml").exists()
