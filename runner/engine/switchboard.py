"""The sockets of one instance: the keeper's, each worker's, and a bell by which other threads wake the loop."""

from __future__ import annotations

import contextlib
import os
import selectors
import socket
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, Protocol

from runner.engine.inbox import Inbox
from runner.engine.workers import Worker
from runner.worker.protocol import SOCKET_NAME, Reader

BACKLOG = 64


class Subscriber(Protocol):
    """Whom the switchboard calls, in the loop's thread."""

    def greeted(self, connection: socket.socket, hello: dict[str, Any], more: bytes) -> None: ...
    def keeper_said(self, header: dict[str, Any]) -> None: ...
    def keeper_gone(self) -> None: ...
    def heard(self, worker: Worker) -> None: ...


class Switchboard:
    """All but `post` is called by the loop's thread only."""

    def __init__(self, folder: Path, subscriber: Subscriber) -> None:
        self._subscriber = subscriber
        self._selector = selectors.DefaultSelector()
        self._inbox = Inbox(self._selector)
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        _bind(self._listener, folder)
        self._listener.listen(BACKLOG)
        self._listener.setblocking(False)
        self._selector.register(self._listener, selectors.EVENT_READ, self._accept)
        self._strangers: dict[socket.socket, Reader] = {}  # connections that have not said yet whose they are
        self._keeper: socket.socket | None = None
        self._keeper_reader = Reader()
        self._for_keeper: list[bytes] = []

    def post(self, call: Callable[[], None]) -> None:
        """Has the loop make a call; from any thread."""
        self._inbox.post(call)

    def turn(self, seconds: float) -> None:
        """Waits for the next thing to happen, and passes on all that has."""
        for key, mask in self._selector.select(seconds):
            key.data(mask)
        self._inbox.take()  # what was left while others were heard

    def watch(self, worker: Worker) -> None:
        """Listens to a worker, and to when its socket takes more, while there is more."""
        assert worker.socket is not None
        wanted = selectors.EVENT_READ | (selectors.EVENT_WRITE if worker.outbox else 0)
        known = self._selector.get_map().get(worker.socket.fileno())
        if known is None:
            self._selector.register(worker.socket, wanted, partial(self._worker_speaks, worker))
        elif known.events != wanted:
            self._selector.modify(worker.socket, wanted, known.data)

    def drain(self, worker: Worker) -> None:
        """Hears the last of a worker whose process has ended, and listens to it no more."""
        if worker.socket is None:
            self._hear_strangers()  # it may have said all it had to say before anybody has listened
        if worker.socket is None:
            return
        size = -1
        while size != len(worker.buffer):
            size = len(worker.buffer)
            if worker.receive():
                self._subscriber.heard(worker)
                size = size if len(worker.buffer) == size else -1
        with contextlib.suppress(KeyError):
            self._selector.unregister(worker.socket)

    def tell_keeper(self, text: bytes) -> None:
        """Sends a message to the keeper, as soon as it is there."""
        if self._keeper is None:
            self._for_keeper.append(text)
            return
        self._keeper.setblocking(True)
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):  # its end of file tells
            self._keeper.sendall(text)
        self._keeper.setblocking(False)

    @property
    def has_keeper(self) -> bool:
        return self._keeper is not None

    def keeper_hangs_up(self, seconds: float) -> bool:
        """Waits for the end of the keeper's connection; False when there is none, or it has not come in time."""
        if self._keeper is None:
            return False
        self._keeper.settimeout(seconds)
        try:
            while self._keeper.recv(65536):
                pass
        except ConnectionResetError:
            pass
        except TimeoutError:
            return False
        return True

    def close(self) -> None:
        for key in list(self._selector.get_map().values()):
            if isinstance(key.fileobj, socket.socket):
                key.fileobj.close()
        self._selector.close()
        self._inbox.close()

    def _accept(self, _mask: int) -> None:
        with contextlib.suppress(BlockingIOError):
            while True:
                connection, _ = self._listener.accept()
                connection.setblocking(False)
                self._strangers[connection] = Reader()
                self._selector.register(connection, selectors.EVENT_READ, partial(self._greeting, connection))

    def _hear_strangers(self) -> None:
        self._accept(0)
        for connection in list(self._strangers):
            self._greeting(connection, 0)

    def _greeting(self, connection: socket.socket, _mask: int) -> None:
        """The first message of a connection tells whose it is."""
        reader = self._strangers.get(connection)
        if reader is None:  # it was heard earlier in this turn
            return
        try:
            data = connection.recv(65536)
        except BlockingIOError:
            return
        except ConnectionResetError:
            data = b""
        reader.feed(data)
        header = next((found for found, _ in reader), None)
        if isinstance(header, dict):
            del self._strangers[connection]
            self._selector.unregister(connection)
            if header["t"] == "keeper":
                self._keeper_is(connection, reader)
            else:
                self._subscriber.greeted(connection, header, reader.rest())
        elif not data:
            del self._strangers[connection]
            self._selector.unregister(connection)
            connection.close()

    def _keeper_is(self, connection: socket.socket, reader: Reader) -> None:
        self._keeper, self._keeper_reader = connection, reader
        self._selector.register(connection, selectors.EVENT_READ, self._keeper_speaks)
        for text in self._for_keeper:
            self.tell_keeper(text)
        self._for_keeper.clear()
        self._hear_keeper()

    def _keeper_speaks(self, _mask: int) -> None:
        assert self._keeper is not None
        try:
            data = self._keeper.recv(65536)
        except BlockingIOError:
            return
        except ConnectionResetError:
            data = b""
        self._keeper_reader.feed(data)
        self._hear_keeper()
        if not data:
            self._selector.unregister(self._keeper)
            self._subscriber.keeper_gone()

    def _hear_keeper(self) -> None:
        for header, _ in self._keeper_reader:
            if isinstance(header, dict):
                self._subscriber.keeper_said(header)

    def _worker_speaks(self, worker: Worker, mask: int) -> None:
        if worker.socket is None or worker.state == "gone":
            return
        if mask & selectors.EVENT_WRITE:
            worker.flush()
            self.watch(worker)
        if mask & selectors.EVENT_READ:
            if worker.receive():
                self._subscriber.heard(worker)
            else:
                self._selector.unregister(worker.socket)  # the keeper will say how it ended


def _bind(listener: socket.socket, folder: Path) -> None:
    """By a short name: the path of a socket may have 107 bytes, that of a folder for temporary files more."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        listener.bind(f"/proc/self/fd/{handle}/{SOCKET_NAME}")
        (folder / SOCKET_NAME).chmod(0o777)  # the workers may be another user's; nobody else gets as far as this folder
    finally:
        os.close(handle)
