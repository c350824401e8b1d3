"""Steps whose inputs lie in blob storage: processes of this machine, Azurite."""

from __future__ import annotations

import sys
import textwrap
import threading
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from runner.errors import UserError
from runner.inputs import fetch
from runner.model.events import AttemptFailed, Event, Message
from runner.model.job import JobInput, JobOutput, Resources, RetrySettings, Step
from runner.model.paths import JobPaths
from runner.model.ports import Room
from runner.pipeline.options import Cancellation, RunOptions, RunResult
from runner.pipeline.step_run import StepRun
from runner.storage.stores import Stores
from tests.azurite import Azurite

NAMES = """
    import os
    def run(files):
        base = os.environ["AZURE_ML_INPUT_data"]
        return [f"{os.path.relpath(file, base)} {open(file).read()}" for file in files]
"""


@dataclass
class Bench:
    """A container with inputs below `in/`, and jobs that read them."""

    folder: Path
    azurite: Azurite
    said: list[Event] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.container = self.azurite.container()
        self.store = self.azurite.store(self.container)
        self.client = self.azurite.client(self.container)

    def put(self, files: Mapping[str, bytes | str]) -> None:
        with ThreadPoolExecutor(8) as pool:
            list(pool.map(lambda item: self.client.upload_blob(item[0], item[1], overwrite=True), files.items()))

    def address(self, path: str) -> str:
        return f"{self.store.root}/{path}"

    def step(self, script: str = NAMES, *, data: JobInput | None = None, instances: int = 1, **more: Any) -> Step:
        code = self.folder / "job" / "code"
        code.mkdir(parents=True, exist_ok=True)
        (code / "score.py").write_text(textwrap.dedent(script))
        inputs = {"data": data or JobInput(type="uri_folder", path=self.address("in")), **more.pop("inputs", {})}
        settings: dict[str, Any] = {"mini_batch_size": 5, "max_concurrency_per_instance": 2, "retry": RetrySettings(max_retries=1)}
        return Step(
            name="job", code=str(code), entry_script="score.py", input_data="data", append_row_to="out", inputs=inputs,
            outputs={"out": JobOutput(type="uri_file", path=str(self.folder / "out" / "rows.txt"))},
            resources=Resources(instance_count=instances), **(settings | more),
        )  # fmt: skip

    def run(self, step: Step, *, resume: bool = False) -> RunResult:
        paths = JobPaths(self.folder / "job", self.folder / "logs")
        stores = Stores([self.store], say=print)
        options = RunOptions(cache=self.folder / "cache", python=sys.executable, stores=stores, resume=resume)
        return StepRun(step=step, paths=paths, options=options, observe=self.said.append, cancel=Cancellation()).run()

    @property
    def rows(self) -> list[str]:
        return (self.folder / "out" / "rows.txt").read_text().splitlines()

    @property
    def warnings(self) -> list[str]:
        return [event.text for event in self.said if isinstance(event, Message) and event.level == "WARNING"]

    def left(self) -> list[str]:
        """Files in the folders of instances."""
        return [str(path) for path in (self.folder / "job").rglob("inputs*") if path.exists()]


@pytest.fixture
def bench(tmp_path: Path, azurite: Azurite) -> Iterator[Bench]:
    made = Bench(tmp_path, azurite)
    with made.client:
        yield made


def test_many_files_and_three_instances(bench: Bench, tmp_path: Path) -> None:
    names = ["a", "a-b", "a.txt", "b/x", "😀", "\uff21", "k/.l/m", *(f"d{number % 7}/{number:03}" for number in range(300))]
    bench.put({f"in/{name}": name for name in [*names, ".hidden"]})
    step = bench.step(instances=3)
    assert bench.run(step).status == "Completed"
    in_blob = bench.rows
    assert in_blob == [f"{name} {name}" for name in sorted(names, key=str.encode) if name != "k/.l/m"]
    assert bench.warnings == []
    assert bench.left() == []

    for name in names:
        (tmp_path / "local" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "local" / name).write_text(name)
    here = Bench(tmp_path / "again", bench.azurite)
    assert here.run(here.step(data=JobInput(type="uri_folder", path=str(tmp_path / "local")))).status == "Completed"
    assert here.rows == in_blob


def test_one_file(bench: Bench) -> None:
    bench.put({"in/a b/ü.txt": "x"})
    script = """
        import os, sys
        def run(files):
            return [*files, os.environ["AZURE_ML_INPUT_data"], sys.argv[1], open(files[0]).read()]
    """
    address = bench.address("in/a b/ü.txt")
    step = bench.step(script, data=JobInput(type="uri_file", path=address), program_arguments=(address,))
    assert bench.run(step).status == "Completed"
    assert len(set(bench.rows[:3])) == 1
    assert bench.rows[0].endswith("/ü.txt")
    assert bench.rows[3] == "x"


def test_a_further_attempt_finds_the_files(bench: Bench) -> None:
    bench.put({f"in/{number}": f"{number}" for number in range(9)})
    script = """
        import os
        def run(files, context):
            mark = os.path.join(os.path.dirname(__file__), "..", context.minibatch_index)
            if not os.path.exists(mark):
                open(mark, "w").close()
                if int(context.minibatch_index) % 2:
                    os._exit(3)
                raise ValueError("once")
            assert context.dataset == files
            return [open(file).read() for file in files]
    """
    assert bench.run(bench.step(script, mini_batch_size=1)).status == "Completed"
    assert bench.rows == [f"{number}" for number in range(9)]
    assert sum(isinstance(event, AttemptFailed) for event in bench.said) == 9


def test_what_changes_or_goes_while_the_job_runs_fails_its_mini_batch(bench: Bench) -> None:
    bench.put({f"in/{number:03}": "old" for number in range(120)})
    bench.put({"in/110": b"", "in/111": b""})
    script = """
        import time
        def run(files):
            time.sleep(0.02)
            return [f"{file.rpartition('/')[2]} {open(file).read()}" for file in files]
    """
    step = bench.step(script, mini_batch_size=1, mini_batch_error_threshold=10)

    class Meddling(list[Event]):
        done = False

        def append(self, event: Event) -> None:
            super().append(event)
            if not self.done and type(event).__name__ == "BatchesFinished":
                self.done = True
                bench.put({"in/100": "new", "in/110": "new"})
                bench.client.delete_blob("in/105")

    bench.said = Meddling()
    assert bench.run(step).status == "Completed"
    lost = {"100", "105", "110"}
    want = [f"{number:03} {'' if number in (110, 111) else 'old'}" for number in range(120) if f"{number:03}" not in lost]
    assert [row.rstrip() for row in bench.rows] == [row.rstrip() for row in want]
    failures = {event.index: event for event in bench.said if isinstance(event, AttemptFailed)}
    assert failures.keys() == {100, 105, 110}
    assert failures[100].error.kind == "input"
    assert failures[100].error.message == f"'{bench.address('in/100')}' has changed since it was listed, at the beginning of the job"
    assert failures[105].error.message == f"'{bench.address('in/105')}' is gone since it was listed, at the beginning of the job"
    assert all(event.final and event.attempt == 1 for event in failures.values())


def test_more_than_there_is_room_for(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    size = 20 << 20  # in pieces
    monkeypatch.setattr(fetch.FileLoader, "room", Room(on_disk=True, ahead=size * 2, frame=size, loads=16))
    bench.put({f"in/{number:02}": bytes([number]) * (size + number) for number in range(12)})
    script = """
        import time
        def run(files):
            time.sleep(0.3)
            data = open(files[0], "rb").read()
            return [f"{data[0]} {data[-1]} {len(set(data))} {len(data)}"]
    """
    most, stop = [0], threading.Event()

    def watch() -> None:
        while not stop.wait(0.01):
            with suppress(FileNotFoundError):  # they go while one looks
                sizes = [path.stat().st_size for path in list((bench.folder / "job" / "workers").rglob("inputs/*/in/*")) if path.exists()]
                most[0] = max(most[0], sum(sizes))

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        assert bench.run(bench.step(script, mini_batch_size=1)).status == "Completed"
    finally:
        stop.set()
        watcher.join()
    assert bench.rows == [f"{number} {number} 1 {size + number}" for number in range(12)]
    assert size < most[0] <= 5 * size  # two ahead, two at work, one that is just going


def test_a_resumed_job_is_told_what_has_changed(bench: Bench) -> None:
    bench.put({f"in/{number:03}": "old" for number in range(20)})
    script = """
        def run(files):
            raise ValueError("not today")
    """
    assert bench.run(bench.step(script, mini_batch_error_threshold=0)).status == "Failed"
    bench.put({"in/003": "new", "in/0030": "late"})
    bench.client.delete_blob("in/004")
    with pytest.raises(UserError) as caught:
        bench.run(bench.step(), resume=True)
    assert "'003' was written again; '004' is gone" in caught.value.problem


def test_a_file_and_a_folder_of_the_same_name(bench: Bench) -> None:
    bench.put({"in/a": "1", "in/a/x": "2", "in/a/y": "3", "in/b": "4"})
    script = """
        def run(files):
            return [open(file).read() for file in files]
    """
    for size in (1, 4):
        assert bench.run(bench.step(script, mini_batch_size=size)).status == "Completed"
        assert bench.rows == ["1", "2", "3", "4"]
        bench.folder = bench.folder / "next"


def test_wrong_addresses(bench: Bench) -> None:
    bench.put({"in/a": "1"})
    for kind, path, problem in (
        ("uri_folder", "in/a", "is a blob, not a folder"),
        ("uri_file", "in", "is a folder, not a blob"),
        ("uri_folder", "no", "there is nothing at"),
        ("uri_file", "no", "there is nothing at"),
    ):
        with pytest.raises(UserError, match=problem):
            bench.run(bench.step(data=JobInput(type=kind, path=bench.address(path))))


SIDE = """
    import os, sys
    def run(files):
        found = []
        for top in sys.argv[1:]:
            if os.path.isfile(top):
                found.append(f"{os.path.basename(top)} {open(top).read()}")
            for folder, _, names in sorted(os.walk(top)):
                for path in sorted(os.path.join(folder, name) for name in names):
                    found.append(f"{os.path.relpath(path, top)} {open(path).read()}")
        return [*found, os.environ["AZUREML_MODEL_DIR"].rpartition("/")[2], os.environ["AZURE_ML_INPUT_far"]]
"""


def test_side_inputs_and_the_model(bench: Bench) -> None:
    bench.put({"in/a": "1", "side/one": "1", "side/f": "x", "side/f/two": "2", "side/.h/three": "3", "word.txt": "w", "m/model.bin": "m"})
    inputs = {
        "side": JobInput(type="uri_folder", path=bench.address("side")),
        "word": JobInput(type="uri_file", path=bench.address("word.txt"), mode="download"),
        "far": JobInput(type="uri_folder", path=bench.address("sideways"), mode="direct"),
    }
    model = bench.address("m/model.bin")
    words = (bench.address("side"), bench.address("word.txt"), model, bench.address("sideways"))
    step = bench.step(SIDE, inputs=inputs, program_arguments=words, model=model, instances=2)
    assert bench.run(step).status == "Completed"
    assert bench.rows == ["one 1", ".h/three 3", "f/two 2", "word.txt w", "model.bin m", "model", bench.address("sideways")]
    assert bench.warnings == ["left out of the input, since there is a folder of the same name: 'side/f'"]
    kept = bench.folder / "cache" / "blobs"
    assert len(list(kept.glob("*/data"))) == 3
    times = {path: path.stat().st_ctime_ns for path in kept.glob("*/data")}
    (bench.folder / "job" / "journal.log").unlink()
    (bench.folder / "job" / "manifest.jsonl").unlink()
    bench.put({"word.txt": "v"})
    next(kept.glob("*/data/m*")).chmod(0o600)
    next(kept.glob("*/data/m*")).write_text("damaged")
    assert bench.run(step).status == "Completed"
    assert bench.rows[3:5] == ["word.txt v", "model.bin m"]
    assert sum(path.stat().st_ctime_ns == at for path, at in times.items() if path.exists()) == 2
    assert len(list(kept.glob("*/data"))) == 4


def test_lists_of_files_by_mltable(bench: Bench) -> None:
    bench.put({f"t/{name}": name for name in ("x/1.csv", "x/2.csv", "y/3.csv", ".h/4.txt")} | {"u/5": "5"})
    text = "paths:\n  - pattern: ./**/*.csv\n  - folder: ./.h\n  - file: azureml://datastores/az/paths/u/5\n  - file: ./x/1.csv\n"
    bench.put({"t/MLTable": text})
    script = """
        def run(files):
            return [open(file).read() for file in files]
    """
    want = ["x/1.csv", "x/2.csv", "y/3.csv", ".h/4.txt", "5", "x/1.csv"]
    for size in (1, 6):
        data = JobInput(type="mltable", path=bench.address("t"))
        assert bench.run(bench.step(script, data=data, mini_batch_size=size)).status == "Completed"
        assert bench.rows == want
        bench.folder = bench.folder / "next"
    here = bench.folder / "table"
    here.mkdir(parents=True)
    (here / "local.txt").write_text("here")
    (here / "MLTable").write_text("paths:\n  - file: ./local.txt\n  - pattern: azureml://datastores/az/paths/t/x/*\n")
    assert bench.run(bench.step(script, data=JobInput(type="mltable", path=str(here)), mini_batch_size=2)).status == "Completed"
    assert bench.rows == ["here", "x/1.csv", "x/2.csv"]


def test_by_keys(bench: Bench) -> None:
    bench.put({f"t/{store}/{number}.csv": store for store in "ba" for number in range(3)})
    form = "/{store}/{number}.csv"
    text = f'paths: [{{pattern: ./*/*.csv}}]\ntransformations: [extract_columns_from_partition_format: {{partition_format: "{form}"}}]\n'
    bench.put({"t/MLTable": text})
    script = """
        def run(files, context):
            return [f"{context.partition_key_value['store']} {len(files)} {open(file).read()}" for file in files]
    """
    step = bench.step(script, data=JobInput(type="mltable", path=bench.address("t")), partition_keys=("store",), mini_batch_size=None)
    assert bench.run(step).status == "Completed"
    assert bench.rows == ["a 3 a"] * 3 + ["b 3 b"] * 3


def test_an_evaluated_mltable(bench: Bench) -> None:
    bench.put({"in/a": "1", "t/x/1.csv": "x1", "t/y": "y", "t/MLTable": "paths:\n  - pattern: ./x/*\n  - file: ./y\n"})
    inputs = {"side": JobInput(type="mltable", path=bench.address("t"), mode="eval_mount"), "far": JobInput(type="uri_file", path="/far")}
    step = bench.step(SIDE, inputs=inputs, program_arguments=(bench.address("t"),), environment_variables={"AZUREML_MODEL_DIR": "/-"})
    (bench.folder / "far").touch()
    assert bench.run(step).status == "Completed"
    top = f"{bench.azurite.account}/{bench.container}/t"
    assert bench.rows[:2] == [f"{top}/y y", f"{top}/x/1.csv x1"]
    here = bench.folder / "table"
    here.mkdir()
    (here / "local.txt").write_text("here")
    (here / "MLTable").write_text("paths:\n  - file: ./local.txt\n  - file: azureml://datastores/az/paths/t/y\n")
    inputs["side"] = JobInput(type="mltable", path=str(here), mode="eval_download")
    script = """
        import os
        def run(files):
            top = os.environ["AZURE_ML_INPUT_side"]
            found = [os.path.join(folder, name) for folder, _, names in os.walk(top, followlinks=True) for name in names]
            return sorted(os.path.relpath(path, top) + " " + open(path).read() for path in found)
    """
    bench.folder = bench.folder / "next"
    assert bench.run(bench.step(script, inputs=inputs)).status == "Completed"
    assert bench.rows == sorted([f"{top}/y y", f"local{here}/local.txt here"])
