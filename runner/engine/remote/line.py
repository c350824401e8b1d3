"""An instance's end: the calls of a coordinator, over a connection that may break, to a coordinator that may be replaced.

Nothing is lost when a connection breaks: what has no answer yet is sent again, and the coordinator takes it once. The session is renewed
by pings. When it has not been renewed for too long, the instance is *fenced*: it must stop what runs, because the coordinator is about
to give its work to others. Only where the coordinator's machine answers that nobody listens there is no hurry: the coordinator has died,
and its successor waits for its instances before it gives anything out.
"""

from __future__ import annotations

import contextlib
import dataclasses
import secrets
import selectors
import socket
import threading
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from functools import partial
from pathlib import Path
from typing import Any

from runner.engine.inbox import Inbox
from runner.engine.ranges import RangeSet
from runner.engine.remote import handshake
from runner.engine.remote.address import Address, read_address
from runner.engine.remote.wire import Header, answer_from_frame, event_to_frame, report_to_header
from runner.model.batch import ErrorRecord, Lease, Recall, Report, Stop, Wait
from runner.model.events import Event
from runner.worker.protocol import Reader, message

PING_SECONDS = 1.0
FENCED_AFTER = 6.0  # without an answer to a ping; the coordinator waits for SESSION_SECONDS, and ending what runs takes the rest
SESSION_SECONDS = 8.0
BROKEN_SECONDS = 1.5  # likewise, after a connection has broken: the coordinator then waits for server.RETURN_SECONDS
PATIENCE_SECONDS = 90.0  # for a successor of a coordinator that has died
CONNECT_SECONDS = 1.0
PAUSE_SECONDS = 0.2  # between two tries to connect
EVENTS_WAITING = 2000  # unanswered frames beyond which events are dropped: they are for people


class Refused(Exception):
    """The coordinator does not want this instance; the text says why."""


class Line:
    """`Gateway` and `Observer` of an instance in a process of its own. `where`: the file that says where the coordinator is;
    `secret()`: the step's, as soon as its coordinator has made one (until then OSError);
    `on_fenced` is called once, in the line's thread, and must not wait.
    """

    def __init__(self, where: Path, *, secret: Callable[[], str], version: str, on_fenced: Callable[[], None] = lambda: None) -> None:
        self._where, self._secret, self._version, self._on_fenced = where, secret, version, on_fenced
        self._instance = secrets.token_hex(8)
        self._name, self._workers = "", 1
        self._wake: Callable[[], None] = lambda: None
        self._held = RangeSet()
        self._lock = threading.Lock()
        self._farewell: Header = {"t": "leave", "gave_up": "", "lost": True}
        self._number = 0
        self._unanswered: deque[tuple[int, bytes, Future[tuple[Header, bytes]]]] = deque()
        self._joined: Future[int] = Future()
        self._socket: socket.socket | None = None
        self._reader = Reader()
        self._outbox = bytearray()
        self._selector = selectors.DefaultSelector()
        self._inbox = Inbox(self._selector)
        self._renewed = self._pinged = self._lost_at = time.monotonic()
        self._coordinator_died = False
        self._over = self.fenced = False
        self._thread = threading.Thread(target=self._run, name="line", daemon=True)

    @property
    def deadline(self) -> float:
        """The moment (time.monotonic) from which on nothing may run here, as things stand."""
        renewed_until = self._renewed + FENCED_AFTER
        if self._socket is not None:
            return renewed_until
        if self._coordinator_died:
            return self._lost_at + PATIENCE_SECONDS
        return min(renewed_until, self._lost_at + BROKEN_SECONDS)

    # Gateway and observer: called from any thread

    def join(self, name: str, *, workers: int, wake: Callable[[], None]) -> int:
        """Later calls only change what is woken. Errors: Refused; TimeoutError when no coordinator is found."""
        self._name, self._workers, self._wake = name, workers, wake
        if self._thread.ident is None:
            self._thread.start()
        return self._joined.result(PATIENCE_SECONDS)

    def exchange(self, _epoch: int, report: Report, want: int) -> Lease | Wait | Recall | Stop:
        """Waits until the coordinator has answered, over as many connections as it takes; Stop("fenced") when it must not wait longer."""
        header, payload = self._call({"t": "exchange", "want": want, **report_to_header(report)}).result()
        answer = answer_from_frame(header, payload)
        with self._lock:
            if isinstance(answer, Lease):
                self._held.add(answer.first, answer.first + answer.count)
            for first, last in (*((one.first, one.last) for one in report.segments), *report.returned):
                self._held.remove(first, last + 1)
        return answer

    def leave(self, _epoch: int, *, gave_up: str = "", lost: bool = False) -> None:
        """Said at the end of all, by `close`, after which the coordinator waits for nothing more; but at once where it gives up."""
        self._farewell = {"t": "leave", "gave_up": gave_up, "lost": lost}
        if gave_up:
            self._call(self._farewell)

    def init_failed(self, _epoch: int, error: ErrorRecord) -> None:
        self._call({"t": "init_failed", "error": dataclasses.asdict(error)})

    def fail(self, code: str, text: str) -> None:
        self._call({"t": "fail", "code": code, "message": text})

    def publish(self, event: Event) -> None:
        if len(self._unanswered) < EVENTS_WAITING:
            header, payload = event_to_frame(event)
            self._call({"t": "event", **header}, payload)

    def close(self, seconds: float) -> None:
        """Leaves, and ends the line once all has been answered, or after so many seconds."""
        last = self._call(self._farewell)
        if self._joined.done():
            with contextlib.suppress(TimeoutError):
                last.result(seconds)
        self._inbox.post(self._end)
        if self._thread.ident is not None:
            self._thread.join(2.0)

    def _call(self, header: Header, payload: bytes = b"") -> Future[tuple[Header, bytes]]:
        future: Future[tuple[Header, bytes]] = Future()
        with self._lock:
            if self.fenced or self._over:
                future.set_result(_FENCED)
                return future
            self._number += 1
            data = message({**header, "n": self._number}, payload)
            self._unanswered.append((self._number, data, future))
            self._inbox.post(partial(self._send, data))  # in here, so that they go in the order of their numbers
        return future

    # The thread

    def _run(self) -> None:
        try:
            while not self._over:
                if self._socket is None:
                    self._connect()
                for key, mask in self._selector.select(self._seconds()):
                    key.data(mask)
                self._look_after()
        except Refused as refusal:
            if not self._joined.done():
                self._joined.set_exception(refusal)
            self._fence()
        finally:
            self._over = True
            self._disconnect()
            self._give_up_waiting()
            self._selector.close()
            self._inbox.close()

    def _seconds(self) -> float:
        if self._socket is None:
            return PAUSE_SECONDS
        return max(0.0, min(self._pinged + PING_SECONDS, self.deadline) - time.monotonic())

    def _look_after(self) -> None:
        now = time.monotonic()
        if self._socket is not None and now >= self._pinged + PING_SECONDS and self._joined.done():
            self._pinged = now
            self._send(message({"t": "ping", "at": now}))
        if self._joined.done() and not self.fenced and now >= self.deadline:
            self._fence()
            self._over = True

    def _fence(self) -> None:
        with self._lock:
            self.fenced = True
        self._give_up_waiting()
        self._on_fenced()
        self._wake()

    def _give_up_waiting(self) -> None:
        with self._lock:
            waiting, self._unanswered = self._unanswered, deque()
        for _, _, future in waiting:
            future.set_result(_FENCED)

    def _end(self) -> None:
        self._over = True

    # The connection

    def _connect(self) -> None:
        """One try; what goes wrong is tried again."""
        try:
            address = read_address(self._where)
            if address is None:
                return
            connection = socket.create_connection((address.host, address.port), CONNECT_SECONDS)
        except ConnectionRefusedError:
            self._coordinator_died = True  # its machine says so: nobody can be giving out what is held here
            return
        except (OSError, ValueError, TypeError):
            self._coordinator_died = False
            return
        try:
            self._greet(connection, address)
        except (OSError, ValueError, KeyError, TypeError, StopIteration):
            connection.close()
            return
        except BaseException:
            connection.close()
            raise
        self._send_again()

    def _greet(self, connection: socket.socket, address: Address) -> None:
        sent = time.monotonic()
        connection.settimeout(CONNECT_SECONDS + 1)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        reader = Reader()
        challenge = _receive(connection, reader)
        nonce = handshake.nonce()
        with self._lock:
            held = [(start, end - 1) for start, end in self._held]
        secret = self._secret()
        proof = handshake.proof(secret, handshake.INSTANCE, str(challenge["nonce"]))
        hello = {"version": self._version, "proof": proof, "nonce": nonce, "instance": self._instance}
        connection.sendall(message({"t": "hello", **hello, "name": self._name, "workers": self._workers, "held": held}))
        answer = _receive(connection, reader)
        if answer["t"] == "refused":
            raise Refused(str(answer["why"]))
        if answer["t"] == "fenced":
            self._renewed = self._lost_at = float("-inf")
            self._coordinator_died = False
            raise ConnectionAbortedError
        if not handshake.is_proof(answer["proof"], secret, handshake.COORDINATOR, nonce) or answer["coordinator"] != address.coordinator:
            raise ConnectionAbortedError
        connection.setblocking(False)
        self._socket, self._reader, self._outbox = connection, reader, bytearray()
        self._renewed, self._coordinator_died = sent, False
        self._selector.register(connection, selectors.EVENT_READ, self._ready)
        if not self._joined.done():
            self._joined.set_result(int(answer["epoch"]))

    def _send_again(self) -> None:
        if self._socket is not None:
            with self._lock:
                waiting = [data for _, data, _ in self._unanswered]
            self._outbox = bytearray(b"".join(waiting))
            self._flush()
            self._wake()  # something may have come up in between

    def _ready(self, mask: int) -> None:
        if mask & selectors.EVENT_WRITE:
            self._flush()
        if mask & selectors.EVENT_READ and self._socket is not None:
            self._receive()

    def _receive(self) -> None:
        assert self._socket is not None
        try:
            data = self._socket.recv(1 << 18)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self._disconnect()
            return
        self._reader.feed(data)
        for header, payload in self._reader:
            if isinstance(header, dict):
                self._heard(header, payload)

    def _heard(self, header: Header, payload: bytes) -> None:
        if header["t"] == "pong":
            self._renewed = max(self._renewed, float(header["at"]))
        elif header["t"] == "wake":
            self._wake()
        elif header["t"] == "fenced":
            self._renewed = float("-inf")
        elif header["t"] == "answer":
            with self._lock:
                known = bool(self._unanswered) and self._unanswered[0][0] == header["n"]
                future = self._unanswered.popleft()[2] if known else None
            if future is not None:
                future.set_result((header, payload))

    def _send(self, data: bytes) -> None:
        if self._socket is not None:
            self._outbox += data
            self._flush()

    def _flush(self) -> None:
        assert self._socket is not None
        try:
            while self._outbox:
                del self._outbox[: self._socket.send(self._outbox)]
        except BlockingIOError:
            pass
        except OSError:
            self._disconnect()
            return
        wanted = selectors.EVENT_READ | (selectors.EVENT_WRITE if self._outbox else 0)
        self._selector.modify(self._socket, wanted, self._ready)

    def _disconnect(self) -> None:
        if self._socket is not None:
            with contextlib.suppress(KeyError, ValueError):
                self._selector.unregister(self._socket)
            self._socket.close()
            self._socket, self._lost_at = None, time.monotonic()


_FENCED: tuple[Header, bytes] = ({"a": "stop", "reason": "fenced"}, b"")


def _receive(connection: socket.socket, reader: Reader) -> dict[str, Any]:
    """The next message. Errors: OSError, also when the other end has closed."""
    for header, _ in reader:
        if isinstance(header, dict):
            return header
    while data := connection.recv(1 << 16):
        reader.feed(data)
        for header, _ in reader:
            if isinstance(header, dict):
                return header
    raise ConnectionResetError
