"""The objects that parallel jobs are made of, with the names of `azure.ai.ml.entities`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from runner.sdk.lazy import attributes

if TYPE_CHECKING:
    from runner.sdk.assets import Asset, BuildContext, Data, Environment, Model
    from runner.sdk.job import Job
    from runner.sdk.node import Component, Parallel, ParallelComponent
    from runner.sdk.parallel_job import ParallelJob
    from runner.sdk.pipeline_job import PipelineJob, PipelineJobSettings
    from runner.sdk.settings import (
        AmlTokenConfiguration,
        BatchRetrySettings,
        JobResourceConfiguration,
        ManagedIdentityConfiguration,
        ResourceConfiguration,
        RetrySettings,
        UserIdentityConfiguration,
    )
    from runner.sdk.submitted import Compute, ValidationResult
    from runner.sdk.task import ParallelTask

__all__ = [
    "AmlTokenConfiguration",
    "Asset",
    "BatchRetrySettings",
    "BuildContext",
    "Component",
    "Compute",
    "Data",
    "Environment",
    "Job",
    "JobResourceConfiguration",
    "ManagedIdentityConfiguration",
    "Model",
    "Parallel",
    "ParallelComponent",
    "ParallelJob",
    "ParallelTask",
    "PipelineJob",
    "PipelineJobSettings",
    "ResourceConfiguration",
    "RetrySettings",
    "UserIdentityConfiguration",
    "ValidationResult",
]

_PLACES = {
    name: module
    for module, names in {
        "runner.sdk.assets": "Asset BuildContext Data Environment Model",
        "runner.sdk.job": "Job",
        "runner.sdk.node": "Component Parallel ParallelComponent",
        "runner.sdk.parallel_job": "ParallelJob",
        "runner.sdk.pipeline_job": "PipelineJob PipelineJobSettings",
        "runner.sdk.settings": "AmlTokenConfiguration BatchRetrySettings JobResourceConfiguration ManagedIdentityConfiguration "
        "ResourceConfiguration RetrySettings UserIdentityConfiguration",
        "runner.sdk.submitted": "Compute ValidationResult",
        "runner.sdk.task": "ParallelTask",
    }.items()
    for name in names.split()
}
_ABSENT = """
    APIKeyConnection AadCredentialConfiguration AcceleratorMap AccessKeyConfiguration AccountKeyConfiguration AlertNotification
    AmlCompute AmlComputeNodeInfo AmlComputeSshSettings ApiKeyConfiguration AssignedUserConfiguration AutoPauseSettings
    AutoScaleSettings AzureAISearchConfig AzureAISearchConnection AzureAIServicesConnection AzureBlobDatastore
    AzureBlobStoreConnection AzureContentSafetyConnection AzureDataLakeGen1Datastore AzureDataLakeGen2Datastore AzureFileDatastore
    AzureMLBatchInferencingServer AzureMLOnlineInferencingServer AzureOpenAIConnection AzureOpenAIDeployment
    AzureSpeechServicesConnection BaseEnvironment BaselineDataRange BatchDeployment BatchEndpoint BatchJob CapabilityHost
    CapabilityHostKind CategoricalDriftMetrics CertificateConfiguration CodeConfiguration Command CommandComponent CommandJob
    CommandJobLimits ComputeConfiguration ComputeInstance ComputeInstanceSshSettings ComputePowerAction ComputeRuntime
    ComputeSchedules ComputeStartStopSchedule ContainerRegistryCredential CreatedByType CronTrigger CustomApplications
    CustomInferencingServer CustomModelFineTuningJob CustomMonitoringMetricThreshold CustomMonitoringSignal CustomerManagedKey
    DataAsset DataAvailabilityStatus DataCollector DataColumn DataColumnType DataDriftMetricThreshold DataDriftSignal DataImport
    DataQualityMetricThreshold DataQualityMetricsCategorical DataQualityMetricsNumerical DataQualitySignal DataSegment Datastore
    DefaultActionType DefaultScaleSettings Deployment DeploymentCollection DeploymentTemplate DeploymentTemplateReference
    DiagnoseRequestProperties DiagnoseResponseResult DiagnoseResponseResultValue DiagnoseResult DiagnoseWorkspaceParameters
    Endpoint EndpointAadToken EndpointAuthKeys EndpointAuthToken EndpointConnection EndpointsSettings FADProductionData Feature
    FeatureAttributionDriftMetricThreshold FeatureAttributionDriftSignal FeatureSet FeatureSetBackfillMetadata
    FeatureSetBackfillRequest FeatureSetMaterializationMetadata FeatureSetSpecification FeatureStore FeatureStoreEntity
    FeatureStoreSettings FeatureWindow FixedInputData FqdnDestination GenerationSafetyQualityMonitoringMetricThreshold
    GenerationSafetyQualitySignal GenerationTokenStatisticsMonitorMetricThreshold GenerationTokenStatisticsSignal GitSource Hub
    IPRule IdentityConfiguration ImageMetadata ImageSettings ImportDataSchedule Index IndexDataSource IndexModelConfiguration
    InputPort IntellectualProperty IsolationMode JobResources JobSchedule JobService JupyterLabJobService KubernetesCompute
    KubernetesOnlineDeployment KubernetesOnlineEndpoint LlmData LocalSource ManagedNetwork ManagedNetworkProvisionStatus
    ManagedOnlineDeployment ManagedOnlineEndpoint MarketplacePlan MarketplaceSubscription MaterializationComputeResource
    MaterializationSettings MaterializationStore MaterializationType MicrosoftOneLakeConnection ModelBatchDeployment
    ModelBatchDeploymentSettings ModelConfiguration ModelPackage ModelPackageInput ModelPerformanceClassificationThresholds
    ModelPerformanceMetricThreshold ModelPerformanceRegressionThresholds ModelPerformanceSignal MonitorDefinition
    MonitorFeatureFilter MonitorInputData MonitorSchedule MonitoringTarget NetworkAcls NetworkSettings NoneCredentialConfiguration
    NotebookAccessKeys Notification NumericalDriftMetrics OneLakeArtifact OneLakeConnectionArtifact OneLakeDatastore
    OnlineDeployment OnlineEndpoint OnlineRequestSettings OnlineScaleSettings OpenAIConnection OutboundRule PackageInputPathId
    PackageInputPathUrl PackageInputPathVersion ParameterizedCommand PatTokenConfiguration Pipeline PipelineComponent
    PipelineComponentBatchDeployment PredictionDriftMetricThreshold PredictionDriftSignal PrivateEndpoint
    PrivateEndpointDestination ProbeSettings ProductionData Project QueueSettings RecurrencePattern RecurrenceTrigger
    ReferenceData Registry RegistryRegionDetails RequestLogging Resource ResourceRequirementsSettings ResourceSettings Route
    SasTokenConfiguration Schedule ScheduleState ScheduleTriggerResult ScriptReference SerpConnection ServerlessComputeSettings
    ServerlessConnection ServerlessEndpoint ServerlessSparkCompute ServiceInstance ServicePrincipalConfiguration
    ServiceTagDestination SetupScripts Spark SparkComponent SparkJob SparkJobEntry SparkJobEntryType SparkResourceConfiguration
    SshJobService StaticInputData Sweep SynapseSparkCompute SystemCreatedAcrAccount SystemCreatedStorageAccount SystemData
    TargetUtilizationScaleSettings TensorBoardJobService TrailingInputData TritonInferencingServer UnsupportedCompute Usage
    UsageName UsageUnit UsernamePasswordConfiguration VirtualMachineCompute VirtualMachineSshSettings VmSize VolumeSettings
    VsCodeJobService Workspace WorkspaceConnection WorkspaceKeys WorkspaceModelReference
"""

__getattr__, __dir__ = attributes(__name__, _PLACES, _ABSENT)
