"""The Python SDK, for real: jobs made with Azure's names, run, followed, cancelled and fetched."""

from __future__ import annotations

import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import pytest

from runner import Input, MLClient, Output, load_job
from runner.constants import AssetTypes, InputOutputModes
from runner.dsl import pipeline
from runner.entities import RetrySettings
from runner.errors import UserError
from runner.parallel import RunFunction, parallel_run_function
from runner.sdk.submitted import JobFailedError
from tests.acceptance.jobs import NAMES, Lab

SLOW = """
import os, time

def run(mini_batch):
    while not os.path.exists(os.environ["GO_ON"]):
        time.sleep(0.02)
    return [os.path.basename(path) for path in mini_batch]
"""


@pytest.fixture
def lab(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Lab:
    lab = Lab(tmp_path)
    lab.files(6)
    lab.script(NAMES)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("RUNNER_WORKSPACE", str(tmp_path))
    return lab


@pytest.fixture
def client(lab: Lab) -> MLClient:
    return MLClient("a credential", "subscription", "group", "workspace")


def function(**further: Any) -> Any:
    keys: dict[str, Any] = {
        "inputs": {"images": Input(type=AssetTypes.URI_FOLDER, path="input"), "n": Input(type="integer", default=3)},
        "outputs": {"rows": Output(type=AssetTypes.URI_FILE)},
        "input_data": "${{inputs.images}}",
        "mini_batch_size": "2",
        "max_concurrency_per_instance": 2,
        "instance_count": 1,
        "compute": "local",
        "retry_settings": RetrySettings(max_retries=1, timeout=20),
        "mini_batch_error_threshold": 0,
        "error_threshold": -1,
        "logging_level": "DEBUG",
        "task": RunFunction(
            code="code",
            entry_script="score.py",
            append_row_to="${{outputs.rows}}",
            program_arguments="--n ${{inputs.n}} --allowed_failed_percent 50",
        ),
        **further,
    }
    return parallel_run_function(**keys)


def rows(client: MLClient, name: str, output: str = "rows") -> list[str]:
    return Path(client.jobs.get(name).outputs[output].path).read_text().splitlines()


EVERY = [f"f{number:05d}.txt" for number in range(6)]


def test_a_job_from_its_making_to_its_result(lab: Lab, client: MLClient, capsys: pytest.CaptureFixture[str]) -> None:
    lab.script(
        "import os, sys\n\ndef run(b):\n    return [' '.join([os.path.basename(p), *sys.argv[1:3], os.environ['SIZE']]) for p in b]\n"
    )
    job = function(name="first", display_name="First", tags={"a": "b"}, environment_variables={"SIZE": 7})
    submitted = client.jobs.create_or_update(job)
    assert (submitted.name, submitted.display_name) == ("first", "First")
    client.jobs.stream("first")
    done = client.jobs.get("first")
    assert capsys.readouterr().err.endswith(f"\n{(Path(done.logs) / 'job_result.txt').read_text()}\n"), "as the command line"
    assert (done.status, done.type, done.tags) == ("Completed", "parallel", {"a": "b"})
    assert done.progress["mini_batches"]["total"] == 3
    assert rows(client, "first") == [f"{name} --n 3 7" for name in EVERY]
    assert [one.name for one in client.jobs.list()] == ["first"]
    client.jobs.download("first", download_path=lab.folder / "copy", output_name="rows")
    assert [path.read_text().splitlines() for path in (lab.folder / "copy").rglob("*") if path.is_file()] == [rows(client, "first")]
    client.jobs.download("first", download_path=lab.folder / "logs")
    assert list((lab.folder / "logs").rglob("job_result.txt"))
    with pytest.raises(UserError, match="taken"):
        client.jobs.create_or_update(job)


def test_computes(client: MLClient) -> None:
    assert "local" in [one.name for one in client.compute.list()]
    assert client.compute.get("local").type == "local"
    with pytest.raises(UserError, match="local"):
        client.compute.get("gpu")


def test_cancelling_and_failing(lab: Lab, client: MLClient) -> None:
    lab.script(SLOW)
    client.jobs.create_or_update(function(name="slow", environment_variables={"GO_ON": str(lab.folder / "go-on")}))
    poller = client.jobs.begin_cancel("slow")
    poller.wait(30)
    assert client.jobs.get("slow").status == "Canceled"
    assert poller.done()
    lab.script("def run(mini_batch):\n    raise ValueError('a bad one')\n")
    client.jobs.create_or_update(function(name="bad", retry_settings={"max_retries": 0}))
    with pytest.raises(JobFailedError, match="ValueError: a bad one"):
        client.jobs.stream("bad")
    assert client.jobs.get("bad").error["log"]


def test_a_job_file_with_changes(lab: Lab, client: MLClient) -> None:
    lab.job()
    job = load_job("job.yml", params_override=[{"mini_batch_size": 3}, {"tags.by": "python"}])
    job.outputs["rows"].mode = InputOutputModes.UPLOAD
    name = client.create_or_update(job, experiment_name="trial").name
    client.jobs.stream(name)
    done = client.jobs.get(name)
    assert (done.experiment_name, done.tags, done.progress["mini_batches"]["total"]) == ("trial", {"by": "python"}, 2)
    assert lab.rows.read_text().splitlines() == EVERY
    assert client.jobs.validate(job).plans[0].mini_batches == 2
    job.mini_batch_size = "none"
    assert not client.jobs.validate(job).passed


def test_a_pipeline_function(lab: Lab, client: MLClient) -> None:
    """Values, bindings and outputs go from step to step; a step's settings are changed on the node."""
    lab.script(
        "import os, sys\n\ndef run(b):\n    for path in b:\n"
        "        with open(os.path.join(os.environ['AZURE_ML_OUTPUT_folder'], os.path.basename(path)), 'w') as f:\n"
        "            f.write(open(path).read() + sys.argv[2])\n    return [open(p).read().replace('\\n', '') for p in b]\n"
    )
    outputs = {"rows": Output(type=AssetTypes.URI_FILE), "folder": Output(type=AssetTypes.URI_FOLDER)}
    score = function(outputs=outputs, inputs={"images": Input(type="uri_folder"), "n": Input(type="integer", default=3)})

    @pipeline(default_compute="local", experiment_name="trial")
    def twice(images: Input, size: int = 4) -> dict[str, Output]:
        one = score(images=images)
        one.mini_batch_size = size
        two = score(images=one.outputs.folder, n=5)
        two.set_resources(instance_count=2)
        return {"result": two.outputs.rows}

    job = twice(images=Input(type="uri_folder", path="input"))
    name = client.jobs.create_or_update(job, tags={"kind": "pipeline"}).name
    client.jobs.stream(name)
    done = client.jobs.get(name)
    assert (done.status, done.type, done.experiment_name) == ("Completed", "pipeline", "trial")
    assert rows(client, name, "result") == [f"{number}3" for number in range(6)]
    steps = {one.name: one for one in client.jobs.list(parent_job_name=name)}
    assert set(steps) == {f"{name}.one", f"{name}.two"}
    assert steps[f"{name}.one"].progress["mini_batches"]["total"] == 2
    assert [one.name for one in client.jobs.list()] == [name]


def test_a_script_as_people_run_it(lab: Lab) -> None:
    """In a process of its own that ends at once: the job goes on, and the command line knows it."""
    script = """
        from runner import Input, MLClient, Output
        from runner.parallel import RunFunction, parallel_run_function

        job = parallel_run_function(
            inputs={"data": Input(type="uri_folder", path="input")},
            outputs={"rows": Output(type="uri_file", path="out/rows.txt")},
            input_data="${{inputs.data}}",
            task=RunFunction(code="code", entry_script="score.py", append_row_to="${{outputs.rows}}"),
        )
        print(MLClient.from_config().jobs.create_or_update(job).name)
    """
    (lab.folder / "submit.py").write_text(textwrap.dedent(script))
    command = [sys.executable, "submit.py"]
    done = subprocess.run(command, cwd=lab.folder, env=lab.environment(), capture_output=True, text=True, check=True, timeout=60)
    assert done.stderr == ""
    name = done.stdout.strip()
    followed = lab.run("job", "stream", "-n", name, "-o", "json")
    assert followed.status == 0, followed.stderr
    assert followed.counts == (1, 1, 0)
    assert lab.rows.read_text().splitlines() == EVERY
