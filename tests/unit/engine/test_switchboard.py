"""The sockets of an instance."""

from __future__ import annotations

import socket
from pathlib import Path
from types import SimpleNamespace

from runner.engine.switchboard import Switchboard
from runner.worker.channel import Channel
from runner.worker.protocol import SOCKET_NAME


class Nobody:
    """A subscriber that remembers whether the keeper has said hello."""

    said: dict[str, object] | None = None

    def greeted(self, connection: socket.socket, hello: dict[str, object], more: bytes) -> None:
        self.said = hello
        connection.close()

    def keeper_said(self, header: dict[str, object]) -> None: ...
    def keeper_gone(self) -> None: ...
    def heard(self, worker: object) -> None: ...


def test_a_folder_whose_path_is_too_long_for_a_socket(tmp_path: Path) -> None:
    folder = tmp_path / ("x" * 120) / ("y" * 120)
    folder.mkdir(parents=True)
    subscriber = Nobody()
    board = Switchboard(folder, subscriber)
    assert (folder / SOCKET_NAME).is_socket()
    channel = Channel(str(folder))
    channel.send({"t": "hello", "worker": 0})
    for _ in range(2):
        board.turn(5)
    assert subscriber.said == {"t": "hello", "worker": 0}
    channel.socket.close()
    board.close()


def test_what_a_worker_said_before_anybody_listened_is_heard_when_it_has_ended(tmp_path: Path) -> None:
    subscriber = Nobody()
    board = Switchboard(tmp_path, subscriber)
    channel = Channel(str(tmp_path))
    channel.send({"t": "hello", "worker": 7})
    channel.socket.close()
    board.drain(SimpleNamespace(socket=None))  # type: ignore[arg-type]
    assert subscriber.said == {"t": "hello", "worker": 7}
    board.close()
