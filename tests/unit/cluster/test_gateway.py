"""What strangers and users send to the gateway."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from runner.cluster import gateway
from runner.cluster.gateway import Gateway, Service


@pytest.fixture
def door(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[str, int]]:
    monkeypatch.setattr(gateway, "MOST_CONNECTIONS", 3)
    (tmp_path / "admin.key").write_text("secret")
    service: Any = SimpleNamespace(workspace=SimpleNamespace(state=tmp_path), ask=lambda call: call(), show=lambda: {"nodes": []})
    made = Gateway(cast("Service", service), ("127.0.0.1", 0), token="token")
    made.start()
    host, _, port = made.address.rpartition(":")
    yield host, int(port)
    made.close()


def said(door: tuple[str, int], request: bytes) -> bytes:
    with socket.create_connection(door, 5) as connection:
        connection.sendall(request)
        return connection.recv(4096)


def test_a_body_of_a_negative_size_is_not_read_to_its_end(door: tuple[str, int]) -> None:
    head = b"POST /v1/jobs/a HTTP/1.1\r\nAuthorization: Bearer token\r\nContent-Length: -1\r\n\r\n"
    assert b" 413 " in said(door, head)


def test_there_are_only_so_many_connections_at_a_time(door: tuple[str, int]) -> None:
    ask = b"GET /v1/cluster HTTP/1.1\r\nAuthorization: Bearer token\r\n\r\n"
    silent = [socket.create_connection(door, 5) for _ in range(3)]
    time.sleep(0.2)
    try:
        answer = said(door, ask)
    except ConnectionError:
        answer = b""
    assert answer == b""
    for one in silent:
        one.close()
    time.sleep(0.2)
    assert b" 200 " in said(door, ask)
