"""A connection to the supervisor."""

import os
import socket
from typing import Any, Dict, Iterator, Tuple

from .protocol import SOCKET_NAME, Reader, message

LONGEST_PATH = 107  # bytes, of sockaddr_un
RECEIVE_SIZE = 1 << 18
SEND_BUFFER = 1 << 20  # asked for; the kernel charges some 700 bytes for each small result, and a full buffer stops the worker


class Disconnected(BaseException):
    """The supervisor is gone."""


class Channel(object):
    """Belongs to the process that opened it: a process that user code has forked from it can neither send nor go on with the work."""

    def __init__(self, sockets: str) -> None:
        self.socket = _connect(sockets)
        self.pid = os.getpid()
        self._reader = Reader()

    def send(self, header: Dict[str, Any]) -> None:
        self.send_bytes(message(header))

    def send_bytes(self, data: bytes) -> None:
        """Returns when the kernel has it all: from then on it survives this process. Errors: Disconnected."""
        if os.getpid() != self.pid:
            os._exit(0)
        try:
            self.socket.sendall(data)
        except (BrokenPipeError, ConnectionResetError):
            raise Disconnected from None

    def receive(self) -> Iterator[Tuple[Dict[str, Any], bytes]]:
        """Messages as they come. Errors: Disconnected."""
        while True:
            if os.getpid() != self.pid:
                os._exit(0)
            try:
                data = self.socket.recv(RECEIVE_SIZE)
            except ConnectionResetError:
                data = b""
            if not data:
                raise Disconnected
            self._reader.feed(data)
            for frame in self._reader:
                yield frame  # type: ignore[misc]

    def receive_waiting(self) -> Iterator[Tuple[Dict[str, Any], bytes]]:
        """Messages that are there, without waiting for more. Errors: Disconnected."""
        try:
            data = self.socket.recv(RECEIVE_SIZE, socket.MSG_DONTWAIT)
        except (BlockingIOError, InterruptedError):
            return
        except ConnectionResetError:
            data = b""
        if not data:
            raise Disconnected
        self._reader.feed(data)
        for frame in self._reader:
            yield frame  # type: ignore[misc]


def _connect(sockets: str) -> socket.socket:
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER)
    path = os.path.join(sockets, SOCKET_NAME)
    if len(os.fsencode(path)) <= LONGEST_PATH:
        connection.connect(path)
        return connection
    folder = os.open(sockets, os.O_RDONLY)
    try:
        connection.connect("/proc/self/fd/%d/%s" % (folder, SOCKET_NAME))
    finally:
        os.close(folder)
    return connection
