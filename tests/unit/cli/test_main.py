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
    """A thread that nobody waits for would be stopped either way."""
    others = set(threading.enumerate()) - {threading.main_thread()}  # what tests before have left
    monkeypatch.setattr(threading, "enumerate", lambda of=threading.enumerate: [one for one in of() if one not in others])
    go_on = threading.Event()
    waiting = threading.Thread(target=go_on.wait, daemon=True)
    waiting.start()
    with pytest.raises(SystemExit):  # only since _exit comes back here
        command.main()
    go_on.set()
    waiting.join()
    assert ended == [3]


def test_in_python_s_own_way_while_threads_run(ended):
    go_on = threading.Event()
    working = threading.Thread(target=go_on.wait)
    working.start()
    with pytest.raises(SystemExit) as end:
        command.main()
    go_on.set()
    working.join()
    assert (end.value.code, ended) == (3, [])
