"""What an instance and its workers are told."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from runner.model.ports import InstanceRequest
from runner.worker import protocol

AGENT = os.path.dirname(protocol.__file__)
LOG_CAP = 64 << 20


@dataclass(frozen=True, kw_only=True)
class WorkerSettings:
    """What every worker of an instance is told (see CONFIG in runner/worker/protocol.py)."""

    job: str
    node: str
    processes: int
    kind: str
    root: str
    code: Path  # the snapshot; each worker gets a copy
    source: str  # the user's own folder that it was taken from: what messages name in the place of the copy
    copies: Path  # where the copies go
    entry_script: str
    command: str = ""  # in the place of an entry script
    arguments: Sequence[str]
    append_rows: bool
    to_csv: Mapping[str, object]
    header: bool
    logging_level: str
    logs: Path
    output_dir: str
    foreign: bool = False  # the workers are another user's than this process
    agent: str = AGENT  # where the agent lies for the script's interpreter: its frames are none of the user's
    gpus: tuple[str, ...] = ()  # worker i gets the i-th while there are some left; further ones get none of them
    profile: bool = False
    log_cap: int = LOG_CAP
    environment: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class InstanceSettings:
    """`worker` is what workers are told; the rest is how they are supervised. Seconds throughout."""

    worker: WorkerSettings
    request: InstanceRequest  # its `sockets` are filled in when the instance starts
    parts: Path
    epoch: int  # of the job: part of the names of parts
    instances: int = 1  # with which the job begins, or goes on
    beside: tuple[str, ...] = ()  # names of those that there are, where one has come later
    max_retries: int = 2
    timeout: float = 60
    error_threshold: int = -1
    task_overhead_timeout: float = 600
    first_task_creation_timeout: float = 600
    names: Mapping[str, str] = field(default_factory=dict)  # local path of an input that lies elsewhere → what messages call it
    fetched: Path | None = None  # where a loader lays out files for the workers: of this run of the instance alone, which removes it
    synced: tuple[str, ...] = ()  # folders that scripts write to: durable before their mini-batches count as done
    uploads: Mapping[str, str] = field(default_factory=dict)  # likewise: the address of an output folder → the local one that is uploaded
    withheld: tuple[str, ...] = ()  # addresses of those that are uploaded only when what has written them has succeeded
    placed: Mapping[str, str] = field(default_factory=dict)  # likewise: a local folder that scripts write to → the place that gets it
    upload_files: tuple[str, ...] = ()  # addresses in them of outputs that are one file
    kept_out: tuple[str, ...] = ()  # addresses in them of what the runner writes: no file of a script's takes their place
    rows_blob: str = ""  # the address of the blob that gets the rows; empty: they stay in parts until they are published
