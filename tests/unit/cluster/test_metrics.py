from __future__ import annotations

import math

import pytest

from runner.cluster.metrics import COUNTER, GAUGE, Histogram, labelled, number, render, single
from runner.cluster.tally import FORGOTTEN_SECONDS, SILENT_SECONDS, Tallies
from runner.compute.stats import Stats
from tests.exposition import parse


def test_what_is_written_can_be_read() -> None:
    histogram = Histogram((0.5, 2))
    for seconds in (0.1, 0.5, 1, 100):
        histogram.observe(seconds)
    families = [
        single("runner_jobs_total", COUNTER, "Jobs,\nall of them: a\\b.", 3),
        labelled("runner_free_bytes", GAUGE, "Free.", "node", {'a"b\\c\nd': 1.5, "e": 2**40}),
        histogram.family("runner_seconds", "It took."),
        labelled("runner_none", GAUGE, "Nothing of it.", "node", {}),
    ]
    text = render(families)
    assert text.startswith("# HELP runner_jobs_total Jobs,\\nall of them: a\\\\b.\n# TYPE runner_jobs_total counter\nrunner_jobs_total 3\n")
    found = parse(text)
    assert found.value("runner_free_bytes", node="e") == 2**40
    assert [found.value("runner_seconds_bucket", le=le) for le in ("0.5", "2", "+Inf")] == [2, 3, 4]
    assert found.value("runner_seconds_sum") == pytest.approx(101.6)


def test_numbers() -> None:
    assert [number(value) for value in (0, 1.0, 0.25, 1e300, math.inf, -math.inf)] == ["0", "1", "0.25", "1e+300", "+Inf", "-Inf"]


def line(life: str, number: int, succeeded: float, *, first: float = 0, syncs: float = 0, **levels: float) -> dict[str, object]:
    progress, begun = {"succeeded": succeeded}, {"succeeded": first}
    totals = {"syncs": syncs}
    return {"step": "", "life": life, "number": number, "first": begun, "progress": progress, "totals": totals, "levels": levels}


def test_totals_are_counted_once() -> None:
    tallies = Tallies()
    for words in (line("a", 1, 5, syncs=1), line("a", 2, 8, syncs=2), line("a", 2, 8, syncs=2), line("a", 1, 5), line("a", 4, 20, syncs=6)):
        tallies.add("job", words, 0)
    assert tallies.totals["succeeded"] == 20
    assert tallies.totals["syncs"] == 6
    tallies.add("other", line("b", 1, 3, syncs=1), 0)
    assert tallies.totals["succeeded"] == 23
    assert tallies.totals["syncs"] == 7


def test_the_next_owner_of_a_job_goes_on_where_it_was() -> None:
    """The first one has been killed after its last line; five of what it had finished were durable."""
    tallies = Tallies()
    tallies.add("job", line("a", 1, 10, syncs=4), 0)
    tallies.add("job", line("b", 1, 18, first=15, syncs=1), 9)
    assert tallies.totals["succeeded"] == 18
    assert tallies.totals["syncs"] == 5
    tallies.add("job", line("c", 1, 17, first=16), 12)
    assert tallies.totals["succeeded"] == 18


def test_a_job_that_is_resumed_counts_what_it_does_now() -> None:
    tallies = Tallies()
    tallies.add("job", line("a", 1, 10), 0)
    tallies.forget("job")
    tallies.add("job", line("b", 1, 12, first=8), 9)
    assert tallies.totals["succeeded"] == 14


def test_totals_that_go_down_and_up_again_do_not_count_twice() -> None:
    """An instance is lost with results that were not durable."""
    tallies = Tallies()
    for place, succeeded in enumerate((10, 6, 9, 12), start=1):
        tallies.add("job", line("a", place, succeeded), 0)
    assert tallies.totals["succeeded"] == 12


def test_an_owner_that_an_earlier_scheduler_has_counted() -> None:
    tallies = Tallies()
    tallies.add("job", line("a", 7, 100, syncs=50), 0)
    tallies.add("job", line("a", 8, 103, syncs=51), 0)
    assert tallies.totals["succeeded"] == 3
    assert tallies.totals["syncs"] == 1


def test_levels_are_those_of_owners_that_live() -> None:
    tallies = Tallies()
    tallies.add("one", line("a", 1, 0, ready=2, longest_wait=0.5), 0)
    tallies.add("two", line("b", 1, 0, ready=3, longest_wait=0.25), 5)
    assert tallies.level("ready", 5) == 5
    assert tallies.level("longest_wait", 5) == 0.5
    assert tallies.level("ready", SILENT_SECONDS + 1) == 3
    tallies.add("three", line("c", 1, 1), FORGOTTEN_SECONDS + 100)
    assert len(tallies._lives) == 1


NO_LINES: list[dict[str, object]] = [
    {},
    {"life": "a", "number": "x"},
    line("a", 1, -1),
    line("a", 1, math.nan),
    {**line("a", 1, 1), "totals": 5},
    {**line("a", 1, 1), "levels": {"ready": "many"}},
]


@pytest.mark.parametrize("words", NO_LINES)
def test_what_is_no_line_counts_nothing(words: dict[str, object]) -> None:
    tallies = Tallies()
    with pytest.raises((KeyError, TypeError, ValueError)):
        tallies.add("job", words, 0)
    assert not any(tallies.totals.values())


def test_an_owner_says_where_it_began() -> None:
    done, sent = [40.0], list[dict[str, object]]()
    stats = Stats(
        progress=lambda: {"succeeded": done[0]}, totals=lambda: {"syncs": 2}, levels=lambda: {"ready": 2}, send=sent.append
    )  # fmt: skip
    stats.start()
    done[0] = 50
    stats.close()
    (words,) = sent
    assert words.pop("life")
    counts = {"first": {"succeeded": 40}, "progress": {"succeeded": 50}, "totals": {"syncs": 2}, "levels": {}}
    assert words == {"number": 1, **counts}
