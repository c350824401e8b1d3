"""What counts as an engine that answers. A fake one here: the suite must say NOT RUN, not hang or fail, where there is none."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading

import pytest

from tests import docker_engine


@pytest.fixture
def fake_engine(tmp_path):
    """Says `status` to one caller at the address that is given back."""

    def start(status: bytes) -> str:
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(str(tmp_path / "engine"))
        listener.listen()

        def answer() -> None:
            with listener, listener.accept()[0] as caller:
                caller.recv(1024)
                caller.sendall(b"HTTP/1.1 " + status + b"\r\n\r\n")

        threading.Thread(target=answer, daemon=True).start()
        return f"unix://{tmp_path / 'engine'}"

    return start


@pytest.mark.parametrize(("status", "expected"), [(b"200 OK", True), (b"503 Service Unavailable", False), (b"", False)])
def test_a_socket_that_answers(fake_engine, status, expected):
    assert docker_engine.answers(fake_engine(status)) is expected


def test_nobody_there(tmp_path):
    assert not docker_engine.answers(f"unix://{tmp_path}/nothing")
    assert not docker_engine.answers("tcp://127.0.0.1:1")
    done = subprocess.run(
        [sys.executable, docker_engine.__file__, "0.3"], env={**os.environ, "DOCKER_HOST": f"unix://{tmp_path}/nothing"}, check=False
    )
    assert done.returncode == 1
