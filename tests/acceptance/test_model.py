"""Models of a job: `task.model`, AZUREML_MODEL_DIR, and the little of azureml-core that scoring scripts use."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.acceptance.jobs import Lab
from tests.acceptance.test_mlflow import local_store, runs_at

Anywhere = Callable[[Path], Lab]
MODEL = """
import os
from azureml.core import Model
from azureml.core.model import Model as Same

def run(mini_batch):
    assert Model is Same
    path = Model.get_model_path("Weights", version=None, _workspace=None)
    beside = os.path.join(os.environ["AZUREML_MODEL_DIR"], os.path.basename(path))
    names = sorted(os.listdir(path)) if os.path.isdir(path) else [os.path.basename(path)]
    texts = [open(os.path.join(path, name) if os.path.isdir(path) else path).read() for name in names]
    walked = sorted(name for _, _, files in os.walk(os.environ["AZUREML_MODEL_DIR"]) for name in files)
    assert walked == names, walked
    return [os.path.samefile(path, beside), *names, *texts]
"""


@pytest.fixture
def lab(tmp_path: Path) -> Lab:
    lab = Lab(tmp_path)
    lab.files(1)
    lab.ledger_file.parent.mkdir(exist_ok=True)
    return lab


def models(lab: Lab) -> None:
    files = {"models/other/w.bin": "other", "models/net/weights.bin": "deep", "models/net/names.txt": "a b", "flat.bin": "flat"}
    for name, text in files.items():
        path = lab.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


@pytest.mark.on_cluster
@pytest.mark.in_blob
@pytest.mark.parametrize(
    ("kind", "path", "rows"),
    [("custom_model", "models/net", ["names.txt", "weights.bin", "a b", "deep"]), ("mlflow_model", "flat.bin", ["flat.bin", "flat"])],
    ids=["folder", "file"],
)
def test_a_model(anywhere: Anywhere, tmp_path: Path, kind: str, path: str, rows: list[str]) -> None:
    lab = anywhere(tmp_path)
    lab.files(1)
    models(lab)
    lab.script(MODEL)
    data = {"type": "uri_folder", "path": "input"}
    lab.job(inputs={"data": data, "Weights": {"type": kind, "path": path}}, task={"model": "${{inputs.Weights}}"})
    done = lab.score()
    assert done.status == 0, done.stderr
    assert lab.rows.read_text().splitlines() == ["True", *rows]


def score(lab: Lab, script: str, **keys: Any) -> list[str]:
    lab.script(script)
    lab.job(**keys)
    done = lab.score()
    assert done.status == 0, done.stderr
    return lab.rows.read_text().splitlines()


NAMES = """
from azureml.core.model import Model, ModelNotFoundException

def run(mini_batch):
    rows = []
    for name, version in (("net", None), ("weights", 3), ("weights", "4"), ("Other", None), ("flat", None), ("data", None)):
        try:
            rows.append(Model.get_model_path(name, version))
        except ModelNotFoundException as error:
            rows.append(str(error))
    return rows
"""


def test_names_and_versions(lab: Lab) -> None:
    models(lab)
    lab.settings("data: {weights: {'3': {type: custom_model, path: models/net}}}\n")
    inputs = {
        "data": {"type": "uri_folder", "path": "input"},
        "Weights": {"type": "custom_model", "path": "azureml:weights:3"},
        "Other": {"type": "uri_file", "path": "flat.bin"},
    }
    folder = str(lab.folder / "models" / "net")
    assert score(lab, NAMES, inputs=inputs) == [
        folder,
        folder,
        "the job has no model 'weights:4'; it has: weights:3, Other",
        str(lab.folder / "flat.bin"),
        str(lab.folder / "flat.bin"),
        "the job has no model 'data'; it has: weights:3, Other",
    ]


RUN = """
from azureml.core import Run

run_ = Run.get_context(allow_offline=False)

def run(mini_batch):
    run_.log("accuracy", 0.5)
    run_.log_list("curve", [1, 2, 3])
    run_.log_row("table", x=1, y=2)
    run_.log("kind", "net")
    if run_.parent:
        run_.parent.log("of the pipeline", 1)
    return [run_.id, run_.experiment.name, run_.parent and run_.parent.id, sorted(run_.input_datasets)]
"""


def test_the_run(lab: Lab) -> None:
    assert score(lab, RUN, experiment_name="trial") == ["job", "trial", "None", "['data']"]
    run = runs_at(local_store(lab))["job"]
    assert {name: run["metrics"][name] for name in ("accuracy", "curve", "table.x", "table.y")} == {
        "accuracy": [0.5], "curve": [1, 2, 3], "table.x": [1], "table.y": [2],
    }  # fmt: skip
    assert run["tags"]["kind"] == "net"
    assert "metric accuracy: 0.5" in "".join(path.read_text() for path in (lab.logs() / "user" / "entry_script_log").rglob("*.txt"))


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("from azureml.core import Dataset", "azureml.core.Dataset cannot be had here: there is no service behind it; allowed: Model, Run"),
        ("from azureml.core import Run; Run.get_context().upload_file", "azureml.core.Run has no 'upload_file' here"),
        ("from azureml.core import Model; Model('ws', name='x')", "next: make the model an input of the job, or its task.model"),
    ],
)
def test_what_needs_the_service(lab: Lab, line: str, message: str) -> None:
    lab.script(f"{line}\n\ndef run(mini_batch):\n    return mini_batch\n")
    lab.job()
    done = lab.score()
    assert done.status == 1
    assert message in done.job["error"]["message"]


def environment_of(lab: Lab) -> tuple[Path, Path]:
    """(interpreter, its site-packages)."""
    folder = lab.folder / "own"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(folder)], check=True)
    return folder / "bin" / "python", next(folder.glob("lib/python*/site-packages"))


WHERE = "import json, azureml.core\n\ndef run(mini_batch):\n    return [azureml.core.__file__]\n"


@pytest.mark.parametrize(
    "beginning", [None, "__path__ = __import__('pkgutil').extend_path(__path__, __name__)\n"], ids=["implicit", "pkgutil"]
)
@pytest.mark.parametrize("has_core", [True, False], ids=["with-core", "without-core"])
def test_packages_of_that_name(lab: Lab, beginning: str | None, has_core: bool) -> None:
    """A package of the script's environment wins; one that only shares the name is not in the way."""
    python, packages = environment_of(lab)
    parts = ["dataprep", *(["core"] if has_core else [])]
    for part in parts:
        (packages / "azureml" / part).mkdir(parents=True)
        (packages / "azureml" / part / "__init__.py").write_text("")
    if beginning is not None:
        (packages / "azureml" / "__init__.py").write_text(beginning)
    lab.script("import azureml.dataprep\n" + WHERE)
    lab.job()
    done = lab.score("--python", str(python))
    assert done.status == 0, done.stderr
    assert (lab.rows.read_text().strip() == str(packages / "azureml" / "core" / "__init__.py")) == has_core


def test_variables_of_a_step(lab: Lab) -> None:
    """A step knows its pipeline, and a job is its own root."""
    names = "('AZUREML_RUN_ID', 'AZUREML_ROOT_RUN_ID')"
    lab.script(f"import json, os\n\ndef run(mini_batch):\n    return [json.dumps([os.environ[name] for name in {names}])]\n")
    path = lab.job()
    assert lab.score().status == 0
    assert json.loads(lab.rows.read_text()) == ["job", "job"]
    step = yaml.safe_load(path.read_text())
    step["inputs"]["data"]["path"] = str(lab.folder / "input")
    step["outputs"]["rows"]["path"] = str(lab.rows)
    path.write_text(yaml.safe_dump({"type": "pipeline", "jobs": {"one": step}}))
    done = lab.score(name="whole")
    assert done.status == 0, done.stderr
    assert json.loads(lab.rows.read_text()) == ["whole.one", "whole"]


@pytest.mark.parametrize("has_core", [True, False], ids=["with-core", "without-core"])
def test_commands_find_it_too(lab: Lab, has_core: bool) -> None:
    python, packages = environment_of(lab)
    (packages / "azureml" / "dataprep").mkdir(parents=True)
    (packages / "azureml" / "dataprep" / "__init__.py").write_text("")
    if has_core:
        (packages / "azureml" / "core").mkdir()
        (packages / "azureml" / "core" / "__init__.py").write_text("from .own import Run\n")
        (packages / "azureml" / "core" / "own.py").write_text(
            "class Run:\n    id = 'of the real package'\n    get_context = classmethod(lambda cls: cls())\n"
        )
    (lab.folder / "code").mkdir()
    imports = "import sys, azureml.dataprep, azureml_user.parallel_run\nfrom azureml.core import Run\n"
    (lab.folder / "code" / "run.py").write_text(imports + "open(sys.argv[1], 'w').write(Run.get_context().id)\n")
    job = {
        "type": "command",
        "code": "code",
        "command": "python run.py ${{outputs.text}}",
        "outputs": {"text": {"type": "uri_file", "path": "text"}},
    }
    (lab.folder / "job.yml").write_text(yaml.safe_dump(job))
    done = lab.score("--python", str(python))
    assert done.status == 0, done.stderr
    assert (lab.folder / "text").read_text() == ("of the real package" if has_core else "job")
