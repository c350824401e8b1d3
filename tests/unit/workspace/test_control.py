"""What root hears at the socket in a user's folder."""

import os
import socket
import threading
from pathlib import Path

import pytest

from runner.workspace import control, socket_place
from runner.workspace.control import ControlServer, ask_to_cancel, lines_of


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


MOUNTED = """\
22 27 0:21 / /proc rw,relatime - proc proc rw
29 1 254:1 / / rw shared:1 master:2 - ext4 /dev/vda rw
30 29 0:52 / /mnt/a\\040b rw,relatime - nfs4 server:/export rw,vers=4.2
31 29 0:53 / /mnt/c rw - fuse.glusterfs server:/c rw
"""


@pytest.mark.parametrize(("device", "kind", "network"), [((254, 1), "ext4", False), ((0, 52), "nfs4", True), ((0, 99), "", False)])
def test_file_systems(device: tuple[int, int], kind: str, network: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "mounts").write_text(MOUNTED)
    monkeypatch.setattr(socket_place, "MOUNTS", tmp_path / "mounts")
    found = socket_place.file_system(os.makedev(*device))
    assert (found, socket_place.is_network(found)) == (kind, network)
    assert socket_place.is_network("fuse.glusterfs")
    assert not socket_place.is_network("fuse.overlayfs")


@pytest.fixture
def on_a_network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A job's folder on what is taken for a network file system."""
    monkeypatch.setattr(socket_place, "NETWORK", {socket_place.file_system(tmp_path.stat().st_dev)})
    memory = tmp_path / "memory"
    memory.mkdir()
    monkeypatch.setattr(socket_place, "MEMORY", str(memory))
    (tmp_path / "job").mkdir()
    return tmp_path / "job"


def test_there_is_no_socket_on_a_network_file_system(on_a_network: Path) -> None:
    asked = threading.Event()
    server = ControlServer(on_a_network / "control.sock", asked.set)
    server.start()
    try:
        assert ask_to_cancel(on_a_network / "control.sock")
        assert asked.is_set()
        assert next(lines_of(on_a_network / "control.sock", 0.1, user=os.geteuid())) == b"\n"
        assert not list(on_a_network.iterdir())
    finally:
        server.close()
    assert not ask_to_cancel(on_a_network / "control.sock")
    assert not [path for path in on_a_network.parent.rglob("*") if path.is_socket()]


def test_nobody_else_makes_the_place_of_a_socket(on_a_network: Path) -> None:
    home = on_a_network.parent / "memory" / f"runner-control-{os.geteuid()}"
    home.mkdir()
    home.chmod(0o777)
    with pytest.raises(PermissionError, match="is not a folder of the user"):
        ControlServer(on_a_network / "control.sock", lambda: None).start()
    assert not ask_to_cancel(on_a_network / "control.sock")
