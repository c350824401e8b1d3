"""Whose process is whose, and that killing comes to an end."""

from __future__ import annotations

import os
import subprocess
import time

from runner.worker import descendants
from runner.worker.descendants import _children_by_search, belongs, children, kill_all


def test_children_of_this_process():
    child = subprocess.Popen(["sleep", "60"])
    try:
        assert child.pid in children(os.getpid())
        assert child.pid in _children_by_search(os.getpid())
        assert children(child.pid) == []
    finally:
        child.kill()
        child.wait()
    assert children(child.pid) == []


def test_a_process_belongs_by_session_or_by_mark():
    marked = subprocess.Popen(["sleep", "60"], env={"A": "1", "RUNNER_WORKER": "0000000001"}, start_new_session=True)
    try:
        assert belongs(marked.pid, marked.pid, "")
        assert belongs(marked.pid, -1, "0000000001")
        assert not belongs(marked.pid, -1, "0000000002")
        marked.kill()
        os.waitid(os.P_PID, marked.pid, os.WEXITED | os.WNOWAIT)
        assert not belongs(marked.pid, marked.pid, "0000000001"), "it has ended"
    finally:
        marked.kill()
        marked.wait()
    assert not belongs(marked.pid, marked.pid, "0000000001")


def test_kill_all_kills_whole_trees():
    top = subprocess.Popen(["sh", "-c", "sh -c 'sleep 61; :' & sleep 62; :"])
    while len(below := [grandchild for child in children(top.pid) for grandchild in [child, *children(child)]]) < 3:
        pass
    assert kill_all(lambda: [] if top.poll() is not None else [top.pid], 5, lambda: None)
    deadline = time.monotonic() + 5  # those that were adopted elsewhere die of their signal a moment later
    while not all(descendants._stat(pid)[0] in "ZX" for pid in below) and time.monotonic() < deadline:
        time.sleep(0.001)
    assert all(descendants._stat(pid)[0] in "ZX" for pid in below)


def test_kill_all_gives_up_in_time(monkeypatch):
    sent = []
    monkeypatch.setattr(descendants, "_send", lambda pid, number: sent.append(pid))
    assert not kill_all(lambda: [1 << 30], 0.02, lambda: None)
    assert set(sent) == {1 << 30}
    assert kill_all(list, 0.02, lambda: None)
