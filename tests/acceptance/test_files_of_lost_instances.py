"""Files that scripts append to in blob storage, on a cluster that loses the instance which wrote them."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.acceptance.blobs import InBlob, in_blob
from tests.acceptance.jobs import ClusterLab
from tests.azurite import Azurite
from tests.cluster import Cluster

pytestmark = pytest.mark.needs("cluster", "azurite")

COUNT = 40
SCRIPT = """
import argparse, os, time
from ledger import note

def init():
    global FOLDER
    parser = argparse.ArgumentParser()
    parser.add_argument("--files")
    FOLDER = parser.parse_known_args()[0].files

def run(mini_batch):
    name = os.path.basename(mini_batch[0])
    time.sleep(0.5)
    with open(os.path.join(FOLDER, "all.txt"), "a") as file:
        file.write(name + chr(10))
    note(name)
    return [name]
"""


@pytest.fixture
def lab(cluster: Cluster, azurite_of_the_cluster: Azurite) -> Iterator[InBlob]:
    lab = in_blob(ClusterLab, azurite_of_the_cluster).on(cluster, "lost-files")  # type: ignore[attr-defined]
    assert isinstance(lab, InBlob)
    lab.files(COUNT)
    lab.script(SCRIPT)
    lab.job(
        max_concurrency_per_instance=1,
        outputs={"files": {"type": "uri_folder", "path": "files"}},
        task={"program_arguments": "--files ${{outputs.files}}", "append_row_to": None},
        resources={"instance_type": "small", "instance_count": 1},
    )
    yield lab
    lab.clear()  # type: ignore[attr-defined]


def until(condition: Callable[[], object]) -> None:
    end = time.monotonic() + 90
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.2)


def test_whoever_takes_the_place_of_a_lost_instance_appends_to_its_files(lab: InBlob, cluster: Cluster) -> None:
    created = lab.run("job", "create", "-f", "job.yml", "-n", "job")
    assert created.status == 0, created.stderr
    master = lab.logs("job") / "sys" / "master_role.txt"
    until(lambda: len(lab.ledger) >= 10)
    uploaded = Path(lab.folder / "files" / "all.txt")

    def some_arrived() -> bool:  # later than they were written
        lab.fetch()
        return uploaded.exists() and len(uploaded.read_text().split()) >= 5

    until(some_arrived)
    before = uploaded.read_text()
    (host,) = re.findall(r"node_0 started with .* on (\S+)", master.read_text())
    cluster.kill_raylet(cluster.node(host))
    done = lab.run("job", "stream", "job", "-o", "json", timeout=180)
    assert done.status == 0, done.stderr
    assert len(re.findall(r"node_\d+ started with", master.read_text())) == 2, master.read_text()
    rows = uploaded.read_text()
    assert rows.startswith(before)
    assert set(rows.split()) == {f"f{number:05d}.txt" for number in range(COUNT)}
    assert "written by" not in master.read_text()
