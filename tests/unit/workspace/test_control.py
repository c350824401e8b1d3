"""What root hears at the socket in a user's folder."""

import os
import socket
import threading
from pathlib import Path

import pytest

from runner.workspace import control
from runner.workspace.control import ControlServer, lines_of


def test_a_link_to_another_users_socket_tells_nothing(tmp_path: Path) -> None:
    theirs, mine = tmp_path / "theirs", tmp_path / "mine"
    theirs.mkdir()
    mine.mkdir()
    server = ControlServer(theirs / "control.sock", lambda: None)
    server.start()
    (mine / "control.sock").symlink_to(theirs / "control.sock")
    try:
        assert list(lines_of(mine / "control.sock", 0.1, user=os.geteuid() + 1)) == []
        assert next(lines_of(theirs / "control.sock", 0.1, user=os.geteuid())) == b"\n"
    finally:
        server.close()


def test_a_line_without_end_is_not_gathered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(control, "_BACKLOG", 100_000)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    listener.bind(str(tmp_path / "control.sock"))
    listener.listen()

    def pour() -> None:
        connection, _ = listener.accept()
        with connection:
            while True:
                try:
                    connection.sendall(b"x" * 65536)
                except OSError:
                    return

    thread = threading.Thread(target=pour, daemon=True)
    thread.start()
    assert list(lines_of(tmp_path / "control.sock", 1.0, user=os.geteuid())) == []
    thread.join(5)
    listener.close()
    assert not thread.is_alive()


def test_a_socket_that_nobody_accepts_at_holds_no_thread(tmp_path: Path) -> None:
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    listener.bind(str(tmp_path / "control.sock"))
    listener.listen(0)
    waiting = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    waiting.connect(str(tmp_path / "control.sock"))  # the queue is full now
    with listener, waiting:
        assert list(lines_of(tmp_path / "control.sock", 0.1, user=os.geteuid())) == []
