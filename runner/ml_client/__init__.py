"""`MLClient`: jobs, computes and assets of a workspace on this machine, with the methods of `azure.ai.ml.MLClient`."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from runner.errors import Place, UserError
from runner.ml_client.absent import absent_name
from runner.ml_client.computes import ComputeOperations
from runner.ml_client.config import find_config, read_config
from runner.ml_client.jobs import OPTIONS, JobOperations
from runner.sdk.asset_operations import (
    AssetOperations,
    ComponentOperations,
    DataOperations,
    EnvironmentOperations,
    ModelOperations,
    kind_of_entity,
)
from runner.sdk.datastore_operations import DatastoreOperations
from runner.sdk.record import refuse_unknown
from runner.sdk.submitted import Compute, Poller

if TYPE_CHECKING:
    from runner.workspace.config import Workspace

# Keywords that are about the connection to Azure: taken and without effect here.
_OF_AZURE = (
    "show_progress", "enable_telemetry", "cloud", "cloud_metadata", "base_url", "user_agent", "logging_enable", "workspace_id",
    "workspace_location", "workspace_reference", "registry_reference",
)  # fmt: skip
_ABSENT = (
    "azure_openai_deployments", "batch_deployments", "batch_endpoints", "capability_hosts",
    "connections", "deployment_templates", "evaluators", "feature_sets",
    "feature_store_entities", "feature_stores", "indexes", "marketplace_subscriptions", "online_deployments",
    "online_endpoints", "registries", "schedules", "serverless_endpoints", "workspace_outbound_rules", "workspaces",
)  # fmt: skip


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

        refuse_unknown("MLClient", kwargs, ("workspace", *OPTIONS, *_OF_AZURE))
        self.subscription_id, self.resource_group_name = subscription_id, resource_group_name
        self.workspace_name, self.registry_name = workspace_name, registry_name
        self._client = Client(kwargs.get("workspace"))
        self._jobs = JobOperations(self._client, {key: kwargs[key] for key in OPTIONS if key in kwargs})
        self._compute = ComputeOperations(self._client, local=bool(kwargs.get("local")))
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
        file = start if start.is_file() else find_config(start, [file_name] if file_name else ["config.json", "project.json"])
        if file is None and file_name:
            raise UserError(
                f"there is no {file_name} in {start} or above", place=Place(field="file_name"), todo="leave file_name out: none is needed"
            )
        if path is not None and "workspace" not in kwargs:
            from runner.workspace.config import find_workspace

            kwargs["workspace"] = find_workspace(cwd=start if start.is_dir() else start.parent)
        return cls(credential, **(read_config(file) if file else {}), **kwargs)

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
        raise absent_name("MLClient", name, _ABSENT, (*places, "create_or_update", "begin_create_or_update"))

    def __repr__(self) -> str:
        """The folder and the names, never the credential."""
        names = {key: getattr(self, key) for key in ("subscription_id", "resource_group_name", "workspace_name", "registry_name")}
        shown = "".join(f", {key}={value!r}" for key, value in names.items() if value)
        return f"MLClient(workspace={str(self._client.workspace.root)!r}{shown})"
