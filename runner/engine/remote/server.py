"""The coordinator's end: one thread for all connections, a few more that make the calls, which may wait for the disk."""

from __future__ import annotations

import contextlib
import errno
import secrets
import selectors
import socket
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from typing import Literal, Protocol

from runner.engine.gateway import Gateway
from runner.engine.inbox import Inbox
from runner.engine.remote import handshake
from runner.engine.remote.wire import Header, answer_to_frame, event_from_frame, report_from_header
from runner.errors import SetupError
from runner.model.batch import ErrorRecord
from runner.model.events import Observer
from runner.worker.protocol import Reader, message

CALLERS = 32  # calls at a time: those that wait for the disk are served by one sync
RETURN_SECONDS = 3.0  # that an instance has to come back after its connection has broken
STRANGER_LIMIT = 1 << 16  # bytes that are taken from somebody who has not proved anything yet
RECEIVE = 1 << 18
QUEUE = 512  # connections that may wait to be accepted: all instances come at once after a restart
NUMBERED = ("exchange", "leave", "init_failed", "fail", "event")


class Pace:
    """How exchanges fare: how many, how long they waited until they were worked at, how long that took. Used by several threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.count, self.waited, self.worked = 0, 0.0, 0.0
        self._longest = (0.0, 0.0)

    def took(self, waited: float, worked: float) -> None:
        with self._lock:
            self.count, self.waited, self.worked = self.count + 1, self.waited + waited, self.worked + worked
            self._longest = max(self._longest[0], waited), max(self._longest[1], worked)

    def take_longest(self) -> tuple[float, float]:
        """The longest wait and the longest work since the last time it was asked for."""
        with self._lock:
            longest, self._longest = self._longest, (0.0, 0.0)
        return longest


class Members(Gateway, Protocol):
    """What the server needs of the coordinator."""

    def join(self, name: str, *, workers: int, wake: Callable[[], None], held: Sequence[tuple[int, int]] = ()) -> int: ...
    def silent(self, epoch: int, seconds: float) -> None: ...
    def is_member(self, epoch: int) -> bool: ...
    def send_away(self, name: str, why: Literal["retired", "lost"]) -> None: ...


@dataclass(eq=False)
class Attachment:
    """An instance, whatever connection it has at the moment."""

    name: str
    epoch: int = 0  # of its session
    connection: Connection | None = None
    waiting: deque[tuple[Header, bytes, float]] = field(default_factory=deque)  # frames behind the one being worked at; when they came
    busy: bool = False
    taken: int = 0  # number of the last frame that came
    answered: int = 0  # number of the last frame that was answered
    answer: bytes = b""  # to that frame


@dataclass(eq=False)
class Connection:
    socket: socket.socket
    nonce: str = field(default_factory=handshake.nonce)
    reader: Reader = field(default_factory=Reader)
    outbox: bytearray = field(default_factory=bytearray)
    attachment: Attachment | None = None
    closing: bool = False  # once what is in the outbox is sent


class ExchangeServer:
    """Serves one coordinator. `secret` is what instances have to know; `version` must be theirs; `publish` gets their events."""

    def __init__(
        self, members: Members, *, secret: str, version: str, publish: Observer, host: str = "", ports: Sequence[int] = (0, 0)
    ) -> None:
        """`ports`: first and last of those to try. Errors: SetupError when none is free."""
        self._members, self._secret, self._version, self._publish = members, secret, version, publish
        self.id = secrets.token_hex(8)
        self.pace = Pace()
        self._attachments: dict[str, Attachment] = {}
        self._calls = ThreadPoolExecutor(max_workers=CALLERS, thread_name_prefix="exchange")
        self._listener = _listener(host, *ports)
        self._listener.setblocking(False)
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._listener, selectors.EVENT_READ, self._accept)
        self._inbox = Inbox(self._selector)
        self._over = False
        self._thread = threading.Thread(target=self._serve, name="exchange-server", daemon=True)

    @property
    def port(self) -> int:
        return int(self._listener.getsockname()[1])

    def start(self) -> None:
        self._thread.start()

    def close(self) -> None:
        """Ends all connections; the calls that are being made are waited for."""
        self._calls.shutdown(wait=True, cancel_futures=True)
        self._inbox.post(self._end)
        self._thread.join()

    def _end(self) -> None:
        self._over = True

    # The thread

    def _serve(self) -> None:
        while not self._over:
            for key, mask in self._selector.select():
                key.data(mask)
        for key in list(self._selector.get_map().values()):
            if isinstance(key.fileobj, socket.socket):
                key.fileobj.close()
        self._selector.close()
        self._inbox.close()

    def _accept(self, _mask: int) -> None:
        with contextlib.suppress(OSError):
            connection = Connection(self._listener.accept()[0])
            connection.socket.setblocking(False)
            connection.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._selector.register(connection.socket, selectors.EVENT_READ, partial(self._ready, connection))
            self._send(connection, {"t": "challenge", "nonce": connection.nonce})

    def _ready(self, connection: Connection, mask: int) -> None:
        if mask & selectors.EVENT_WRITE:
            self._flush(connection)
        if mask & selectors.EVENT_READ and connection.socket.fileno() >= 0:
            self._receive(connection)

    def _receive(self, connection: Connection) -> None:
        try:
            data = connection.socket.recv(RECEIVE)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self._broken(connection)
            return
        connection.reader.feed(data)
        try:
            for header, payload in connection.reader:
                self._frame(connection, header if isinstance(header, dict) else {}, payload)
            stranger = connection.attachment is None and len(connection.reader.rest()) > STRANGER_LIMIT
        except (KeyError, TypeError, ValueError, AttributeError):  # not of our kind
            stranger = True
        if stranger:
            self._broken(connection)

    def _frame(self, connection: Connection, header: Header, payload: bytes) -> None:
        attachment = connection.attachment
        if attachment is None:
            self._greet(connection, header)
        elif header["t"] == "ping":
            member = self._members.is_member(attachment.epoch)
            self._send(connection, {"t": "pong", "at": header["at"]} if member else {"t": "fenced"})
        elif header["t"] in NUMBERED:
            self._take(attachment, header, payload)

    def _take(self, attachment: Attachment, header: Header, payload: bytes) -> None:
        """Frames of one instance are worked at one after another; those that came before a connection broke are not taken twice."""
        if header["n"] > attachment.taken:
            attachment.taken = header["n"]
            attachment.waiting.append((header, payload, time.monotonic()))
            self._next(attachment)
        elif header["n"] == attachment.answered and attachment.connection is not None:
            self._send_bytes(attachment.connection, attachment.answer)

    def _greet(self, connection: Connection, header: Header) -> None:
        if connection.closing:
            return
        if header["version"] != self._version:
            why = f"its runner is {header['version']}, that of the coordinator {self._version}: install the same version everywhere"
            self._refuse(connection, why)
        elif not handshake.is_proof(header["proof"], self._secret, handshake.INSTANCE, connection.nonce):
            self._refuse(connection, "it does not know the secret of this job")
        else:
            self._welcome(connection, header)

    def _refuse(self, connection: Connection, why: str) -> None:
        connection.closing = True
        self._send(connection, {"t": "refused", "why": why})

    def _welcome(self, connection: Connection, hello: Header) -> None:
        """The instance goes on with its session, or has a new one: with what it has from an earlier coordinator."""
        attachment = self._attachments.get(str(hello["instance"]))
        if attachment is None:
            attachment = self._attachments[str(hello["instance"])] = Attachment(str(hello["name"]))
            held = [(int(first), int(last)) for first, last in hello["held"]]
            wake = partial(self._inbox.post, partial(self._wake, attachment))
            attachment.epoch = self._members.join(attachment.name, workers=int(hello["workers"]), wake=wake, held=held)
        if attachment.connection is not None:
            self._drop(attachment.connection)  # the instance has given it up
        attachment.connection, connection.attachment = connection, attachment
        if attachment.epoch and self._members.is_member(attachment.epoch):
            proof = handshake.proof(self._secret, handshake.COORDINATOR, str(hello["nonce"]))
            self._send(connection, {"t": "welcome", "proof": proof, "coordinator": self.id, "epoch": attachment.epoch})
        else:
            self._send(connection, {"t": "fenced"})

    def _next(self, attachment: Attachment) -> None:
        if attachment.waiting and not attachment.busy:
            attachment.busy = True
            with contextlib.suppress(RuntimeError):  # being closed
                self._calls.submit(self._call, attachment, *attachment.waiting.popleft())

    # In a thread of the calls

    def _call(self, attachment: Attachment, header: Header, payload: bytes, came: float) -> None:
        began = time.monotonic()
        try:
            answer, lines = self._made(attachment, header, payload)
        except (KeyError, TypeError, ValueError, AssertionError):  # not of our kind: it gets no answer
            answer, lines = {"a": "stop", "reason": "fenced"}, b""
        except OSError as error:  # of the journal's disk; without an answer its instances would wait for ever
            self._members.fail("output", f"the journal could not be written: {error}")
            answer, lines = {"a": "stop", "reason": "output"}, b""
        if header["t"] == "exchange":
            self.pace.took(began - came, time.monotonic() - began)
        data = message({"t": "answer", "n": header["n"], **answer}, lines)
        self._inbox.post(partial(self._answered, attachment, header["n"], data))

    def _made(self, attachment: Attachment, header: Header, payload: bytes) -> tuple[Header, bytes]:
        kind, members = header["t"], self._members
        if kind == "exchange":
            return answer_to_frame(members.exchange(attachment.epoch, report_from_header(header), int(header["want"])))
        if kind == "event":
            self._publish(event_from_frame(header, payload))
        elif kind == "init_failed":
            members.init_failed(attachment.epoch, ErrorRecord(**header["error"]))
        elif kind == "fail":
            members.fail(str(header["code"]), str(header["message"]))
        elif kind == "leave":
            members.leave(attachment.epoch, gave_up=str(header["gave_up"]), lost=bool(header["lost"]))
        return {}, b""

    # In the thread again

    def _answered(self, attachment: Attachment, number: int, data: bytes) -> None:
        attachment.answered, attachment.answer, attachment.busy = number, data, False
        if attachment.connection is not None:
            self._send_bytes(attachment.connection, data)
        self._next(attachment)

    def _wake(self, attachment: Attachment) -> None:
        if attachment.connection is not None:
            self._send(attachment.connection, {"t": "wake"})

    def _send(self, connection: Connection, header: Header) -> None:
        self._send_bytes(connection, message(header))

    def _send_bytes(self, connection: Connection, data: bytes) -> None:
        connection.outbox += data
        self._flush(connection)

    def _flush(self, connection: Connection) -> None:
        if connection.socket.fileno() < 0:
            return
        try:
            while connection.outbox:
                del connection.outbox[: connection.socket.send(connection.outbox)]
        except BlockingIOError:
            pass
        except OSError:
            self._broken(connection)
            return
        if connection.closing and not connection.outbox:
            self._drop(connection)
            return
        wanted = selectors.EVENT_READ | (selectors.EVENT_WRITE if connection.outbox else 0)
        self._selector.modify(connection.socket, wanted, partial(self._ready, connection))

    def _broken(self, connection: Connection) -> None:
        attachment = connection.attachment
        self._drop(connection)
        if attachment is not None and attachment.connection is connection:
            attachment.connection = None
            self._members.silent(attachment.epoch, RETURN_SECONDS)

    def _drop(self, connection: Connection) -> None:
        with contextlib.suppress(KeyError, ValueError):
            self._selector.unregister(connection.socket)
        connection.socket.close()


def _listener(host: str, first: int, last: int) -> socket.socket:
    for port in range(first, last + 1):
        try:
            return socket.create_server((host, port), backlog=QUEUE)
        except OSError as error:
            if error.errno != errno.EADDRINUSE:
                raise
    raise SetupError(
        f"no port is free for the job: others listen on all of {first}-{last} of the head, {socket.gethostname()}",
        todo="go on with it (runner job resume) when other jobs have ended, or start the head again with a larger range (--ports)",
    )
