"""The objects that parallel jobs are made of, with the names of `azure.ai.ml.entities`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from runner.sdk.lazy import attributes

if TYPE_CHECKING:
    from runner.sdk.assets import Asset, BuildContext, Data, Environment, Model
    from runner.sdk.command_job import CommandJob
    from runner.sdk.command_node import Command, CommandComponent
    from runner.sdk.job import Job
    from runner.sdk.node import Parallel, ParallelComponent
    from runner.sdk.parallel_job import ParallelJob
    from runner.sdk.pipeline_component import Pipeline, PipelineComponent
    from runner.sdk.pipeline_job import PipelineJob, PipelineJobSettings
    from runner.sdk.settings import (
        AmlTokenConfiguration,
        BatchRetrySettings,
        CommandJobLimits,
        JobResourceConfiguration,
        JobService,
        JupyterLabJobService,
        ManagedIdentityConfiguration,
        QueueSettings,
        ResourceConfiguration,
        RetrySettings,
        SshJobService,
        TensorBoardJobService,
        UserIdentityConfiguration,
        VsCodeJobService,
    )
    from runner.sdk.step import Component
    from runner.sdk.submitted import AmlCompute, Compute, ValidationResult
    from runner.sdk.task import ParallelTask

__all__ = [
    "AmlCompute",
    "AmlTokenConfiguration",
    "Asset",
    "BatchRetrySettings",
    "BuildContext",
    "Command",
    "CommandComponent",
    "CommandJob",
    "CommandJobLimits",
    "Component",
    "Compute",
    "Data",
    "Environment",
    "Job",
    "JobResourceConfiguration",
    "JobService",
    "JupyterLabJobService",
    "ManagedIdentityConfiguration",
    "Model",
    "Parallel",
    "ParallelComponent",
    "ParallelJob",
    "ParallelTask",
    "Pipeline",
    "PipelineComponent",
    "PipelineJob",
    "PipelineJobSettings",
    "QueueSettings",
    "ResourceConfiguration",
    "RetrySettings",
    "SshJobService",
    "TensorBoardJobService",
    "UserIdentityConfiguration",
    "ValidationResult",
    "VsCodeJobService",
]

_PLACES = {
    name: module
    for module, names in {
        "runner.sdk.assets": "Asset BuildContext Data Environment Model",
        "runner.sdk.command_job": "CommandJob",
        "runner.sdk.command_node": "Command CommandComponent",
        "runner.sdk.job": "Job",
        "runner.sdk.node": "Parallel ParallelComponent",
        "runner.sdk.parallel_job": "ParallelJob",
        "runner.sdk.pipeline_component": "Pipeline PipelineComponent",
        "runner.sdk.pipeline_job": "PipelineJob PipelineJobSettings",
        "runner.sdk.settings": "AmlTokenConfiguration BatchRetrySettings CommandJobLimits JobResourceConfiguration JobService "
        "JupyterLabJobService ManagedIdentityConfiguration QueueSettings ResourceConfiguration RetrySettings SshJobService "
        "TensorBoardJobService UserIdentityConfiguration VsCodeJobService",
        "runner.sdk.step": "Component",
        "runner.sdk.submitted": "AmlCompute Compute ValidationResult",
        "runner.sdk.task": "ParallelTask",
    }.items()
    for name in names.split()
}
_ABSENT = """
    APIKeyConnection AadCredentialConfiguration AcceleratorMap AccessKeyConfiguration AccountKeyConfiguration AlertNotification
    AmlComputeNodeInfo AmlComputeSshSettings ApiKeyConfiguration AssignedUserConfiguration AutoPauseSettings
    AutoScaleSettings AzureAISearchConfig AzureAISearchConnection AzureAIServicesConnection AzureBlobDatastore
    AzureBlobStoreConnection AzureContentSafetyConnection AzureDataLakeGen1Datastore AzureDataLakeGen2Datastore AzureFileDatastore
    AzureMLBatchInferencingServer AzureMLOnlineInferencingServer AzureOpenAIConnection AzureOpenAIDeployment
    AzureSpeechServicesConnection BaseEnvironment BaselineDataRange BatchDeployment BatchEndpoint BatchJob CapabilityHost
    CapabilityHostKind CategoricalDriftMetrics CertificateConfiguration CodeConfiguration ComputeConfiguration ComputeInstance
    ComputeInstanceSshSettings ComputePowerAction ComputeRuntime ComputeSchedules ComputeStartStopSchedule
    ContainerRegistryCredential CreatedByType CronTrigger CustomApplications CustomInferencingServer CustomModelFineTuningJob
    CustomMonitoringMetricThreshold CustomMonitoringSignal CustomerManagedKey DataAsset DataAvailabilityStatus DataCollector
    DataColumn DataColumnType DataDriftMetricThreshold DataDriftSignal DataImport DataQualityMetricThreshold
    DataQualityMetricsCategorical DataQualityMetricsNumerical DataQualitySignal DataSegment Datastore DefaultActionType
    DefaultScaleSettings Deployment DeploymentCollection DeploymentTemplate DeploymentTemplateReference DiagnoseRequestProperties
    DiagnoseResponseResult DiagnoseResponseResultValue DiagnoseResult DiagnoseWorkspaceParameters Endpoint EndpointAadToken
    EndpointAuthKeys EndpointAuthToken EndpointConnection EndpointsSettings FADProductionData Feature
    FeatureAttributionDriftMetricThreshold FeatureAttributionDriftSignal FeatureSet FeatureSetBackfillMetadata
    FeatureSetBackfillRequest FeatureSetMaterializationMetadata FeatureSetSpecification FeatureStore FeatureStoreEntity
    FeatureStoreSettings FeatureWindow FixedInputData FqdnDestination GenerationSafetyQualityMonitoringMetricThreshold
    GenerationSafetyQualitySignal GenerationTokenStatisticsMonitorMetricThreshold GenerationTokenStatisticsSignal GitSource Hub
    IPRule IdentityConfiguration ImageMetadata ImageSettings ImportDataSchedule Index IndexDataSource IndexModelConfiguration
    InputPort IntellectualProperty IsolationMode JobResources JobSchedule KubernetesCompute KubernetesOnlineDeployment
    KubernetesOnlineEndpoint LlmData LocalSource ManagedNetwork ManagedNetworkProvisionStatus ManagedOnlineDeployment
    ManagedOnlineEndpoint MarketplacePlan MarketplaceSubscription MaterializationComputeResource MaterializationSettings
    MaterializationStore MaterializationType MicrosoftOneLakeConnection ModelBatchDeployment ModelBatchDeploymentSettings
    ModelConfiguration ModelPackage ModelPackageInput ModelPerformanceClassificationThresholds ModelPerformanceMetricThreshold
    ModelPerformanceRegressionThresholds ModelPerformanceSignal MonitorDefinition MonitorFeatureFilter MonitorInputData
    MonitorSchedule MonitoringTarget NetworkAcls NetworkSettings NoneCredentialConfiguration NotebookAccessKeys Notification
    NumericalDriftMetrics OneLakeArtifact OneLakeConnectionArtifact OneLakeDatastore OnlineDeployment OnlineEndpoint
    OnlineRequestSettings OnlineScaleSettings OpenAIConnection OutboundRule PackageInputPathId PackageInputPathUrl
    PackageInputPathVersion ParameterizedCommand PatTokenConfiguration PipelineComponentBatchDeployment
    PredictionDriftMetricThreshold PredictionDriftSignal PrivateEndpoint PrivateEndpointDestination ProbeSettings ProductionData
    Project RecurrencePattern RecurrenceTrigger ReferenceData Registry RegistryRegionDetails RequestLogging Resource
    ResourceRequirementsSettings ResourceSettings Route SasTokenConfiguration Schedule ScheduleState ScheduleTriggerResult
    ScriptReference SerpConnection ServerlessComputeSettings ServerlessConnection ServerlessEndpoint ServerlessSparkCompute
    ServiceInstance ServicePrincipalConfiguration ServiceTagDestination SetupScripts Spark SparkComponent SparkJob SparkJobEntry
    SparkJobEntryType SparkResourceConfiguration StaticInputData Sweep SynapseSparkCompute SystemCreatedAcrAccount
    SystemCreatedStorageAccount SystemData TargetUtilizationScaleSettings TrailingInputData TritonInferencingServer
    UnsupportedCompute Usage UsageName UsageUnit UsernamePasswordConfiguration VirtualMachineCompute VirtualMachineSshSettings
    VmSize VolumeSettings Workspace WorkspaceConnection WorkspaceKeys WorkspaceModelReference
"""

__getattr__, __dir__ = attributes(__name__, _PLACES, _ABSENT)
