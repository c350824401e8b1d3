"""`runner cluster …`, as far as nothing is started."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import pytest

from runner.cluster import here, start
from runner.cluster.ray_command import Node


@pytest.fixture
def command(monkeypatch, capsys, tmp_path):
    """`command("join", …)` runs `runner cluster join …` and gives its exit status, stdout and stderr."""
    monkeypatch.setattr(here, "folder", lambda: tmp_path / "records")

    def run(*words: str) -> tuple[int, str, str]:
        from runner.cli import app

        monkeypatch.setattr(sys, "argv", ["runner", "cluster", *words])
        status = app.run()
        captured = capsys.readouterr()
        return status, captured.out, captured.err

    return run


@pytest.mark.parametrize(
    ("words", "field"),
    [
        (["--label", "zone"], "--label"),
        (["--cpus", "1.5"], "--cpus"),
        (["--gpus=-1"], "--gpus"),
        (["--memory", "much"], "--memory"),
        (["--object-store-memory", "some"], "--object-store-memory"),
        (["--ports", "1-2"], "--ports"),
        (["--node-token-file", "/none/node.token"], "--node-token-file"),
    ],
)
def test_options_that_cannot_be(command, words, field):
    status, _, err = command("join", "head", *words)
    assert status == 2
    assert err.startswith(f"Error: `{field}`: ")


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        (["--tls-cert-file", "a.crt"], "one of certificate and key is missing"),
        (["--tls-cert-file", "a.crt", "--tls-key-file", "a.key"], "there is no file a.crt"),
        (["--autoscaling-config", "none.yaml"], "there is no file none.yaml"),
    ],
)
def test_files_of_a_head_that_are_not_there(command, words, problem):
    status, _, err = command("head", "--workspace", ".", *words)
    assert status == 2
    assert problem in err


def test_what_a_node_is_told(command, monkeypatch):
    seen: list[object] = []
    monkeypatch.setattr(start, "run_join", lambda *given, **more: seen.append((*given[:2], more)) or 0)
    status, *_ = command("join", "head", "--rejoin", "--instance-type", "gpu", "--label", "zone=a", "--gpus", "1", "--memory", "2GB")
    node = Node(
        token_file=Path("/etc/runner/node.token"), labels={"instance_type": "gpu", "zone": "a"}, gpus=1.0, memory=2 << 30,
        object_store_memory=100 << 20,
    )  # fmt: skip
    assert (status, seen) == (0, [(node, "head:6379", {"rejoin": True})])


def test_status_and_stop_where_nothing_runs(command):
    assert command("status") == (1, "", "")
    assert command("stop") == (0, "", "nothing of a cluster was started here\n")


@pytest.mark.parametrize(("ready", "want"), [(True, (0, "up")), (False, (1, "not up"))])
def test_status(command, tmp_path, ready, want):
    (tmp_path / "records").mkdir()
    pid = os.getpid()
    record = {"pid": pid, "since": here.since(pid), "what": "head", "address": "10.0.0.1:6379", "ready": ready}
    (tmp_path / "records" / "cluster-1.json").write_text(json.dumps(record))
    assert command("status") == (want[0], f"head of 10.0.0.1:6379, process {pid}: {want[1]}\n", "")
