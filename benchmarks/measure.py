"""Medians of interleaved runs: A, B, A, B, … in one go, because the machine's speed drifts."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path

CACHE = Path(os.environ.get("BENCHMARK_CACHE", Path(tempfile.gettempdir()) / "runner-benchmarks"))


def interleaved(candidates: Mapping[str, Callable[[], float]], rounds: int) -> dict[str, list[float]]:
    """Calls each candidate in turn, `rounds` times; they return what was measured."""
    found: dict[str, list[float]] = {name: [] for name in candidates}
    for _ in range(rounds):
        for name, run in candidates.items():
            found[name].append(run())
    return found


def show(title: str, unit: str, found: Mapping[str, list[float]], *, against: str | None = None) -> None:
    """A line per candidate: median, smallest, largest, and the median ratio to `against`, pair by pair."""
    print(f"\n{title} [{unit}]")
    for name, values in found.items():
        line = f"  {name:<44}{statistics.median(values):>14,.2f}   ({min(values):,.2f} … {max(values):,.2f})"
        if against and name != against:
            line += f"   × {statistics.median(a / b for a, b in zip(values, found[against], strict=True)):.2f}"
        print(line)


def seconds(call: Callable[[], object]) -> float:
    began = time.perf_counter()
    call()
    return time.perf_counter() - began


def command(*words: str, cwd: Path, workspace: Path) -> str:
    """Runs the command line and returns what it printed. Raises if it fails."""
    environment = {**os.environ, "RUNNER_WORKSPACE": str(workspace)}
    environment.pop("PYTHONDONTWRITEBYTECODE", None)  # where it is installed, a command is not compiled at each start
    done = subprocess.run([sys.executable, "-m", "runner", *words], cwd=cwd, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(done.stderr)
    return done.stdout


def job_file(folder: Path, **keys: object) -> Path:
    """A job file in the folder; JSON is YAML."""
    path = folder / "job.yml"
    path.write_text(json.dumps({"type": "parallel", **keys}))
    return path
