"""The coordinator alone: memory and CPU per mini-batch with simulated instances, at one and at ten million mini-batches."""

from __future__ import annotations

import gc
import os
import tempfile
import time
from pathlib import Path

from runner.engine.coordinator import Coordinator
from runner.engine.journal import Journal
from runner.engine.manifest import Manifest
from runner.engine.session import CoordinatorSettings
from runner.model.batch import Chunk, Lease, Report, Segment, Tally

LINE = b'{"files":[["image-0000000.png",1024,1690000000000000000]]}'
INSTANCES = 100
LEASE = 2_000


class Clock:
    """Real time: what an exchange costs is what is measured."""

    def now(self) -> float:
        return time.monotonic()

    def wall(self) -> float:
        return time.time()


def resident() -> int:
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def measure(total: int) -> tuple[float, float]:
    """(bytes, CPU microseconds) per mini-batch."""
    with tempfile.TemporaryDirectory(dir="/dev/shm") as folder:
        gc.collect()
        before, cpu = resident(), time.process_time()
        coordinator = Coordinator(
            settings=CoordinatorSettings(), manifest=Manifest(Path(folder, "m")), journal=Journal(Path(folder, "j")), clock=Clock()
        )
        for first in range(0, total, 4096):
            count = min(4096, total - first)
            coordinator.feed(Chunk(lines=[LINE] * count, items=count, bytes=1024 * count))
        coordinator.feed_done()
        epochs = [coordinator.join(f"node_{i}", workers=16, wake=lambda: None) for i in range(INSTANCES)]
        reports = {epoch: Report() for epoch in epochs}
        peak = 0
        while epochs:
            for epoch in list(epochs):
                answer = coordinator.exchange(epoch, reports[epoch], LEASE)
                if isinstance(answer, Lease):
                    tally = Tally(succeeded=answer.count, items=answer.count)
                    done = Segment(first=answer.first, last=answer.first + answer.count - 1, tally=tally)
                    reports[epoch] = Report(segments=(done,))
                elif coordinator.wait(0) is not None:
                    epochs.remove(epoch)
                else:
                    reports[epoch] = Report()
            peak = max(peak, resident())
        return (peak - before) / total, (time.process_time() - cpu) / total * 1e6


def main() -> None:
    print(f"\nCoordinator, {INSTANCES} simulated instances, leases of {LEASE:,}")
    for total in (1_000_000, 10_000_000):
        size, cpu = measure(total)
        print(f"  {total:>12,} mini-batches: {size:8.1f} bytes, {cpu:6.3f} µs of CPU each")


if __name__ == "__main__":
    main()
