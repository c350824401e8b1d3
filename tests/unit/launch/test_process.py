"""What the user's interpreter is started with."""

from __future__ import annotations

import os
import sys

from runner.launch.process import ProcessLauncher, child_environment, marked
from runner.model.ports import InstanceRequest


def test_the_environment_of_an_instance():
    own = {"PATH": "/bin", "PYTHONHOME": "/wrong", "VIRTUAL_ENV": "/venv", "RUNNER_WORKSPACE": "/w", "PYTHONPATH": "/mine", "A": "ours"}
    request = InstanceRequest(job="j", node="node_0", python="p", agent="a", sockets="/s", environment={"A": "theirs", "B": "2"})
    assert child_environment(own, request) == {
        "PATH": "/bin",
        "PYTHONPATH": "/mine",
        "A": "theirs",
        "B": "2",
        "RUNNER_INSTANCE": "/s",
        "RUNNER_WORKER": "----------",
    }


def test_variables_with_secrets_are_withheld():
    request = InstanceRequest(job="j", node="node_0", python="p", agent="a", sockets="/s", environment={"ASKED": "1"})
    found = child_environment({"KEY": "c4nary", "ASKED": "c4nary", "A": "1"}, request, {"KEY", "ASKED"})
    assert {name: found.get(name) for name in ("KEY", "ASKED", "A")} == {"KEY": None, "ASKED": "1", "A": "1"}


def test_an_agent_that_cannot_connect_ends_by_itself(tmp_path):
    log = tmp_path / "keeper.txt"
    request = InstanceRequest(job="j", node="node_0", python=sys.executable, agent="/nowhere", sockets=str(tmp_path), log=str(log))
    instance = ProcessLauncher().start(request)
    assert instance.wait(30) == 2
    assert "/nowhere" in log.read_text()
    instance.kill()
    assert tmp_path.exists()


def test_marked_finds_processes_by_their_environment(monkeypatch):
    name = next(iter(os.environ))
    assert marked("NO_SUCH_VARIABLE=1") == []
    assert isinstance(marked(f"{name}={os.environ[name]}"), list)
