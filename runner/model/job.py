"""A job after loading, resolving and checking: what `spec` hands to everybody else.

Nothing in here is an expression any more, every number is in its range and every path is absolute. The records convert to
and from plain JSON (`runner.model.codec`), which is how a job folder keeps them; nothing is ever pickled.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

LITERAL_TYPES = ("string", "number", "integer", "boolean")
DATA_TYPES = ("uri_file", "uri_folder", "mltable", "mlflow_model", "custom_model", "triton_model")
FOLDER_TYPES = ("uri_folder", "mltable", "mlflow_model", "triton_model")  # `uri_file` is a file, `custom_model` may be either
NO_LIMIT = -1  # of the two error thresholds: any number of failures is tolerated
NO_TIMEOUT = 10 * 365 * 86_400.0  # seconds: a command takes as long as it takes


@dataclass(frozen=True, kw_only=True)
class JobInput:
    """One input of a job or step. A literal has `value`; data has `path`."""

    type: str  # of LITERAL_TYPES or DATA_TYPES
    value: str | int | float | bool | None = None
    path: str | None = None  # absolute local path, or an address (storage/addresses.py); a table or folder input without trailing slash
    uri: str | None = None  # as the user wrote it, for show
    mode: str = "ro_mount"  # ro_mount, download, direct, eval_mount, eval_download
    optional_unset: bool = False  # an optional input that got no value: `$[[ ]]` parts that name it are dropped

    @property
    def is_data(self) -> bool:
        return self.type in DATA_TYPES


@dataclass(frozen=True, kw_only=True)
class JobOutput:
    """One output. `path` is the absolute local path, or an address: of the file for `uri_file`, of the folder otherwise."""

    type: str
    path: str
    uri: str | None = None
    mode: str = "rw_mount"
    name: str | None = None  # registers a data asset of this name
    version: str | None = None


@dataclass(frozen=True, kw_only=True)
class Environment:
    """`task.environment` (parallel-job.md). `conda` is the parsed conda file; `conda_path` where it came from."""

    name: str | None = None
    version: str | None = None
    image: str | None = None
    conda: Mapping[str, object] | None = None
    conda_path: str | None = None
    build_context: str | None = None
    dockerfile: str | None = None
    description: str | None = None

    @property
    def is_container(self) -> bool:
        """Whether it is an image, or says how to build one."""
        return bool(self.image or self.build_context)


@dataclass(frozen=True, kw_only=True)
class RetrySettings:
    max_retries: int = 2  # further attempts after the first
    timeout: float = 60  # seconds for one run(), its result consumed


@dataclass(frozen=True, kw_only=True)
class Resources:
    instance_count: int = 1
    max_instance_count: int | None = None
    instance_type: tuple[str, ...] = ()  # in order of preference
    shm_size: str = "2g"
    docker_args: tuple[str, ...] = ()  # split as a shell splits words
    docker_args_base: str = "/"  # where relative paths in them start: the job file's folder
    properties: Mapping[str, object] = field(default_factory=dict)
    locations: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class SystemArguments:
    """The predefined program arguments that remain after attributes of the same meaning were merged. Seconds throughout."""

    allowed_failed_percent: float = 100
    task_overhead_timeout: float = 600
    progress_update_timeout: float = 600
    first_task_creation_timeout: float = 600
    resource_monitor_interval: float = 600  # 0 = off
    copy_logs_to_parent: bool = False
    metrics_name_prefix: str = ""
    push_metrics_to_parent: bool = False
    append_row_dataframe_header: bool = False
    profiling_module: str | None = None  # "cProfile"


@dataclass(frozen=True, kw_only=True)
class Step:
    """A parallel or a command job, or one such step of a pipeline, ready to run.

    A command is run as a single mini-batch by a single worker: what says how mini-batches are made, tried again and counted has
    the values that follow from that.
    """

    name: str  # the job's name; for a step of a pipeline `<pipeline>.<step>`
    step: str | None = None  # the step's name in its pipeline
    display_name: str = ""
    experiment_name: str = ""
    description: str = ""
    tags: Mapping[str, str] = field(default_factory=dict)
    properties: Mapping[str, str] = field(default_factory=dict)
    compute: str = "local"
    code: str = "."  # absolute path of the source folder; empty for a command without one: it starts in an empty folder
    entry_script: str = ""  # relative to `code`
    command: str = ""  # of a command: text for the shell, in which "${1}", "${2}", … stand for `program_arguments` (spec/command_text.py)
    program_arguments: tuple[str, ...] = ()  # sys.argv[1:], fully resolved
    model: str | None = None  # absolute local path of task.model
    environment: Environment | None = None
    environment_variables: Mapping[str, str] = field(default_factory=dict)
    inputs: Mapping[str, JobInput] = field(default_factory=dict)
    outputs: Mapping[str, JobOutput] = field(default_factory=dict)
    input_data: str = ""  # the name of the input that is split
    append_row_to: str | None = None  # the name of an output; None: summary only
    mini_batch_size: int | None = None  # files, or bytes; None: 10 files or 1 MiB, once it is known which
    mini_batch_size_has_unit: bool = False  # a byte unit was written (an error on file inputs)
    partition_keys: tuple[str, ...] = ()
    max_concurrency_per_instance: int | None = None  # None: decided by the compute
    mini_batch_error_threshold: int = NO_LIMIT
    error_threshold: int = NO_LIMIT
    retry: RetrySettings = field(default_factory=RetrySettings)
    logging_level: Literal["WARNING", "INFO", "DEBUG"] = "INFO"
    resources: Resources = field(default_factory=Resources)
    identity: Mapping[str, object] | None = None
    is_deterministic: bool = True
    arguments: SystemArguments = field(default_factory=SystemArguments)
    notices: tuple[str, ...] = ()  # what this build says before the job starts: kept without effect, differs from Azure, …

    @property
    def type(self) -> Literal["parallel", "command"]:
        """As job files have it."""
        return "command" if self.command else "parallel"


@dataclass(frozen=True, kw_only=True)
class PipelineJob:
    """A pipeline whose steps run in the order given by `depends_on` (step names)."""

    name: str
    display_name: str = ""
    experiment_name: str = ""
    description: str = ""
    tags: Mapping[str, str] = field(default_factory=dict)
    properties: Mapping[str, str] = field(default_factory=dict)
    inputs: Mapping[str, JobInput] = field(default_factory=dict)
    outputs: Mapping[str, JobOutput] = field(default_factory=dict)
    steps: Mapping[str, Step] = field(default_factory=dict)
    depends_on: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    continue_on_step_failure: bool = True
    force_rerun: bool = False
    notices: tuple[str, ...] = ()


Job = Step | PipelineJob
