"""The command line as a subprocess, in a workspace of its own for each test."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tests.acceptance.blobs import in_blob
from tests.acceptance.jobs import ClusterLab, ContainerLab, Lab, UserLab, folder_for_all, folder_on

RUNNER = (sys.executable, "-m", "runner.cli")
SCRIPT = """
    def run(mini_batch):
        return [path.rsplit("/", 1)[-1] for path in mini_batch]
"""
JOB = {
    "type": "parallel",
    "inputs": {"data": {"type": "uri_folder", "path": "in"}},
    "outputs": {"rows": {"type": "uri_file"}},
    "input_data": "${{inputs.data}}",
    "mini_batch_size": "1",
    "max_concurrency_per_instance": 2,
    "task": {"type": "run_function", "code": "src", "entry_script": "score.py", "append_row_to": "${{outputs.rows}}"},
}


@dataclass(frozen=True)
class Result:
    """What a command said and how it ended."""

    status: int
    stdout: str
    stderr: str

    @property
    def job(self) -> dict[str, Any]:
        """stdout of `-o json`."""
        return json.loads(self.stdout)


@dataclass
class Project:
    """A folder with a job file, a script and inputs, which is a workspace as well."""

    folder: Path
    environment: dict[str, str] = field(default_factory=dict)

    def script(self, text: str, name: str = "score.py") -> Path:
        """Writes the entry script (dedented)."""
        path = self.folder / "src" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(textwrap.dedent(text))
        return path

    def files(self, names: Sequence[str] | int, folder: str = "in") -> Path:
        """Input files of these names, or so many of them."""
        root = self.folder / folder
        root.mkdir(parents=True, exist_ok=True)
        for name in [f"{number:05d}.txt" for number in range(names)] if isinstance(names, int) else names:
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            (root / name).write_text(name)
        return root

    def job(self, *, name: str = "job.yml", task: dict[str, Any] | None = None, **changes: Any) -> Path:
        """Writes a job file: the usual one with these top keys (None removes one) and these keys of `task` changed. JSON is YAML."""
        data = {key: value for key, value in {**JOB, **changes}.items() if value is not None}
        if task is not None:
            data["task"] = {key: value for key, value in {**JOB["task"], **task}.items() if value is not None}
        path = self.folder / name
        path.write_text(json.dumps(data, indent=1))
        return path

    def run(self, *words: str, cwd: Path | None = None, timeout: float = 60, **environment: str) -> Result:
        """Runs `runner WORDS…` to its end."""
        done = subprocess.run(
            [*RUNNER, *words],
            cwd=cwd or self.folder,
            env=self._environment(environment),
            capture_output=True,
            timeout=timeout,
            text=True,
            errors="backslashreplace",
            stdin=subprocess.DEVNULL,
        )
        return Result(done.returncode, done.stdout, done.stderr)

    def start(self, *words: str, **environment: str) -> subprocess.Popen[str]:
        """Starts `runner WORDS…` in a session of its own, to be signalled by the test."""
        return subprocess.Popen(
            [*RUNNER, *words],
            cwd=self.folder,
            env=self._environment(environment),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            stdin=subprocess.DEVNULL,
            text=True,
            start_new_session=True,
        )

    def stream(self, *words: str, file: str = "job.yml", status: int | None = 0, **environment: str) -> Result:
        """`job create --local --stream -o json`; the exit status must be `status` (None: any)."""
        result = self.run("job", "create", "-f", file, "--local", "--stream", "-o", "json", *words, **environment)
        if status is not None:
            assert result.status == status, result.stderr
        return result

    def rows(self, job: dict[str, Any], output: str = "rows") -> list[str]:
        """The lines of a row output."""
        return Path(job["outputs"][output]["path"]).read_text().splitlines()

    def show(self, name: str) -> dict[str, Any]:
        """`job show -o json`."""
        result = self.run("job", "show", "-n", name, "-o", "json")
        assert result.status == 0, result.stderr
        return result.job

    def _environment(self, further: dict[str, str]) -> dict[str, str]:
        kept = {key: value for key, value in os.environ.items() if not key.startswith("RUNNER_")}
        return {**kept, **self.environment, **further}


@pytest.fixture
def project(tmp_path: Path) -> Project:
    """Three files, and a script that returns their names."""
    project = Project(tmp_path / "project")
    project.folder.mkdir()
    project.script(SCRIPT)
    project.files(3)
    project.job()
    return project


@pytest.fixture
def eventually() -> Callable[..., Any]:
    """Waits until a condition holds, and returns its value."""

    def wait(condition: Callable[[], Any], *, timeout: float = 30, what: str = "the condition") -> Any:
        deadline = time.monotonic() + timeout
        while not (value := condition()):
            assert time.monotonic() < deadline, f"{what} did not come true in {timeout} s"
            time.sleep(0.05)
        return value

    return wait


# Each takes seconds, and one cluster serves them all: there, only those marked `on_cluster` run, unless this is set.
ALL_IN_BLOB = os.environ.get("ALL_IN_BLOB", "") not in ("", "0")  # and so with those marked `in_blob`, with data in blob storage
ALL_ON_CLUSTER = os.environ.get("ALL_ON_CLUSTER", "") not in ("", "0")


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "in_processes: not in containers, though the test asks for `anywhere`")
    config.addinivalue_line("markers", "on_this_machine(why): not on a cluster, though the test asks for `anywhere`")
    config.addinivalue_line("markers", "not_in_blob(why): not with its data in blob storage, though the test asks for `anywhere`")
    config.addinivalue_line("markers", "in_blob: also in containers, and on a cluster, with its data in blob storage")
    config.addinivalue_line("markers", "on_cluster: also on a cluster, when it asks for `anywhere`; others with ALL_ON_CLUSTER=1")
    config.addinivalue_line("markers", "image(name): the image of the tests that the test's containers are made of")


def place_of(item: Any) -> str:
    """Of a test that asks for `anywhere`."""
    parameters = getattr(item, "callspec", None)
    return str(parameters.params.get("anywhere", "")) if parameters else ""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    def fits(item: pytest.Item) -> bool:
        place = place_of(item)
        if place.startswith(BLOB) and item.get_closest_marker("not_in_blob"):
            return False
        if place in (BLOB_CONTAINER, BLOB_CLUSTER):
            elsewhere = "in_processes" if place == BLOB_CONTAINER else "on_this_machine"
            kept = any(item.get_closest_marker(name) for name in ("in_processes", elsewhere))
            return not kept and (ALL_IN_BLOB or bool(item.get_closest_marker("in_blob")))
        if place == CLUSTER:
            chosen = ALL_ON_CLUSTER or item.get_closest_marker("on_cluster")
            return bool(chosen) and not any(item.get_closest_marker(name) for name in ("in_processes", "on_this_machine"))
        return place in ("", "process", BLOB) or not item.get_closest_marker("in_processes")

    items[:] = [item for item in items if fits(item)]


@pytest.fixture
def tmp_path(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Path]:
    """Pytest's, unless the test is done by the ordinary user, or on a cluster."""
    place = place_of(request.node)
    if place == USER:
        with folder_for_all() as folder:
            yield folder
    elif place in (CLUSTER, BLOB_CLUSTER):
        yield folder_on(request.getfixturevalue("cluster"), re.sub(r"\W+", "-", request.node.name.removeprefix("test_"))[:60].strip("-"))
    else:
        yield tmp_path


USER, CLUSTER = "container-user", "cluster"
BLOB, BLOB_CONTAINER, BLOB_CLUSTER = "blob", "blob-container", "blob-cluster"  # the data lies in blob storage
PLACES = [
    "process",
    pytest.param(BLOB, marks=pytest.mark.needs("azurite")),
    pytest.param(BLOB_CONTAINER, marks=pytest.mark.needs("azurite", "docker")),
    pytest.param(BLOB_CLUSTER, marks=pytest.mark.needs("azurite", "cluster")),
    pytest.param("container", marks=pytest.mark.needs("docker")),
    pytest.param(USER, marks=pytest.mark.needs("docker", "docker-user")),
    pytest.param(CLUSTER, marks=pytest.mark.needs("cluster")),
]


IN_PROCESSES_OR_ON_A_CLUSTER = pytest.mark.parametrize("anywhere", [PLACES[0], PLACES[-1]], indirect=True)


@pytest.fixture(params=PLACES)
def anywhere(request: pytest.FixtureRequest) -> Iterator[Callable[[Path], Lab]]:
    """Makes labs; a test that asks for it runs in processes of this machine, in containers, in containers of an ordinary user, and,
    where it is marked so, on a cluster.
    """
    place = request.param
    if place in ("process", BLOB):
        yield Lab if place == "process" else in_blob(Lab, request.getfixturevalue("azurite"))
        return
    image = request.getfixturevalue("test_image")(next((marker.args[0] for marker in request.node.iter_markers("image")), "bare"))
    if place == BLOB_CONTAINER:
        yield partial(in_blob(ContainerLab, request.getfixturevalue("azurite")), image=image)
        return
    if place not in (CLUSTER, BLOB_CLUSTER):
        yield partial(ContainerLab if place == "container" else UserLab, image=image)
        return
    kind = in_blob(ClusterLab, request.getfixturevalue("azurite_of_the_cluster")) if place == BLOB_CLUSTER else ClusterLab
    labs: list[ClusterLab] = []

    def make(folder: Path) -> Lab:
        labs.append(kind.at(folder, request.getfixturevalue("cluster"), image))
        return labs[-1]

    yield make
    for lab in labs:
        lab.clear()
