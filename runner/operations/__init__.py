"""The parts of Azure's client: the names of `azure.ai.ml.operations`, none of which is here; each says so when it is used."""

from __future__ import annotations

from runner.sdk.lazy import attributes

__all__: list[str] = []

_ABSENT = """
    AzureOpenAIDeploymentOperations BatchDeploymentOperations BatchEndpointOperations CapabilityHostsOperations ComponentOperations
    ComputeOperations DataOperations DatastoreOperations DeploymentTemplateOperations EnvironmentOperations EvaluatorOperations
    FeatureSetOperations FeatureStoreEntityOperations FeatureStoreOperations IndexOperations JobOperations
    MarketplaceSubscriptionOperations ModelOperations OnlineDeploymentOperations OnlineEndpointOperations RegistryOperations
    ScheduleOperations ServerlessEndpointOperations WorkspaceConnectionsOperations WorkspaceOperations
    WorkspaceOutboundRuleOperations
"""

__getattr__, __dir__ = attributes(__name__, {}, _ABSENT)
