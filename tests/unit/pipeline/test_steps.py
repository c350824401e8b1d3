"""Which steps of a pipeline run, when, and what their ends mean for the others."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from runner.compute.cluster import ClusterLink
from runner.engine.sole_file import Superseded
from runner.errors import UserError
from runner.model.events import Event, JobEnded, StatusChanged
from runner.model.job import PipelineJob, Step
from runner.model.paths import JobPaths
from runner.pipeline import steps as steps_module
from runner.pipeline.options import Cancellation, RunOptions, RunResult
from runner.pipeline.steps import PipelineRun
from runner.storage.problems import StorageUnavailable

Work = Callable[["Bench"], RunResult]
SECONDS = 20


class Bench:
    """Runs pipelines whose steps are functions."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch, *, cores: int = 4) -> None:
        self.folder, self.events, self.ran = folder, list[Event](), list[str]()
        self.cancel, self.lock = Cancellation(), threading.Lock()
        self.at_once = self.most = 0
        self.works: Mapping[str, Work] = {}
        self.done: list[str] = []
        monkeypatch.setattr(steps_module, "cores", lambda: cores)
        monkeypatch.setattr(steps_module, "StepRun", self._step_run)

    def run(self, works: Mapping[str, Work], needs: Mapping[str, tuple[str, ...]] | None = None, **keys: Any) -> RunResult:
        on_cluster, ports = keys.pop("on_cluster", False), keys.pop("ports", (0, 0))
        broker = SimpleNamespace(done=self.done.append)
        link = cast("ClusterLink", SimpleNamespace(broker=broker, ports=ports)) if on_cluster else None
        self.works = works
        job = PipelineJob(name="job", steps={name: Step(name=f"job.{name}", step=name) for name in works}, depends_on=needs or {}, **keys)
        paths = JobPaths(self.folder, self.folder / "logs")
        options = RunOptions(cache=self.folder, cluster=link)
        return PipelineRun(job=job, paths=paths, options=options, observe=self.events.append, cancel=self.cancel).run()

    def status(self, name: str) -> str:
        return next(one.status for one in reversed(self.events) if isinstance(one, StatusChanged) and one.step == name)

    def message(self, name: str) -> str:
        return next(one.message for one in reversed(self.events) if isinstance(one, JobEnded) and one.step == name)

    def _step_run(self, *, step: Step, **_: object) -> Any:
        return SimpleNamespace(run=lambda: self._run(step.step or ""))

    def _run(self, name: str) -> RunResult:
        with self.lock:
            self.ran.append(name)
            self.at_once += 1
            self.most = max(self.most, self.at_once)
        try:
            result = self.works[name](self)
            self.events.append(StatusChanged(at=0, step=name, status=result.status))
            return result
        finally:
            with self.lock:
                self.at_once -= 1


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Bench:
    return Bench(tmp_path, monkeypatch)


def well(_bench: Bench) -> RunResult:
    return RunResult(status="Completed")


def fails(_bench: Bench) -> RunResult:
    return RunResult(status="Failed", error={"message": "no luck", "code": "command"})


def raises(error: BaseException) -> Work:
    def work(_bench: Bench) -> RunResult:
        raise error

    return work


def after(event: threading.Event, then: Work = well, *, first: Callable[[], None] = lambda: None) -> Work:
    def work(bench: Bench) -> RunResult:
        first()
        assert event.wait(SECONDS)
        return then(bench)

    return work


def test_what_needs_nothing_of_each_other_runs_at_once(bench: Bench) -> None:
    meeting = threading.Barrier(3, timeout=SECONDS)

    def meets(_bench: Bench) -> RunResult:
        meeting.wait()
        return RunResult(status="Completed")

    assert bench.run({"last": well, "a": meets, "b": meets, "c": meets}, {"last": ("a", "b", "c")}).status == "Completed"
    assert bench.ran[-1] == "last"


def test_no_more_at_once_than_the_machine_has_cores(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bench = Bench(tmp_path, monkeypatch, cores=2)
    pause = threading.Event()

    def work(_bench: Bench) -> RunResult:
        pause.wait(0.02)
        return RunResult(status="Completed")

    assert bench.run({str(number): work for number in range(9)}).status == "Completed"
    assert bench.most == 2


def test_on_a_cluster_all_of_them_and_what_is_over_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever its end: the scheduler may have reserved something for it."""
    bench = Bench(tmp_path, monkeypatch, cores=1)
    meeting = threading.Barrier(3, timeout=SECONDS)

    def meets(_bench: Bench) -> RunResult:
        meeting.wait()
        return RunResult(status="Failed", error={})

    works = {"a": meets, "b": meets, "c": meets, "not": well, "wrong": raises(UserError("wrong"))}
    assert bench.run(works, {"not": ("a",)}, on_cluster=True).status == "Failed"
    assert sorted(bench.done) == ["a", "b", "c", "not", "wrong"]


def test_on_a_cluster_with_few_ports_no_more_than_these(bench: Bench) -> None:
    pause = threading.Event()

    def work(_bench: Bench) -> RunResult:
        pause.wait(0.02)
        return RunResult(status="Completed")

    assert bench.run({str(number): work for number in range(9)}, on_cluster=True, ports=(20000, 20002)).status == "Completed"
    assert bench.most == 3


def test_a_failed_step_and_those_that_need_it(bench: Bench) -> None:
    result = bench.run({"bad": fails, "needs": well, "further": well, "other": well}, {"needs": ("bad",), "further": ("needs",)})
    assert [bench.status(name) for name in ("bad", "needs", "further", "other")] == ["Failed", "NotRun", "NotRun", "Completed"]
    assert (result.status, result.error["message"]) == ("Failed", "step 'bad': no luck")


def test_without_continuing_what_runs_is_finished_and_nothing_begins(bench: Bench) -> None:
    runs, failed = threading.Event(), threading.Event()

    def fail(bench: Bench) -> RunResult:
        assert runs.wait(SECONDS)
        failed.set()
        return fails(bench)

    works = {"bad": fail, "runs": after(failed, first=runs.set), "later": well}
    bench.run(works, {"later": ("runs",)}, continue_on_step_failure=False)
    assert [bench.status(name) for name in works] == ["Failed", "Completed", "NotRun"]


@pytest.mark.parametrize("error", [UserError("not there"), StorageUnavailable("the storage does not answer")])
def test_what_a_step_cannot_have_is_its_own_trouble(bench: Bench, error: Exception) -> None:
    assert bench.run({"bad": raises(error), "other": well}).status == "Failed"
    assert bench.status("other") == "Completed"
    assert bench.status("bad") == "Failed"
    assert bench.message("bad") in ("not there", "the storage does not answer")


def test_a_bug_costs_the_others_nothing(bench: Bench) -> None:
    """What runs is finished, nothing new is begun, and the bug comes out."""
    runs, broken = threading.Event(), threading.Event()

    def breaks(_bench: Bench) -> RunResult:
        assert runs.wait(SECONDS)
        broken.set()
        raise ZeroDivisionError("oh")

    works = {"bad": breaks, "runs": after(broken, first=runs.set), "later": well}
    with pytest.raises(ZeroDivisionError):
        bench.run(works, {"later": ("runs",)})
    assert [bench.status(name) for name in works] == ["Failed", "Completed", "NotRun"]
    assert "ZeroDivisionError: oh" in bench.message("bad")
    assert not bench.cancel.requested


def test_when_somebody_else_owns_the_job_all_of_it_stops(bench: Bench) -> None:
    stopped = threading.Event()
    bench.cancel.on_request(stopped.set)
    works = {"bad": raises(Superseded()), "runs": after(stopped, lambda _bench: RunResult(status="Canceled")), "later": well}
    with pytest.raises(Superseded):
        bench.run(works, {"later": ("runs",)}, on_cluster=True)
    assert "bad" not in bench.done  # its instances are the other's
    assert "later" not in bench.ran


def test_cancelled_in_the_middle(bench: Bench) -> None:
    stopped = threading.Event()
    bench.cancel.on_request(stopped.set)

    def cancels(bench: Bench) -> RunResult:
        bench.cancel.request()
        return RunResult(status="Canceled", error={"message": "cancelled"})

    works = {"a": cancels, "b": after(stopped, lambda _bench: RunResult(status="Canceled", error={})), "later": well}
    assert bench.run(works, {"later": ("a",)}).status == "Canceled"
    assert bench.status("later") == "NotRun"
