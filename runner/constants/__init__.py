"""Words that occur in jobs, with the names and values of `azure.ai.ml.constants`."""

from __future__ import annotations

from enum import Enum

from runner.sdk.lazy import attributes

__all__ = [
    "AssetTypes",
    "BatchDeploymentOutputAction",
    "InputOutputModes",
    "InputTypes",
    "JobType",
    "ListViewType",
    "ModelType",
    "ParallelTaskType",
]


class AssetTypes:
    """Types of data."""

    URI_FILE = "uri_file"
    URI_FOLDER = "uri_folder"
    MLTABLE = "mltable"
    MLFLOW_MODEL = "mlflow_model"
    TRITON_MODEL = "triton_model"
    CUSTOM_MODEL = "custom_model"


class InputTypes:
    """Types of literals."""

    INTEGER = "integer"
    NUMBER = "number"
    STRING = "string"
    BOOLEAN = "boolean"


class InputOutputModes:
    """How a script sees an input or output."""

    MOUNT = "mount"
    DOWNLOAD = "download"
    UPLOAD = "upload"
    RO_MOUNT = "ro_mount"
    RW_MOUNT = "rw_mount"
    EVAL_MOUNT = "eval_mount"
    EVAL_DOWNLOAD = "eval_download"
    DIRECT = "direct"


class BatchDeploymentOutputAction:
    """What becomes of the rows that `run` returns."""

    APPEND_ROW = "append_row"
    SUMMARY_ONLY = "summary_only"


class ParallelTaskType:
    """Types of `task`; this release runs `run_function`."""

    RUN_FUNCTION = "run_function"
    FUNCTION = "function"
    MODEL = "model"


class ModelType:
    """Types of registered models."""

    CUSTOM = "CustomModel"
    MLFLOW = "MLFlowModel"
    TRITON = "TritonModel"


class JobType:
    """Types of jobs; this release runs `parallel` and `pipeline`."""

    COMMAND = "command"
    SWEEP = "sweep"
    PIPELINE = "pipeline"
    AUTOML = "automl"
    COMPONENT = "component"
    BASE = "base"
    PARALLEL = "parallel"
    IMPORT = "import"
    SPARK = "spark"
    DATA_TRANSFER = "data_transfer"
    FINE_TUNING = "finetuning"
    DISTILLATION = "distillation"


class ListViewType(str, Enum):
    """Which jobs a list has; nothing is ever archived here."""

    ACTIVE_ONLY = "ActiveOnly"
    ARCHIVED_ONLY = "ArchivedOnly"
    ALL = "All"


_ABSENT = """
    AcrAccountSku DataGenerationTaskType DataGenerationType DistributionType IPProtectionLevel ImageClassificationModelNames
    ImageInstanceSegmentationModelNames ImageObjectDetectionModelNames ImportSourceType ManagedServiceIdentityType
    MonitorDatasetContext MonitorFeatureType MonitorMetricName MonitorModelType MonitorSignalType MonitorTargetTasks
    NlpLearningRateScheduler NlpModels Scope StorageAccountType TabularTrainingMode TimeZone WorkspaceKind
"""

__getattr__, __dir__ = attributes(__name__, {}, _ABSENT)
