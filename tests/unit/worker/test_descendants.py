"""Whose process is whose."""

from __future__ import annotations

import os

from runner.worker import descendants
from runner.worker.descendants import Entry, below, kill_all, living, of_worker


def test_below_follows_parents_to_any_depth():
    table = {2: Entry(1, 1), 3: Entry(2, 1), 4: Entry(3, 4), 5: Entry(1, 5)}
    assert below(2, table) == {3, 4}
    assert below(9, table) == set()


def test_a_worker_owns_its_tree_its_session_and_its_marks(monkeypatch):
    table = {
        10: Entry(1, 10),
        11: Entry(10, 11),
        12: Entry(11, 11),
        20: Entry(10, 20),
        30: Entry(10, 30),
        31: Entry(10, 11),
        99: Entry(1, 11),
    }
    monkeypatch.setattr(descendants, "living", lambda: table)
    monkeypatch.setattr(descendants, "_mark", lambda pid: "0000000001" if pid == 30 else "")
    assert of_worker(10, 11, "0000000001") == {11, 12, 30, 31}  # 99 is no descendant of the keeper


def test_this_process_is_found():
    assert living()[os.getpid()].parent == os.getppid()


def test_kill_all_gives_up_in_time(monkeypatch):
    sent = []
    monkeypatch.setattr(descendants, "_send", lambda pid, number: sent.append(pid))
    assert not kill_all(lambda: {77}, 0.02)
    assert set(sent) == {77}
    assert kill_all(set, 0.02)
