"""`runner cluster …` with a script in the place of Ray."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from runner.cluster import here, start
from runner.cluster.ray_command import Node
from runner.cluster.start import Head, bootstrap_settings, run_head, run_join
from runner.errors import UserError

# Ray as we see it: a child whose command is `raylet`, and a port that answers.
FAKE = """
import os, pathlib, shutil, signal, socket, subprocess, sys, time
folder = pathlib.Path(sys.argv[1])
runs = folder / "runs"
runs.write_text(runs.read_text() + "x" if runs.exists() else "x")
(folder / "environment").write_text(os.environ["RAY_AUTH_MODE"])
if len(sys.argv) > 3:
    listener = socket.create_server(("127.0.0.1", int(sys.argv[3])))
shutil.copy("/bin/sleep", folder / "raylet") if not (folder / "raylet").exists() else None
raylet = subprocess.Popen([folder / "raylet", sys.argv[2]])
signal.signal(signal.SIGTERM, lambda *_: (raylet.kill(), (folder / "told").touch(), sys.exit(1)))
print("Ray runtime started.", flush=True)
raylet.wait()
if "stays" in sys.argv:
    time.sleep(60)
sys.exit(7)
"""


@pytest.fixture(autouse=True)
def records(tmp_path, monkeypatch) -> Path:
    folder = tmp_path / "records"
    monkeypatch.setattr(here, "folder", lambda: folder)
    return folder


@pytest.fixture
def node(tmp_path) -> Node:
    file = tmp_path / "node.token"
    file.write_text("a" * 64)
    file.chmod(0o600)
    return Node(token_file=file, address="127.0.0.1")


def pretend(monkeypatch, folder: Path, *words: str) -> None:
    """Ray is the script above, which lives for the seconds in the first word."""
    (folder / "fake.py").write_text(FAKE)
    command = [sys.executable, "-S", str(folder / "fake.py"), str(folder), *words]
    monkeypatch.setattr(start, "join_command", lambda *_, **__: command)
    monkeypatch.setattr(start, "head_command", lambda *_, **__: command)


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


def later(seconds: float, number: int) -> None:
    threading.Timer(seconds, os.kill, (os.getpid(), number)).start()


def test_a_node_that_ends_ends_the_command(tmp_path, monkeypatch, node, records):
    pretend(monkeypatch, tmp_path, "0.5")
    said: list[str] = []
    assert run_join(node, "head:6379", said.append) == 1
    assert said == ["joined head:6379", "the Ray node has ended (exit status 7)"]
    assert (tmp_path / "environment").read_text() == "token"
    assert list(records.iterdir()) == []


def test_why_ray_has_ended_is_said_in_a_sentence(tmp_path, monkeypatch, node):
    text = "ray.exceptions.AuthenticationError: RPC error: InvalidAuthToken: Authentication token is missing. Failed to connect to GCS"
    monkeypatch.setattr(start, "join_command", lambda *_: [sys.executable, "-S", "-c", f"print({text!r}); raise SystemExit(1)"])
    said: list[str] = []
    assert run_join(node, "head:6379", said.append) == 1
    assert said == ["the Ray node has ended (exit status 1): the node token is not that of the head: copy it from there"]


def test_whether_it_is_up_stands_in_its_record(tmp_path, monkeypatch, node):
    pretend(monkeypatch, tmp_path, "0.3")
    seen: list[list[bool]] = []
    run_join(node, "head:6379", lambda _: seen.append([one.ready for one in here.started_here()]))
    assert seen == [[False], [True]]


def test_a_node_joins_again_when_asked_to(tmp_path, monkeypatch, node):
    pretend(monkeypatch, tmp_path, "0.3")
    said: list[str] = []

    def say(text: str) -> None:
        said.append(text)
        if said.count("the Ray node has ended (exit status 7)") == 2:
            os.kill(os.getpid(), signal.SIGTERM)

    assert run_join(node, "head:6379", say, rejoin=True, pause=0.1) == 0
    assert said[:3] == ["joined head:6379", "the Ray node has ended (exit status 7)", "joins head:6379 again in 0 s"]


def test_a_raylet_that_has_gone_while_ray_stays(tmp_path, monkeypatch, node):
    pretend(monkeypatch, tmp_path, "0.3", str(free_port()), "stays")
    assert run_join(node, "head:6379", lambda _: None) == 1
    assert list(tmp_path.glob("told")) == []  # it was killed, not asked


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_signals_are_passed_on_to_ray(tmp_path, monkeypatch, node, number):
    pretend(monkeypatch, tmp_path, "60")
    before = signal.getsignal(number)
    assert run_join(node, "head:6379", lambda text: later(0.1, number), rejoin=True) == 0
    assert (tmp_path / "told").exists()
    assert signal.getsignal(number) is before


def head_of(tmp_path: Path, port: int) -> Head:
    return Head(workspace=tmp_path, submit_token_file=tmp_path / "submit.token", port=port, gateway_port=free_port())


def test_a_head_makes_its_tokens_and_starts_the_scheduler(tmp_path, monkeypatch):
    port = free_port()
    pretend(monkeypatch, tmp_path, "60", str(port))
    monkeypatch.setattr(start, "_start_scheduler", lambda ray, settings, say: say(json.dumps(settings)) or later(0.1, 15) or True)
    node, head, said = Node(token_file=tmp_path / "node.token", address="127.0.0.1"), head_of(tmp_path, port), []
    assert run_head(node, head, said.append) == 0
    settings = bootstrap_settings(node, head, f"127.0.0.1:{port}")
    assert said == [
        f"made {node.token_file}", f"made {head.submit_token_file}", f"head at 127.0.0.1:{port}", json.dumps(settings)
    ]  # fmt: skip


def test_a_head_whose_scheduler_does_not_start_ends(tmp_path, monkeypatch, node):
    port = free_port()
    pretend(monkeypatch, tmp_path, "60", str(port))
    monkeypatch.setattr(start, "BOOTSTRAP", "this")  # prints a poem, once it is told what; not with these arguments
    monkeypatch.setattr(start.Ray, "run", lambda self, command: 1)
    monkeypatch.setattr(start.Ray, "sleep", lambda self, seconds: False)
    said: list[str] = []
    assert run_head(node, head_of(tmp_path, port), said.append) == 1
    assert said[-1] == "the scheduler did not start"


def test_a_port_in_use(tmp_path, node):
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        with pytest.raises(UserError, match=f"port {port} of 127.0.0.1 cannot be used: Address already in use"):
            run_head(node, head_of(tmp_path, port), lambda _: None)


def test_no_workspace(tmp_path, node):
    with pytest.raises(UserError, match="there is no folder"):
        run_head(node, head_of(tmp_path / "none", 1), lambda _: None)


def test_no_ray(monkeypatch, node):
    monkeypatch.setitem(sys.modules, "ray", None)
    monkeypatch.setattr(start.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(UserError, match="Ray is not installed") as error:
        run_join(node, "head:6379", lambda _: None)
    assert error.value.todo.endswith("-m pip install ray")


def test_stop_ends_what_was_started_and_nothing_else(tmp_path, records):
    records.mkdir()
    process = subprocess.Popen([sys.executable, "-S", "-c", "import time; time.sleep(60)"])
    end = time.monotonic() + 5
    while not (since := here.since(process.pid)) and time.monotonic() < end:
        time.sleep(0.01)
    record = {"pid": process.pid, "since": since, "what": "node", "address": "head:6379"}
    (records / "cluster-1.json").write_text(json.dumps(record))
    (records / "cluster-2.json").write_text(json.dumps(record | {"since": since + 1}))  # a number that was used again
    found = here.started_here()
    assert [one.pid for one in found] == [process.pid]
    assert not (records / "cluster-2.json").exists()
    threading.Timer(0.2, process.wait).start()
    assert here.stop(found[0], patience=5)
    assert process.wait() == -signal.SIGTERM
