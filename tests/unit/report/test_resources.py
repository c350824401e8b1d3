from __future__ import annotations

import csv
import os
import time

from runner.model.events import InstanceStarted, JobEnded, WorkerStarted
from runner.report.resources import ResourceMonitor

END = JobEnded(at=0, status="Completed", code="completed", message="")


def _rows(path):
    with path.open() as file:
        return list(csv.DictReader(file))


def test_samples_node_disks_and_workers(tmp_path):
    monitor = ResourceMonitor(tmp_path, interval=0.05, disks={"job": tmp_path})
    monitor(WorkerStarted(at=0, node="node_0", process="process000", pid=os.getpid()))
    monitor(WorkerStarted(at=0, node="node_0", process="process001", pid=2**22 + 1))  # no such process
    monitor(InstanceStarted(at=0, node="node_0", workers=2))
    perf = tmp_path / "sys" / "perf" / "node_0"
    deadline = time.monotonic() + 5
    node = perf / "node_resource_usage.csv"
    while time.monotonic() < deadline and not (node.exists() and len(_rows(node)) > 2):
        time.sleep(0.02)
    monitor(END)
    nodes = _rows(perf / "node_resource_usage.csv")
    assert nodes[0]["cpu_percent"] == ""
    assert float(nodes[-1]["cpu_percent"]) >= 0
    assert int(nodes[0]["memory_total_mb"]) > 0
    workers = _rows(perf / "processes_resource_usage.csv")
    assert {row["process"] for row in workers} == {"process000"}
    assert int(workers[0]["memory_mb"]) > 0
    assert _rows(perf / "node_disk_usage.csv")[0]["path"] == "job"


def test_zero_turns_it_off(tmp_path):
    monitor = ResourceMonitor(tmp_path, interval=0, disks={})
    monitor(InstanceStarted(at=0, node="node_0", workers=2))
    monitor(END)
    assert list(tmp_path.iterdir()) == []
