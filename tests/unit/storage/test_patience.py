from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator

import pytest

from runner.storage.patience import LONGEST_ASKED, Again, Patience
from runner.storage.problems import BlobMissing, StorageRefused, StorageUnavailable


class Clock:
    """Waiting takes no time, and the clock says that it has."""

    def __init__(self) -> None:
        self.time = 1_000.0
        self.waits: list[float] = []

    def now(self) -> float:
        return self.time

    def pause(self, _event: threading.Event, seconds: float) -> None:
        self.waits.append(seconds)
        self.time += seconds


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def said() -> list[str]:
    return []


@pytest.fixture
def patience(clock: Clock, said: list[str]) -> Patience:
    return Patience(name="datastore 'x'", say=said.append, now=clock.now, pause=clock.pause)


def attempts(*results: object) -> Callable[[], object]:
    """Each in turn; exceptions are raised, the last one again and again."""
    left: Iterator[object] = iter(results)
    last = results[-1]

    def attempt() -> object:
        result = next(left, last)
        if isinstance(result, Exception):
            raise result
        return result

    return attempt


def test_pauses_double_up_to_a_limit(patience: Patience, clock: Clock) -> None:
    assert patience.attempt(attempts(*[Again("503")] * 9, "ok")) == "ok"
    limits = [0.25, 0.5, 1, 2, 4, 8, 15, 15, 15]
    assert all(limit / 2 <= wait <= limit for wait, limit in zip(clock.waits, limits, strict=True))


def test_what_the_server_asks_for(patience: Patience, clock: Clock) -> None:
    patience.attempt(attempts(Again("429", 7.0), Again("429", 3600.0), "ok"))
    assert clock.waits == [7.0, LONGEST_ASKED]


def test_end_of_the_patience(patience: Patience, clock: Clock) -> None:
    with pytest.raises(StorageUnavailable, match=r"datastore 'x' could not be reached for 9\d\d s: connection refused"):
        patience.attempt(attempts(Again("connection refused")))
    assert 900 <= clock.time - 1_000 < 916


def test_a_wait_is_told_from_time_to_time(patience: Patience, clock: Clock, said: list[str]) -> None:
    patience.attempt(attempts(Again("503"), "ok"))
    assert said == []
    patience.attempt(attempts(*[Again("503", 16.0)] * 3, "ok"))
    assert said == [
        "waiting for datastore 'x': 503 (for 16 s; gives up after 900 s)",
        "waiting for datastore 'x': 503 (for 32 s; gives up after 900 s)",
        "datastore 'x' answers again",
    ]


def test_when_it_answers_again_nobody_sleeps_on(said: list[str]) -> None:
    now, answers = [0.0], threading.Event()
    asleep: list[float] = []

    def pause(event: threading.Event, seconds: float) -> None:
        asleep.append(seconds)
        assert event.wait(20)  # however long it should be

    def call() -> str:
        if not answers.is_set():
            raise Again("503")
        return "ok"

    patience = Patience(name="datastore 'x'", say=said.append, now=lambda: now[0], pause=pause)
    results: list[str] = []
    sleepers = [threading.Thread(target=lambda: results.append(patience.attempt(call))) for _ in range(3)]
    for number, each in enumerate(sleepers, 1):
        each.start()
        while len(asleep) < number:
            time.sleep(0.01)
        now[0] += 6.0  # so that the second one tells of it
    answers.set()
    assert patience.attempt(call) == "ok"
    for each in sleepers:
        each.join(10)
    assert results == ["ok"] * 3
    assert said[-1] == "datastore 'x' answers again"


def test_the_end_of_a_wait_may_be_told_to_somebody_else(clock: Clock, patience: Patience, said: list[str]) -> None:
    over: list[str] = []
    patience.over = over.append
    patience.attempt(attempts(*[Again("503", 16.0)] * 3, "ok"))
    assert len(said) == 2
    assert over == ["datastore 'x' answers again"]


def test_an_answer_ends_an_outage_whatever_it_says(patience: Patience, clock: Clock, said: list[str]) -> None:
    with pytest.raises(BlobMissing):
        patience.attempt(attempts(Again("503", 30.0), Again("503", 30.0), BlobMissing("nothing")))
    assert said[-1] == "datastore 'x' answers again"
    assert patience.calm_since == clock.time


def test_what_is_written_wrongly(patience: Patience, clock: Clock) -> None:
    """It is refused after a trial, unless something has worked before."""
    wrong = Again("unknown host", refusal=StorageRefused("no such host"), trial=10.0)
    with pytest.raises(StorageRefused, match="no such host"):
        patience.attempt(attempts(wrong))
    assert clock.time - 1_000 == pytest.approx(10)
    assert patience.attempt(attempts(wrong, wrong, "ok")) == "ok"
    with pytest.raises(StorageUnavailable):
        patience.attempt(attempts(wrong))


def test_stop(said: list[str]) -> None:
    """Threads that wait end at once, without another attempt."""
    patience = Patience(name="x", say=said.append)
    tried = []
    failures = []

    def attempt() -> None:
        tried.append(1)
        raise Again("503", 60.0)

    def wait() -> None:
        try:
            patience.attempt(attempt)
        except StorageUnavailable as error:
            failures.append(str(error))

    thread = threading.Thread(target=wait)
    thread.start()
    while not tried:
        time.sleep(0.01)
    patience.stop()
    thread.join(5)
    assert len(tried) == 1
    assert "nobody waits any longer for x: 503" in failures[0]
