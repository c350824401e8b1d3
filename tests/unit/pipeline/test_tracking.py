"""The counts of a job at its run of MLflow: now and then, in order, and never in the job's way."""

from __future__ import annotations

import threading
from collections.abc import Mapping

import pytest

from runner.model.batch import Progress
from runner.model.job import Step
from runner.pipeline import tracking as tracking_module
from runner.pipeline.tracking import Tracking
from runner.pipeline.variables import apart, job_variables
from runner.report.tracking_stores import RunName, TrackedRun, TrackingUnavailable


class Store:
    def __init__(self, name: str = "") -> None:
        self.name, self.logged = name, list[dict[str, float]]()
        self.answers = threading.Event()
        self.answers.set()
        self.broken = False

    def begin(self, run: RunName, known: str) -> TrackedRun:
        raise NotImplementedError

    def log(self, run: TrackedRun, metrics: Mapping[str, float]) -> None:
        assert self.answers.wait(20)
        if self.broken:
            raise TrackingUnavailable("broken")
        self.logged.append(dict(metrics))

    def end(self, run: TrackedRun, status: str) -> None:
        self.logged.append({status: 1})


RUN = TrackedRun(run_id="r", experiment_id="0")


def counts(number: int) -> Progress:
    return Progress(total=9, succeeded=number)


def done(store: Store) -> list[float]:
    return [one["x_mini_batches"] for one in store.logged if "x_mini_batches" in one]


@pytest.fixture
def warnings() -> list[str]:
    return []


@pytest.fixture
def stores(monkeypatch: pytest.MonkeyPatch) -> tuple[Store, Store]:
    monkeypatch.setattr(tracking_module, "PROGRESS_SECONDS", 0.0)
    return Store(), Store()


def tracking(stores: tuple[Store, Store], warnings: list[str]) -> Tracking:
    own, above = stores
    parent = Tracking(variables={}, store=above, run=RUN, warn=warnings.append)
    return Tracking(variables={}, store=own, run=RUN, warn=warnings.append, prefix="x_", parent=parent)


def test_counts_while_the_job_runs_for_the_run_and_its_parent(stores: tuple[Store, Store], warnings: list[str]) -> None:
    run = tracking(stores, warnings)
    run.progressed(counts(3))
    run.ended("Completed", counts(9))
    run.close()
    assert done(stores[0]) == done(stores[1]) == [3, 9]
    assert stores[0].logged[-1] == {"FINISHED": 1}
    assert stores[1].logged[-1].keys() != {"FINISHED"}, "its own end is to come"


def test_a_server_that_is_silent_holds_up_nothing(stores: tuple[Store, Store], warnings: list[str]) -> None:
    run = tracking(stores, warnings)
    stores[0].answers.clear()
    for number in range(5):  # the first is on its way; the others are not wanted any more when that has come
        run.progressed(counts(number))
    stores[0].answers.set()
    run.ended("Completed", counts(9))
    assert done(stores[0]) == [0, 9]


def test_a_server_that_refuses_is_told_of_once(stores: tuple[Store, Store], warnings: list[str]) -> None:
    run = tracking(stores, warnings)
    stores[0].broken = True
    run.progressed(counts(1))
    run.ended("Failed", counts(2))
    assert warnings == ["MLflow has not got the job's metrics: broken"]
    assert done(stores[1]) == [1, 2]


def test_counts_come_now_and_then(stores: tuple[Store, Store], warnings: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tracking_module, "PROGRESS_SECONDS", 60.0)
    run = tracking(stores, warnings)
    for number in range(5):
        run.progressed(counts(number))
    run.ended("Completed", counts(9))
    assert done(stores[0]) == [9]


def test_secrets_are_kept_apart_from_what_a_container_shows() -> None:
    uri = {"MLFLOW_TRACKING_URI": "https://me:x@host"}
    tracked = {"MLFLOW_TRACKING_URI": "https://host", "MLFLOW_TRACKING_USERNAME": "me", "MLFLOW_TRACKING_PASSWORD": "x"}
    variables = job_variables(
        Step(name="s", environment_variables={**uri, "MLFLOW_TRACKING_TOKEN": "t", "A": "1"}), bi_output="", tracking=tracked
    )
    shown, told = apart(variables)
    assert told == {"MLFLOW_TRACKING_USERNAME": "me", "MLFLOW_TRACKING_PASSWORD": "x", "MLFLOW_TRACKING_TOKEN": "t"}
    assert (shown["MLFLOW_TRACKING_URI"], shown["A"]) == ("https://host", "1")
