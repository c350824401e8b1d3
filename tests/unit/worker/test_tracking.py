"""Files that MLflow writes in a worker: whole, or as they were."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType

import pytest

from runner.worker.tracking import write_whole


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
        write_to(f"{root}/{file_name}.yaml", data)

    module = ModuleType("mlflow.utils.file_utils")
    module.write_to, module.write_yaml = write_to, write_yaml  # type: ignore[attr-defined]
    return module


def test_a_file_of_the_store_is_never_half(mlflow: ModuleType, tmp_path: Path) -> None:
    store = tmp_path / "runs"
    folder = store / "0" / "run"
    folder.mkdir(parents=True)
    write_whole(mlflow, str(store))
    mlflow.write_to(str(folder / "model"), "net")
    mlflow.write_yaml(str(folder), "meta", "one", overwrite=True)
    with pytest.raises(Killed):
        mlflow.write_to(str(folder / "model"), "killed")
    with pytest.raises(Killed):
        mlflow.write_yaml(str(folder), "meta", "killed", True)
    assert ((folder / "model").read_text(), (folder / "meta.yaml").read_text()) == ("net", "one")
    with pytest.raises(FileExistsError):
        mlflow.write_yaml(str(folder), "model", "two")
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
