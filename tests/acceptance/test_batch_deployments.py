"""Batch deployments: files written for `az ml batch-deployment create`, run over an input by `runner batch invoke`."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.acceptance.jobs import Lab, Outcome

# In the manner of Azure's examples: the folder that the variable names contains the model's.
DRIVER = """
import glob, os
import pandas as pd

def init():
    global weight
    (file,) = glob.glob(os.environ["AZUREML_MODEL_DIR"] + "/*/*.txt")
    with open(file) as text:
        weight = int(text.read())

def run(mini_batch):
    rows = []
    for path in mini_batch:
        with open(path) as text:
            rows.append({"file": os.path.basename(path), "score": int(text.read()) * weight})
    return pd.DataFrame(rows)
"""


@pytest.fixture
def lab(tmp_path: Path) -> Lab:
    lab = Lab(tmp_path)
    lab.files(5)
    lab.script(DRIVER)
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "weights.txt").write_text("3")
    return lab


def deployment(lab: Lab, *, without: tuple[str, ...] = (), **keys: Any) -> Path:
    data: dict[str, Any] = {
        "$schema": "https://azuremlschemas.azureedge.net/latest/modelBatchDeployment.schema.json",
        "name": "dpl",
        "endpoint_name": "numbers",
        "type": "model",
        "model": {"name": "weights", "path": "model"},
        "code_configuration": {"code": "code", "scoring_script": "score.py"},
        "resources": {"instance_count": 1},
        "settings": {
            "max_concurrency_per_instance": 2, "mini_batch_size": 2, "output_action": "append_row", "output_file_name": "predictions.csv",
            "retry_settings": {"max_retries": 3, "timeout": 30}, "error_threshold": -1, "logging_level": "info",
        },
    }  # fmt: skip
    data = {key: value for key, value in {**data, **keys}.items() if key not in without}
    path = lab.folder / "deployment.yml"
    path.write_text(yaml.safe_dump(data, sort_keys=False))
    return path


def invoke(lab: Lab, *words: str, input: str = "input", name: str = "job") -> Outcome:  # noqa: A002
    return lab.run("batch", "invoke", "-f", "deployment.yml", "--input", input, "-n", name, "--local", "--stream", "-o", "json", *words)


ROWS = "".join(f"f{number:05d}.txt {3 * number}\n" for number in range(5))


def test_a_deployment_over_a_folder(lab: Lab) -> None:
    deployment(lab, environment_variables={"LEDGER": "x"}, tags={"team": "blue"}, description="scores numbers")
    done = invoke(lab)
    assert done.status == 0, done.stderr
    job = done.job
    predictions = Path(job["outputs"]["score"]["path"])
    assert predictions == lab.datastore / "azureml" / "job" / "score" / "predictions.csv"
    assert predictions.read_text() == ROWS
    assert (job["type"], job["display_name"], job["experiment_name"], job["tags"]) == ("parallel", "dpl", "numbers", {"team": "blue"})
    assert done.counts == (3, 3, 0)
    assert lab.run("job", "show", "-n", "job", "-o", "json").job["status"] == "Completed"
    assert lab.run("job", "download", "-n", "job", "--output-name", "score", "-p", "here").status == 0
    assert [path.read_text() for path in (lab.folder / "here").rglob("predictions.csv")] == [ROWS]


def test_a_deployment_of_before_settings(lab: Lab) -> None:
    """As Azure's older examples have it: all keys on top, no type."""
    deployment(
        lab,
        without=("type", "settings"),
        model={"path": "model"},
        mini_batch_size=5,
        output_action="AppendRow",
        output_file_name="rows.txt",
        logging_level="debug",
        max_concurrency_per_instance=1,
    )
    done = invoke(lab, "--output-path", "out")
    assert done.status == 0, done.stderr
    assert (lab.folder / "out" / "rows.txt").read_text() == ROWS
    assert done.counts == (1, 1, 0)


def test_what_holds_where_nothing_is_written(lab: Lab) -> None:
    lab.files(11)
    lab.script("def run(mini_batch):\n    return [str(len(mini_batch))] * len(mini_batch)\n")
    deployment(lab, without=("settings", "resources", "endpoint_name", "name", "type"), model="model")
    done = invoke(lab)
    assert done.status == 0, done.stderr
    spec = json.loads((lab.state / "jobs" / "job" / "spec.json").read_text())
    assert Path(done.job["outputs"]["score"]["path"]).read_text().split() == ["10"] * 10 + ["1"]
    text = json.dumps(spec)
    assert '"max_concurrency_per_instance": 1' in text
    assert '"retry": {"max_retries": 3, "timeout": 30' in text


def test_options_win(lab: Lab) -> None:
    deployment(lab)
    done = invoke(lab, "--mini-batch-size", "1", "--instance-count", "2", "--experiment-name", "other", "--set", "tags.a=b")
    assert done.status == 0, done.stderr
    assert done.counts == (5, 5, 0)
    assert (done.job["experiment_name"], done.job["tags"]) == ("other", {"a": "b"})
    assert Path(done.job["outputs"]["score"]["path"]).read_text() == ROWS
    assert "node_1" in {path.name for path in (lab.logs() / "sys" / "node").iterdir()}


def test_scripts_that_write_their_own_files(lab: Lab) -> None:
    lab.script(
        "import os, shutil\n\ndef run(mini_batch):\n    for path in mini_batch:\n"
        "        shutil.copy(path, os.environ['AZUREML_BI_OUTPUT_PATH'])\n    return mini_batch\n"
    )
    deployment(lab, settings={"output_action": "summary_only"})
    done = invoke(lab, "--output-path", "out/copies")
    assert done.status == 0, done.stderr
    assert sorted(path.name for path in (lab.folder / "out" / "copies").iterdir()) == [f"f{number:05d}.txt" for number in range(5)]


def test_a_file_a_registered_model_and_a_data_asset(lab: Lab) -> None:
    lab.settings("data:\n  weights: {'1': {type: custom_model, path: model}}\n  numbers: {'7': {type: uri_folder, path: input}}\n")
    lab.script(
        DRIVER.replace("def run", "from azureml.core.model import Model\n\ndef run").replace(
            "    rows = []",
            "    rows = []\n    assert os.path.samefile(Model.get_model_path('weights'), os.environ['AZUREML_MODEL_DIR'] + '/model')",
        )
    )
    deployment(lab, model="azureml:weights:1")
    done = invoke(lab, "--input-type", "uri_file", input="input/f00002.txt", name="one")
    assert done.status == 0, done.stderr
    assert Path(done.job["outputs"]["score"]["path"]).read_text() == "f00002.txt 6\n"
    done = invoke(lab, input="azureml:numbers@latest", name="all")
    assert done.status == 0, done.stderr
    assert Path(done.job["outputs"]["score"]["path"]).read_text() == ROWS


def test_paths_are_relative_to_the_file_and_the_input_to_the_current_folder(lab: Lab) -> None:
    (lab.folder / "deployments").mkdir()
    for name in ("model", "code"):
        shutil.move(lab.folder / name, lab.folder / "deployments" / name)
    deployment(lab).rename(lab.folder / "deployments" / "deployment.yml")
    done = lab.run(
        "batch", "invoke", "-f", "deployments/deployment.yml", "--input", "./input", "--output-path", "out", "--local", "--stream"
    )
    assert done.status == 0, done.stderr
    assert (lab.folder / "out" / "predictions.csv").read_text() == ROWS


def test_a_deployment_in_the_background_and_what_it_would_do(lab: Lab) -> None:
    deployment(lab)
    done = lab.run("batch", "validate", "-f", "deployment.yml", "--input", "input", "--local", "-o", "json")
    assert done.status == 0, done.stderr
    assert lab.untouched
    assert '"mini_batches": 3' in done.stdout
    assert lab.run("batch", "invoke", "-f", "deployment.yml", "--input", "input", "--local", "-n", "job").status == 0
    assert lab.run("job", "stream", "-n", "job").status == 0


@pytest.mark.needs("azurite")
def test_input_and_rows_in_blob_storage(lab: Lab, azurite: Any) -> None:
    container = azurite.container()
    for path in sorted((lab.folder / "input").iterdir()):
        azurite.client(container).upload_blob(f"numbers/{path.name}", path.read_bytes())
    lab.settings(
        f"datastores:\n  az:\n    type: azure_blob\n    account_name: {azurite.account}\n    container_name: {container}\n"
        f"    endpoint: {azurite.endpoint}\n    credentials: {{account_key: '{azurite.key}'}}\n"
    )
    deployment(lab)
    root = "azureml://datastores/az/paths"
    done = invoke(lab, "--output-path", f"{root}/scored", input=f"{root}/numbers")
    assert done.status == 0, done.stderr
    assert azurite.client(container).download_blob("scored/predictions.csv").readall().decode() == ROWS


@pytest.mark.on_cluster
@pytest.mark.not_in_blob("a test of its own says it of that")
def test_in_every_place(anywhere: Callable[[Path], Lab], tmp_path: Path) -> None:
    """With most of what a deployment may say."""
    lab = anywhere(tmp_path)
    lab.files(5)
    lab.script(NAMES_AND_MODEL)
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "weights.txt").write_text("3")
    settings = {
        "mini_batch_size": 2, "max_concurrency_per_instance": 2, "output_action": "append_row", "output_file_name": "rows.txt",
        "logging_level": "debug", "environment_variables": {"UNIT": "kg"}, "instance_count": 2,
    }  # fmt: skip
    image = {} if lab.where == "process" else {"environment": {"image": getattr(lab, "image", "")}}
    deployment(lab, without=("resources",), settings=settings, **image)
    done = lab.run(
        *("batch", "invoke", "-f", "deployment.yml", "--input", "input", "--output-path", "out"),
        *("-n", "job", *lab.local, "--stream", "-o", "json"),
        timeout=300,
    )
    assert done.status == 0, done.stderr
    assert (lab.folder / "out" / "rows.txt").read_text() == "".join(f"f{number:05d}.txt 3 kg\n" for number in range(5))
    assert done.counts == (3, 3, 0)


NAMES_AND_MODEL = """
import os

def run(mini_batch):
    with open(os.environ["AZUREML_MODEL_DIR"] + "/model/weights.txt") as text:
        weight = text.read()
    return [" ".join((os.path.basename(path), weight, os.environ["UNIT"])) for path in mini_batch]
"""


# Bad input

PIPELINE = "deployments of pipeline components cannot be invoked here"


@pytest.mark.parametrize(
    ("keys", "messages"),
    [
        ({"type": "pipeline", "component": "./pipeline.yml"}, ["`type`: " + PIPELINE, "allowed: type: model"]),
        ({"job_definition": "azureml:x:1"}, ["`job_definition`: " + PIPELINE]),
        ({"type": "modell"}, ["'modell' is not a type of batch deployments"]),
        ({"modle": 1}, ["unknown key 'modle' of a batch deployment", "did you mean 'model'?"]),
        ({"model": "nowhere"}, ["`model`: ", "'nowhere' does not exist"]),
        ({"model": {"name": "x"}}, ["`model`: the key 'path' is missing"]),
        ({"model": "azureml:none:3"}, ["`model`: the workspace has no model 'azureml:none:3'"]),
        ({"code_configuration": {"code": "code"}}, ["`code_configuration`: the key 'scoring_script' is missing"]),
        ({"code_configuration": {"code": "code", "scoring_script": "other.py"}}, ["`code_configuration.scoring_script`: ", "other.py"]),
        ({"settings": {"mini_batch_size": "2 apples"}}, ["`settings.mini_batch_size`: '2 apples' is not a size of mini-batches"]),
        ({"settings": {"output_action": "append"}}, ["`settings.output_action`: the text 'append' is not an output action"]),
        ({"settings": {"output_file_name": "a/b.csv"}}, ["`settings.output_file_name`: the text 'a/b.csv' is not a name of a file"]),
        (
            {"settings": {"output_action": "summary_only", "output_file_name": "a.csv"}},
            ["`settings.output_file_name`: with output_action: summary_only there is no file of rows"],
        ),
        (
            {"settings": {"instance_count": 2}, "resources": {"instance_count": 2}},
            ["`settings.instance_count`: 'instance_count' stands below settings: and below resources:"],
        ),
        ({"settings": {"retry_settings": {"timeout": 0}}}, ["`settings.retry_settings.timeout`: "]),
        ({"settings": {"logging_level": "loud"}}, ["`settings.logging_level`: 'LOUD' is not one of the values"]),
        ({"mini_batch_size": 3}, ["`mini_batch_size`: 'mini_batch_size' stands twice"]),
        ({"resources": {"instance_count": 0}}, ["`resources.instance_count`: "]),
        ({"compute": "azureml:elsewhere"}, ["`compute`: ", "elsewhere"]),
        ({"environment": "azureml:none:1"}, ["`environment`: "]),
    ],
)
def test_mistakes_are_told_where_they_stand(lab: Lab, keys: dict[str, Any], messages: list[str]) -> None:
    path = deployment(lab, **keys)
    words = ["batch", "invoke", "-f", "deployment.yml", "--input", "input", *(["--local"] if "compute" not in keys else [])]
    done = lab.run(*words)
    assert done.status == 2, done.stderr
    for message in messages:
        assert message in done.stderr
    assert f"{path.name}:" in done.stderr
    assert "Traceback" not in done.stderr
    assert lab.untouched


def test_several_mistakes_at_once(lab: Lab) -> None:
    deployment(lab, without=("code_configuration",), model=["a"], extra=1)
    done = lab.run("batch", "invoke", "-f", "deployment.yml", "--input", "input")
    assert done.status == 2
    for message in (
        "`model`: must be a path or a mapping",
        "unknown key 'extra'",
        "`code_configuration`: the key 'code_configuration' is missing",
    ):
        assert message in done.stderr


@pytest.mark.parametrize("model", [{"path": "net", "type": "mlflow_model"}, "net"])
def test_a_model_of_mlflow_without_a_script(lab: Lab, model: Any) -> None:
    (lab.folder / "net").mkdir()
    (lab.folder / "net" / "MLmodel").write_text("flavors: {}\n")
    deployment(lab, without=("code_configuration",), model=model)
    done = lab.run("batch", "invoke", "-f", "deployment.yml", "--input", "input")
    assert done.status == 2
    assert "a model of MLflow without a scoring script cannot be deployed here" in done.stderr
    assert "next: write one that loads it" in done.stderr


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--input", "input"), "`--file`: no deployment is given"),
        (("-f", "deployment.yml"), "`--input`: no input is given"),
        (("-f", "deployment.yml", "--input", "nowhere"), "`--input`: 'nowhere' does not exist"),
        (("-f", "deployment.yml", "--input", "nowhere"), "nowhere; paths are relative to /"),
        (("-f", "deployment.yml", "--input", "input", "--input-type", "mltable"), "`--input-type`: 'mltable' is not a type of inputs"),
        (("-f", "deployment.yml", "--input", "input", "--input-type", "uri_file"), "`--input`: "),
        (("-f", "deployment.yml", "--input", "input", "--mini-batch-size", "0"), "`--mini-batch-size`: "),
        (("-f", "deployment.yml", "--input", "input", "--instance-count", "-1"), "`--instance-count`: "),
        (("-f", "none.yml", "--input", "input"), "none.yml: no such file"),
    ],
)
def test_options_that_cannot_be_right(lab: Lab, words: tuple[str, ...], message: str) -> None:
    deployment(lab)
    done = lab.run("batch", "invoke", *words, "--local")
    assert done.status == 2, done.stderr
    assert message in done.stderr
    assert "Traceback" not in done.stderr
    assert not os.path.exists(lab.state / "jobs")


@pytest.mark.parametrize("without", [(), ("type", "settings")])
def test_a_deployment_is_no_job(lab: Lab, without: tuple[str, ...]) -> None:
    deployment(lab, without=without)
    done = lab.run("job", "create", "-f", "deployment.yml")
    assert done.status == 2
    assert "this is a batch deployment, not a job" in done.stderr
    assert "runner batch invoke -f FILE --input PATH" in done.stderr
