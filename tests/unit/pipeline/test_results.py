"""The index of results: who has them, in which order, and what is forgotten."""

from __future__ import annotations

from pathlib import Path

import pytest

from runner.model.batch import Progress
from runner.pipeline import results as results_module
from runner.pipeline.results import Earlier, Results, StepOf


def step(pipeline: str, at: int) -> StepOf:
    return StepOf(job=f"{pipeline}.s", pipeline=pipeline, created_at=f"2026-01-01T00:00:{at:02d}Z")


def holders(results: Results, *gone: str) -> list[str]:
    return [one.holder.pipeline for one in results.find("f", lambda holder: holder.pipeline not in gone)]


@pytest.fixture
def results(tmp_path: Path) -> Results:
    return Results(tmp_path)


def note(results: Results, holder: StepOf, origin: StepOf | None = None) -> None:
    results.note(
        "f", Earlier(holder=holder, origin=origin or holder, outputs={"rows": ("/rows", "c")}, progress=Progress(total=2, succeeded=2))
    )


def test_the_last_run_comes_first_and_then_its_copies(results: Results) -> None:
    first, forced = step("p1", 1), step("p3", 3)
    for holder, origin in ((step("p5", 5), forced), (step("p2", 2), first), (forced, forced), (step("p4", 4), forced), (first, first)):
        note(results, holder, origin)
    assert holders(results) == ["p3", "p4", "p5", "p1", "p2"]


def test_jobs_that_are_gone_are_forgotten(results: Results, tmp_path: Path) -> None:
    first = step("p1", 1)
    note(results, first)
    note(results, step("p2", 2), first)
    assert holders(results, "p1") == ["p2"]
    assert holders(results) == ["p2"]
    assert results.find("other", lambda _: True) == []
    assert results.find("f", lambda _: True)[0].origin == first


def test_a_job_has_its_results_once(results: Results) -> None:
    note(results, step("p1", 1))
    note(results, step("p1", 9))  # of the same name, created later
    assert [one.holder.created_at for one in results.find("f", lambda _: True)] == ["2026-01-01T00:00:09Z"]


def test_no_more_are_kept_than_are_of_use(results: Results, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(results_module, "KEPT", 3)
    for number in range(6):
        note(results, step(f"p{number}", number), step("p0", 0))
    assert holders(results) == ["p3", "p4", "p5"]


def test_what_cannot_be_read_is_not_there(results: Results, tmp_path: Path) -> None:
    note(results, step("p1", 1))
    for name, text in (
        (".draft.json", "{"),
        ("torn.json", '{"holder": '),
        ("empty.json", ""),
        ("other.json", '{"job": "p", "outputs": {}}'),
    ):
        (tmp_path / "f" / name).write_text(text)
    assert holders(results) == ["p1"]
