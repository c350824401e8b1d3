"""The run of MLflow that a job, or a step of a pipeline, has: begun before its workers, ended after them, with the runner's own metrics."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import unquote, urlsplit, urlunsplit

from runner.engine.sole_file import Superseded
from runner.model.batch import Progress
from runner.model.job import Job, Step
from runner.model.paths import JobPaths
from runner.pipeline.options import RunOptions
from runner.report.tracking_stores import FolderStore, RunName, TrackedRun, TrackingStore, TrackingUnavailable, store_of, without_secrets
from runner.worker.tracking import RUN_ID, VARIABLE
from runner.workspace.records import read_json, write_json

URI, EXPERIMENT_NAME, EXPERIMENT_ID = "MLFLOW_TRACKING_URI", "MLFLOW_EXPERIMENT_NAME", "MLFLOW_EXPERIMENT_ID"
USERNAME, PASSWORD = "MLFLOW_TRACKING_USERNAME", "MLFLOW_TRACKING_PASSWORD"
ALLOW_FOLDER = "MLFLOW_ALLOW_FILE_STORE"  # without which MLflow 3 refuses folders
STATUSES = {"Completed": "FINISHED", "Failed": "FAILED", "Canceled": "KILLED"}
PRIVATE = 0o600
Warn = Callable[[str], None]


class Tracking:
    """A job's run. `variables` are for its workers; nothing is logged where there is no run."""

    def __init__(self, *, variables: Mapping[str, str], store: TrackingStore | None, run: TrackedRun | None, warn: Warn) -> None:
        self.variables = variables
        self.run = run
        self._store, self._warn = store, warn
        self._began, self._status = time.monotonic(), "FAILED"

    def ended(self, status: str, progress: Progress, *, prefix: str = "", parent: Tracking | None = None) -> None:
        """The status that the run gets when it is closed, and the runner's metrics; a `parent` gets them as well."""
        self._status = STATUSES.get(status, "FAILED")
        metrics = {prefix + name: value for name, value in metrics_of(progress, time.monotonic() - self._began).items()}
        for tracking in (self, parent):
            if tracking is not None:
                tracking.log(metrics)

    def log(self, metrics: Mapping[str, float]) -> None:
        if self._store and self.run:
            try:
                self._store.log(self.run, metrics)
            except TrackingUnavailable as problem:
                self._warn(f"MLflow has not got the job's metrics: {problem}")

    def close(self) -> None:
        if self._store and self.run:
            try:
                self._store.end(self.run, self._status)
            except TrackingUnavailable as problem:
                self._warn(f"MLflow has not got the job's end: {problem}")


def metrics_of(progress: Progress, seconds: float) -> dict[str, float]:
    """What the runner logs of a job that has ended."""
    return {
        "mini_batches": progress.succeeded + progress.failed,
        "mini_batches_succeeded": progress.succeeded,
        "mini_batches_failed": progress.failed,
        "retries": progress.retries,
        "items": progress.items,
        "items_failed": progress.items_failed,
        "seconds": round(seconds, 3),
    }


@contextmanager
def tracked(job: Job, paths: JobPaths, options: RunOptions, warn: Warn) -> Iterator[Tracking]:
    """The job's run while it is at work. Where the store does not answer, the job goes on without, and says so."""
    tracking = _begin(job, paths, options, warn)
    try:
        yield tracking
    except Superseded:  # the run is another process's, and so is what its workers are told
        raise
    except BaseException:
        _end(paths, tracking)
        raise
    _end(paths, tracking)


def parent_of(step: Step, paths: JobPaths, options: RunOptions, warn: Warn) -> Tracking | None:
    """The run of the pipeline that a step belongs to."""
    run_id, experiment_id = _known(_above(step, paths))
    if not run_id:
        return None
    run = TrackedRun(run_id=run_id, experiment_id=experiment_id)
    return Tracking(variables={}, store=store_of(_uri({}, options)), run=run, warn=warn)


def variables_on_node(paths: JobPaths) -> dict[str, str]:
    """Those that the owner of a job has left for the instances on other machines."""
    found = (read_json(paths.tracking) or {}).get("variables", {})
    return {str(key): str(value) for key, value in found.items()} if isinstance(found, dict) else {}


def store_folder(variables: Mapping[str, str]) -> Path | None:
    """The folder that the runs of MLflow lie in, where it is one."""
    store = store_of(variables[URI]) if URI in variables and not variables[URI].startswith("http") else None
    return store.root if isinstance(store, FolderStore) else None


def _begin(job: Job, paths: JobPaths, options: RunOptions, warn: Warn) -> Tracking:
    given: Mapping[str, str] = job.environment_variables if isinstance(job, Step) else {}
    uri = _uri(given, options)
    store = store_of(uri)
    experiment = given.get(EXPERIMENT_NAME) or job.experiment_name or "Default"
    experiment = _text(experiment)
    variables = {**_apart(uri), EXPERIMENT_NAME: experiment}
    if isinstance(store, FolderStore):
        variables[ALLOW_FOLDER] = "true"
    run = None
    if store is not None and RUN_ID not in given:
        try:
            run = store.begin(_named(job, paths, experiment), _known(paths)[0])
        except TrackingUnavailable as problem:
            warn(f"the job has no run of MLflow: {problem}")
    elif store is None:
        warn(f"the job has no run of MLflow: the runner keeps none at {without_secrets(uri)}, and leaves that to the script")
    if run is not None:
        root = str(store.root) if isinstance(store, FolderStore) else ""
        drafts = [*_drafts_above(job, paths), *run.drafts] if root else []
        parent = _known(_above(job, paths))[0] if isinstance(job, Step) else ""
        facts = {"run_id": run.run_id, "parent": parent, "store": root, "drafts": drafts}
        variables |= {RUN_ID: run.run_id, EXPERIMENT_ID: run.experiment_id, VARIABLE: json.dumps(facts)}
    tracking = Tracking(variables=variables, store=store, run=run, warn=warn)
    _write(paths, tracking, secret=options.cluster is not None and isinstance(job, Step))
    return tracking


def _end(paths: JobPaths, tracking: Tracking) -> None:
    tracking.close()
    _write(paths, tracking, secret=False)


def _uri(given: Mapping[str, str], options: RunOptions) -> str:
    """The job's own, else the workspace's, else that of this process, else a folder of the workspace."""
    local = (options.cache / "mlruns").as_uri()
    return given.get(URI) or options.tracking_uri or os.environ.get(URI) or local


def _apart(uri: str) -> dict[str, str]:
    """User and password in variables of their own: MLflow prints addresses."""
    parts = urlsplit(uri)
    if parts.scheme not in ("http", "https") or parts.username is None:
        return {URI: uri}
    address = urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))
    return {URI: address, USERNAME: unquote(parts.username), PASSWORD: unquote(parts.password or "")}


def _text(name: str) -> str:
    """That of a folder or a file need not be text."""
    return name.encode("utf-8", "backslashreplace").decode()


def _named(job: Job, paths: JobPaths, experiment: str) -> RunName:
    source = job.entry_script or job.command if isinstance(job, Step) else job.name
    tags = {"mlflow.source.name": _text(source)}
    if isinstance(job, Step) and job.step and (parent := _known(_above(job, paths))[0]):
        tags["mlflow.parentRunId"] = parent
    return RunName(name=job.name, experiment=experiment, tags=tags)


def _above(step: Step, paths: JobPaths) -> JobPaths | None:
    return JobPaths(paths.root.parent.parent, paths.logs.parent) if step.step else None


def _drafts_above(job: Job, paths: JobPaths) -> list[object]:
    """Of the pipeline's run, which nobody makes but its steps' workers."""
    above = _above(job, paths) if isinstance(job, Step) else None
    return list((read_json(above.tracking) or {}).get("drafts") or ()) if above else []


def _known(paths: JobPaths | None) -> tuple[str, str]:
    """Ids of the run and its experiment, if they are known already."""
    found = (read_json(paths.tracking) or {}) if paths else {}
    return str(found.get("run_id") or ""), str(found.get("experiment_id") or "")


def _write(paths: JobPaths, tracking: Tracking, *, secret: bool) -> None:
    """`secret`: with what workers on other machines need to get in, until the job has ended."""
    run = tracking.run
    run_id, experiment_id = (run.run_id, run.experiment_id) if run else _known(paths)
    record: dict[str, object] = {"run_id": run_id, "experiment_id": experiment_id, "uri": without_secrets(tracking.variables[URI])}
    record |= {"drafts": run.drafts} if run and run.drafts else {}
    paths.root.mkdir(parents=True, exist_ok=True)
    write_json(paths.tracking, {**record, "variables": dict(tracking.variables)} if secret else record, durable=False, mode=PRIVATE)
