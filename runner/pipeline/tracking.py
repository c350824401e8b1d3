"""The run of MLflow that a job, or a step of a pipeline, has: begun before its workers, ended after them, with the runner's own metrics."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import unquote, urlsplit, urlunsplit

from runner.engine.sole_file import Superseded
from runner.model.batch import Progress
from runner.model.cadence import Cadence
from runner.model.job import Job, Step
from runner.model.paths import JobPaths
from runner.pipeline.options import RunOptions
from runner.pipeline.variables import TRACKING_PASSWORD, TRACKING_SECRETS, TRACKING_URI, TRACKING_USERNAME
from runner.report.tracking_stores import FolderStore, RunName, TrackedRun, TrackingStore, TrackingUnavailable, store_of, without_secrets
from runner.worker.tracking import RUN_ID, VARIABLE, make_draft
from runner.workspace.records import read_json, write_json

EXPERIMENT_NAME, EXPERIMENT_ID = "MLFLOW_EXPERIMENT_NAME", "MLFLOW_EXPERIMENT_ID"
ALLOW_FOLDER = "MLFLOW_ALLOW_FILE_STORE"  # without which MLflow 3 refuses folders
STATUSES = {"Completed": "FINISHED", "Failed": "FAILED", "Canceled": "KILLED"}
# As Azure ML calls them.
PIPELINE, IS_REUSED, REUSED_RUN, REUSED_PIPELINE = (
    *("azureml.pipelinerunid", "azureml.isreused", "azureml.reusedrunid", "azureml.reusedpipelinerunid"),
)
PROGRESS_SECONDS = 5.0  # between the counts that are logged while a job runs
PRIVATE = 0o600
Warn = Callable[[str], None]


class Tracking:
    """A job's run. `variables` are for its workers; nothing is logged where there is no run.

    `prefix` stands before the names of the runner's metrics, which a `parent` gets as well.
    """

    def __init__(
        self, *, variables: Mapping[str, str], store: TrackingStore | None, run: TrackedRun | None, warn: Warn,
        prefix: str = "", parent: Tracking | None = None,
    ) -> None:  # fmt: skip
        self.variables = variables
        self.run = run
        self._store, self._warn, self._prefix, self._parent = store, warn, prefix, parent
        self._began, self._status = time.monotonic(), "FAILED"
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="mlflow")  # its thread begins with the first counts
        self._logging: Future[None] | None = None
        self._counts = Cadence(pause=PROGRESS_SECONDS, next=self._began + PROGRESS_SECONDS, told=Progress())

    def progressed(self, progress: Progress) -> None:
        """The counts while the job runs, now and then: a server that is slow, or silent, holds up nothing."""
        now = time.monotonic()
        if (self._logging is None or self._logging.done()) and self._counts.due(now, progress):
            self._logging = self._pool.submit(self._log_counts, progress, now - self._began, lambda _problem: None)

    def ended(self, status: str, progress: Progress) -> None:
        """The status that the run gets when it is closed, and the runner's metrics."""
        self._status = STATUSES.get(status, "FAILED")
        self._pool.shutdown()  # counts that are on their way come before the last ones
        self._log_counts(progress, time.monotonic() - self._began, self._warn)

    def reused(self) -> None:
        """Nothing has run, so that there is nothing to count."""
        self._status = STATUSES["Completed"]
        if isinstance(self._store, FolderStore) and self.run and self._store.root.is_dir():  # by somebody who has MLflow
            for draft in json.loads(self.variables[VARIABLE])["drafts"]:
                make_draft(str(self._store.root), draft)

    def close(self) -> None:
        self._pool.shutdown()
        if self._store and self.run:
            try:
                self._store.end(self.run, self._status)
            except TrackingUnavailable as problem:
                self._warn(f"MLflow has not got the job's end: {problem}")

    def _log_counts(self, progress: Progress, seconds: float, warn: Warn) -> None:
        metrics = {self._prefix + name: value for name, value in metrics_of(progress, seconds).items()}
        for tracking in (self, self._parent):
            if tracking is not None:
                tracking.log(metrics, warn)

    def log(self, metrics: Mapping[str, float], warn: Warn) -> None:
        if self._store and self.run:
            try:
                self._store.log(self.run, metrics)
            except TrackingUnavailable as problem:
                warn(f"MLflow has not got the job's metrics: {problem}")


def metrics_of(progress: Progress, seconds: float) -> dict[str, float]:
    """What the runner logs of a job."""
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
def tracked(job: Job, paths: JobPaths, options: RunOptions, warn: Warn, tags: Mapping[str, str] | None = None) -> Iterator[Tracking]:
    """The job's run while it is at work. Where the store does not answer, the job goes on without, and says so."""
    tracking = _begin(job, paths, options, warn, tags or {})
    try:
        yield tracking
    except Superseded:  # the run is another process's, and so is what its workers are told
        raise
    except BaseException:
        _end(paths, tracking)
        raise
    _end(paths, tracking)


def track_reused(step: Step, paths: JobPaths, options: RunOptions, warn: Warn, *, job: str, pipeline: str) -> None:
    """The run of a step that did not run: `job` did, of `pipeline`."""
    tags = {IS_REUSED: "true", REUSED_RUN: job, REUSED_PIPELINE: pipeline}
    with tracked(step, paths, options, warn, tags) as tracking:
        try:
            tracking.reused()
        except OSError as problem:
            warn(f"MLflow has no run of the step: {problem}")


def variables_on_node(paths: JobPaths) -> dict[str, str]:
    """Those that the owner of a job has left for the instances on other machines."""
    found = (read_json(paths.tracking) or {}).get("variables", {})
    return {str(key): str(value) for key, value in found.items()} if isinstance(found, dict) else {}


def store_folder(variables: Mapping[str, str]) -> Path | None:
    """The folder that the runs of MLflow lie in, where it is one."""
    store = store_of(variables[TRACKING_URI]) if TRACKING_URI in variables and not variables[TRACKING_URI].startswith("http") else None
    return store.root if isinstance(store, FolderStore) else None


def _parent_of(step: Step, paths: JobPaths, options: RunOptions, warn: Warn) -> Tracking | None:
    """The run of the pipeline that a step belongs to, if that gets its metrics."""
    run_id, experiment_id = _known(_above(step, paths))
    if not run_id or not step.arguments.push_metrics_to_parent:
        return None
    run = TrackedRun(run_id=run_id, experiment_id=experiment_id)
    return Tracking(variables={}, store=store_of(_uri({}, options)), run=run, warn=warn)


def _begin(job: Job, paths: JobPaths, options: RunOptions, warn: Warn, tags: Mapping[str, str]) -> Tracking:
    given: Mapping[str, str] = job.environment_variables if isinstance(job, Step) else {}
    uri = _uri(given, options)
    store = store_of(uri)
    experiment = given.get(EXPERIMENT_NAME) or job.experiment_name or "Default"
    experiment = _text(experiment)
    variables = {**_apart(uri), EXPERIMENT_NAME: experiment}
    if options.cluster is None and not variables.keys() & TRACKING_SECRETS:  # on a cluster, they are the node's
        variables |= {name: os.environ[name] for name in TRACKING_SECRETS if name in os.environ}
    if isinstance(store, FolderStore):
        variables[ALLOW_FOLDER] = "true"
    run = None
    if store is not None and RUN_ID not in given:
        try:
            run = store.begin(_named(job, paths, experiment, tags), _known(paths)[0])
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
    prefix, parent_run = "", None
    if isinstance(job, Step):
        prefix, parent_run = job.arguments.metrics_name_prefix, _parent_of(job, paths, options, warn)
    tracking = Tracking(variables=variables, store=store, run=run, warn=warn, prefix=prefix, parent=parent_run)
    _write(paths, tracking, secret=options.cluster is not None and isinstance(job, Step))
    return tracking


def _end(paths: JobPaths, tracking: Tracking) -> None:
    tracking.close()
    _write(paths, tracking, secret=False)


def _uri(given: Mapping[str, str], options: RunOptions) -> str:
    """The job's own, else the workspace's, else that of this process, else a folder of the workspace."""
    local = (options.cache / "mlruns").as_uri()
    return given.get(TRACKING_URI) or options.tracking_uri or os.environ.get(TRACKING_URI) or local


def _apart(uri: str) -> dict[str, str]:
    """User and password in variables of their own: MLflow prints addresses."""
    parts = urlsplit(uri)
    if parts.scheme not in ("http", "https") or parts.username is None:
        return {TRACKING_URI: uri}
    address = urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))
    return {TRACKING_URI: address, TRACKING_USERNAME: unquote(parts.username), TRACKING_PASSWORD: unquote(parts.password or "")}


def _text(name: str) -> str:
    """That of a folder or a file need not be text."""
    return name.encode("utf-8", "backslashreplace").decode()


def _named(job: Job, paths: JobPaths, experiment: str, tags: Mapping[str, str]) -> RunName:
    source = job.entry_script or job.command if isinstance(job, Step) else job.name
    found = {"mlflow.source.name": _text(source), **tags}
    if isinstance(job, Step) and job.step:
        found[PIPELINE] = job.name.removesuffix(f".{job.step}")
        if parent := _known(_above(job, paths))[0]:
            found["mlflow.parentRunId"] = parent
    return RunName(name=job.name, experiment=experiment, tags=found)


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
    record: dict[str, object] = {"run_id": run_id, "experiment_id": experiment_id, "uri": without_secrets(tracking.variables[TRACKING_URI])}
    record |= {"drafts": run.drafts} if run and run.drafts else {}
    paths.root.mkdir(parents=True, exist_ok=True)
    write_json(paths.tracking, {**record, "variables": dict(tracking.variables)} if secret else record, durable=False, mode=PRIVATE)
