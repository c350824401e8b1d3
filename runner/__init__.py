"""A runner of Azure ML parallel jobs on machines of one's own.

The names are those of `azure.ai.ml`: a script for commands, parallel jobs and their pipelines runs here when that name is replaced by
`runner`. Everything is loaded when it is first used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from runner.sdk.lazy import attributes

if TYPE_CHECKING:
    from runner import constants, dsl, entities, parallel
    from runner.ml_client import MLClient
    from runner.sdk.command_function import command
    from runner.sdk.io import Input, Output
    from runner.sdk.loading import load_component, load_data, load_environment, load_job, load_model

__all__ = [
    "Input",
    "MLClient",
    "Output",
    "command",
    "constants",
    "dsl",
    "entities",
    "load_component",
    "load_data",
    "load_environment",
    "load_job",
    "load_model",
    "parallel",
]

_PLACES = {
    "MLClient": "runner.ml_client",
    "Input": "runner.sdk.io",
    "Output": "runner.sdk.io",
    "command": "runner.sdk.command_function",
    "load_job": "runner.sdk.loading",
    "load_component": "runner.sdk.loading",
    "load_environment": "runner.sdk.loading",
    "load_data": "runner.sdk.loading",
    "load_model": "runner.sdk.loading",
    "MpiDistribution": "runner.sdk.settings",
    "PyTorchDistribution": "runner.sdk.settings",
    "RayDistribution": "runner.sdk.settings",
    "TensorFlowDistribution": "runner.sdk.settings",
    # Azure still has these here, for old scripts.
    "AmlTokenConfiguration": "runner.sdk.settings",
    "ManagedIdentityConfiguration": "runner.sdk.settings",
    "UserIdentityConfiguration": "runner.sdk.settings",
    # submodules
    "constants": "",
    "dsl": "",
    "entities": "",
    "parallel": "",
    "sweep": "",
    "automl": "",
    "data_transfer": "",
    "finetuning": "",
    "identity": "",
    "model_customization": "",
    "operations": "",
}
_ABSENT = """
    load_batch_deployment load_batch_endpoint load_capability_host load_compute load_connection load_datastore
    load_deployment_template load_feature_set load_feature_store load_feature_store_entity load_index load_marketplace_subscription
    load_model_package load_online_deployment load_online_endpoint load_registry load_serverless_endpoint load_workspace
    load_workspace_connection spark
"""

__getattr__, __dir__ = attributes(__name__, _PLACES, _ABSENT)
