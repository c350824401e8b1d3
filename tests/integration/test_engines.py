"""Jobs on each kind of engine that can be started here, through the command line, as a user would."""

from __future__ import annotations

import json
import os
import pwd
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import docker
import pytest

from tests.docker_engine import TESTER, as_tester
from tests.engines import KINDS, started

IMAGE = "runner-test/bare:latest"
ROOT = Path(__file__).parents[2]
REMOVAL_SECONDS = 20
SCRIPT = """
import os

def run(mini_batch):
    with open(os.path.expanduser("~/mine"), "w") as file:
        file.write("x")
    return ["%s %d" % (os.path.basename(path), os.getuid()) for path in mini_batch]
"""
JOB = {
    "type": "parallel",
    "inputs": {"data": {"type": "uri_folder", "path": "in"}},
    "outputs": {"rows": {"type": "uri_file", "path": "out/rows.txt"}},
    "input_data": "${{inputs.data}}",
    "mini_batch_size": "1",
    "max_concurrency_per_instance": 2,
}
TASK = {"type": "run_function", "code": "src", "entry_script": "score.py", "append_row_to": "${{outputs.rows}}"}


@dataclass(frozen=True)
class Submitter:
    """Somebody with a project in `folder`, and an engine at `address`."""

    folder: Path
    address: str
    uid: int

    def job(self, **changes: object) -> None:
        for name in ("in", "src"):
            (self.folder / name).mkdir(parents=True, exist_ok=True)
        for name in ("1.txt", "2.txt"):
            (self.folder / "in" / name).write_text(name)
        (self.folder / "src" / "score.py").write_text(SCRIPT)
        (self.folder / "conda.yml").write_text("dependencies: [python]\n")
        job = {**JOB, "task": {**TASK, "environment": {"image": IMAGE}}, **changes}
        (self.folder / "job.yml").write_text(json.dumps(job))

    def create(self) -> subprocess.CompletedProcess[str]:
        """`job create --stream`, by the submitter, who need not be the one who runs the tests."""
        process = self.start("create", "-f", "job.yml")
        stdout, stderr = process.communicate(timeout=120)
        return subprocess.CompletedProcess(process.args, process.returncode, stdout, stderr)

    def start(self, *words: str) -> subprocess.Popen[str]:
        user = []
        if self.uid != os.getuid():
            user = as_tester()
            subprocess.run(["chown", "-R", str(self.uid), str(self.folder)], check=True)
        environment = {**os.environ, "DOCKER_HOST": self.address, "PYTHONPATH": str(ROOT), "CUDA_VISIBLE_DEVICES": ""}
        return subprocess.Popen(
            [*user, sys.executable, "-m", "runner", "job", *words, "-n", "job", "--stream"],
            cwd=self.folder,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    @property
    def rows(self) -> list[str]:
        return (self.folder / "out" / "rows.txt").read_text().splitlines()

    def not_ours(self) -> list[Path]:
        """What belongs to somebody else than the submitter."""
        return [path for path in self.folder.rglob("*") if path.lstat().st_uid != self.uid]

    def containers(self) -> list[str]:
        """All that the engine has, ended ones included; a job does not wait for the engine to take them down."""
        engine = docker.APIClient(base_url=self.address, timeout=60)
        until = time.monotonic() + REMOVAL_SECONDS
        try:
            while (found := [one["Names"][0] for one in engine.containers(all=True)]) and time.monotonic() < until:
                time.sleep(0.1)
        finally:
            engine.close()
        return found


@pytest.fixture(scope="session")
def saved_image(test_image: Callable[[str], str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The image as a file, for engines that start with none."""
    test_image("bare")
    file = tmp_path_factory.mktemp("image") / "bare.tar"
    engine = docker.from_env(timeout=120)
    try:
        with file.open("wb") as target:
            target.writelines(engine.api.get_image(IMAGE))
    finally:
        engine.close()
    return file


@pytest.fixture(scope="session")
def engine(saved_image: Path) -> Iterator[Callable[[str], str]]:
    """Gives the address of an engine of a kind, started when first asked for, with the image in it."""
    with ExitStack() as stack:

        @cache
        def address(kind: str) -> str:
            found = stack.enter_context(started(kind))
            client = docker.APIClient(base_url=found, timeout=120)
            with saved_image.open("rb") as file:
                list(client.load_image(file) or ())
            client.close()
            return found

        yield address


@pytest.fixture
def submitter(engine: Callable[[str], str]) -> Iterator[Callable[[str], Submitter]]:
    """Of a rootless engine the ordinary user who has started it, else root; pytest's folders are for its own user only."""
    with tempfile.TemporaryDirectory(prefix="submitter-") as folder:

        def make(kind: str) -> Submitter:
            return Submitter(Path(folder), engine(kind), pwd.getpwnam(TESTER).pw_uid if KINDS[kind].rootless else 0)

        yield make


@pytest.mark.parametrize(
    "kind",
    [
        pytest.param("docker-rootless", marks=pytest.mark.needs("engine-docker-rootless")),
        pytest.param("podman-rootless", marks=pytest.mark.needs("engine-podman-rootless")),
    ],
)
def test_rootless(submitter, kind):
    """Inside the script is root, outside all that it writes is the submitter's."""
    user = submitter(kind)
    user.job()
    done = user.create()
    assert done.returncode == 0, done.stderr
    assert user.rows == ["1.txt 0", "2.txt 0"]
    assert user.not_ours() == []
    assert user.containers() == []


@pytest.mark.needs("engine-podman")
def test_podman_with_a_conda_file(submitter):
    """The image for it is committed and found again, which Podman does in its own way."""
    user = submitter("podman")
    user.job(task={**TASK, "environment": {"image": IMAGE, "conda_file": "conda.yml"}})
    done = user.create()
    assert done.returncode == 0, done.stderr
    assert user.rows == ["1.txt 0", "2.txt 0"]
    assert user.containers() == []


@pytest.mark.needs("engine-docker-userns")
def test_userns_remap(submitter):
    user = submitter("docker-userns")
    user.job()
    refused = user.create()
    assert refused.returncode == 2
    assert "userns-remap" in refused.stderr
    assert "--userns host" in refused.stderr
    assert not (user.folder / "out").exists()
    (user.folder / "workspace.yml").write_text("docker: {policy: {allow: [host-userns]}}\n")
    user.job(resources={"docker_args": "--userns host"})
    done = user.create()
    assert done.returncode == 0, done.stderr
    assert user.rows == ["1.txt 0", "2.txt 0"]
    assert user.not_ours() == []
    assert user.containers() == []


@pytest.mark.needs("docker", "engine-docker-userns")
def test_an_engine_that_dies_ends_the_job_and_another_goes_on_with_it(saved_image):
    with tempfile.TemporaryDirectory(prefix="submitter-") as folder:
        with started("docker-userns") as address:
            client = docker.APIClient(base_url=address, timeout=120)
            with saved_image.open("rb") as file:
                list(client.load_image(file) or ())
            client.close()
            user = Submitter(Path(folder), address, 0)
            user.job(resources={"docker_args": "--userns host"})
            (user.folder / "workspace.yml").write_text("docker: {policy: {allow: [host-userns]}}\n")
            (user.folder / "src" / "score.py").write_text("import time\n\ndef run(b):\n    time.sleep(0.5)\n    return [b[0][-6:]]\n")
            for number in range(30):
                (user.folder / "in" / f"n{number:02d}.txt").touch()
            process = user.start("create", "-f", "job.yml")
            until = time.monotonic() + 60
            while not list(user.folder.glob(".runner/jobs/job/parts/*")) and time.monotonic() < until:
                time.sleep(0.1)
        _, said = process.communicate(timeout=120)
        assert process.returncode == 1, said
        assert "Traceback" not in said
        assert "no Docker engine answers" in said
        again = Submitter(user.folder, "unix:///var/run/docker.sock", 0).start("resume")
        _, said = again.communicate(timeout=120)
        assert again.returncode == 0, said
        assert len(user.rows) == 32
