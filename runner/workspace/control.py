"""The owner's control socket: others wake it there, and hear what happens, line by line, as it happens.

A Unix stream socket `control.sock` in the job's folder (or in memory: socket_place.py), for its user only. The path of a socket may have
107 bytes, that of a job more, so both ends go by `/proc/self/fd/<folder>/control.sock`. Nothing is ever signalled by a process id: it may
be another's by now.
"""

from __future__ import annotations

import contextlib
import json
import os
import selectors
import socket
import struct
import threading
from collections import deque
from collections.abc import Callable, Iterator
from pathlib import Path

from runner.model.events import Event
from runner.workspace.socket_place import socket_place
from runner.workspace.wire import KEPT, SENT, decode, encode

_BACKLOG = 4 * 1024 * 1024  # bytes that may wait for one slow listener; then it is dropped
_FAREWELL = 2.0  # seconds that listeners get to take the last lines
CANCEL, SUBSCRIBE = "cancel", "subscribe"


@contextlib.contextmanager
def _short_path(path: Path) -> Iterator[str]:
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield f"/proc/self/fd/{folder}/{path.name}"
    finally:
        os.close(folder)


class _Listener:
    def __init__(self, connection: socket.socket) -> None:
        self.connection = connection
        self.received = bytearray()
        self.waiting = bytearray()
        self.subscribed = False


class ControlServer:
    """Serves in a thread of its own from `start()` to `close()`. As an observer it passes events on to those who listen."""

    def __init__(self, path: Path, on_cancel: Callable[[], None]) -> None:
        self._path, self._on_cancel = path, on_cancel
        self._selector = selectors.DefaultSelector()
        self._lock = threading.Lock()
        self._queue: deque[bytes] = deque()
        self._latest: dict[tuple[str, str], Event] = {}
        self._listeners: set[_Listener] = set()
        self._closing = False
        self._woken, self._waker = socket.socketpair()
        self._server = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
        self._thread = threading.Thread(target=self._serve, name="control", daemon=True)

    def start(self) -> None:
        """Binds the socket; the owner's lock must be held, for a socket left by an earlier owner is removed. Errors: OSError."""
        try:
            self._path = socket_place(self._path, make=True)
            self._path.unlink(missing_ok=True)
            os.fchmod(self._server.fileno(), 0o600)  # before it has a name, so that nobody slips in
            with _short_path(self._path) as short:
                self._server.bind(short)
        except OSError:
            for end in (self._server, self._woken, self._waker):
                end.close()
            raise
        self._server.listen(16)
        self._woken.setblocking(False)
        self._waker.setblocking(False)
        self._selector.register(self._server, selectors.EVENT_READ, self._accept)
        self._selector.register(self._woken, selectors.EVENT_READ, self._wake)
        self._thread.start()

    def __call__(self, event: Event) -> None:
        """Never waits: a listener that does not read loses its connection, not the job its time."""
        if not isinstance(event, SENT):
            return
        with self._lock:
            if isinstance(event, KEPT):
                self._latest[type(event).__name__, event.step] = event
            if not self._listeners:
                return
            self._queue.append(encode(event))
        self._poke()

    def close(self) -> None:
        """Sends what is left, then ends all connections and removes the socket."""
        with self._lock:
            self._closing = True
        self._poke()
        self._thread.join()
        for end in (self._woken, self._waker):  # not in the thread: it may be over before it is poked
            end.close()
        self._path.unlink(missing_ok=True)

    def _poke(self) -> None:
        with contextlib.suppress(OSError):  # full: it has been poked often enough; or closed: nobody listens any more
            self._waker.send(b"x")

    def _serve(self) -> None:
        while not self._closing:
            for key, ready in self._selector.select():
                key.data(ready)
        self._server.close()
        self._farewell()
        for key in list(self._selector.get_map().values()):  # those that only asked to cancel, or nothing yet
            if isinstance(key.fileobj, socket.socket):
                key.fileobj.close()
        self._selector.close()

    def _farewell(self) -> None:
        self._pass_on()
        for listener in list(self._listeners):
            with contextlib.suppress(OSError):
                listener.connection.settimeout(_FAREWELL)
                listener.connection.sendall(listener.waiting)
            listener.connection.close()

    def _wake(self, _ready: int) -> None:
        with contextlib.suppress(BlockingIOError):
            while self._woken.recv(4096):
                pass
        self._pass_on()

    def _accept(self, _ready: int) -> None:
        try:
            connection, _ = self._server.accept()
        except OSError:
            return  # gone again
        connection.setblocking(False)
        listener = _Listener(connection)
        self._selector.register(connection, selectors.EVENT_READ, lambda ready: self._converse(listener, ready))

    def _converse(self, listener: _Listener, ready: int) -> None:
        try:
            if ready & selectors.EVENT_READ:
                data = listener.connection.recv(4096)
                if not data:
                    raise ConnectionError
                listener.received += data
                while b"\n" in listener.received:
                    line, _, rest = bytes(listener.received).partition(b"\n")
                    listener.received = bytearray(rest)
                    self._obey(listener, json.loads(line))
            self._send(listener)
        except (OSError, ValueError, AttributeError):
            self._drop(listener)

    def _obey(self, listener: _Listener, request: dict[str, str]) -> None:
        command = request.get("command")
        if command == CANCEL:
            self._on_cancel()
            listener.waiting += b'{"event":"Heard"}\n'
        elif command == SUBSCRIBE and not listener.subscribed:
            self._pass_on()
            with self._lock:
                listener.subscribed = True
                listener.waiting += b"".join(encode(event) for event in self._latest.values())
                self._listeners.add(listener)

    def _pass_on(self) -> None:
        with self._lock:
            lines = b"".join(self._queue)
            self._queue.clear()
            listeners = list(self._listeners)
        for listener in listeners:
            listener.waiting += lines
            if len(listener.waiting) > _BACKLOG:
                self._drop(listener)
            elif lines:
                try:
                    self._send(listener)
                except OSError:
                    self._drop(listener)

    def _send(self, listener: _Listener) -> None:
        if listener.waiting:
            with contextlib.suppress(BlockingIOError):
                del listener.waiting[: listener.connection.send(listener.waiting)]
        wanted = selectors.EVENT_READ | (selectors.EVENT_WRITE if listener.waiting else 0)
        self._selector.modify(listener.connection, wanted, lambda ready: self._converse(listener, ready))

    def _drop(self, listener: _Listener) -> None:
        with self._lock:
            self._listeners.discard(listener)
        with contextlib.suppress(KeyError, ValueError):
            self._selector.unregister(listener.connection)
        listener.connection.close()


def _connect(path: Path, seconds: float | None = None) -> socket.socket | None:
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    connection.settimeout(seconds)
    try:
        with _short_path(socket_place(path)) as short:
            connection.connect(short)
    except OSError:
        connection.close()
        return None
    return connection


def ask_to_cancel(path: Path) -> bool:
    """Wakes the owner at this socket; True once it has heard, False if nobody listens there."""
    connection = _connect(path)
    if connection is None:
        return False
    with connection:
        try:
            connection.settimeout(10)
            connection.sendall(json.dumps({"command": CANCEL}).encode() + b"\n")
            return bool(connection.recv(1))
        except OSError:
            return False


def subscribe(path: Path) -> Iterator[Event] | None:
    """Events from the latest state on, until the owner ends; None if nobody listens there."""
    connection = _connect(path)
    return None if connection is None else _events(connection)


def lines_of(path: Path, alive: float, *, user: int) -> Iterator[bytes]:
    """The lines in which the owner at this socket tells its events, an empty one where it is silent for `alive` seconds.

    `user`: whose process it must be. Who asks may be root, and what lies in a user's folder may be a link to anybody's socket.
    """
    connection = _connect(path, alive)
    if connection is None:
        return
    with connection, contextlib.suppress(OSError):
        if _user_at(connection) != user:
            return
        connection.sendall(json.dumps({"command": SUBSCRIBE}).encode() + b"\n")
        rest = b""
        while len(rest) <= _BACKLOG:  # what is longer no owner has sent
            try:
                data = connection.recv(65536)
            except TimeoutError:
                yield b"\n"
                continue
            whole, end, rest = (rest + data).rpartition(b"\n")
            if whole:
                yield whole + end
            if not data:
                return


def _user_at(connection: socket.socket) -> int:
    """Whose process listens at the other end."""
    size = struct.calcsize("3i")
    return int(struct.unpack("3i", connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, size))[1])


def _events(connection: socket.socket) -> Iterator[Event]:
    with connection, contextlib.suppress(ConnectionError):
        connection.sendall(json.dumps({"command": SUBSCRIBE}).encode() + b"\n")
        with connection.makefile("rb") as lines:
            for line in lines:
                event = decode(line) if line.endswith(b"\n") else None
                if event is not None:
                    yield event
