"""Runs of MLflow in folders and at servers, without MLflow."""

from __future__ import annotations

import base64
import http.server
import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from runner.report.tracking_stores import FolderStore, RunName, ServerStore, TrackedRun, TrackingUnavailable, store_of, without_secrets
from runner.worker.tracking import make_draft

NAME = RunName(name="job", experiment="trial", tags={"mlflow.parentRunId": "abc"})


def make(store: FolderStore, run: TrackedRun) -> Path:
    for draft in run.drafts:
        make_draft(str(store.root), draft)  # type: ignore[arg-type]
    return store.root / run.experiment_id / run.run_id


def test_a_folder_is_made_by_workers_only(tmp_path: Path) -> None:
    store = FolderStore(tmp_path / "runs")
    run = store.begin(NAME, "")
    store.log(run, {"seconds": 1})
    store.end(run, "FINISHED")
    assert not store.root.exists()


def test_a_run_in_a_folder(tmp_path: Path) -> None:
    store = FolderStore(tmp_path / "runs")
    run = store.begin(NAME, "")
    folder = make(store, run)
    make(store, run)  # another worker
    store.log(run, {"seconds": 1.5})
    store.end(run, "KILLED")
    meta = yaml.safe_load((folder / "meta.yaml").read_text())
    assert (meta["run_id"], meta["run_name"], meta["status"], meta["lifecycle_stage"]) == (run.run_id, "job", 5, "active")
    assert meta["end_time"] >= meta["start_time"]
    assert (folder / "tags" / "mlflow.parentRunId").read_text() == "abc"
    assert (folder / "metrics" / "seconds").read_text().split()[1:] == ["1.5", "0"]
    assert not list((store.root / ".trash").iterdir())
    again = store.begin(NAME, run.run_id)
    assert (again.run_id, again.experiment_id) == (run.run_id, run.experiment_id)
    assert yaml.safe_load((folder / "meta.yaml").read_text())["status"] == 1


@pytest.mark.parametrize("left", ["", "artifact_uri: file:///x\nend_time: nu", "a: ["])
def test_a_run_whose_worker_was_killed_while_it_wrote(tmp_path: Path, left: str) -> None:
    store = FolderStore(tmp_path / "runs")
    run = store.begin(NAME, "")
    meta = make(store, run) / "meta.yaml"
    whole = yaml.safe_load(meta.read_text())
    meta.write_text(left)
    store.end(run, "FAILED")
    found = yaml.safe_load(meta.read_text())
    assert found.keys() == whole.keys()
    assert (found["run_id"], found["status"]) == (run.run_id, 4)


def test_the_experiment_that_has_the_name_is_taken(tmp_path: Path) -> None:
    (tmp_path / "7").mkdir()
    (tmp_path / "7" / "meta.yaml").write_text("name: trial\nexperiment_id: '7'\n")
    (tmp_path / "8").mkdir()
    (tmp_path / "8" / "meta.yaml").write_text("[")
    store = FolderStore(tmp_path)
    assert store.begin(NAME, "").experiment_id == "7"
    other = RunName(name="job", experiment="other")
    assert store.begin(other, "").experiment_id == store.begin(other, "").experiment_id
    assert store.begin(RunName(name="job", experiment="Default"), "").experiment_id == "0"


@pytest.mark.parametrize(
    ("uri", "kind"),
    [
        ("http://host:5000", ServerStore), ("https://user:x@host/prefix", ServerStore), ("file:///a%20b", FolderStore),
        ("/runs", FolderStore), ("file:runs", type(None)), ("file://host/runs", type(None)),
        ("./runs", type(None)), ("sqlite:///runs.db", type(None)), ("databricks", type(None)),
        ("azureml://westeurope.api.azureml.ms/x", type(None)),
    ],
)  # fmt: skip
def test_stores_by_their_address(uri: str, kind: type) -> None:
    assert type(store_of(uri)) is kind


def test_addresses_without_secrets() -> None:
    assert without_secrets("https://me:x@host:1/p?token=y#z") == "https://host:1/p"


class Server(http.server.BaseHTTPRequestHandler):
    """Answers what a test has put down, and keeps what it was asked."""

    answers: dict[str, list[tuple[int, Any]]]
    asked: list[tuple[str, dict[str, Any], str]]

    def do_GET(self) -> None:
        self._answer()

    def do_POST(self) -> None:
        self._answer()

    def _answer(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        what = self.path.partition("?")[0].partition("/api/2.0/mlflow/")[2]
        self.asked.append((what, json.loads(body or b"{}"), self.headers.get("Authorization", "")))
        status, answer = self.answers[what].pop(0)
        data = answer if isinstance(answer, bytes) else json.dumps(answer).encode()
        self.send_response(status)
        if status == 302:
            self.send_header("Location", "/elsewhere")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_arguments: Any) -> None:
        pass


@pytest.fixture
def server() -> Iterator[tuple[str, type[Server]]]:
    handler = type("Handler", (Server,), {"answers": {}, "asked": []})
    listening = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=listening.serve_forever, daemon=True).start()
    yield f"127.0.0.1:{listening.server_port}", handler
    listening.shutdown()
    listening.server_close()


FOUND = (200, {"experiment": {"experiment_id": "3"}})
CREATED = (200, {"run": {"info": {"run_id": "r1"}}})
MISSING = (404, {"error_code": "RESOURCE_DOES_NOT_EXIST", "message": "no"})


def test_a_run_at_a_server(server: tuple[str, type[Server]]) -> None:
    host, handler = server
    handler.answers |= {
        "experiments/get-by-name": [MISSING, FOUND],  # somebody else was faster
        "experiments/create": [(400, {"error_code": "RESOURCE_ALREADY_EXISTS"})],
        "runs/create": [CREATED],
        "runs/log-batch": [(200, {})],
        "runs/update": [(200, {})],
    }
    store = ServerStore(f"http://me:a%2Fb@{host}/")
    run = store.begin(NAME, "")
    assert (run.run_id, run.experiment_id, run.drafts) == ("r1", "3", ())
    store.log(run, {"seconds": 1.5})
    store.end(run, "FAILED")
    asked = {what: body for what, body, _ in handler.asked}
    assert asked["runs/create"]["run_name"] == "job"
    assert {"key": "mlflow.parentRunId", "value": "abc"} in asked["runs/create"]["tags"]
    assert [(one["key"], one["value"]) for one in asked["runs/log-batch"]["metrics"]] == [("seconds", 1.5)]
    assert asked["runs/update"]["status"] == "FAILED"
    assert {key for _, _, key in handler.asked} == {"Basic " + base64.b64encode(b"me:a/b").decode()}


def test_a_run_that_goes_on_and_one_that_is_gone(server: tuple[str, type[Server]]) -> None:
    host, handler = server
    handler.answers |= {"experiments/get-by-name": [FOUND, FOUND], "runs/update": [(200, {}), MISSING], "runs/create": [CREATED]}
    store = ServerStore(f"http://{host}")
    assert store.begin(NAME, "r0").run_id == "r0"
    assert store.begin(NAME, "r0").run_id == "r1"


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        ((200, b"<html>hello</html>"), "answers like no server of MLflow (HTTP 200)"),
        ((302, b""), "refuses experiments/get-by-name (HTTP 302)"),
        ((401, {"message": "who are you"}), "refuses experiments/get-by-name (HTTP 401) who are you"),
        ((200, []), "refuses experiments/get-by-name (HTTP 200)"),
    ],
)
def test_servers_that_are_of_no_use(server: tuple[str, type[Server]], answer: tuple[int, Any], message: str) -> None:
    host, handler = server
    handler.answers["experiments/get-by-name"] = [answer]
    with pytest.raises(TrackingUnavailable) as caught:
        ServerStore(f"http://me:hushhush@{host}").begin(NAME, "")
    assert message in str(caught.value)
    assert "hushhush" not in str(caught.value)


def test_a_token_of_the_environment(server: tuple[str, type[Server]], monkeypatch: pytest.MonkeyPatch) -> None:
    host, handler = server
    handler.answers |= {"experiments/get-by-name": [FOUND], "runs/create": [CREATED]}
    monkeypatch.setenv("MLFLOW_TRACKING_TOKEN", "t")
    ServerStore(f"http://{host}").begin(NAME, "")
    assert {key for _, _, key in handler.asked} == {"Bearer t"}
