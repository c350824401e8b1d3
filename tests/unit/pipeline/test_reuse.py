"""What is told of looking for known results, which may take as long as reading the inputs does."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from runner.model.batch import Progress
from runner.model.job import JobInput, JobOutput, PipelineJob, Step
from runner.model.paths import JobPaths
from runner.pipeline import content as content_module
from runner.pipeline import reuse as reuse_module
from runner.pipeline.options import RunOptions, RunResult
from runner.pipeline.reuse import Reuse

SIZE = 3 << 20


class Bench:
    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.told, self.heard, self.hashed = list[str](), threading.Event(), 0
        self.slow = True
        for name in ("data", "code", "made"):
            (folder / name).mkdir()
        (folder / "data" / "big").write_bytes(b"x" * SIZE)
        inputs = {"data": JobInput(type="uri_folder", path=str(folder / "data"))}
        outputs = {"made": JobOutput(type="uri_folder", path=str(folder / "made"))}
        self.step = Step(name="p.s", step="s", command="x", inputs=inputs, outputs=outputs)
        self.paths = JobPaths(folder / "p", folder / "logs")
        job = PipelineJob(name="p", steps={"s": self.step}, depends_on={})
        self.reuse = Reuse(job, self.paths, RunOptions(cache=folder / "cache"), lambda: False)
        hash_file = content_module._hash

        def slow_hash(path: Path, stop: Callable[[], bool]) -> str:
            self.hashed += 1
            assert not self.slow or self.heard.wait(20)
            return hash_file(path, stop)

        monkeypatch.setattr(content_module, "_hash", slow_hash)
        monkeypatch.setattr(reuse_module, "SECONDS", 0.3)

    def tell(self, text: str) -> None:
        self.told.append(text)
        self.heard.set()


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Bench:
    return Bench(tmp_path, monkeypatch)


def test_a_big_input_is_told_of_once(bench: Bench) -> None:
    assert bench.reuse.find(bench.step, bench.paths, bench.tell) is None
    assert bench.told == ["checking inputs of step 's': 3.0 MB"]


def test_a_big_output_is_told_of_once(bench: Bench) -> None:
    bench.slow = False
    bench.reuse.find(bench.step, bench.paths, bench.tell)
    (Path(bench.step.outputs["made"].path) / "big").write_bytes(b"y" * SIZE)
    (Path(bench.step.inputs["data"].path) / "big").touch()
    bench.slow = True
    bench.told.clear()
    bench.heard.clear()
    bench.reuse.note(bench.step, bench.paths, RunResult(status="Completed", progress=Progress()), bench.tell)
    assert [text.partition(":")[0] for text in bench.told] == ["checking outputs of step 's'"]


def test_what_is_quick_is_not_told_of(bench: Bench) -> None:
    bench.slow = False
    bench.reuse.find(bench.step, bench.paths, bench.tell)
    time.sleep(0.4)
    assert bench.hashed == 1
    assert bench.told == []
