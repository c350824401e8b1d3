"""The cluster's door: HTTP for those who submit, follow and cancel jobs, look at the cluster, or watch it.

The token lets one ask; what may be done to a job goes by the job's own key, which only those can read who may (see accepted.py).
"""

from __future__ import annotations

import contextlib
import hmac
import json
import logging
import re
import ssl
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import CancelledError
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Protocol

from runner.cluster import accepted as jobs_of
from runner.cluster.metrics import CONTENT_TYPE
from runner.cluster.watch import ADDRESS
from runner.errors import UserError, UserErrors
from runner.model.events import StatusChanged
from runner.workspace.config import Workspace
from runner.workspace.control import lines_of
from runner.workspace.records import FINAL
from runner.workspace.wire import encode

log = logging.getLogger(__name__)
LARGEST_BODY = 1 << 20
ALIVE_SECONDS = 5.0  # between two signs of life in a stream of events
HANDSHAKE_SECONDS = 10.0
MOST_CONNECTIONS = 1000  # at a time: each has a thread in the process of the scheduler, which needs some, too
LOOK_SECONDS = 0.25  # between two looks at a job that nobody owns at the moment
EXAMINING, EXAMINING_SECONDS = threading.Lock(), 45.0
JOB = re.compile(r"/v1/jobs/([^/]+)(/cancel|/events|)")
NODE = re.compile(r"/v1/nodes/([^/]+)/(drain|undrain)")


class Service(Protocol):
    """What the gateway needs of the scheduler."""

    @property
    def workspace(self) -> Workspace: ...
    def ask(self, call: Any) -> Any: ...
    def submit(self, name: str, body: Mapping[str, Any]) -> dict[str, Any]: ...
    def cancel(self, name: str, body: Mapping[str, Any]) -> dict[str, Any]: ...
    def status_of(self, name: str) -> dict[str, Any]: ...
    def drain(self, name: str, wanted: bool, address: str = "") -> dict[str, Any]: ...
    def show(self) -> dict[str, Any]: ...
    def denied(self, what: str, node: str, address: str) -> None: ...
    def doctor(self) -> list[dict[str, Any]]: ...
    def metrics(self) -> str: ...


class Refusal(Exception):
    """An answer that is no success."""

    def __init__(self, status: int, problem: str, *, allowed: str = "", todo: str = "") -> None:
        super().__init__(problem)
        self.status, self.body = status, {"error": {"problem": problem, "allowed": allowed, "todo": todo}}


class Gateway:
    """With a `certificate` (a PEM file, and that of its `key`) it speaks HTTPS."""

    def __init__(
        self, service: Service, address: tuple[str, int], *, token: str, certificate: str | None = None, key: str | None = None
    ) -> None:
        handler = type("Handler", (_Handler,), {"service": service, "token": token})
        self._server = _Server(address, handler)
        self._server.room = threading.Semaphore(MOST_CONNECTIONS)
        if certificate:
            context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
            context.load_cert_chain(certificate, key)
            self._server.tls = context
        self._thread = threading.Thread(target=self._server.serve_forever, name="gateway", daemon=True)

    @property
    def address(self) -> str:
        host, port = self._server.server_address[:2]
        return f"{host!s}:{port}"

    def start(self) -> None:
        self._thread.start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128
    tls: ssl.SSLContext | None = None
    room: threading.Semaphore

    def process_request(self, request: Any, client_address: Any) -> None:
        if not self.room.acquire(blocking=False):
            self.shutdown_request(request)
            return
        try:
            super().process_request(request, client_address)
        except BaseException:
            self.room.release()
            raise

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        try:
            super().process_request_thread(request, client_address)
        finally:
            self.room.release()

    def finish_request(self, request: Any, client_address: Any) -> None:
        """In the thread of the connection, so that nobody's handshake keeps others waiting."""
        if self.tls is not None:
            request.settimeout(HANDSHAKE_SECONDS)
            request = self.tls.wrap_socket(request, server_side=True)
        super().finish_request(request, client_address)

    def handle_error(self, request: Any, client_address: Any) -> None:  # noqa: ARG002 (the signature is socketserver's)
        if not isinstance(sys.exc_info()[1], OSError):  # whoever connects can break that off as often as they like
            log.info("connection of %s", client_address, exc_info=True)


class _Handler(BaseHTTPRequestHandler):
    service: Service
    token: str
    protocol_version = "HTTP/1.1"
    timeout = 60

    def do_GET(self) -> None:
        self._answer(self._get)

    def do_POST(self) -> None:
        self._answer(self._post)

    def _answer(self, made: Any) -> None:
        try:
            self._check_token()
            body = made()
        except Refusal as refusal:
            self._send(refusal.status, refusal.body)
        except UserErrors as errors:
            self._refuse(errors.errors[0])
        except UserError as error:
            self._refuse(error)
        except KeyError:
            self._send(404, Refusal(404, "the job is not on the cluster").body)
        except (OSError, CancelledError, ValueError) as error:
            self._send(400, Refusal(400, str(error)).body)
        except Exception as error:  # a bug of ours: told, and written down
            log.exception("%s %s", self.command, self.path)
            self._send(500, Refusal(500, f"a bug in the runner: {type(error).__name__}: {error}").body)
        else:
            if body is not None:
                self._send(200, body)

    def _refuse(self, error: UserError) -> None:
        self._send(400, Refusal(400, error.problem, allowed=error.allowed, todo=error.todo).body)

    def _check_token(self) -> None:
        given = self.headers.get("Authorization", "").removeprefix("Bearer ")
        if not hmac.compare_digest(given.encode(), self.token.encode()):
            raise Refusal(401, "the submit token is not the cluster's")

    def _get(self) -> dict[str, Any] | None:
        path, service = self.path.partition("?")[0], self.service
        if path == "/v1/cluster":
            found: dict[str, Any] = service.ask(service.show)
            return found
        if path == "/metrics":
            self._send_data(200, service.metrics().encode(), CONTENT_TYPE)
            return None
        if path == "/v1/doctor":
            return {"nodes": self._doctor()}
        match = JOB.fullmatch(path)
        if match and match[2] == "/events":
            self._stream(match[1])
            return None
        if match and not match[2]:
            status: dict[str, Any] = service.ask(lambda: service.status_of(match[1]))
            return status
        raise Refusal(404, f"there is nothing at {path}")

    def _doctor(self) -> list[dict[str, Any]]:
        """One at a time: each starts a process on every node."""
        if not EXAMINING.acquire(timeout=EXAMINING_SECONDS):
            raise Refusal(503, "the nodes are being examined for others", todo="try again in a minute")
        try:
            return self.service.doctor()
        finally:
            EXAMINING.release()

    def _post(self) -> dict[str, Any]:
        path, service = self.path, self.service
        body = self._body() | {ADDRESS: self.client_address[0]}
        if match := JOB.fullmatch(path):
            body["administrator"] = self._is_administrator()
            if match[2] == "/cancel":
                return service.cancel(match[1], body)
            if not match[2]:
                done: dict[str, Any] = service.ask(lambda: service.submit(match[1], body))
                return done
        if match := NODE.fullmatch(path):
            if not self._is_administrator():
                service.denied(match[2], match[1], body[ADDRESS])
            self._check_administrator()
            node: dict[str, Any] = service.ask(lambda: service.drain(match[1], match[2] == "drain", body[ADDRESS]))
            return node
        raise Refusal(404, f"there is nothing at {path}")

    def _body(self) -> dict[str, Any]:
        size = int(self.headers.get("Content-Length") or 0)
        if not 0 <= size <= LARGEST_BODY:  # -1 would be all until the connection ends
            raise Refusal(413, "the request is too large")
        body = json.loads(self.rfile.read(size) or b"{}")
        if not isinstance(body, dict):
            raise Refusal(400, "a JSON object is wanted")
        return body

    def _is_administrator(self) -> bool:
        key = (self.service.workspace.state / "admin.key").read_bytes().strip()
        return hmac.compare_digest(self.headers.get("X-Runner-Admin", "").encode(), key)

    def _check_administrator(self) -> None:
        if not self._is_administrator():
            raise Refusal(403, "only an administrator of the cluster may do that", todo="see docs/operations.md: administrators")

    def _send(self, status: int, body: Mapping[str, Any]) -> None:
        self._send_data(status, json.dumps(body).encode(), "application/json")

    def _send_data(self, status: int, data: bytes, kind: str) -> None:
        with contextlib.suppress(OSError):  # whoever asked is gone
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

    # Events

    def _stream(self, name: str) -> None:
        paths = jobs_of.paths_of(self.service.workspace, name)
        if not self._is_administrator():
            jobs_of.check_key(paths, self.headers.get("X-Runner-Key"))
        self.send_response(200)
        self.send_header("Content-Type", "application/x-ndjson")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        with contextlib.suppress(OSError):  # nobody listens any more
            for lines in self._events(name, jobs_of.owner_of(paths).uid):
                self.wfile.write(b"%x\r\n%s\r\n" % (len(lines), lines))
            self.wfile.write(b"0\r\n\r\n")

    def _events(self, name: str, user: int) -> Iterator[bytes]:
        """Those of the owner, from the latest state on; while there is none, what the scheduler says. Ends with the job."""
        control = self.service.workspace.job_paths(name).control
        told, alive = None, time.monotonic()
        while True:
            try:
                state = self.service.ask(lambda: self.service.status_of(name))
            except KeyError:
                return
            if state["status"] in FINAL:
                return
            if state["status"] == "Queued" and state["reason"] != told:
                told = state["reason"]
                yield encode(StatusChanged(at=time.time(), status="Queued", reason=told))
            yield from lines_of(control, ALIVE_SECONDS, user=user)
            if time.monotonic() - alive > ALIVE_SECONDS:
                alive = time.monotonic()
                yield b"\n"
            time.sleep(LOOK_SECONDS)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 (the name is http.server's)
        """Requests are no news."""
