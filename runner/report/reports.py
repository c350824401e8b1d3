"""What is written of a running job: by step, its logs and what its machine does."""

from __future__ import annotations

import threading
from pathlib import Path

from runner.model.events import Event
from runner.model.job import Job, PipelineJob, Step
from runner.model.paths import JobPaths
from runner.report.logs import LogTree
from runner.report.resources import ResourceMonitor
from runner.storage.addresses import is_address


class Reports:
    """The log trees and resource monitors of a job and of its steps; an observer that hands each event to those of its step.

    `monitored`: the workers run on this machine. On a cluster each node has a monitor of its own.
    """

    def __init__(self, job: Job, paths: JobPaths, *, monitored: bool) -> None:
        self._job, self._paths, self._monitored = job, paths, monitored
        self._steps: dict[str, tuple[LogTree, ResourceMonitor | None]] = {}
        self._lock = threading.Lock()  # steps run side by side
        self._of("")

    def __call__(self, event: Event) -> None:
        tree, monitor = self._of(event.step)
        tree(event)
        if monitor is not None:
            monitor(event)

    def close(self) -> None:
        for tree, monitor in self._steps.values():
            if monitor is not None:
                monitor.close()
            tree.close()

    def _of(self, name: str) -> tuple[LogTree, ResourceMonitor | None]:
        with self._lock:
            if name not in self._steps:
                self._steps[name] = self._make(name)
                if name:
                    self._steps[""][0].steps[name] = self._steps[name][0].summary
            return self._steps[name]

    def _make(self, name: str) -> tuple[LogTree, ResourceMonitor | None]:
        job = self._job.steps[name] if isinstance(self._job, PipelineJob) and name else self._job
        paths = self._paths.step(name) if name else self._paths
        outputs = {key: port.path for key, port in job.outputs.items()}
        level = job.logging_level if isinstance(job, Step) else "INFO"
        tree = LogTree(paths.logs, name=job.name, outputs=outputs, level=level, command=isinstance(job, Step) and bool(job.command))
        if not isinstance(job, Step) or not self._monitored:
            return tree, None
        disks = {"job": paths.root, "logs": paths.logs} | {key: Path(path).parent for key, path in outputs.items() if not is_address(path)}
        return tree, ResourceMonitor(paths.logs, interval=job.arguments.resource_monitor_interval, disks=disks)
