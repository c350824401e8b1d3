from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from runner.engine import scratch
from runner.worker.protocol import SOCKET_NAME


def listening(folder: Path) -> socket.socket:
    (folder / scratch.INNER).mkdir(parents=True)
    server = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    server.bind(str(folder / scratch.INNER / SOCKET_NAME))
    server.listen()
    os.utime(folder, (0, 0))
    return server


def test_folders_of_the_dead_are_removed_and_those_of_the_living_are_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scratch, "MEMORY", str(tmp_path))
    monkeypatch.setattr(scratch, "ROOM", 0)
    alive, dead = listening(tmp_path / "runner-alive"), listening(tmp_path / "runner-dead")
    dead.close()
    (tmp_path / "runner-other").mkdir()
    (tmp_path / "runner-emptied" / scratch.INNER).mkdir(parents=True)  # by a keeper in a container, which cannot remove a mount
    os.utime(tmp_path / "runner-emptied", (0, 0))
    made = scratch.make_scratch()
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(["runner-alive", "runner-other", made.parent.name])
    alive.close()
