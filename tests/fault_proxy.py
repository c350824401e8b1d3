"""An HTTP proxy in front of Azurite that does what networks and storages do on bad days, as a test has told it to.

    def test_it(fault_proxy):
        fault_proxy.answer(503, "ServerBusy", times=2, method="PUT", query="comp=block")
        container = BlobContainer(fault_proxy.front.store(...))

`front` is Azurite as seen through the proxy. Each fault is for the requests that match `method`, a part of the `path` (percent-encoded, as
it is sent) and a part of the `query`; it is for the first `times` of them (None: for all), after `skip` ones to which nothing is done. Of
several faults for one request the one that was told first is taken. Nothing in a request is changed, so that its signature stays valid.
"""

from __future__ import annotations

import contextlib
import http.client
import socket
import struct
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from tests.azurite import Azurite

HOP = ("connection", "keep-alive", "transfer-encoding", "content-length")
PIECE = 1 << 16


@dataclass(frozen=True)
class Which:
    """Requests that a fault, or a count, is for. Empty: all."""

    method: str = ""
    path: str = ""
    query: str = ""

    def covers(self, seen: Seen) -> bool:
        return self.method in ("", seen.method) and self.path in seen.path and self.query in seen.query


@dataclass(frozen=True)
class Seen:
    """A request that came, whatever was done to it."""

    method: str
    path: str
    query: str
    when: float  # time.monotonic()
    headers: Mapping[str, str] = field(repr=False)


@dataclass(kw_only=True)
class Fault:
    which: Which
    times: int | None = 1
    skip: int = 0
    status: int = 0  # the proxy's own answer; Azurite hears nothing of the request
    code: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)
    heard: bool = True  # whether Azurite gets the request
    delay: float = 0  # seconds before the answer begins
    rate: float = 0  # bytes of the answer in a second
    cut: int | None = None  # bytes of the body after which the connection ends; -1: even the head is not sent
    reset: bool = False  # it ends with a reset

    def taken_by(self, seen: Seen) -> bool:
        """Whether it is for this request, which counts then."""
        if self.times == 0 or not self.which.covers(seen):
            return False
        if self.skip:
            self.skip -= 1
            return False
        if self.times is not None:
            self.times -= 1
        return True


class FaultProxy:
    """Runs inside `with`."""

    def __init__(self, behind: Azurite, host: str = "127.0.0.1") -> None:
        self.behind = behind
        self.requests: list[Seen] = []
        self.bytes_up = 0  # of bodies, towards Azurite
        self.bytes_down = 0
        self.connections = 0  # that clients have made
        self._faults: list[Fault] = []
        self._lock = threading.Lock()
        self._open: set[socket.socket] = set()
        self._server: ThreadingHTTPServer | None = None
        self._address = (host, 0)

    def __enter__(self) -> FaultProxy:
        self._listen()
        return self

    def __exit__(self, *_: object) -> None:
        self._close()

    @property
    def front(self) -> Azurite:
        """Azurite as seen through the proxy."""
        host, port = self._address
        return replace(self.behind, endpoint=f"http://{host}:{port}/{self.behind.account}")

    # Faults

    def answer(self, status: int, code: str = "", headers: Mapping[str, str] | None = None, **which: Any) -> None:
        """Answers that itself, with an error `code` of Azure's, such as ServerBusy."""
        self._add(which, status=status, code=code, headers=headers or {}, heard=False)

    def reset(self, after: int = -1, **which: Any) -> None:
        """Resets the connection after so many bytes of the answer's body; -1: before Azurite has heard of the request."""
        self._add(which, cut=after, reset=True, heard=after >= 0)

    def lose_answer(self, **which: Any) -> None:
        """Azurite does what is asked, and nobody learns of it: the connection is reset before the answer."""
        self._add(which, cut=-1, reset=True)

    def truncate(self, after: int, **which: Any) -> None:
        """Ends the connection in good order after so many bytes of the answer's body, fewer than its head has promised."""
        self._add(which, cut=after)

    def slow(self, delay: float = 0, rate: float = 0, **which: Any) -> None:
        """Answers after `delay` seconds, at `rate` bytes/s (0: as fast as it can)."""
        self._add(which, delay=delay, rate=rate)

    @contextmanager
    def outage(self) -> Iterator[None]:
        """Connections are cut and refused inside `with`."""
        self._close()
        try:
            yield
        finally:
            self._listen()

    # What came

    def count(self, **which: str) -> int:
        return len(self.seen(**which))

    def seen(self, **which: str) -> list[Seen]:
        """The requests that match `method`, `path` and `query`, in the order in which they came."""
        with self._lock:
            return [each for each in self.requests if Which(**which).covers(each)]

    def forget(self) -> None:
        """No more faults, and what came is counted anew."""
        with self._lock:
            self._faults.clear()
            self.requests.clear()
            self.bytes_up = self.bytes_down = self.connections = 0

    # Inside

    def _add(self, which: dict[str, Any], **fault: Any) -> None:
        counts = {name: which.pop(name) for name in ("times", "skip") if name in which}
        with self._lock:
            self._faults.append(Fault(which=Which(**which), **counts, **fault))

    def _listen(self) -> None:
        self._server = _Server(self._address, _Handler)
        self._server.proxy = self  # type: ignore[attr-defined]
        self._address = (str(self._server.server_address[0]), int(self._server.server_address[1]))
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()

    def _close(self) -> None:
        assert self._server is not None
        self._server.shutdown()
        self._server.socket.close()  # new connections are refused before the old ones are reset
        with self._lock:
            still_open = list(self._open)
        for each in still_open:
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)  # its thread, which may be reading or writing, notices
        self._server.server_close()

    def take(self, seen: Seen) -> Fault | None:
        with self._lock:
            self.requests.append(seen)
            return next((fault for fault in self._faults if fault.taken_by(seen)), None)

    def opened(self, connection: socket.socket, now: bool) -> None:
        with self._lock:
            (self._open.add if now else self._open.discard)(connection)
            self.connections += now

    def moved(self, *, up: int = 0, down: int = 0) -> None:
        with self._lock:
            self.bytes_up += up
            self.bytes_down += down


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = 128

    def shutdown_request(self, request: Any) -> None:
        """Without the good order of a shutdown: a handler may want a reset."""
        self.close_request(request)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Clients go away, and Azurite is stopped: nobody's fault."""


class _Handler(BaseHTTPRequestHandler):
    """One connection of a client; it has a connection of its own to Azurite."""

    protocol_version = "HTTP/1.1"
    wbufsize = 0
    disable_nagle_algorithm = True

    def setup(self) -> None:
        super().setup()
        self.proxy: FaultProxy = self.server.proxy  # type: ignore[attr-defined]
        self.proxy.opened(self.connection, True)
        self.behind = http.client.HTTPConnection("127.0.0.1", self.proxy.behind.port, timeout=600)

    def finish(self) -> None:
        self.proxy.opened(self.connection, False)
        self.behind.close()
        super().finish()

    def log_message(self, *_: object) -> None:
        pass

    def relay(self) -> None:
        self.path = self.path.removeprefix(f"http://{self.headers.get('Host', '')}")  # of clients that were told of a proxy
        path, _, query = self.path.partition("?")
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.proxy.moved(up=len(body))
        fault = self.proxy.take(Seen(self.command, path, query, time.monotonic(), dict(self.headers)))
        if fault is None:
            fault = Fault(which=Which())
        if fault.status:
            time.sleep(fault.delay)
            self.answer(fault)
            return
        answer = self.ask(body) if fault.heard else None
        time.sleep(fault.delay)
        if fault.cut == -1 or answer is None:
            self.end(fault)
        else:
            self.hand_on(answer, fault)

    do_GET = do_PUT = do_HEAD = do_DELETE = do_POST = relay

    def ask(self, body: bytes) -> http.client.HTTPResponse:
        for attempt in (1, 2):  # Azurite closes connections on which nothing has happened for a while
            try:
                self.behind.putrequest(self.command, self.path, skip_host=True, skip_accept_encoding=True)
                for name, value in self.headers.items():
                    self.behind.putheader(name, value)
                self.behind.endheaders(body or None)
                return self.behind.getresponse()
            except (http.client.RemoteDisconnected, BrokenPipeError, ConnectionResetError):
                self.behind.close()
                if attempt == 2:
                    raise
        raise AssertionError

    def answer(self, fault: Fault) -> None:
        body = f'<?xml version="1.0" encoding="utf-8"?><Error><Code>{fault.code}</Code><Message>Told to.</Message></Error>'.encode()
        self.send_response(fault.status)
        for name, value in fault.headers.items():
            self.send_header(name, value)
        if fault.code:
            self.send_header("x-ms-error-code", fault.code)
        self.send_header("Content-Type", "application/xml")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def hand_on(self, answer: http.client.HTTPResponse, fault: Fault) -> None:
        length = answer.getheader("Content-Length")
        whole = answer.read() if length is None else None
        self.send_response_only(answer.status, answer.reason)
        for name, value in answer.getheaders():
            if name.lower() not in HOP:
                self.send_header(name, value)
        self.send_header("Content-Length", str(len(whole)) if whole is not None else str(length))
        self.end_headers()
        left = None if fault.cut is None else fault.cut
        while piece := self.next_piece(answer, whole, fault):
            whole = None if whole is None else whole[len(piece) :]
            piece = piece if left is None else piece[:left]
            self.wfile.write(piece)
            self.proxy.moved(down=len(piece))
            if fault.rate:
                time.sleep(len(piece) / fault.rate)
            if left is not None and (left := left - len(piece)) <= 0:
                self.end(fault)
                return

    def next_piece(self, answer: http.client.HTTPResponse, whole: bytes | None, fault: Fault) -> bytes:
        size = max(1, int(fault.rate / 10)) if fault.rate else PIECE
        return answer.read(size) if whole is None else whole[:size]

    def end(self, fault: Fault) -> None:
        self.close_connection = True
        if fault.reset:  # what is closed with this option, is reset
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
