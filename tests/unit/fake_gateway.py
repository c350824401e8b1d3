"""A gateway that only pretends to have a cluster behind it: for tests of those who ask it."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

TOKEN = "submit-token-of-the-tests"
ADMIN = "admin-key-of-the-tests"


class FakeGateway:
    """`jobs` is what its scheduler knows; `events` what it sends of a job, a callable waits in between. Tests change all of it."""

    def __init__(self) -> None:
        self.version = "0.1.0"
        self.state = ""
        self.jobs: dict[str, dict[str, Any]] = {}
        self.events: dict[str, list[bytes | Callable[[], object]]] = {}
        self.refuse: dict[str, tuple[int, object]] = {}  # path → answer
        self.on_submit: Callable[[str, dict[str, Any]], dict[str, Any]] = lambda _name, _asked: {
            "status": "Queued",
            "reason": "no free node",
        }
        self.requests: list[tuple[str, str, Any]] = []
        self.node: dict[str, Any] = {
            "id": "ab12",
            "name": "node-a",
            "address": "10.0.0.2",
            "alive": True,
            "labels": {},
            "types": ["gpu"],
            "total": {"cpus": 8.0, "gpus": 1.0, "memory": 32 << 30},
            "free": {"cpus": 6.0, "gpus": 0.0, "memory": 16 << 30},
            "holds": [{"job": "busy", "instance": "node_0", "user": "alice"}],
            "draining": False,
            "set_aside": "",
        }
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._server.daemon_threads = False
        self.port = self._server.server_address[1]
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02})

    def __enter__(self) -> FakeGateway:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def asked(self, method: str, ending: str) -> list[Any]:
        """The bodies of the requests to paths that end like this."""
        return [body for one, path, body in self.requests if one == method and path.endswith(ending)]

    def answer(self, method: str, path: str, body: Any, headers: Any) -> tuple[int, object]:
        self.requests.append((method, path, body))
        if headers.get("Authorization") != f"Bearer {TOKEN}":
            return 401, _error("wrong token")
        if path in self.refuse:
            return self.refuse[path]
        parts = path.strip("/").split("/")[1:]
        if parts == ["cluster"]:
            jobs = [
                {"name": name, "user": "alice", "priority": 0, "instances": [2, 0], "position": 1, **job} for name, job in self.jobs.items()
            ]
            return 200, {
                "runner": self.version,
                "ray": "2.50.0",
                "state": self.state,
                "head": "head-a",
                "maximum": {"gpu": 4},
                "nodes": [self.node],
                "jobs": jobs,
            }
        if parts == ["doctor"]:
            return 200, {"nodes": [{"name": "node-a", "checks": [{"name": "docker", "ok": True, "text": "24.0"}]}]}
        if parts[0] == "nodes":
            if headers.get("X-Runner-Admin") != ADMIN:
                return 403, _error("this is for administrators")
            self.node["draining"] = parts[2] == "drain"
            return 200, self.node
        return self._job(method, parts[1], parts[2:], body)

    def _job(self, method: str, name: str, rest: list[str], body: Any) -> tuple[int, object]:
        if method == "POST" and not rest:
            self.jobs[name] = self.on_submit(name, body)
            return 200, self.jobs[name]
        if name not in self.jobs:
            return 404, _error(f"the cluster knows no job {name}")
        return 200, self.jobs[name]

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        gateway = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                self._serve()

            def do_POST(self) -> None:
                self._serve()

            def _serve(self) -> None:
                length = int(self.headers.get("Content-Length") or 0)
                body = json.loads(self.rfile.read(length)) if length else None
                status, answer = gateway.answer(self.command, self.path, body, self.headers)
                name = self.path.split("/")[3] if self.path.endswith("/events") else ""
                self.close_connection = True
                if status == 200 and name in gateway.events:
                    self._stream(gateway.events[name])
                    return
                data = answer if isinstance(answer, bytes) else json.dumps(answer).encode()
                self.send_response(status)
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            def _stream(self, lines: list[bytes | Callable[[], object]]) -> None:
                self.send_response(200)
                self.send_header("Transfer-Encoding", "chunked")
                self.end_headers()
                for line in lines:
                    if not isinstance(line, bytes):
                        if line() == "break":
                            return
                    else:
                        self.wfile.write(b"%x\r\n%s\r\n" % (len(line), line))
                        self.wfile.flush()
                self.wfile.write(b"0\r\n\r\n")

            def log_message(self, *_: object) -> None:
                pass

        return Handler


def _error(problem: str) -> dict[str, object]:
    return {"error": {"problem": problem, "allowed": "", "todo": "ask somebody"}}
