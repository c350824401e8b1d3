"""Drives the real agent as a supervisor does: over its socket, message by message."""

from __future__ import annotations

import json
import mmap
import os
import shutil
import socket
import sys
import tempfile
import textwrap
import time
from collections import deque
from pathlib import Path
from types import TracebackType
from typing import Any

import runner.worker
from runner.launch.process import ProcessInstance, ProcessLauncher
from runner.model.ports import InstanceRequest
from runner.worker.protocol import RESULT, SOCKET_NAME, Reader, Slot, message

AGENT = str(Path(runner.worker.__file__).parent)
PATIENCE = 30.0  # seconds a test waits for any message


class Connection:
    """One end of a keeper's or worker's connection."""

    def __init__(self, connection: socket.socket) -> None:
        self.socket = connection
        self.socket.settimeout(PATIENCE)
        self._reader = Reader()
        self._frames: deque[tuple[Any, bytes]] = deque()

    def send(self, header: dict[str, Any], payload: bytes = b"") -> None:
        self.socket.sendall(message(header, payload))

    def next(self) -> tuple[Any, bytes]:
        """The next message. Errors: EOFError; TimeoutError."""
        while not self._frames:
            data = self.socket.recv(1 << 18)
            if not data:
                raise EOFError
            self._reader.feed(data)
            self._frames.extend(self._reader)
        return self._frames.popleft()

    def expect(self, kind: str) -> dict[str, Any]:
        header, _ = self.next()
        assert isinstance(header, dict), header
        assert header["t"] == kind, header
        return header

    def result(self) -> tuple[tuple[int, int, int, int], bytes]:
        header, payload = self.next()
        assert isinstance(header, bytes), header
        return RESULT.unpack(header), payload


class Driver:
    """One instance: a folder of its own, the keeper, and workers that a test starts and talks to."""

    def __init__(
        self, folder: Path, python: str = sys.executable, *, processes: int = 4, script: str = "", sockets: Path | None = None
    ) -> None:
        self.folder = folder
        self.sockets = sockets or Path(tempfile.mkdtemp(prefix="agent-test-"))
        self.code = folder / "code"
        self.code.mkdir(parents=True, exist_ok=True)
        self.write("score.py", script)
        (self.sockets / "slots").write_bytes(bytes(Slot.SIZE * processes))
        with open(self.sockets / "slots", "r+b") as file:
            self.memory = mmap.mmap(file.fileno(), Slot.SIZE * processes)
        self.listener = socket.socket(socket.AF_UNIX)
        here = os.open(self.sockets, os.O_RDONLY)  # by way of /proc, for the test of a path that is too long for a socket
        self.listener.bind(f"/proc/self/fd/{here}/{SOCKET_NAME}")
        os.close(here)
        self.listener.listen(processes + 1)
        self.listener.settimeout(PATIENCE)
        self.connections: list[Connection] = []
        self.instance: ProcessInstance = ProcessLauncher().start(
            InstanceRequest(job="job", node="node_0", python=python, agent=AGENT, sockets=str(self.sockets), log=str(folder / "keeper.txt"))
        )
        self.keeper = self.accept()
        self.keeper_pid = self.keeper.expect("keeper")["pid"]

    def __enter__(self) -> Driver:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if error is not None:
            print((self.folder / "keeper.txt").read_text(errors="replace"), self.stderr(), sep="\n")
        for connection in self.connections:
            connection.socket.close()
        self.listener.close()
        self.instance.wait(10)
        self.instance.kill()
        self.memory.close()
        shutil.rmtree(self.sockets, ignore_errors=True)

    def write(self, name: str, text: str) -> Path:
        path = self.code / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(textwrap.dedent(text))
        return path

    def accept(self) -> Connection:
        connection = Connection(self.listener.accept()[0])
        self.connections.append(connection)
        return connection

    def config(self, number: int, **changes: Any) -> dict[str, Any]:
        process = f"process{number:03d}"
        return {
            "job": "job",
            "node": "node_0",
            "process": process,
            "worker": number,
            "kind": "files",
            "root": str(self.folder),
            "code": str(self.code),
            "entry_script": "score.py",
            "command": "",
            "arguments": ["--alpha", "a b"],
            "environment": {"GREETING": "hello"},
            "append_rows": True,
            "to_csv": {"sep": " ", "header": False, "index": False},
            "header": False,
            "logging_level": "INFO",
            "stdout": str(self.folder / f"{process}.stdout.txt"),
            "stderr": str(self.folder / f"{process}.stderr.txt"),
            "log": str(self.folder / f"{process}.log.txt"),
            "log_cap": 1 << 20,
            "log_dir": str(self.folder),
            "output_dir": str(self.folder / "out"),
            "working_dir": str(self.code),
            "profile": None,
            "stacks": str(self.sockets / f"stacks-{number}"),
            "slot": number,
            **changes,
        }

    def slot(self, number: int) -> Slot:
        return Slot(self.memory, number)

    def start(self, number: int = 0, **changes: Any) -> Connection:
        """Starts a worker; its hello has been read."""
        self.slot(number).limit = Slot.NO_LIMIT
        self.keeper.send({"t": "start", "worker": number, "config": self.config(number, **changes)})
        worker = self.accept()
        self.hello = worker.expect("hello")
        assert self.hello["worker"] == number
        return worker

    def ready(self, number: int = 0, **changes: Any) -> Connection:
        worker = self.start(number, **changes)
        worker.expect("ready")
        return worker

    def kill(self, number: int = 0, *, grace: float = 0.2, dump: bool = False) -> dict[str, Any]:
        """Has a worker killed; gives the keeper's report."""
        self.keeper.send({"t": "kill", "worker": number, "grace": grace, "dump": dump})
        return self.keeper.expect("exited")

    def text(self, stream: str, number: int = 0) -> str:
        path = self.folder / f"process{number:03d}.{stream}.txt"
        return path.read_text(errors="replace") if path.exists() else ""

    def stderr(self) -> str:
        return self.text("stderr")


def work(worker: Connection, *batches: Any, first: int = 0, seq: int | None = None) -> None:
    """Sends mini-batches: lists of file names, or ready-made lines."""
    lines = [batch if isinstance(batch, dict) else {"files": [[name, 1, 1] for name in batch]} for batch in batches]
    header = {"t": "work", "first": first, "count": len(lines), "seq": first if seq is None else seq}
    worker.send(header, b"\n".join(json.dumps(line).encode() for line in lines))


def bye(worker: Connection) -> None:
    worker.send({"t": "bye"})


def alive(pid: int) -> bool:
    """Whether it runs; a zombie does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


def gone_within(pids: list[int], seconds: float) -> float:
    """Seconds until none of the processes was there; fails after `seconds`."""
    began = time.monotonic()
    while any(alive(pid) for pid in pids):
        assert time.monotonic() - began < seconds, [pid for pid in pids if alive(pid)]
        time.sleep(0.01)
    return time.monotonic() - began


def number_in(path: Path, seconds: float = 10.0) -> int:
    """A number that user code writes to a file, once it is there."""
    began = time.monotonic()
    while not (path.exists() and path.read_text().strip()):
        assert time.monotonic() - began < seconds, f"{path} was not written"
        time.sleep(0.01)
    return int(path.read_text())
