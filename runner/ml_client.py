"""`MLClient`: jobs, computes and assets of a workspace on this machine, with the methods of `azure.ai.ml.MLClient`."""

from __future__ import annotations

import json
import os
import sys
import warnings
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from runner.errors import Place, UserError, did_you_mean
from runner.sdk.asset_operations import (
    AssetOperations,
    ComponentOperations,
    DataOperations,
    EnvironmentOperations,
    ModelOperations,
    kind_of_entity,
)
from runner.sdk.datastore_operations import DatastoreOperations
from runner.sdk.foreign import foreign_job, is_foreign
from runner.sdk.job import Job
from runner.sdk.record import UnknownNameError, plain, refuse_unknown
from runner.sdk.submitted import AmlCompute, Compute, JobFailedError, Poller, SubmittedJob, ValidationResult

if TYPE_CHECKING:
    from runner.client import Client
    from runner.spec.load import LoadedJob
    from runner.workspace.config import Workspace

# Keywords that are about the connection to Azure: taken and without effect here.
_OF_AZURE = (
    "show_progress", "enable_telemetry", "cloud", "cloud_metadata", "base_url", "user_agent", "logging_enable", "workspace_id",
    "workspace_location", "workspace_reference", "registry_reference",
)  # fmt: skip
_OPTIONS = ("local", "python", "allow_large_snapshot", "priority")  # of a submission, as on the command line
_ABSENT = (
    "azure_openai_deployments", "batch_deployments", "batch_endpoints", "capability_hosts",
    "connections", "deployment_templates", "evaluators", "feature_sets",
    "feature_store_entities", "feature_stores", "indexes", "marketplace_subscriptions", "online_deployments",
    "online_endpoints", "registries", "schedules", "serverless_endpoints", "workspace_outbound_rules", "workspaces",
)  # fmt: skip
_BATCH = "`runner batch invoke -f deployment.yml --input PATH` runs the file of a batch deployment, without an endpoint"
_INSTEAD = {"batch_deployments": _BATCH, "batch_endpoints": _BATCH}


class MLClient:
    """Jobs, computes and assets of a workspace: a folder of this machine.

    The credential, the subscription, the resource group and the names of workspace and registry are taken as in Azure, so that scripts
    need no change, and have no effect: nothing is sent anywhere. `workspace` names the folder; otherwise it is found as on the command
    line (RUNNER_WORKSPACE, or from the current folder upwards). `local=True` runs all jobs in processes of this machine, `python=…`
    with that interpreter.
    """

    def __init__(
        self,
        credential: Any = None,  # noqa: ARG002 — Azure's; not kept
        subscription_id: str | None = None,
        resource_group_name: str | None = None,
        workspace_name: str | None = None,
        registry_name: str | None = None,
        **kwargs: Any,
    ) -> None:
        from runner.client import Client

        refuse_unknown("MLClient", kwargs, ("workspace", *_OPTIONS, *_OF_AZURE))
        self.subscription_id, self.resource_group_name = subscription_id, resource_group_name
        self.workspace_name, self.registry_name = workspace_name, registry_name
        self._client = Client(kwargs.get("workspace"))
        self._jobs = JobOperations(self._client, {key: kwargs[key] for key in _OPTIONS if key in kwargs})
        self._compute = ComputeOperations(self._client)
        self._assets: dict[str, AssetOperations] = {
            made._KIND: made(self._workspace) for made in (ComponentOperations, DataOperations, EnvironmentOperations, ModelOperations)
        }
        self._datastores = DatastoreOperations(self._workspace)

    @classmethod
    def from_config(
        cls, credential: Any = None, *, path: str | os.PathLike[str] | None = None, file_name: str | None = None, **kwargs: Any
    ) -> MLClient:
        """A client for the workspace that is found from `path` (default: the current folder) upwards.

        A `config.json` as Azure's portal writes it is read where there is one (also in `.azureml/` and `aml_config/`); none is needed.
        Raises a `UserError` if `file_name`, or the file that `path` names, is missing or isn't such a file.
        """
        start = Path(path or ".").absolute()
        if path is not None and not start.exists():
            raise UserError(f"{path} does not exist", place=Place(field="path"), allowed="a config.json, or a folder")
        file = start if start.is_file() else _find_config(start, [file_name] if file_name else ["config.json", "project.json"])
        if file is None and file_name:
            raise UserError(
                f"there is no {file_name} in {start} or above", place=Place(field="file_name"), todo="leave file_name out: none is needed"
            )
        if path is not None and "workspace" not in kwargs:
            from runner.workspace.config import find_workspace

            kwargs["workspace"] = find_workspace(cwd=start if start.is_dir() else start.parent)
        return cls(credential, **(_read_config(file) if file else {}), **kwargs)

    @property
    def jobs(self) -> JobOperations:
        return self._jobs

    @property
    def compute(self) -> ComputeOperations:
        return self._compute

    @property
    def components(self) -> AssetOperations:
        return self._assets["component"]

    @property
    def data(self) -> AssetOperations:
        return self._assets["data"]

    @property
    def environments(self) -> AssetOperations:
        return self._assets["environment"]

    @property
    def models(self) -> AssetOperations:
        return self._assets["model"]

    @property
    def datastores(self) -> DatastoreOperations:
        return self._datastores

    def create_or_update(self, entity: Any, **kwargs: Any) -> Any:
        """Submits a job, or registers a component, an environment, data or a model; returns what it then is."""
        kind = kind_of_entity(entity)
        return (self._assets[kind] if kind else self.jobs).create_or_update(entity, **kwargs)

    def _workspace(self) -> Workspace:
        return self._client.workspace

    def begin_create_or_update(self, entity: Any, **kwargs: Any) -> Poller[Compute]:
        """Of a compute: see `compute.begin_create_or_update`; other things cannot be created here."""
        return self.compute.begin_create_or_update(entity, **kwargs)

    def __getattr__(self, name: str) -> Any:
        places = ("jobs", "compute", "components", "data", "datastores", "environments", "models")
        raise _absent("MLClient", name, _ABSENT, (*places, "create_or_update", "begin_create_or_update"))

    def __repr__(self) -> str:
        """The folder and the names, never the credential."""
        names = {key: getattr(self, key) for key in ("subscription_id", "resource_group_name", "workspace_name", "registry_name")}
        shown = "".join(f", {key}={value!r}" for key, value in names.items() if value)
        return f"MLClient(workspace={str(self._client.workspace.root)!r}{shown})"


def _find_config(start: Path, names: list[str]) -> Path | None:
    """In Azure's order: the folder of that name nearest upwards, for each folder name in turn."""
    for folder in (".azureml", "aml_config", "."):
        for name in names:
            for above in (start, *start.parents)[:20]:
                if (above / folder / name).is_file():
                    return above / folder / name
    return None


def _read_config(file: Path) -> dict[str, str | None]:
    try:
        data = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UserError(
            f"is not a workspace configuration: {error}", place=Place(file=str(file)), todo="it is JSON, as Azure's portal gives it"
        ) from None
    if not isinstance(data, Mapping):
        raise UserError(
            "is not a workspace configuration", place=Place(file=str(file)), allowed="subscription_id, resource_group, workspace_name"
        )
    return {
        "subscription_id": data.get("subscription_id"),
        "resource_group_name": data.get("resource_group"),
        "workspace_name": data.get("workspace_name"),
    }


def _absent(owner: str, name: str, absent: Iterable[str], known: Iterable[str]) -> UnknownNameError:
    if name in absent:
        return UnknownNameError(
            f"{owner}.{name} is not available in this release of runner: it runs commands, parallel jobs and pipelines of them.",
            todo=_INSTEAD.get(name, ""),
        )
    return UnknownNameError(f"{owner} has no attribute `{name}`", todo=did_you_mean(name, known))


class JobOperations:
    """`MLClient.jobs`."""

    _ABSENT = ("archive", "restore", "update")

    def __init__(self, client: Client, options: Mapping[str, Any]) -> None:
        self._client, self._options = client, dict(options)

    def create_or_update(
        self,
        job: Any,
        *,
        description: str | None = None,
        compute: str | None = None,
        tags: dict[str, str] | None = None,
        experiment_name: str | None = None,
        skip_validation: bool = False,
        **kwargs: Any,
    ) -> SubmittedJob:
        """Submits a job and returns it; it runs in the background. The keywords replace what the job says.

        Beyond Azure: `local=True`, `python=…`, `allow_large_snapshot=True`, `priority=…`, as the command line has them. Raises a
        `UserError` for a job with mistakes (all at once) or a name that is taken: jobs that exist are not updated.
        """
        refuse_unknown("create_or_update", kwargs, ("description", "compute", "tags", "experiment_name", "skip_validation", *_OPTIONS))
        if skip_validation:
            warnings.warn("skip_validation has no effect: every job is checked before it starts", stacklevel=2)
        given = {"description": description, "compute": compute, "tags": tags, "experiment_name": experiment_name}
        loaded = _loaded(job, {key: value for key, value in given.items() if value is not None})
        return SubmittedJob(self._client.submit(loaded, **{**self._options, **kwargs}).to_json())

    def get(self, name: str) -> SubmittedJob:
        """The job as it is now; `<pipeline>.<step>` names a step."""
        return SubmittedJob(self._client.get(name).to_json())

    def list(self, *, parent_job_name: str | None = None, list_view_type: str = "ActiveOnly", **kwargs: Any) -> Iterable[SubmittedJob]:
        """The jobs, newest first; with `parent_job_name` the steps of that pipeline. Beyond Azure: `tag="key=value"`, `status`,
        `max_results`. Nothing is ever archived.
        """
        refuse_unknown("list", kwargs, ("parent_job_name", "list_view_type", "tag", "status", "max_results"))
        if str(getattr(list_view_type, "value", list_view_type)) == "ArchivedOnly":
            return iter(())
        records = self._client.list(parent=parent_job_name, tag=kwargs.get("tag"), status=kwargs.get("status"))
        return iter([SubmittedJob(record.to_json()) for record in records[: kwargs.get("max_results")]])

    def stream(self, name: str) -> None:
        """Follows a job until it has ended, with its progress and its last page on stderr. Raises `JobFailedError` if it fails."""
        from runner.client import last_page
        from runner.report.progress import progress_view

        view = progress_view()
        try:
            record = self._client.stream(name, view)
        finally:
            view.close()
        print(f"\n{last_page(record)}", file=sys.stderr)
        if record.status == "Failed":
            raise JobFailedError((record.error or {}).get("message") or f"job {name} has failed: see {record.logs}")

    def begin_cancel(self, name: str, **kwargs: Any) -> Poller[None]:
        """Asks a running job to stop. The poller's `wait()` and `result()` return when it has."""
        refuse_unknown("begin_cancel", kwargs, ("name",))
        self._client.cancel(name)

        def await_end(timeout: float | None) -> None:
            _within(timeout, lambda: self._client.stream(name))

        return Poller(finished=lambda: self._client.get(name).finished, await_end=await_end, what=f"cancel of job {name}")

    def begin_delete(self, name: str, **kwargs: Any) -> Poller[None]:
        """Removes a job that has ended, with its logs and the outputs in its own place."""
        refuse_unknown("begin_delete", kwargs, ("name",))
        self._client.delete(name)
        return Poller(finished=lambda: True, await_end=lambda _timeout: None, what=f"removal of job {name}")

    def download(
        self,
        name: str,
        *,
        download_path: str | os.PathLike[str] = ".",
        output_name: str | None = None,
        all: bool = False,  # noqa: A002 — Azure's name
    ) -> None:
        """Copies the output of that name, everything (`all`), or the logs, as `runner job download` does."""
        self._client.download(name, Path(download_path).absolute(), output_name=output_name, everything=all)

    def validate(self, job: Any, *, raise_on_failure: bool = False, **kwargs: Any) -> ValidationResult:
        """Checks a job and plans it, without running user code."""
        refuse_unknown("validate", kwargs, ("raise_on_failure", *_OPTIONS))
        options = {key: value for key, value in {**self._options, **kwargs}.items() if key in ("local", "python")}
        try:
            _, plans = self._client.validate(_loaded(job, {}), **options)
        except UserError as error:
            if raise_on_failure:
                raise
            return ValidationResult.of(error)
        return ValidationResult(plans=tuple(plans))

    def show_services(self, name: str, node_index: int = 0) -> None:  # noqa: ARG002 — Azure's signature
        """Jobs have no services here: None."""
        self._client.get(name)

    def __getattr__(self, name: str) -> Any:
        raise _absent("MLClient.jobs", name, self._ABSENT, [key for key in dir(type(self)) if not key.startswith("_")])


class ComputeOperations:
    """`MLClient.compute`."""

    _ABSENT = (
        "begin_attach", "begin_delete", "begin_restart", "begin_start", "begin_stop", "begin_update",
        "enable_sso", "list_nodes", "list_sizes", "list_usage",
    )  # fmt: skip

    def __init__(self, client: Client) -> None:
        self._client = client

    def get(self, name: str) -> Compute:
        """One compute of the workspace; raises a `UserError` that lists the known ones."""
        return Compute(self._client.compute(name))

    def list(self, *, compute_type: str | None = None) -> Iterable[Compute]:
        """The computes of the workspace, `local` first."""
        return iter([Compute(entry) for entry in self._client.computes() if compute_type in (None, entry["type"])])

    def begin_create_or_update(self, compute: Any, **kwargs: Any) -> Poller[Compute]:
        """The compute of that name, where the workspace has it: as it is. Raises a `UserError` that says how to describe it, otherwise."""
        refuse_unknown("begin_create_or_update", kwargs, ("compute",))
        name = getattr(compute, "name", None)
        if not isinstance(compute, (AmlCompute, Compute)) and not is_foreign(compute):
            raise UserError(
                f"an object of type {type(compute).__qualname__} cannot be created here", allowed="a compute that workspace.yml describes"
            )
        if name not in {entry["name"] for entry in self._client.computes()}:
            raise UserError(
                f"the compute '{name}' cannot be made here: computes are machines that are there",
                todo=f"describe it in workspace.yml, as this machine or as a cluster: computes: {{{name}: {{type: local}}}}",
            )
        return Poller(finished=lambda: True, await_end=lambda _timeout: None, outcome=lambda: self.get(str(name)), what=f"compute {name}")

    def __getattr__(self, name: str) -> Any:
        raise _absent("MLClient.compute", name, self._ABSENT, ("get", "list"))


def _loaded(job: Any, changes: Mapping[str, Any]) -> LoadedJob:
    if isinstance(job, Job):
        return job._loaded(changes)
    if is_foreign(job):  # some of them are mappings, too
        from runner.spec.load import job_from_mapping

        mapping, base = foreign_job(job)
        return job_from_mapping({**mapping, **changes}, base=base)
    if isinstance(job, Mapping):
        from runner.spec.load import job_from_mapping

        return job_from_mapping({**plain(job), **changes}, base=Path.cwd())
    raise UserError(
        f"an object of type {type(job).__qualname__} is no job",
        allowed="what command, parallel_run_function, a pipeline function or load_job gives; a mapping",
    )


def _within(timeout: float | None, follow: Callable[[], object]) -> None:
    """Waits for a call in a thread of its own, where there is a limit."""
    if timeout is None:
        follow()
        return
    import threading

    thread = threading.Thread(target=follow, daemon=True)
    thread.start()
    thread.join(timeout)
