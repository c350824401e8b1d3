from __future__ import annotations

import queue
import threading

import pytest

pytest.importorskip("ray")

from runner.cluster.scheduler import Scheduler


def test_a_call_that_fails_is_that_calls_trouble_alone() -> None:
    """Whatever goes wrong with one job, those of others are scheduled."""
    scheduler = Scheduler.__new__(Scheduler)
    scheduler._inbox, scheduler._over = queue.SimpleQueue(), False
    scheduler._look = lambda: 1 / 0  # type: ignore[method-assign, return-value, assignment]
    thread = threading.Thread(target=scheduler._run, daemon=True)
    thread.start()
    scheduler._inbox.put(lambda: [].pop())  # type: ignore[func-returns-value]
    assert scheduler.ask(lambda: "served") == "served"
    with pytest.raises(KeyError):
        scheduler.ask(lambda: {}["nobody"])
    scheduler.ask(lambda: setattr(scheduler, "_over", True))
    thread.join(5)
    assert not thread.is_alive()
