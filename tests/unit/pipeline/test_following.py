"""How a step says its counts while it runs."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from runner.engine.session import Verdict
from runner.model.batch import Progress
from runner.pipeline import step_run
from runner.pipeline.step_run import StepRun


def test_the_last_counts_are_said_until_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who writes them down once a second may have left them out: no mini-batch ends for hours, maybe."""
    clock, said, done = SimpleNamespace(now=100.0), [], Verdict(status="Completed")

    def wait(seconds: float) -> Verdict | None:
        clock.now += seconds
        return done if clock.now > 105 else None

    monkeypatch.setattr(step_run, "time", SimpleNamespace(monotonic=lambda: clock.now))
    coordinator: Any = SimpleNamespace(wait=wait, progress=lambda: Progress(total=2, succeeded=int(clock.now > 101)))
    step: Any = SimpleNamespace(
        step=SimpleNamespace(command=""),
        _voice=SimpleNamespace(progressed=lambda progress: said.append((clock.now, progress.succeeded))),
        _tracking=SimpleNamespace(progressed=lambda _progress: None),
    )
    assert StepRun._follow(step, coordinator) is done
    assert said == [(100.25, 0), (101.25, 1), (102.25, 1), (103.25, 1), (104.25, 1)]
