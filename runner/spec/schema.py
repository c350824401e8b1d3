"""The keys of job files: which may stand where. Their meanings are read in the modules named beside them."""

from __future__ import annotations

# What every job and step may carry (common.py).
COMMON = (
    "$schema",
    "type",
    "name",
    "display_name",
    "description",
    "tags",
    "properties",
    "experiment_name",
    "compute",
    "identity",
    "services",
)

# Written by Azure into what `az ml job show` prints: accepted, said to have no effect.
WRITTEN_BY_AZURE = ("id", "creation_context", "status", "log_files", "resource_group", "resourceGroup")

# The settings of a parallel step (step.py). Those of resources may also stand on top, as the Python keywords do.
SETTINGS = (
    "task", "input_data", "mini_batch_size", "partition_keys", "max_concurrency_per_instance",
    "mini_batch_error_threshold", "error_threshold",
    "retry_settings", "logging_level", "environment_variables", "resources", "is_deterministic",
)  # fmt: skip
RESOURCES_ON_TOP = ("instance_count", "instance_type", "docker_args", "shm_size")
RESOURCES = (*RESOURCES_ON_TOP, "max_instance_count", "properties", "locations")
RETRY_SETTINGS = ("max_retries", "timeout")
TASK = ("type", "code", "entry_script", "program_arguments", "model", "append_row_to", "environment")

PARALLEL = (*COMMON, *SETTINGS, *RESOURCES_ON_TOP, "inputs", "outputs", "component", "version", "comment")
COMPONENT = (
    "$schema", "type", "name", "version", "display_name", "description", "tags", "properties", *SETTINGS, *RESOURCES_ON_TOP,
    "inputs", "outputs",
)  # fmt: skip

# Commands (command_step.py).
COMMAND_SETTINGS = (
    "command", "code", "environment", "environment_variables", "resources", "distribution", "is_deterministic",
)  # fmt: skip
COMMAND = (
    *COMMON, *COMMAND_SETTINGS, *RESOURCES_ON_TOP, "limits", "queue_settings", "inputs", "outputs", "component", "version", "comment",
    "parent_job_name",
)  # fmt: skip
COMMAND_COMPONENT = (
    "$schema", "type", "name", "version", "display_name", "description", "tags", "properties", *COMMAND_SETTINGS, *RESOURCES_ON_TOP,
    "inputs", "outputs", "additional_includes",
)  # fmt: skip
LIMITS = ("timeout",)
QUEUE_SETTINGS = ("job_tier", "priority")

PIPELINE = (*COMMON, "inputs", "outputs", "jobs", "settings", "component")
PIPELINE_COMPONENT = (
    "$schema", "type", "name", "version", "display_name", "description", "tags", "properties", "is_deterministic",
    "inputs", "outputs", "jobs",
)  # fmt: skip
PIPELINE_SETTINGS = ("default_datastore", "default_compute", "continue_on_step_failure", "force_rerun", "on_init", "on_finalize")

# Inputs and outputs (ports.py).
DATA_INPUT = ("type", "path", "mode", "description", "optional", "datastore", "path_on_compute")
LITERAL_INPUT = ("type", "value", "default", "min", "max", "enum", "description", "optional")
INPUT = tuple(dict.fromkeys((*DATA_INPUT, *LITERAL_INPUT)))
OUTPUT = ("type", "path", "mode", "name", "version", "description")
INPUT_MODES = ("ro_mount", "download", "direct")
EVALUATED_MODES = ("eval_mount", "eval_download")
TABLE_MODES = (*INPUT_MODES, *EVALUATED_MODES)
OUTPUT_MODES = ("rw_mount", "upload", "direct", "mount")

# Environments (environment.py).
ENVIRONMENT = (
    "$schema", "name", "version", "description", "tags", "properties", "image", "conda_file", "build", "os_type", "inference_config",
    "datastore",
)  # fmt: skip
BUILD = ("path", "dockerfile_path")

IDENTITY = {
    "managed": ("type", "client_id", "object_id", "msi_resource_id", "resource_id"),
    "managed_identity": ("type", "client_id", "object_id", "msi_resource_id", "resource_id"),
    "aml_token": ("type",),
    "user_identity": ("type",),
}

# Types of Azure's jobs and tasks that this build knows by name and does not run.
OTHER_JOBS = (
    "sweep",
    "spark",
    "automl",
    "import",
    "data_transfer",
    "distillation",
    "finetuning",
    "base",
    "flow_parallel",
    "flow",
    "if_else",
    "do_while",
    "parallel_for",
)
OTHER_TASKS = ("function", "model")

HINTS = {
    "max_retries": "it stands below retry_settings:",
    "timeout": "it stands below retry_settings:",
    "max_instance_count": "it stands below resources:",
    "locations": "it stands below resources:",
    "code": "it stands below task:",
    "entry_script": "it stands below task:",
    "program_arguments": "it stands below task:",
    "append_row_to": "it stands below task:",
    "environment": "it stands below task:",
    "model": "it stands below task:",
    "command": "parallel jobs run a script, task.entry_script; a command stands in a job of type: command",
    "limits": "parallel jobs have none: see retry_settings.timeout",
    "distribution": "parallel jobs have none: see resources.instance_count",
    "jobs": "only `type: pipeline` has steps",
    "default_compute": "it stands below settings:",
    "default_datastore": "it stands below settings:",
    "force_rerun": "it stands below settings:",
    "continue_on_step_failure": "it stands below settings:",
}

_IN_COMMAND = "it stands in the command: command: python train.py --data ${{inputs.data}}"
_OF_ENVIRONMENT = "it stands below environment:"
_OF_PARALLEL = "only parallel jobs have it"
_OF_PIPELINE = "it stands below settings: of the pipeline"
COMMAND_HINTS = {
    "script": "write command: python, then the script and its arguments",
    "script_name": "write command: python, then the script and its arguments",
    "entry_script": "write command: python, then the script and its arguments",
    "task": "only parallel jobs have it; the keys of a command stand on top: command, code, environment",
    **dict.fromkeys(("arguments", "program_arguments", "script_params", "args"), _IN_COMMAND),
    "source_directory": "write code: and the folder",
    "compute_target": "write compute:",
    "timeout": "it stands below limits:",
    "retry_settings": "a command is not tried again; limits.timeout is the time that it may take",
    "max_retries": "a command is not tried again",
    "model": "declare an input of type custom_model or mlflow_model",
    "parameters": "write inputs:",
    **dict.fromkeys(("image", "conda_file", "build"), _OF_ENVIRONMENT),
    **dict.fromkeys(("max_instance_count", "locations"), "it stands below resources:"),
    **dict.fromkeys(("job_tier", "priority"), "it stands below queue_settings:"),
    **dict.fromkeys(
        (
            "input_data", "mini_batch_size", "partition_keys", "append_row_to", "max_concurrency_per_instance", "error_threshold",
            "mini_batch_error_threshold", "logging_level",
        ),
        _OF_PARALLEL,
    ),
    "jobs": "only `type: pipeline` has steps",
    **dict.fromkeys(("default_compute", "default_datastore", "force_rerun", "continue_on_step_failure"), _OF_PIPELINE),
}  # fmt: skip
