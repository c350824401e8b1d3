"""Small jobs and the command line as a subprocess, for acceptance tests."""

from __future__ import annotations

import itertools
import json
import os
import pwd
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import yaml

from tests.docker_engine import TESTER, as_tester

LEDGER = """
import functools, os, time

def note(text):
    # One short O_APPEND write: whole, whoever else writes.
    file = os.open(os.environ["LEDGER"], os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.write(file, (text + "\\n").encode("utf-8", "surrogateescape"))
    os.close(file)

@functools.lru_cache(None)
def meet(count):
    # Once for each process. Otherwise those that have started may have done all the work when the last one has, too.
    with open(os.environ["LEDGER"] + ".met", "ab") as file:
        file.write(b".")
    while os.path.getsize(file.name) < count:
        time.sleep(0.05)
"""

NAMES = "import os\n\ndef run(mini_batch):\n    return [os.path.basename(path) for path in mini_batch]\n"


@dataclass
class Outcome:
    """What a command did; `job` is the job it printed."""

    status: int
    stdout: str
    stderr: str

    @property
    def job(self) -> dict[str, Any]:
        return json.loads(self.stdout)

    @property
    def counts(self) -> tuple[int, int, int]:
        """Mini-batches: total, succeeded, failed."""
        found = self.job["progress"]["mini_batches"]
        return found["total"], found["succeeded"], found["failed"]


@dataclass
class Lab:
    """A workspace folder with the makings of a job, which runs in processes of this machine."""

    folder: Path
    where = "process"
    sees_workers = True  # whoever monitors them does
    has_blobs = False  # whether inputs and outputs lie in blob storage
    local: ClassVar[tuple[str, ...]] = ("--local",)

    def files(self, count: int, *, name: str = "input", content: str = "") -> Path:
        folder = self.folder / name
        folder.mkdir(exist_ok=True)
        for number in range(count):
            (folder / f"f{number:05d}.txt").write_text(content or f"{number}\n")
        return folder

    def script(self, text: str = NAMES, *, name: str = "score.py") -> None:
        code = self.folder / "code"
        code.mkdir(exist_ok=True)
        self.ledger_file.parent.mkdir(exist_ok=True)
        (code / name).write_text(text)
        (code / "ledger.py").write_text(LEDGER)

    def job(self, *, task: dict[str, Any] | None = None, file: str = "job.yml", **keys: Any) -> Path:
        """A job file: by default one file per mini-batch, rows into `out/rows.txt`."""
        data: dict[str, Any] = {
            "type": "parallel",
            "inputs": {"data": {"type": "uri_folder", "path": "input"}},
            "outputs": {"rows": {"type": "uri_file", "path": "out/rows.txt"}},
            "input_data": "${{inputs.data}}",
            "mini_batch_size": "1",
            "environment_variables": {"LEDGER": str(self.ledger_file)},
            "task": {
                "type": "run_function",
                "code": "code",
                "entry_script": "score.py",
                "append_row_to": "${{outputs.rows}}",
                **(task or {}),
            },
        }
        data.update(keys)
        self.ledger_file.parent.mkdir(exist_ok=True)
        self.place(data)
        return self.write({key: value for key, value in data.items() if value is not None}, file=file)

    def write(self, job: dict[str, Any], *, file: str = "job.yml") -> Path:
        """A job file with these keys."""
        path = self.folder / file
        path.write_text(yaml.safe_dump(job, sort_keys=False))
        return path

    def place(self, job: dict[str, Any]) -> None:
        """Says in a job file where it is to run."""

    def needs_too(self, name: str) -> None:
        """A folder that is no input, but is named by one."""

    def settings(self, text: str) -> None:
        """More lines for workspace.yml."""
        path = self.folder / "workspace.yml"
        path.write_text((path.read_text() if path.exists() else "") + text)

    @property
    def state(self) -> Path:
        """Where the workspace keeps its jobs; the folder that `datastore` lies in by default."""
        return self.folder / ".runner"

    @property
    def datastore(self) -> Path:
        return self.state / "datastore"

    @property
    def jobs(self) -> set[str]:
        """Names of the jobs that have left anything."""
        folders = (self.state / "jobs", self.datastore / "azureml")
        return {path.name for folder in folders if folder.exists() for path in folder.iterdir()}

    @property
    def untouched(self) -> bool:
        """No job has been here."""
        return not self.state.exists()

    @property
    def ledger_file(self) -> Path:
        return self.folder / "ledger" / "ledger.txt"

    @property
    def rows(self) -> Path:
        return self.folder / "out" / "rows.txt"

    @property
    def ledger(self) -> list[str]:
        path = self.ledger_file
        return path.read_text(errors="surrogateescape").split("\n")[:-1] if path.exists() else []

    def command(self, *words: str) -> list[str]:
        return [sys.executable, "-m", "runner", *words]

    def environment(self, **extra: str) -> dict[str, str]:
        return {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2]), "RUNNER_WORKSPACE": str(self.folder), **extra}

    def run(self, *words: str, timeout: float = 120, **extra: str) -> Outcome:
        done = subprocess.run(
            self.command(*words),
            cwd=self.folder,
            env=self.environment(**extra),
            capture_output=True,
            text=True,
            timeout=timeout,
            errors="surrogateescape",
        )
        return Outcome(done.returncode, done.stdout, done.stderr)

    def start(self, *words: str, **extra: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            self.command(*words), cwd=self.folder, env=self.environment(**extra), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )

    def score(self, *words: str, name: str = "job", **extra: str) -> Outcome:
        """Runs job.yml to its end on this machine and returns it as JSON."""
        return self.run("job", "create", "-f", "job.yml", "-n", name, *self.local, "--stream", "-o", "json", *words, **extra)

    def logs(self, name: str = "job") -> Path:
        return self.datastore / "azureml" / name / "logs"


@dataclass
class ContainerLab(Lab):
    """The same, in containers of `image`. Scripts write their ledger through a mount of its folder."""

    image: str = "runner-test/bare"
    where = "container"
    local: ClassVar[tuple[str, ...]] = ()

    def place(self, job: dict[str, Any]) -> None:
        if job.get("type") in ("parallel", "command"):
            job.get("task", job).setdefault("environment", {"image": self.image})
            folder, settings = self.ledger_file.parent, self.folder / "workspace.yml"
            if not settings.exists() or "data_roots" not in settings.read_text():
                self.settings(f"docker: {{policy: {{data_roots: ['{folder}']}}}}\n")
            resources = job["resources"] = dict(job.get("resources", {}))
            given = resources.get("docker_args", [])
            resources["docker_args"] = [*(shlex.split(given) if isinstance(given, str) else given), "-v", f"{folder}:{folder}"]


@dataclass
class UserLab(ContainerLab):
    """The same, with everything done by an ordinary user in the group docker, while the test is root's."""

    where = "container-user"
    keep_owners = False

    def command(self, *words: str) -> list[str]:
        user = pwd.getpwnam(TESTER)
        if not self.keep_owners:
            subprocess.run(["chown", "-R", f"{user.pw_uid}:{user.pw_gid}", str(self.folder)], check=True)
        return [*as_tester(), *super().command(*words)]


@contextmanager
def folder_for_all() -> Iterator[Path]:
    """A folder that the ordinary user gets at: those of pytest are this user's alone."""
    folder = Path(tempfile.mkdtemp(prefix="runner-user-"))
    folder.chmod(0o755)
    try:
        yield folder
    finally:
        shutil.rmtree(folder)


@dataclass
class ClusterLab(ContainerLab):
    """The same, on the cluster of the tests: the folder lies in its shared datastore, and the commands are given on this machine."""

    cluster: Any = field(default=None, repr=False)
    where = "cluster"
    sees_workers = False  # its nodes are containers, and workers run in others beside them
    instances = 1

    @classmethod
    def on(cls, cluster: Any, name: str) -> ClusterLab:
        return cls.at(folder_on(cluster, name), cluster)

    @classmethod
    def at(cls, folder: Path, cluster: Any, image: str = "runner-test/bare") -> ClusterLab:
        """In a folder that `folder_on` has made."""
        compute = f"{{type: ray, address: '{cluster.gateway}', token_file: {cluster.submit_token_file}}}"
        lab = cls(folder, cluster=cluster, image=image)
        lab.settings(cluster.workspace.format(root=cluster.root) + f"computes: {{cluster: {compute}}}\ndefault_compute: cluster\n")
        cluster.wait_until(lambda: lab.nodes >= cluster.alive(), "the scheduler knows the nodes")
        return lab

    def clear(self) -> None:
        """The state is that of all labs on the cluster: its jobs end and go, the last of them a moment after it has ended."""
        for job in json.loads(self.run("job", "list", "-o", "json").stdout or "[]"):
            if job["status"] not in ("Completed", "Failed", "Canceled"):
                self.run("job", "cancel", job["name"])
                self.run("job", "stream", job["name"])
            self.cluster.wait_until(lambda name=job["name"]: self._is_gone(name), f"{job['name']} can go")

    def _is_gone(self, name: str) -> bool:
        return self.run("job", "delete", name, "--yes").status == 0 or self.run("job", "show", name).status != 0

    @property
    def nodes(self) -> set[str]:
        """Those that the scheduler takes for alive."""
        shown = self.run("compute", "show", "cluster", "-o", "json")
        return {node["name"] for node in json.loads(shown.stdout)["nodes"] if node["alive"]} if shown.status == 0 else set()

    def place(self, job: dict[str, Any]) -> None:
        if job.get("type") in ("parallel", "command"):
            job.get("task", job).setdefault("environment", {"image": self.image})
            folder = self.ledger_file.parent
            folder.chmod(0o777)
            resources = job["resources"] = {"instance_count": self.instances, **job.get("resources", {})}
            given = resources.get("docker_args", [])
            resources["docker_args"] = [*(shlex.split(given) if isinstance(given, str) else given), "-v", f"{folder}:{folder}"]

    @property
    def state(self) -> Path:
        return self.datastore / ".runner"

    @property
    def datastore(self) -> Path:
        return Path(self.cluster.root) / "data"

    @property
    def untouched(self) -> bool:
        return not self.jobs and not (self.folder / ".runner").exists()


def folder_on(cluster: Any, name: str) -> Path:
    """A new folder in the shared datastore of a cluster, for anybody."""
    labs = Path(cluster.root) / "data" / "labs"
    folder = next(path for number in itertools.count() if not (path := labs / (f"{name}-{number}" if number else name)).exists())
    folder.mkdir(parents=True)
    for path in (folder.parent, folder):
        path.chmod(0o777)
    return folder
