"""Runs of MLflow as the runner keeps them, without MLflow: in a folder, or at a tracking server.

The layout of the folder is that of MLflow's file store, which is not going to change any more; the requests are those of its REST API 2.0.
"""

from __future__ import annotations

import contextlib
import getpass
import hashlib
import json
import os
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import unquote, urlsplit, urlunsplit

SECONDS = 10.0  # that one request may take
STATUSES = {"RUNNING": 1, "FINISHED": 3, "FAILED": 4, "KILLED": 5}  # as files have them
Draft = dict[str, object]  # a folder to be made by a worker: see runner/worker/tracking.py


class TrackingUnavailable(Exception):
    """No run can be kept there: what the store says."""


@dataclass(frozen=True, kw_only=True)
class RunName:
    """What a run is called, and where it belongs. `parent`: the id of the run that it is a child of."""

    name: str
    experiment: str
    tags: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class TrackedRun:
    """One run. `drafts`: what is to be made where the run is wanted."""

    run_id: str
    experiment_id: str
    drafts: tuple[Draft, ...] = ()


class TrackingStore(Protocol):
    """Errors of all: TrackingUnavailable."""

    def begin(self, run: RunName, known: str) -> TrackedRun:
        """`known`: the id of the run, if it began earlier and is to go on."""

    def log(self, run: TrackedRun, metrics: Mapping[str, float]) -> None: ...

    def end(self, run: TrackedRun, status: str) -> None: ...


@dataclass(frozen=True)
class FolderStore:
    """Nothing is made in the folder but by those who have MLflow; what nobody has made is not written to."""

    root: Path

    def begin(self, run: RunName, known: str) -> TrackedRun:
        run_id, experiment_id = known or os.urandom(16).hex(), self._experiment_id(run.experiment)
        folder, now = self._folder(run_id, experiment_id), int(time.time() * 1000)
        experiments = [(experiment_id, run.experiment), ("0", "Default")] if run.experiment != "Default" else [("0", "Default")]
        drafts = [self._experiment(number, name, now) for number, name in experiments]
        meta: dict[str, object] = {
            "artifact_uri": (folder / "artifacts").as_uri(), "end_time": None, "entry_point_name": "", "experiment_id": experiment_id,
            "lifecycle_stage": "active", "run_id": run_id, "run_uuid": run_id, "run_name": run.name, "source_name": "", "source_type": 4,
            "source_version": "", "start_time": now, "status": STATUSES["RUNNING"], "tags": [], "user_id": user(),
        }  # fmt: skip
        tags = {f"tags/{key}": value for key, value in tags_of(run).items()}
        drafts.append({"folder": str(folder), "files": {"meta.yaml": _yaml(meta), **tags}, "folders": ["metrics", "params", "artifacts"]})
        if known:
            self._change(folder, STATUSES["RUNNING"], None, meta)
        return TrackedRun(run_id=run_id, experiment_id=experiment_id, drafts=tuple(drafts))

    def log(self, run: TrackedRun, metrics: Mapping[str, float]) -> None:
        folder = self._folder(run.run_id, run.experiment_id)
        if not folder.is_dir():
            return
        for name, value in metrics.items():
            with _told(), open(_made(folder / "metrics" / name), "a", encoding="utf-8") as file:
                file.write(f"{int(time.time() * 1000)} {value} 0\n")

    def end(self, run: TrackedRun, status: str) -> None:
        import yaml

        folder = self._folder(run.run_id, run.experiment_id)
        drafts: list[Any] = [draft["files"] for draft in run.drafts if draft["folder"] == str(folder)]
        meta = yaml.safe_load(drafts[0]["meta.yaml"]) if drafts else {}
        self._change(folder, STATUSES[status], int(time.time() * 1000), meta)

    def _folder(self, run_id: str, experiment_id: str) -> Path:
        return self.root / experiment_id / run_id

    def _experiment(self, experiment_id: str, name: str, now: int) -> Draft:
        folder = self.root / experiment_id
        meta = {
            "artifact_location": folder.as_uri(), "creation_time": now, "experiment_id": experiment_id, "last_update_time": now,
            "lifecycle_stage": "active", "name": name,
        }  # fmt: skip
        return {"folder": str(folder), "files": {"meta.yaml": _yaml(meta)}, "folders": []}

    def _experiment_id(self, name: str) -> str:
        """Of the experiment that has the name, else the same number whoever asks: workers of two jobs may make it at once."""
        if name == "Default":
            return "0"
        for meta in self.root.glob("*/meta.yaml"):
            if _read(meta).get("name") == name:
                return meta.parent.name
        return str(10**17 + int(hashlib.sha256(name.encode()).hexdigest(), 16) % (9 * 10**17))

    def _change(self, folder: Path, status: int, end_time: int | None, meta: Mapping[str, object]) -> None:
        """`meta`: as it was at first. A worker that is killed while MLflow writes there leaves a part of it, or none."""
        file = folder / "meta.yaml"
        if not file.is_file():
            return
        with _told():
            beside = file.with_name(f"meta.yaml.{os.getpid()}")
            beside.write_text(_yaml({**meta, **_read(file), "status": status, "end_time": end_time}), encoding="utf-8")
            beside.replace(file)


class ServerStore:
    """A tracking server. Its address may have a user and a password, and MLflow's own variables name such: neither is ever told."""

    def __init__(self, uri: str) -> None:
        import requests

        parts = urlsplit(uri)
        self._address = without_secrets(uri).rstrip("/")
        self._session = requests.Session()
        self._session.verify = _verify()
        if parts.username:
            self._session.auth = (unquote(parts.username), unquote(parts.password or ""))
        elif name := os.environ.get("MLFLOW_TRACKING_USERNAME"):
            self._session.auth = (name, os.environ.get("MLFLOW_TRACKING_PASSWORD", ""))
        elif token := os.environ.get("MLFLOW_TRACKING_TOKEN"):
            self._session.headers["Authorization"] = f"Bearer {token}"

    def begin(self, run: RunName, known: str) -> TrackedRun:
        experiment_id = self._experiment_id(run.experiment)
        if known and self._ask("POST", "runs/update", {"run_id": known, "status": "RUNNING"}, unless=404) is not None:
            return TrackedRun(run_id=known, experiment_id=experiment_id)
        tags = [{"key": key, "value": value} for key, value in tags_of(run).items()]
        asked = {
            "experiment_id": experiment_id, "run_name": run.name, "user_id": user(), "start_time": int(time.time() * 1000), "tags": tags,
        }  # fmt: skip
        made = self._ask("POST", "runs/create", asked) or {}
        try:
            return TrackedRun(run_id=str(made["run"]["info"]["run_id"]), experiment_id=experiment_id)
        except (KeyError, TypeError):
            raise TrackingUnavailable(f"{self._address} answers like no server of MLflow") from None

    def log(self, run: TrackedRun, metrics: Mapping[str, float]) -> None:
        now = int(time.time() * 1000)
        values = [{"key": name, "value": value, "timestamp": now, "step": 0} for name, value in metrics.items()]
        self._ask("POST", "runs/log-batch", {"run_id": run.run_id, "metrics": values})

    def end(self, run: TrackedRun, status: str) -> None:
        self._ask("POST", "runs/update", {"run_id": run.run_id, "status": status, "end_time": int(time.time() * 1000)})

    def _experiment_id(self, name: str) -> str:
        for _ in range(2):  # somebody else may make it between our two questions
            found = self._ask("GET", "experiments/get-by-name", {"experiment_name": name}, unless=404)
            if found is not None:
                return str(found.get("experiment", {}).get("experiment_id", ""))
            made = self._ask("POST", "experiments/create", {"name": name}, unless=400)
            if made is not None:
                return str(made.get("experiment_id", ""))
        raise TrackingUnavailable(f"{self._address} has no experiment '{name}', and does not let one be made")

    def _ask(self, method: str, what: str, body: Mapping[str, object], *, unless: int = 0) -> dict[str, Any] | None:
        """The answer; None for the status `unless`."""
        import requests

        sent: dict[str, Any] = {"params": body} if method == "GET" else {"json": body}
        try:
            answer = self._session.request(method, f"{self._address}/api/2.0/mlflow/{what}", timeout=SECONDS, allow_redirects=False, **sent)
            if answer.status_code == unless:
                return None
            found = answer.json() if answer.content else {}
        except requests.JSONDecodeError:
            raise TrackingUnavailable(f"{self._address} answers like no server of MLflow (HTTP {answer.status_code})") from None
        except requests.RequestException as error:
            raise TrackingUnavailable(f"{self._address} does not answer ({type(error).__name__})") from None
        if answer.status_code != 200 or not isinstance(found, dict):
            told = found.get("message", "") if isinstance(found, dict) else ""
            raise TrackingUnavailable(f"{self._address} refuses {what} (HTTP {answer.status_code}) {told}".strip())
        return found


def store_of(uri: str) -> TrackingStore | None:
    """None for addresses that only MLflow itself can deal with; a relative path, too, means another folder in each process."""
    parts = urlsplit(uri)
    if parts.scheme in ("http", "https"):
        return ServerStore(uri)
    if parts.scheme == "file":
        return FolderStore(Path(unquote(parts.path))) if parts.path.startswith("/") and parts.netloc in ("", "localhost") else None
    return FolderStore(Path(uri)) if uri.startswith("/") else None


def without_secrets(uri: str) -> str:
    """The address without user, password and query."""
    parts = urlsplit(uri)
    return urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, "", ""))


def tags_of(run: RunName) -> dict[str, str]:
    """All tags of a run: MLflow's own, and those that are given."""
    return {"mlflow.runName": run.name, "mlflow.user": user(), "mlflow.source.type": "JOB", **run.tags}


def user() -> str:
    """Who runs the job."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return str(os.geteuid())


def _verify() -> bool | str:
    if os.environ.get("MLFLOW_TRACKING_INSECURE_TLS", "").lower() == "true":
        return False
    return os.environ.get("MLFLOW_TRACKING_SERVER_CERT_PATH") or True


def _yaml(record: Mapping[str, object]) -> str:
    """JSON is YAML."""
    return "".join(f"{key}: {json.dumps(value)}\n" for key, value in sorted(record.items()))


def _read(file: Path) -> dict[str, Any]:
    import yaml

    try:
        found = yaml.safe_load(file.read_text(encoding="utf-8"))
    except (OSError, ValueError, yaml.YAMLError):
        return {}
    return found if isinstance(found, dict) else {}


def _made(file: Path) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    return file


@contextlib.contextmanager
def _told() -> Any:
    try:
        yield
    except OSError as error:
        raise TrackingUnavailable(f"{error.filename}: {error.strerror}") from None
