"""The resource monitor: what the node and its worker processes use, sampled from /proc into `sys/perf/<node>/`."""

from __future__ import annotations

import csv
import os
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from runner.model.events import Event, InstanceEnded, InstanceStarted, JobEnded, WorkerEnded, WorkerStarted
from runner.model.moments import utc

NODE_COLUMNS = ("time", "cpu_percent", "load_1min", "memory_total_mb", "memory_available_mb", "swap_used_mb")
PROCESS_COLUMNS = ("time", "process", "pid", "cpu_percent", "memory_mb", "threads", "read_mb", "written_mb")
DISK_COLUMNS = ("time", "path", "total_mb", "used_mb", "free_mb", "used_percent")
_MB = 1024 * 1024
_TICKS = os.sysconf("SC_CLK_TCK")
_PAGE = os.sysconf("SC_PAGE_SIZE")
_ROWS = 200_000  # of one file: then no more are written


class ResourceMonitor:
    """An observer that learns from events which nodes and workers there are, with a thread that samples them.

    The first sample is taken when an instance starts, further ones every `interval` seconds, the last when the job ends. With 0 it is off.
    """

    def __init__(self, logs: Path, *, interval: float, disks: Mapping[str, Path]) -> None:
        self._logs, self._interval, self._disks = logs, interval, dict(disks)
        self._workers: dict[str, dict[str, int]] = {}  # node → process → pid
        self._before: dict[object, tuple[float, float]] = {}  # what → (moment, CPU seconds)
        self._rows: dict[Path, int] = {}
        self._lock = threading.Lock()
        self._wake = threading.Event()
        self._over = False
        self._thread: threading.Thread | None = None

    def __call__(self, event: Event) -> None:
        if self._interval <= 0:
            return
        with self._lock:
            if isinstance(event, InstanceStarted):
                self._workers.setdefault(event.node, {})
                self._start()
            elif isinstance(event, WorkerStarted):
                self._workers.setdefault(event.node, {})[event.process] = event.pid
            elif isinstance(event, WorkerEnded):
                self._workers.get(event.node, {}).pop(event.process, None)
            elif isinstance(event, InstanceEnded):
                self._workers.pop(event.node, None)
        if isinstance(event, JobEnded):
            self.close()

    def close(self) -> None:
        """Ends the thread; idempotent."""
        self._over = True
        self._wake.set()
        thread, self._thread = self._thread, None
        if thread is not None:
            thread.join()

    def _start(self) -> None:
        if self._thread is None and not self._over:
            self._thread = threading.Thread(target=self._run, name="resources", daemon=True)
            self._thread.start()

    def _run(self) -> None:
        while not self._over:
            try:
                self.sample()
            except OSError:
                pass  # a full disk must not hurt the job; the next sample may fit again
            self._wake.wait(self._interval)

    def sample(self) -> None:
        """Writes one row for each node, disk and worker."""
        with self._lock:
            workers = {node: dict(processes) for node, processes in self._workers.items()}
        now = utc(time.time())
        for node, processes in workers.items():
            folder = self._logs / "sys" / "perf" / node
            self._append(folder / "node_resource_usage.csv", NODE_COLUMNS, [(now, *self._node_usage())])
            disks = [(now, name, *_disk_usage(path)) for name, path in self._disks.items() if path.exists()]
            self._append(folder / "node_disk_usage.csv", DISK_COLUMNS, disks)
            rows = [(now, process, pid, *usage) for process, pid in processes.items() if (usage := self._process_usage(pid))]
            self._append(folder / "processes_resource_usage.csv", PROCESS_COLUMNS, rows)

    def _append(self, file: Path, columns: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
        written = self._rows.get(file, 0)
        if written >= _ROWS:
            return
        new = not file.exists()
        file.parent.mkdir(parents=True, exist_ok=True)
        with open(file, "a", newline="", encoding="utf-8") as stream:
            writer = csv.writer(stream, lineterminator="\n")
            if new:
                writer.writerow(columns)
            writer.writerows(rows)
        self._rows[file] = written + len(rows)

    def _node_usage(self) -> tuple[object, ...]:
        ticks = [int(word) for word in _read("/proc/stat").split("\n", 1)[0].split()[1:9]]
        busy = (sum(ticks) - ticks[3] - ticks[4]) / _TICKS  # without idle and iowait
        memory = {line.split(":")[0]: int(line.split()[1]) * 1024 for line in _read("/proc/meminfo").splitlines() if line.endswith("kB")}
        swap = memory.get("SwapTotal", 0) - memory.get("SwapFree", 0)
        cpu = self._percent("node", busy)
        sizes = (memory["MemTotal"], memory.get("MemAvailable", 0), swap)
        return (cpu, _read("/proc/loadavg").split()[0], *(size // _MB for size in sizes))

    def _process_usage(self, pid: int) -> tuple[object, ...] | None:
        try:
            fields = _read(f"/proc/{pid}/stat").rpartition(")")[2].split()  # a name may hold blanks and brackets
        except OSError:
            return None  # it has just ended
        cpu = (int(fields[11]) + int(fields[12])) / _TICKS
        try:
            transfers = dict(line.split(": ") for line in _read(f"/proc/{pid}/io").splitlines())
        except OSError:
            transfers = {}  # of another user's process
        moved = (int(transfers.get(key, 0)) // _MB for key in ("rchar", "wchar"))
        return (self._percent(pid, cpu), int(fields[21]) * _PAGE // _MB, int(fields[17]), *moved)

    def _percent(self, what: object, cpu: float) -> str:
        """Since the last sample, 100 for one busy core; empty in the first sample."""
        now = time.monotonic()
        before = self._before.get(what)
        self._before[what] = (now, cpu)
        if before is None or now <= before[0]:
            return ""
        return f"{100 * (cpu - before[1]) / (now - before[0]):.1f}"


def _disk_usage(path: Path) -> tuple[object, ...]:
    usage = os.statvfs(path)
    total, free = usage.f_blocks * usage.f_frsize, usage.f_bavail * usage.f_frsize
    used = (usage.f_blocks - usage.f_bfree) * usage.f_frsize
    return (total // _MB, used // _MB, free // _MB, f"{100 * used / total:.1f}" if total else "")


def _read(path: str) -> str:
    with open(path, encoding="utf-8", errors="replace") as file:
        return file.read()
