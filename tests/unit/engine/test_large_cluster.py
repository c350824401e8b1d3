"""Many instances on a fake clock; each call costs the coordinator a fixed time, so that nothing depends on the machine."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.simulation import Setting, Simulation
from runner.engine import policy


@pytest.mark.parametrize(("instances", "durations"), [(100, "constant"), (200, "random")])
def test_workers_are_busy_and_the_coordinator_is_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, instances: int, durations: str
) -> None:
    monkeypatch.setattr("os.fsync", lambda _file: None)  # the disk's time is charged, not spent
    batches = instances * 8 * 100
    found = Simulation(tmp_path, Setting(instances=instances, batches=batches, durations=durations, cost=0.0001)).run()
    assert found.done == batches
    assert found.busy >= 0.98
    assert found.load < 0.5
    assert found.peak_before_end < 2 * policy.EXCHANGES_PER_SECOND


def test_leases_grow_with_the_cluster() -> None:
    assert policy.pace(1) == policy.pace(60) == 0
    assert policy.pace(1000) == 2
    assert policy.lease_size(seconds_each=0.1, workers=8, pace=policy.pace(100)) == 20
    assert policy.lease_size(seconds_each=0.1, workers=8, pace=policy.pace(1000)) == 160
