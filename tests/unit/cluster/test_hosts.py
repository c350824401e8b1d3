"""The processes of users, as their hosts hear them."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from runner.cluster import hosts
from runner.cluster.hosts import InstanceHost, attend, run_end
from runner.cluster.requests import OwnerRequest, User


def process(code: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, errors="replace", start_new_session=True
    )


def host(code: str) -> InstanceHost:
    made = InstanceHost.__new__(InstanceHost)
    made._words, made._first_words = {"how": "lost"}, {}
    made._ending, made._starting = False, hosts.threading.Lock()
    made._started, made._ended = hosts.threading.Event(), hosts.threading.Event()
    made._process = first = process(code)
    made._attend()
    for one in {first, made._process}:
        close(one)
    return made


def close(process: subprocess.Popen[str]) -> None:
    for pipe in (process.stdin, process.stdout):
        assert pipe is not None
        pipe.close()


def test_whatever_a_process_says_its_end_is_heard_of() -> None:
    code = r"""
import sys
for text in ("no json", "[]", "{}", '{"how": []}', "[" * 100000, "x" * 3000000, '{"how": "failed", "text": ["t"], "blame": {"a": 1}}'):
    print(text)
sys.stdout.flush()
sys.stdout.buffer.write(b"\xff\xfe\n")
print('{"how": "whatever"}')
"""
    made = host(code)
    assert made._ended.is_set()
    assert made.ended(None) == {"how": "failed", "text": "['t']", "blame": "{'a': 1}"}


def test_a_child_that_holds_the_output_holds_no_place(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hosts, "LAST_WORDS_SECONDS", 0.5)
    left = process("import os, subprocess; print(1, flush=True); subprocess.Popen(['sleep', '4']); os._exit(0)")
    heard: list[Any] = []
    began = time.monotonic()
    assert attend(left, heard.append) == 0
    assert time.monotonic() - began < 3
    assert heard == []
    os.killpg(left.pid, 9)
    time.sleep(0.3)  # its reader then ends
    close(left)


def test_a_process_that_hangs_while_it_writes_down_an_end_is_killed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    started: list[subprocess.Popen[str]] = []

    def start(_user: User, _module: str, **_: object) -> subprocess.Popen[str]:
        started.append(process("import time; time.sleep(60)"))
        return started[-1]

    monkeypatch.setattr(hosts, "start_as", start)
    monkeypatch.setattr(hosts, "RECORD_SECONDS", 0.3)
    before = len(os.listdir("/proc/self/fd"))
    run_end(str(tmp_path), User(uid=0, gid=0), "job", {"status": "Canceled", "code": "cancelled", "message": ""})
    assert started[0].returncode is not None
    assert len(os.listdir("/proc/self/fd")) == before


def test_a_user_whose_processes_cannot_be_run_gets_to_know_it(monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*_: Any, **_options: Any) -> None:
        raise PermissionError(13, "Permission denied", "python")

    monkeypatch.setattr(hosts, "AGAIN_SECONDS", 0.01)
    monkeypatch.setattr(hosts, "start_as", refused)
    monkeypatch.setattr(hosts.adapter, "own_address", lambda: "192.0.2.1")
    monkeypatch.setattr(hosts.OwnerHost, "_awaited", lambda _self: {})
    request = asdict(OwnerRequest(workspace="/w", job="job", host=""))
    owner = hosts.OwnerHost({"user": asdict(User(uid=1, gid=1, name="alice")), "request": request})
    assert owner.ended(None).startswith("the head cannot run processes of user alice: [Errno 13] Permission denied")


def test_what_starts_no_container_is_started_again_without_the_group_of_the_engine(monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[bool] = []

    def start(_self: InstanceHost, *, engine: bool) -> subprocess.Popen[str]:
        started.append(engine)
        return process("""print('{"how": "done"}')""")

    monkeypatch.setattr(InstanceHost, "_start", start)
    made = host("""print('{"how": "plain"}')""")
    assert started == [False]
    assert made.ended(None) == {"how": "done"}


@pytest.mark.needs("root")
def test_only_what_starts_containers_has_the_group_of_the_engine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hosts, "_engine_groups", lambda: {4321})
    found: list[object] = []
    monkeypatch.setattr(hosts.subprocess, "Popen", lambda *_words, **options: found.append(options["extra_groups"]))
    for engine in (False, True):
        hosts.start_as(User(uid=12345, gid=12345, groups=(7,)), "module", engine=engine)
    assert found == [[7], [7, 4321]]
