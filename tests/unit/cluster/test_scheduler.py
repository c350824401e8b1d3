from __future__ import annotations

import os
import queue
import threading
from pathlib import Path
from types import SimpleNamespace

import pytest

from runner.cluster import accepted
from runner.cluster import scheduler as scheduler_module
from runner.cluster.accepted import Accepted
from runner.cluster.admission import instances
from runner.cluster.requests import User
from runner.cluster.scheduler import Scheduler
from runner.cluster.scheduling import Plan, Request
from runner.errors import UserError
from runner.model.paths import JobPaths


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


def test_the_nodes_are_looked_at_however_much_there_is_to_do() -> None:
    scheduler = Scheduler.__new__(Scheduler)
    scheduler._inbox, scheduler._over = queue.SimpleQueue(), False
    scheduler._look = lambda: setattr(scheduler, "_over", True)  # type: ignore[method-assign, return-value, assignment]

    def again() -> None:
        scheduler._inbox.put(again)

    again()
    thread = threading.Thread(target=scheduler._run, daemon=True)
    thread.start()
    thread.join(5)
    alive = thread.is_alive()
    scheduler._over = True
    assert not alive


@pytest.mark.parametrize("count", [1.0, -1, 0, "2", None, True, [1], 10**9, float("nan")])
def test_what_is_no_number_of_instances_is_refused(count: object) -> None:
    """A slice of the candidates by 1.0 would raise for all jobs, at each planning."""
    with pytest.raises(UserError):
        instances(count)
    assert instances(3) == 3


def test_what_stands_in_the_folder_of_a_waiting_job_does_not_keep_the_scheduler_from_starting(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    removed: list[str] = []
    scheduler = Scheduler.__new__(Scheduler)
    paths = JobPaths(tmp_path, tmp_path / "logs")
    monkeypatch.setattr(accepted, "paths_of", lambda _workspace, _name: paths)
    scheduler.workspace = SimpleNamespace()  # type: ignore[assignment]
    scheduler.accepted = SimpleNamespace(remove=removed.append)  # type: ignore[assignment]
    for text in ("[" * 100_000, "[]", '{"type": "pipeline", "name": "a"}', '{"type": []}'):
        paths.spec.write_text(text)
        scheduler._recover_waiting(Accepted(name="a", user=User(uid=0, gid=0), number=1))
    assert removed == ["a"] * 4


def test_files_of_users_are_read_with_limits_and_leave_no_descriptor(tmp_path: Path) -> None:
    paths = JobPaths(tmp_path, tmp_path / "logs")
    paths.access_key.mkdir()
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(3):
        with pytest.raises(OSError, match=r"directory|not a file"):
            accepted.check_key(paths, "key")
    assert len(os.listdir("/proc/self/fd")) == before
    with open(paths.record, "wb") as file:
        file.truncate(accepted.FILE_SIZE + 1)
    assert accepted.read_record(paths) == {}
    paths.record.write_text("[" * 100_000)
    assert accepted.read_record(paths) == {}


def test_a_record_that_hangs_keeps_nobody_waiting_but_who_cancels(monkeypatch: pytest.MonkeyPatch) -> None:
    scheduler = Scheduler.__new__(Scheduler)
    scheduler._inbox, scheduler._over = queue.SimpleQueue(), False
    scheduler._look = lambda: None  # type: ignore[method-assign]
    job, hangs, ended = Accepted(name="a", user=User(uid=0, gid=0), number=1), threading.Event(), []
    scheduler.fields = {"workspace": "w"}
    scheduler._cancel = lambda _name, _body: job  # type: ignore[method-assign]
    scheduler._cancelled = ended.append  # type: ignore[method-assign]
    monkeypatch.setattr(scheduler_module, "run_end", lambda *_: hangs.wait(10))
    threading.Thread(target=scheduler._run, daemon=True).start()
    asking = threading.Thread(target=scheduler.cancel, args=("a", {}), daemon=True)
    asking.start()
    assert scheduler.ask(lambda: "served") == "served"
    assert not ended
    hangs.set()
    asking.join(5)
    assert ended == [job]
    scheduler.ask(lambda: setattr(scheduler, "_over", True))


@pytest.mark.parametrize("step", ["a/b", 1, None, ["a"]])
def test_an_owner_cannot_name_places_so_that_they_are_not_known_again(step: object) -> None:
    scheduler = Scheduler.__new__(Scheduler)
    scheduler.requests = {}
    with pytest.raises(ValueError, match=r"a|1|None"):
        scheduler._want(Accepted(name="a", user=User(uid=0, gid=0), number=1), {"step": step, "types": [], "count": 1, "maximum": 1})
    assert not scheduler.requests


def test_steps_of_a_job_ask_side_by_side() -> None:
    """What one asks for costs another nothing; what was reserved for a step goes when its owner says that it is over."""
    scheduler = Scheduler.__new__(Scheduler)
    scheduler.requests, ended = {}, []
    scheduler._admission = SimpleNamespace(types=lambda _names: ())  # type: ignore[assignment]
    scheduler._instances = SimpleNamespace(end=ended.append, release_unused=lambda: None)  # type: ignore[assignment]
    scheduler.plan = lambda: None  # type: ignore[method-assign]
    job = Accepted(name="a", user=User(uid=0, gid=0), number=1)
    scheduler.accepted = SimpleNamespace(jobs={"a": job})  # type: ignore[assignment]
    scheduler.reasons = {}
    for step in ("one", "two", "one"):
        scheduler._heard("a", {"t": "want", "step": step, "types": [], "count": 1, "maximum": 1})
    assert list(scheduler.requests) == [("a", "one"), ("a", "two")]
    scheduler._heard("a", {"t": "done", "step": "never asked"})
    scheduler._heard("a", {"t": "done", "step": "one"})
    assert list(scheduler.requests) == [("a", "two")]


def test_an_owner_that_begins_late_is_told_what_was_decided_before() -> None:
    """On a busy head instances may fail before the owner listens."""
    scheduler, told = Scheduler.__new__(Scheduler), []
    request = Request(job="a", step="", user="me", count=1, maximum=1, types=(), number=1, hopeless="no instance could be started on bad")
    scheduler.requests, scheduler.reasons = {("a", ""): request}, {("a", ""): "waits"}
    scheduler.tell = lambda name, words: told.append((name, words))  # type: ignore[method-assign]
    scheduler.plan = lambda: scheduler._tell_reasons(Plan(starts=(), away=(), reasons={("a", ""): "waits"}))  # type: ignore[method-assign]
    scheduler.accepted = SimpleNamespace(jobs={"a": Accepted(name="a", user=User(uid=0, gid=0), number=1)})  # type: ignore[assignment]
    scheduler._heard("a", {"t": "want", "step": "", "types": [], "count": 1, "maximum": 1})
    assert told == [
        ("a", {"t": "failed", "step": "", "text": "no instance could be started on bad"}),
        ("a", {"t": "queued", "step": "", "reason": "waits"}),
    ]
