"""What a client asks the gateway of a cluster, over HTTP: to run, cancel and follow jobs, and what there is.

The gateway never runs anything as somebody else: a job belongs to whom its folder in the shared datastore belongs to. The submit token
only opens the door; it goes into one header and nowhere else, neither into errors nor into what a record shows of itself.
"""

from __future__ import annotations

import http.client
import json
import os
import ssl
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

from runner.errors import Place, UserError
from runner.model.cluster import RayCompute
from runner.version import VERSION

CONNECT = 10.0  # seconds
ANSWER = 15.0  # for an answer
DOCTOR = 90.0  # for one that every node takes part in
SILENCE = 60.0  # seconds without a sign of life after which a stream counts as broken
KEY, ADMIN = "X-Runner-Key", "X-Runner-Admin"


class GatewayUnreachable(UserError):
    """Nobody answers: what a cluster does then goes on, and only cannot be seen."""


@dataclass(frozen=True, kw_only=True)
class JobState:
    """What the scheduler says of a job."""

    status: str
    reason: str = ""


class Gateway:
    """One cluster's gateway; a connection for each request, for there are few. `version` is that of this machine's runner."""

    def __init__(self, compute: RayCompute, *, version: str = "") -> None:
        self._compute, self._version = compute, version or VERSION

    def __repr__(self) -> str:
        return f"Gateway({self._compute.name!r}, {self._compute.address!r})"

    def cluster(self) -> Mapping[str, Any]:
        """Versions, nodes, and the jobs that have not ended."""
        return self._ask("GET", "/v1/cluster")

    def check_version(self, cluster: Mapping[str, Any]) -> None:
        """Errors: UserError unless this machine and the cluster (as `cluster()` gives it) have the same version."""
        there = str(cluster.get("runner"))
        if there != self._version:
            raise UserError(
                f"this machine has runner {self._version}, the cluster {self._compute.name} has {there}: install the same version",
                todo=f"here: pip install 'runner=={there}'",
            )

    def check_state(self, cluster: Mapping[str, Any], here: str) -> None:
        """Errors: UserError unless the cluster looks for jobs in the folder `here`, where this machine's workspace keeps them."""
        there = str(cluster.get("state"))
        if os.path.normpath(there) != os.path.normpath(here):
            raise UserError(
                f"the cluster {self._compute.name} looks for jobs in {there}, and this workspace keeps them in {here}",
                todo="make the cluster's shared datastore the default datastore of workspace.yml, with the path that it has there",
            )

    def submit(self, name: str, key: str, *, priority: int = 0, resume: bool = False, retry_failed: bool = False) -> JobState:
        """Hands over a job whose folder is complete. Errors: UserError in the gateway's words if it refuses."""
        asked = {"key": key, "priority": priority, "resume": resume, "retry_failed": retry_failed, "runner": self._version}
        return _state(self._ask("POST", f"/v1/jobs/{quote(name, safe='')}", asked))

    def cancel(self, name: str, key: str, admin: str = "") -> JobState:
        """`admin`: an administrator's proof, in the place of the job's key."""
        return _state(self._ask("POST", f"/v1/jobs/{quote(name, safe='')}/cancel", {"key": key}, headers={ADMIN: admin} if admin else {}))

    def state(self, name: str) -> JobState | None:
        """None if the scheduler does not know the job: then nothing runs it."""
        try:
            return _state(self._ask("GET", f"/v1/jobs/{quote(name, safe='')}"))
        except _NotFoundError:
            return None

    def events(self, name: str, key: str, admin: str = "") -> Iterator[bytes]:
        """Events as lines of JSON, from the latest state on until the job has ended. It may end before that: the connection broke.

        Errors: UserError if the gateway refuses, `GatewayUnreachable` if it does not answer; both before the first line.
        """
        path, headers = f"/v1/jobs/{quote(name, safe='')}/events", {KEY: key, ADMIN: admin}
        connection, response = self._request("GET", path, headers=headers, patience=SILENCE)
        return _lines(connection, response)

    def drain(self, node: str, admin: str) -> Mapping[str, Any]:
        """Gives the node nothing new. `admin` is the administrator's proof."""
        return self._ask("POST", f"/v1/nodes/{quote(node, safe='')}/drain", {}, headers={ADMIN: admin})

    def undrain(self, node: str, admin: str) -> Mapping[str, Any]:
        return self._ask("POST", f"/v1/nodes/{quote(node, safe='')}/undrain", {}, headers={ADMIN: admin})

    def doctor(self) -> Mapping[str, Any]:
        """What each node finds about itself."""
        return self._ask("GET", "/v1/doctor", patience=DOCTOR)

    def clock(self) -> str | None:
        """The time at the gateway, as its `Date` header has it."""
        connection, response = self._request("GET", "/v1/cluster")
        with connection:
            return response.getheader("Date")

    def _ask(
        self, method: str, path: str, data: object = None, *, headers: Mapping[str, str] | None = None, patience: float = 0
    ) -> Mapping[str, Any]:
        connection, response = self._request(method, path, data, headers=headers or {}, patience=patience)
        with connection:
            body = self._guarded(response.read)
        answer = _json(body)
        if answer is None:
            raise self._stranger(response.status)
        return answer

    def _request(
        self, method: str, path: str, data: object = None, *, headers: Mapping[str, str] | None = None, patience: float = 0
    ) -> tuple[_Connection, http.client.HTTPResponse]:
        """A response of status 2xx, its body unread; all others are errors. `patience` in seconds, 0: the usual."""
        given = {"Authorization": f"Bearer {read_token(self._compute)}", "Accept": "application/json", **(headers or {})}
        body = None if data is None else json.dumps(data).encode()
        if body is not None:
            given["Content-Type"] = "application/json"
        connection = _Connection(self._compute, patience or ANSWER)
        try:
            response = self._guarded(lambda: connection.send(method, path, body, given))
            if 200 <= response.status < 300:
                return connection, response
            raise self._refusal(response.status, self._guarded(response.read))
        except BaseException:
            connection.close()
            raise

    def _guarded(self, act: Any) -> Any:
        compute = self._compute
        scheme = "https" if compute.ca_file else "http"
        try:
            return act()
        except ssl.SSLError as error:
            raise GatewayUnreachable(
                f"the cluster {compute.name} at {compute.address} cannot be trusted: {error.reason or error}",
                todo="see that ca_file in workspace.yml is the certificate with which the head was started, "
                "and that `address` is a name that stands in it",
            ) from None
        except (OSError, http.client.HTTPException) as error:
            reason = (
                "no answer in time" if isinstance(error, TimeoutError) else getattr(error, "strerror", None) or str(error) or repr(error)
            )
            speaks = "" if compute.ca_file else "; if it was started with a certificate, name that as ca_file"
            raise GatewayUnreachable(
                f"the cluster {compute.name} cannot be reached at {scheme}://{compute.address}: {reason}",
                todo="see that `runner cluster head` runs there, that `address` in workspace.yml is right, and that no firewall "
                f"keeps port {compute.port} from this machine{speaks}",
            ) from None

    def _refusal(self, status: int, body: bytes) -> UserError:
        compute = self._compute
        if status == 401:
            return UserError(
                f"the cluster {compute.name} does not accept the submit token {_source(compute)}",
                todo="have whoever runs the cluster give you the token that its head now has",
            )
        error = (_json(body) or {}).get("error")
        if not isinstance(error, Mapping):
            return self._stranger(status)
        kind = _NotFoundError if status == 404 else GatewayUnreachable if status >= 500 else UserError
        place = Place(field=str(error["field"])) if error.get("field") else None
        told = {key: str(error.get(key) or "") for key in ("allowed", "todo")}
        return kind(str(error.get("problem") or f"the cluster {compute.name} has refused (HTTP {status})"), place=place, **told)

    def _stranger(self, status: int) -> UserError:
        compute = self._compute
        return GatewayUnreachable(
            f"what answers at {compute.address} is not the gateway of a cluster (HTTP {status})",
            todo="correct `address` in workspace.yml: host and port of the head's gateway, not Ray's own",
        )


class _NotFoundError(UserError):
    """HTTP 404, with the gateway's own words."""


class _Connection:
    """A connection that is closed at the end of a `with`, its response too."""

    def __init__(self, compute: RayCompute, patience: float) -> None:
        self._compute, self._patience = compute, patience
        self._made: http.client.HTTPConnection | None = None
        self._response: http.client.HTTPResponse | None = None

    def send(self, method: str, path: str, body: bytes | None, headers: Mapping[str, str]) -> http.client.HTTPResponse:
        compute = self._compute
        if compute.ca_file:
            context = ssl.create_default_context(cafile=compute.ca_file)
            self._made = http.client.HTTPSConnection(compute.host, compute.port, timeout=CONNECT, context=context)
        else:
            self._made = http.client.HTTPConnection(compute.host, compute.port, timeout=CONNECT)
        self._made.connect()
        self._made.sock.settimeout(self._patience)
        self._made.request(method, path, body=body, headers=dict(headers))
        self._response = self._made.getresponse()
        return self._response

    def close(self) -> None:
        for one in (self._response, self._made):
            if one is not None:
                one.close()

    def __enter__(self) -> _Connection:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def read_token(compute: RayCompute) -> str:
    """The submit token. Errors: UserError that says where it was looked for."""
    if compute.token_env is not None:
        token = os.environ.get(compute.token_env, "")
        todo = f"export {compute.token_env}=…, with the submit token of the cluster"
    else:
        todo = "copy the submit token that `runner cluster head` made to that file, or correct token_file in workspace.yml"
        try:
            token = Path(compute.token_file or "").read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            reason = getattr(error, "strerror", None) or "it is not text"
            raise UserError(f"the submit token {_source(compute)} cannot be read: {reason}", todo=todo) from None
    token = token.strip()
    if not token or not token.isascii() or not token.isprintable() or " " in token:
        what = "is empty" if not token else "is no token: it has blanks or other characters that none has"
        raise UserError(f"the submit token {_source(compute)} {what}", todo=todo)
    return token


def _source(compute: RayCompute) -> str:
    where = f"in the environment variable {compute.token_env}" if compute.token_env else f"in {compute.token_file}"
    return f"of the compute {compute.name} ({where})"


def _state(answer: Mapping[str, Any]) -> JobState:
    return JobState(status=str(answer.get("status") or ""), reason=str(answer.get("reason") or ""))


def _json(body: bytes) -> Mapping[str, Any] | None:
    try:
        data = json.loads(body)
    except ValueError:
        return None
    return data if isinstance(data, dict) else None


def _lines(connection: _Connection, response: http.client.HTTPResponse) -> Iterator[bytes]:
    with connection:
        try:
            while line := response.readline():
                if line.strip():
                    yield line
        except (OSError, http.client.HTTPException):
            return  # whoever follows asks how the job is, and comes back
