"""MLflow in entry scripts: one run per job, with what all of its workers log in it, as MLflow itself reads it."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.acceptance.jobs import Lab

# What MLflow says of a store: of a process of its own, because it keeps a store for good and warns of much.
READ = """
import json, sys
from mlflow import MlflowClient
client = MlflowClient(sys.argv[1])
found = []
for experiment in client.search_experiments():
    for run in client.search_runs([experiment.experiment_id]):
        history = {name: [one.value for one in client.get_metric_history(run.info.run_id, name)] for name in run.data.metrics}
        found.append({"experiment": experiment.name, "name": run.info.run_name, "id": run.info.run_id, "status": run.info.status,
                      "metrics": history, "params": run.data.params, "tags": run.data.tags})
print(json.dumps(found))
"""
LOGS = """
import os
import mlflow

def init():
    mlflow.log_param("model", "net")

def run(mini_batch):
    mlflow.log_metric("size", len(mini_batch))
    return mini_batch
"""
SERVER_SECONDS = 120


@pytest.fixture
def lab(tmp_path: Path) -> Lab:
    lab = Lab(tmp_path)
    lab.files(6)
    return lab


def runs_at(uri: str, experiment: str = "") -> dict[str, dict[str, Any]]:
    """By name; where others keep runs, too, those of one experiment."""
    told = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", READ, uri],
        env={**os.environ, "MLFLOW_ALLOW_FILE_STORE": "true"},
        capture_output=True,
        text=True,
        check=True,
    )
    found = [run for run in json.loads(told.stdout) if experiment in ("", run["experiment"])]
    names = {run["name"]: run for run in found}
    assert len(names) == len(found), [run["name"] for run in found]
    return names


def local_store(lab: Lab) -> str:
    """The folder of the workspace; in a shared one each user has one."""
    cache = lab.state / "cache"
    found = sorted(cache.glob("user-*")) or [cache]
    return (found[0] / "mlruns").as_uri()


def test_workers_log_to_one_run(lab: Lab) -> None:
    lab.script(LOGS)
    lab.job(experiment_name="trial", max_concurrency_per_instance=3)
    assert lab.score().status == 0
    run = runs_at(local_store(lab))["job"]
    assert (run["experiment"], run["status"], run["params"]) == ("trial", "FINISHED", {"model": "net"})
    assert run["metrics"].pop("size") == [1.0] * 6
    last = {name: values[-1] for name, values in run["metrics"].items()}
    seconds = last.pop("seconds")
    assert seconds > 0
    assert max(map(len, run["metrics"].values())) <= 1 + seconds // 5  # once, unless it took so long that some came while it ran
    assert last == {"mini_batches": 6, "mini_batches_succeeded": 6, "mini_batches_failed": 0, "retries": 0, "items": 6, "items_failed": 0}
    assert run["tags"]["mlflow.source.name"] == "score.py"
    assert run["tags"]["mlflow.source.type"] == "JOB"


def test_workers_that_log_the_same_at_once(lab: Lab) -> None:
    """MLflow by itself empties a parameter's file before it writes it, and another worker's `log_param` then fails."""
    again = "    for _ in range(500):\n        mlflow.log_param('model', 'net')\n        mlflow.set_tag('kind', 'small')\n"
    again += "        assert mlflow.get_experiment_by_name('none') is None\n"  # which looks at all that there is
    closed = "    for _ in range(20):\n        mlflow.end_run()\n        mlflow.start_run()\n"
    lab.script(f"import mlflow\n\ndef init():\n{again}{closed}\ndef run(mini_batch):\n    return mini_batch\n")
    lab.job(max_concurrency_per_instance=3, retry_settings={"max_retries": 0, "timeout": 200}, mini_batch_error_threshold=0)
    done = lab.score(timeout=400)
    assert (done.status, "failed:" in done.stderr) == (0, False), done.stderr
    run = runs_at(local_store(lab))["job"]
    assert (run["status"], run["params"], run["tags"]["kind"]) == ("FINISHED", {"model": "net"}, "small")


@pytest.mark.on_cluster
@pytest.mark.image("mlflow")
@pytest.mark.not_in_blob("where the data lies is all the same to MLflow")
def test_instances_log_to_one_run(anywhere: Callable[[Path], Lab], tmp_path: Path) -> None:
    lab = anywhere(tmp_path)
    lab.files(6)
    lab.script(LOGS)
    lab.job(experiment_name="trial", max_concurrency_per_instance=2, resources={"instance_count": 2}, retry_settings={"timeout": 200})
    done = lab.score(timeout=400)
    assert done.status == 0, done.stderr
    run = runs_at(local_store(lab), "trial")["job"]
    assert (run["experiment"], run["status"], run["params"]) == ("trial", "FINISHED", {"model": "net"})
    assert run["metrics"]["size"] == [1.0] * 6
    assert run["metrics"]["mini_batches_succeeded"][-1] == 6
    record = json.loads((lab.state / "jobs" / "job" / "tracking.json").read_text())
    assert "variables" not in record


@pytest.mark.parametrize(("script", "status"), [("raise ValueError('no')", "FAILED"), ("return mini_batch", "FINISHED")])
def test_the_run_has_the_status_of_the_job(lab: Lab, script: str, status: str) -> None:
    lab.script(f"import mlflow\n\ndef run(mini_batch):\n    with mlflow.start_run():\n        {script}\n")
    lab.job(retry_settings={"max_retries": 0}, mini_batch_error_threshold=0, max_concurrency_per_instance=2)
    assert lab.score().status == (status == "FAILED")
    assert runs_at(local_store(lab))["job"]["status"] == status


def test_a_cancelled_job_has_a_killed_run_and_goes_on_in_it(lab: Lab) -> None:
    wait = "    while not os.path.exists(os.environ['LEDGER'] + '.go') and index:\n        time.sleep(0.05)\n"
    lab.script(
        "import os, time, mlflow\n\ndef run(batch, mini_batch_context):\n    index = int(mini_batch_context.minibatch_index)\n"
        f"{wait}    mlflow.log_metric('index', index)\n    return batch\n"
    )
    lab.job(max_concurrency_per_instance=1, retry_settings={"timeout": 100})
    assert lab.run("job", "create", "-f", "job.yml", "-n", "job", "--local").status == 0
    deadline = time.monotonic() + 60
    while "index" not in runs_at(local_store(lab)).get("job", {"metrics": ()})["metrics"]:
        assert time.monotonic() < deadline
    assert lab.run("job", "cancel", "-n", "job").status == 0
    lab.run("job", "stream", "-n", "job")
    before = runs_at(local_store(lab))["job"]
    assert before["status"] == "KILLED"
    lab.ledger_file.with_name(lab.ledger_file.name + ".go").touch()
    assert lab.run("job", "resume", "-n", "job", "--stream").status == 0
    after = runs_at(local_store(lab))["job"]
    assert (after["id"], after["status"]) == (before["id"], "FINISHED")
    assert sorted(after["metrics"]["index"])[-5:] == [1, 2, 3, 4, 5]


def test_runs_that_a_script_opens(lab: Lab) -> None:
    """`start_run()` is the job's run each time, however often it ends; nested ones are its children."""
    lab.script(
        "import os, mlflow\n\ndef run(mini_batch):\n"
        "    name = os.path.basename(mini_batch[0])\n"
        "    with mlflow.start_run():\n        mlflow.log_metric('inside', 1)\n"
        "    with mlflow.start_run() as outer:\n"
        "        with mlflow.start_run(run_name=name, nested=True) as inner:\n            mlflow.log_metric('nested', 2)\n"
        "        assert mlflow.active_run().info.run_id == outer.info.run_id != inner.info.run_id\n"
        "    assert mlflow.active_run() is None\n"
        "    return [outer.info.run_id]\n"
    )
    lab.job(max_concurrency_per_instance=2)
    assert lab.score().status == 0
    runs = runs_at(local_store(lab))
    job = runs.pop("job")
    assert set(lab.rows.read_text().split()) == {job["id"]}
    assert job["metrics"]["inside"] == [1] * 6
    assert sorted(runs) == [f"f{number:05d}.txt" for number in range(6)]
    assert {run["tags"]["mlflow.parentRunId"] for run in runs.values()} == {job["id"]}
    assert all(run["metrics"] == {"nested": [2]} for run in runs.values())


def test_autologging(lab: Lab) -> None:
    lab.script(
        "import mlflow\nfrom sklearn.linear_model import LinearRegression\n\ndef init():\n    mlflow.autolog(log_models=False)\n\n"
        "def run(mini_batch):\n    LinearRegression(positive=True).fit([[1], [2], [3]], [2, 4, 6])\n    return mini_batch\n"
    )
    lab.job(max_concurrency_per_instance=2, retry_settings={"timeout": 200})
    assert lab.score().status == 0
    run = runs_at(local_store(lab))["job"]
    assert (run["status"], run["params"]["positive"]) == ("FINISHED", "True")
    assert run["metrics"]["training_r2_score"] == [1.0] * 6


def test_a_script_that_does_not_use_it_has_not_imported_it(lab: Lab) -> None:
    lab.script("import sys\n\ndef run(mini_batch):\n    return ['mlflow' in sys.modules]\n")
    lab.job()
    assert lab.score().status == 0
    assert lab.rows.read_text() == "False\n" * 6


def test_an_interpreter_without_mlflow_leaves_no_run(lab: Lab) -> None:
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(lab.folder / "bare")], check=True)
    lab.script("import os\n\ndef run(mini_batch):\n    return [os.environ['MLFLOW_EXPERIMENT_NAME']]\n")
    lab.job(experiment_name="trial")
    assert lab.score("--python", str(lab.folder / "bare" / "bin" / "python")).status == 0
    assert lab.rows.read_text() == "trial\n" * 6
    assert not (lab.state / "cache" / "mlruns").exists()


def test_processes_that_a_script_starts_log_to_it_too(lab: Lab) -> None:
    lab.script(
        "import subprocess, sys\n\ndef run(mini_batch):\n"
        "    subprocess.run([sys.executable, '-c', 'import mlflow; mlflow.log_metric(\"child\", 3)'], check=True)\n    return mini_batch\n"
    )
    lab.files(1, name="one")
    lab.job(inputs={"data": {"type": "uri_folder", "path": "one"}}, retry_settings={"timeout": 100})
    assert lab.score().status == 0
    assert runs_at(local_store(lab))["job"]["metrics"]["child"] == [3]


def pipeline(lab: Lab, *, arguments: str = "", **keys: Any) -> Path:
    path = lab.job(task={"program_arguments": arguments} if arguments else {}, **keys)
    step = yaml.safe_load(path.read_text())
    step["inputs"]["data"]["path"] = "${{parent.inputs.data}}"
    step["inputs"]["data"] = "${{parent.inputs.data}}"
    step["outputs"] = {"rows": {"type": "uri_file"}}
    job = {
        "type": "pipeline",
        "experiment_name": "trial",
        "inputs": {"data": {"type": "uri_folder", "path": "input"}},
        "jobs": {"scoring": step},
    }
    path.write_text(yaml.safe_dump(job, sort_keys=False))
    return path


def test_steps_are_children_of_the_run_of_their_pipeline(lab: Lab) -> None:
    """Which have the counts of those that say so, also while they run."""
    lab.script(LOGS.replace("import os", "import time").replace("    return", "    time.sleep(1.2)\n    return"))
    pipeline(lab, arguments="--metrics_name_prefix scores_ --push_metrics_to_parent True", max_concurrency_per_instance=1)
    done = lab.score()
    assert done.status == 0, done.stderr
    assert "no effect" not in done.stderr
    runs = runs_at(local_store(lab))
    assert sorted(runs) == ["job", "job.scoring"]
    assert {run["status"] for run in runs.values()} == {"FINISHED"}
    assert runs["job.scoring"]["tags"]["mlflow.parentRunId"] == runs["job"]["id"]
    assert runs["job.scoring"]["tags"]["azureml.pipelinerunid"] == "job"
    counts = runs["job.scoring"]["metrics"]["scores_mini_batches"]
    assert counts == runs["job"]["metrics"]["scores_mini_batches"] == sorted(counts)
    assert (len(counts) > 1, counts[-1]) == (True, 6)
    assert "size" not in runs["job"]["metrics"]


def test_a_step_that_was_reused_has_a_run_that_says_so(lab: Lab) -> None:
    lab.script(LOGS)
    pipeline(lab)
    assert lab.score().status == 0
    assert lab.score(name="next").status == 0
    runs = runs_at(local_store(lab))
    run = runs["next.scoring"]
    tags = {key: value for key, value in run["tags"].items() if key.startswith("azureml.")}
    reused = {"azureml.isreused": "true", "azureml.reusedrunid": "job.scoring", "azureml.reusedpipelinerunid": "job"}
    assert tags == {"azureml.pipelinerunid": "next", **reused}
    assert (run["status"], run["metrics"], run["tags"]["mlflow.parentRunId"]) == ("FINISHED", {}, runs["next"]["id"])
    assert runs["next"]["status"] == "FINISHED"


def test_commands_log_to_their_runs(lab: Lab) -> None:
    """A command, and two steps at once, of which neither shares a process with the runner's agent."""
    lab.script("import mlflow, sys\n\nwith mlflow.start_run():\n    mlflow.log_metric('value', float(sys.argv[1]))\n", name="log.py")
    steps = {name: {"type": "command", "code": "code", "command": f"python log.py {value}"} for name, value in (("one", 1), ("two", 2))}
    text = yaml.safe_dump({"type": "pipeline", "experiment_name": "trial", "jobs": steps})
    (lab.folder / "job.yml").write_text(text)
    done = lab.score()
    assert done.status == 0, done.stderr
    runs = runs_at(local_store(lab))
    assert {name: (run["experiment"], run["metrics"].get("value")) for name, run in runs.items()} == {
        "job": ("trial", None), "job.one": ("trial", [1]), "job.two": ("trial", [2]),
    }  # fmt: skip
    assert {run["status"] for run in runs.values()} == {"FINISHED"}
    assert runs["job.one"]["tags"]["mlflow.source.name"] == "python log.py 1"


# Where runs are kept


@pytest.mark.parametrize(
    ("uri", "message"),
    [
        ("sqlite:///runs.db", "workspace.yml:1 `mlflow.tracking_uri`: runs of MLflow cannot be kept at an address of the kind sqlite:"),
        ("sqlite:runs.db", "runs of MLflow cannot be kept at an address of the kind sqlite:"),
        ("postgresql://user:hushhush@host/db", "runs of MLflow cannot be kept at an address of the kind postgresql:"),
        ("databricks", "runs of MLflow cannot be kept at an address of the kind databricks:"),
        ("https://", "workspace.yml:1 `mlflow.tracking_uri`: this is no address"),
        ("file://host/runs", "workspace.yml:1 `mlflow.tracking_uri`: this is a folder of another machine"),
    ],
)
def test_an_address_that_cannot_be_used(lab: Lab, uri: str, message: str) -> None:
    lab.script()
    lab.job()
    lab.settings(f"mlflow: {{tracking_uri: '{uri}'}}\n")
    done = lab.score()
    assert done.status == 2
    assert message in done.stderr
    assert "hushhush" not in done.stderr
    assert lab.untouched


@pytest.mark.parametrize("uri", ["./my runs", "file:my%20runs"])
def test_a_folder_that_the_workspace_names(lab: Lab, uri: str) -> None:
    lab.script(LOGS)
    lab.job()
    lab.settings(f"mlflow: {{tracking_uri: '{uri}'}}\n")
    assert lab.score(MLFLOW_TRACKING_URI="http://127.0.0.1:9").status == 0
    assert runs_at((lab.folder / "my runs").as_uri())["job"]["status"] == "FINISHED"


def test_a_server_that_does_not_answer(lab: Lab) -> None:
    lab.script()
    lab.job()
    lab.settings("mlflow: {tracking_uri: 'http://user:hushhush@127.0.0.1:9'}\n")
    done = lab.score()
    assert done.status == 0
    assert "workspace.yml, which has the credentials of mlflow.tracking_uri in it: chmod 600" in done.stderr
    assert "the job has no run of MLflow: http://127.0.0.1:9 does not answer" in done.stderr
    assert "hushhush" not in done.stderr + everything_below(lab.state)


@pytest.mark.parametrize("uri", ["sqlite:////tmp/none.db", "file:./none"])
def test_an_address_of_the_environment_that_only_mlflow_knows(lab: Lab, uri: str) -> None:
    lab.script("import os\n\ndef run(mini_batch):\n    return [os.environ['MLFLOW_TRACKING_URI'], os.environ.get('MLFLOW_RUN_ID')]\n")
    lab.job()
    done = lab.score(MLFLOW_TRACKING_URI=uri)
    assert done.status == 0, done.stderr
    assert set(lab.rows.read_text().split()) == {uri, "None"}
    assert f"the job has no run of MLflow: the runner keeps none at {uri.partition(':')[0]}:" in done.stderr


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A tracking server, which is MLflow's own."""
    folder = tmp_path_factory.mktemp("server")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    words = ("server", "--backend-store-uri", f"sqlite:///{folder}/runs.db", "--host", "127.0.0.1", "--port", str(port), "--workers", "1")
    log = (folder / "log.txt").open("w")
    process = subprocess.Popen([sys.executable, "-m", "mlflow", *words], cwd=folder, stdout=log, stderr=log, start_new_session=True)
    try:
        deadline = time.monotonic() + SERVER_SECONDS
        while True:
            with socket.socket() as probe:
                if not probe.connect_ex(("127.0.0.1", port)):
                    break
            assert process.poll() is None, (folder / "log.txt").read_text()
            assert time.monotonic() < deadline, (folder / "log.txt").read_text()
            time.sleep(0.2)
        yield f"http://127.0.0.1:{port}"
    finally:
        os.killpg(process.pid, 15)
        process.wait(30)
        log.close()


def test_a_tracking_server(lab: Lab, server: str) -> None:
    lab.script(LOGS)
    pipeline(lab, arguments="--push_metrics_to_parent True")
    lab.settings(f"mlflow: {{tracking_uri: '{server.replace('//', '//user:hushhush@')}'}}\n")
    done = lab.score()
    assert done.status == 0, done.stderr
    runs = runs_at(server)
    assert {run["status"] for run in runs.values()} == {"FINISHED"}
    step = runs["job.scoring"]
    assert (step["experiment"], step["params"], step["metrics"]["size"]) == ("trial", {"model": "net"}, [1] * 6)
    assert step["tags"]["mlflow.parentRunId"] == runs["job"]["id"]
    assert runs["job"]["metrics"]["items"][-1] == step["metrics"]["items"][-1] == 6
    assert "hushhush" not in done.stdout + done.stderr + everything_below(lab.state)


def everything_below(folder: Path) -> str:
    return "".join(path.read_bytes().decode("latin-1") for path in folder.rglob("*") if path.is_file())
