"""Two machines with the same workspace.yml, whose default datastore is in blob storage: each works with the jobs of the other."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from runner.client import Client
from runner.engine.journal import read_journal
from runner.errors import JobConflict
from runner.workspace.archive import ownership
from tests.acceptance.conftest import Project
from tests.azurite import Azurite
from tests.fault_proxy import FaultProxy

pytestmark = pytest.mark.needs("azurite")

SETTINGS = """
datastores:
  az:
    type: azure_blob
    account_name: {azurite.account}
    container_name: {container}
    endpoint: {azurite.endpoint}
    credentials: {{account_key: "{azurite.key}"}}
default_datastore: az
"""
FILES, FREE = 40, 20  # so many are done, in whatever order they come; the others wait for the gate
GATED = """
    import os, time
    from pathlib import Path

    def run(mini_batch):
        name = os.path.basename(mini_batch[0])
        with open(os.environ["LEDGER"], "a") as ledger:
            ledger.write(name + "\\n")
        count = len(Path(os.environ["LEDGER"]).read_text().split())
        while count > 20 and not os.path.exists(os.environ["GATE"]):
            time.sleep(0.02)
        return [name]
"""
Eventually = Callable[..., Any]


@dataclass
class Site:
    """Two machines, and the container that both know."""

    a: Project
    b: Project
    azurite: Azurite
    container: str
    gate: Path
    ledger: Path

    def end(self) -> None:
        """Nothing runs on when a test has failed."""
        self.open()
        for blob in self.blobs():
            if blob.endswith("/owner.json"):
                owner = json.loads(self.blob(blob))
                if not owner["ended"] and ownership._started(owner["pid"]) == owner["started"]:
                    os.kill(owner["pid"], signal.SIGKILL)

    def open(self) -> None:
        self.gate.touch()

    def create(self, name: str, *words: str) -> None:
        done = self.a.run("job", "create", "-f", "job.yml", "--local", "-n", name, *words)
        assert done.status == 0, done.stderr

    def blob(self, name: str) -> bytes:
        with self.azurite.client(self.container) as client:
            data: bytes = client.download_blob(name).readall()
        return data

    def owner(self, job: str) -> dict[str, Any]:
        return dict(json.loads(self.blob(f".runner/jobs/{job}/owner.json")))

    def blobs(self) -> dict[str, str]:
        """Names and ETags."""
        with self.azurite.client(self.container) as client:
            return {blob.name: blob.etag for blob in client.list_blobs()}

    def rows(self, job: str) -> bytes:
        return self.blob(f"azureml/{job}/rows")

    def done_before_the_gate(self, job: str) -> bool:
        done = self.b.run("job", "show", job, "-o", "json")
        return not done.status and done.job["progress"]["mini_batches"]["succeeded"] >= FREE

    def first(self) -> set[str]:
        """What was done while the gate was closed."""
        return set(self.ledger.read_text().split()[:FREE])

    def times(self) -> Counter[str]:
        return Counter(self.ledger.read_text().split())


ROWS = "".join(f"{number:05d}.txt\n" for number in range(FILES)).encode()


@pytest.fixture
def site(tmp_path: Path, azurite: Azurite) -> Iterator[Site]:
    container = azurite.container()
    with azurite.client(container) as client:
        for number in range(FILES):
            client.upload_blob(f"in/{number:05d}.txt", b"x")
    gate, ledger = tmp_path / "gate", tmp_path / "ledger"
    a, b = (machine(tmp_path / name, azurite, container) for name in "ab")
    a.script(GATED)
    inputs = {"data": {"type": "uri_folder", "path": "azureml://datastores/az/paths/in"}}
    a.job(
        inputs=inputs,
        max_concurrency_per_instance=1,
        environment_variables={"GATE": str(gate), "LEDGER": str(ledger)},
        logging_level="DEBUG",
    )
    site = Site(a, b, azurite, container, gate, ledger)
    yield site
    site.end()


def machine(folder: Path, azurite: Azurite, container: str) -> Project:
    folder.mkdir()
    settings = folder / "workspace.yml"
    settings.write_text(SETTINGS.format(azurite=azurite, container=container))
    settings.chmod(0o600)
    return Project(folder)


def listed(project: Project) -> dict[str, str]:
    done = project.run("job", "list", "-o", "json")
    assert done.status == 0, done.stderr
    return {job["name"]: job["status"] for job in json.loads(done.stdout)}


def has_status(project: Project, status: str) -> bool:
    return listed(project) == {"far": status}


def ended(process: subprocess.Popen[str], seconds: float = 60) -> tuple[int, str, str]:
    said, warned = process.communicate(timeout=seconds)
    return process.returncode, said, warned


def warned_until(process: subprocess.Popen[str], text: str, seconds: float = 60) -> str:
    """What it writes to stderr, the line with this text included."""
    assert process.stderr is not None
    lines = [""]
    guard = threading.Timer(seconds, process.kill)
    guard.start()
    try:
        while text not in lines[-1]:
            lines.append(process.stderr.readline())
            assert lines[-1], f"it did not say {text!r} in {seconds:g} s: {''.join(lines)}"
    finally:
        guard.cancel()
    return "".join(lines)


def test_a_job_is_followed_from_another_machine(site: Site, eventually: Eventually, tmp_path: Path) -> None:
    here = site.a.start("job", "create", "-f", "job.yml", "--local", "--stream", "-n", "far", "-o", "json")
    eventually(lambda: listed(site.b).get("far") == "Running")
    eventually(lambda: site.done_before_the_gate("far"), timeout=90)
    shown = site.b.show("far")
    assert "runs as" in shown["reason"]
    assert shown["logs"] == "azureml://datastores/az/paths/azureml/far/logs"
    there = site.b.start("job", "stream", "far", "-o", "json")
    time.sleep(1)
    site.open()
    status, said, warned = ended(there)
    assert status == 0, warned
    assert json.loads(said)["status"] == "Completed"
    assert f"{FILES}" in warned
    assert ended(here)[0] == 0
    assert site.rows("far") == ROWS
    assert site.times() == Counter({f"{number:05d}.txt": 1 for number in range(FILES)})
    assert site.b.show("far")["progress"]["mini_batches"]["succeeded"] == FILES
    done = site.b.run("job", "download", "far", "--all", "-p", str(tmp_path / "copy"))
    assert done.status == 0, done.stderr
    assert (tmp_path / "copy" / "named-outputs" / "rows" / "rows").read_bytes() == ROWS
    local = site.a.folder / ".runner" / "datastore" / "azureml" / "far" / "logs"
    copied = tmp_path / "copy" / "artifacts" / "logs"
    assert "Completed" in (copied / "job_result.txt").read_text()
    files = [path.relative_to(local) for path in local.rglob("*") if path.is_file() and "perf" not in path.parts]
    assert files
    assert all((local / name).read_bytes() == (copied / name).read_bytes() for name in files)


def test_a_name_is_taken_on_all_machines(site: Site) -> None:
    site.open()
    site.create("one", "--stream")
    shutil.copytree(site.a.folder / "src", site.b.folder / "src")
    shutil.copy(site.a.folder / "job.yml", site.b.folder)
    done = site.b.run("job", "create", "-f", "job.yml", "--local", "-n", "one")
    assert done.status == 2
    assert "taken by another job in the datastore 'az'" in done.stderr


def test_a_job_is_cancelled_and_resumed_from_another_machine(site: Site, eventually: Eventually) -> None:
    site.create("far")
    eventually(lambda: site.done_before_the_gate("far"), timeout=90)
    refused = site.b.run("job", "resume", "far")
    assert refused.status == 2
    assert "job far runs as" in refused.stderr
    done = site.b.run("job", "cancel", "far")
    assert done.status == 0, done.stderr
    eventually(lambda: listed(site.b)["far"] == "Canceled")
    assert site.a.show("far")["status"] == "Canceled"
    eventually(lambda: site.owner("far")["ended"])  # a moment after its record says so
    site.open()
    done = site.b.run("job", "resume", "far", "--stream", "-o", "json")
    assert done.status == 0, done.stderr
    assert site.rows("far") == ROWS
    assert all(site.times()[name] == 1 for name in site.first())
    assert site.a.show("far")["status"] == "Completed"
    assert listed(site.a) == listed(site.b) == {"far": "Completed"}


def test_a_machine_that_is_lost_is_replaced(site: Site, eventually: Eventually) -> None:
    site.create("far")
    eventually(lambda: site.done_before_the_gate("far"), timeout=90)
    os.kill(site.owner("far")["pid"], signal.SIGKILL)
    eventually(lambda: site.b.show("far")["status"] == "Failed")
    assert site.b.show("far")["error"]["code"] == "interrupted"
    shutil.rmtree(site.a.folder / ".runner")
    before = site.times()
    site.open()
    done = site.b.run("job", "resume", "far", "--stream", "-o", "json")
    assert done.status == 0, done.stderr
    assert site.rows("far") == ROWS
    again = site.times() - before
    assert set(again) == {f"{number:05d}.txt" for number in range(FILES)} - site.first()
    assert max(again.values()) == 1


SLOW = """
    import os, time

    def run(mini_batch):
        name = os.path.basename(mini_batch[0])
        with open(os.environ["LEDGER"], "a") as ledger:
            ledger.write(name + "\\n")
        time.sleep(0.2)
        return [name]
"""


@pytest.mark.parametrize("boundary", ["archive.parts:2", "archive.manifest:2", "archive.journal:2", "commit.before", "commit.done"])
def test_a_machine_that_is_lost_at_any_boundary_is_replaced(site: Site, boundary: str, tmp_path: Path) -> None:
    site.a.script(SLOW)
    done = site.a.run("job", "create", "-f", "job.yml", "--local", "--stream", "-n", "far", RUNNER_FAILPOINT=boundary)
    assert done.status == -signal.SIGKILL
    shutil.rmtree(site.a.folder / ".runner")
    journal = tmp_path / "journal.log"
    journal.write_bytes(site.blob(".runner/jobs/far/journal.log"))
    archived = [index for segment in read_journal(journal).segments for index in range(segment.first, segment.last + 1)]
    assert archived or boundary != "archive.journal:2"
    done = site.b.run("job", "resume", "far", "--stream", "-o", "json")
    assert done.status == 0, done.stderr
    assert done.job["progress"]["mini_batches"]["succeeded"] == FILES
    assert site.rows("far") == ROWS
    assert all(site.times()[f"{index:05d}.txt"] == 1 for index in archived)
    if boundary == "commit.done":  # before that, the datastore was brought up to date
        assert len(archived) == FILES


def test_a_job_goes_there_and_back(site: Site, eventually: Eventually) -> None:
    site.create("far")
    eventually(lambda: site.done_before_the_gate("far"), timeout=90)
    os.kill(site.owner("far")["pid"], signal.SIGKILL)
    eventually(lambda: site.a.show("far")["status"] == "Failed")
    for project, other in ((site.a, site.b), (site.b, site.a)):  # first on its own machine
        done = project.run("job", "resume", "far")
        assert done.status == 0, done.stderr
        eventually(partial(has_status, other, "Running"), timeout=60)
        assert other.run("job", "cancel", "far").status == 0
        eventually(partial(has_status, other, "Canceled"), timeout=60)
        eventually(lambda: site.owner("far")["ended"])  # a moment after its record says so
    site.open()
    done = site.a.run("job", "resume", "far", "--stream", "-o", "json")
    assert done.status == 0, done.stderr
    assert site.rows("far") == ROWS
    assert all(site.times()[name] == 1 for name in site.first())
    assert listed(site.a) == listed(site.b) == {"far": "Completed"}


def test_a_pipeline_goes_on_with_its_step(site: Site, eventually: Eventually) -> None:
    parts = {"type": "uri_folder"}
    step = {"type": "parallel", "mini_batch_size": "1", "max_concurrency_per_instance": 1, "input_data": "${{inputs.data}}"}
    task = {"type": "run_function", "code": "src", "append_row_to": "${{outputs.rows}}"}
    site.a.script("from pathlib import Path\ndef run(batch):\n    return [Path(batch[0]).name]\n", "first.py")
    variables = {"GATE": str(site.gate), "LEDGER": str(site.ledger)}
    first = {
        **step,
        "inputs": {"data": {"type": "uri_folder", "path": "azureml://datastores/az/paths/in"}},
        "outputs": {"rows": parts},
        "task": {**task, "entry_script": "first.py"},
    }
    second = {
        **step,
        "inputs": {
            "data": {"type": "uri_folder", "path": "azureml://datastores/az/paths/in"},
            "rows": "${{parent.jobs.first.outputs.rows}}",
        },
        "outputs": {"rows": {"type": "uri_file"}},
        "environment_variables": variables,
        "task": {**task, "entry_script": "score.py"},
    }
    (site.a.folder / "job.yml").write_text(json.dumps({"type": "pipeline", "jobs": {"first": first, "second": second}}))
    site.create("far")
    eventually(lambda: "far.second" in str(site.b.run("job", "list", "-p", "far").stdout), timeout=60)
    eventually(
        lambda: site.b.run("job", "show", "far.second", "-o", "json").job["progress"]["mini_batches"]["succeeded"] >= FREE, timeout=90
    )
    os.kill(site.owner("far")["pid"], signal.SIGKILL)
    eventually(lambda: site.b.show("far")["status"] == "Failed")
    shutil.rmtree(site.a.folder / ".runner")
    site.open()
    done = site.b.run("job", "resume", "far", "--stream", "-o", "json")
    assert done.status == 0, done.stderr
    assert site.blob("azureml/far.second/rows") == ROWS
    assert all(site.times()[name] == 1 for name in site.first())
    assert site.a.show("far.first")["status"] == "Completed"
    assert site.blob("azureml/far/logs/second/job_result.txt").startswith(b"Job far.second: Completed")
    assert site.a.run("job", "delete", "far", "--yes").status == 0
    assert not [name for name in site.blobs() if "far" in name]


def test_a_machine_that_awakes_writes_nothing_more(site: Site, eventually: Eventually, monkeypatch: pytest.MonkeyPatch) -> None:
    here = site.a.start("job", "create", "-f", "job.yml", "--local", "--stream", "-n", "far", "-o", "json")
    eventually(lambda: site.done_before_the_gate("far"), timeout=90)
    os.kill(here.pid, signal.SIGSTOP)
    other = Client(site.b.folder, say=lambda _text: None)
    with pytest.raises(JobConflict):
        other.resume("far")
    monkeypatch.setattr(ownership, "SILENT", 1.0)
    eventually(lambda: "not heard of since" in other.get("far").reason or time.sleep(0.2), what="silence")
    site.open()
    assert other.resume("far", stream=True).status == "Completed"
    before = site.blobs()
    assert site.rows("far") == ROWS
    os.kill(here.pid, signal.SIGCONT)
    status, _, warned = ended(here)
    assert status == 2
    assert "job far was taken over by another machine" in warned
    assert site.blobs() == before
    assert site.a.show("far")["status"] == "Completed"
    assert not (site.a.folder / ".runner" / "jobs" / "far" / "access.json").exists()


def test_an_outage_is_told_and_waited_for(site: Site, fault_proxy: FaultProxy, tmp_path: Path, eventually: Eventually) -> None:
    site.a.script(GATED)
    site.a.files(FILES)
    far = fault_proxy.front
    machine(tmp_path / "c", far, site.container)
    shutil.copy(tmp_path / "c" / "workspace.yml", site.a.folder)
    rows = {"rows": {"type": "uri_file", "path": "out/rows.txt"}}
    site.a.job(outputs=rows, max_concurrency_per_instance=1, environment_variables={"GATE": str(site.gate), "LEDGER": str(site.ledger)})
    here = site.a.start("job", "create", "-f", "job.yml", "--local", "--stream", "-n", "far", "-o", "json")
    eventually(lambda: site.done_before_the_gate("far"), timeout=90)
    with fault_proxy.outage():
        site.open()
        eventually(lambda: len(site.times()) == FILES)  # it goes on
        told = warned_until(here, "waiting for datastore 'az'")
        assert here.poll() is None  # its end waits for the archive
    status, _, warned = ended(here)
    assert status == 0, told + warned
    assert "waiting for datastore 'az'" in told + warned
    assert (site.a.folder / "out" / "rows.txt").read_bytes() == ROWS
    assert site.b.show("far")["status"] == "Completed"


def test_a_failed_job_is_there_too(site: Site) -> None:
    site.a.script("def run(batch):\n    raise ValueError('broken')\n")
    done = site.a.run("job", "create", "-f", "job.yml", "--local", "--stream", "-n", "far")
    assert done.status == 1
    assert listed(site.b) == {"far": "Failed"}
    assert "broken" in site.b.show("far")["error"]["message"]


def test_a_job_is_deleted_everywhere(site: Site) -> None:
    site.open()
    site.create("far", "--stream")
    with site.azurite.client(site.container) as client:
        client.upload_blob("azureml/farther/file", b"another's")
    done = site.b.run("job", "delete", "far", "--yes")
    assert done.status == 0, done.stderr
    assert not [name for name in site.blobs() if "far/" in name]
    assert "azureml/farther/file" in site.blobs()
    done = site.b.run("job", "show", "far")
    assert done.status == 2


def test_what_is_on_one_machine_only_does_not_go_on_on_another(site: Site) -> None:
    site.a.script("def run(batch):\n    raise ValueError('broken')\n")
    site.a.job(
        inputs={"data": {"type": "uri_folder", "path": "azureml://datastores/az/paths/in"}},
        outputs={"rows": {"type": "uri_file"}, "more": {"type": "uri_folder", "path": "out"}},
        environment_variables={"GATE": str(site.gate), "LEDGER": str(site.ledger)},
    )
    assert site.a.run("job", "create", "-f", "job.yml", "--local", "--stream", "-n", "far").status == 1
    done = site.b.run("job", "resume", "far")
    assert done.status == 2
    assert "files that its script has written lie on" in done.stderr


def test_no_secret_is_in_the_archive(site: Site) -> None:
    site.open()
    site.create("far", "--stream")
    for name in site.blobs():
        assert site.azurite.key.encode() not in site.blob(name), name
