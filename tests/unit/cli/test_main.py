"""How the command's process ends."""

from __future__ import annotations

import threading

import pytest

from runner.cli import __main__ as command


@pytest.fixture
def ended(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    statuses: list[int] = []
    monkeypatch.setattr(command, "run", lambda: 3)
    monkeypatch.setattr(command.os, "_exit", statuses.append)
    return statuses


def test_at_once_when_all_is_done(ended, monkeypatch):
    monkeypatch.setattr(threading, "active_count", lambda: 1)
    with pytest.raises(SystemExit):  # only since _exit comes back here
        command.main()
    assert ended == [3]


def test_in_python_s_own_way_while_threads_run(ended, monkeypatch):
    monkeypatch.setattr(threading, "active_count", lambda: 2)
    with pytest.raises(SystemExit) as end:
        command.main()
    assert (end.value.code, ended) == (3, [])
