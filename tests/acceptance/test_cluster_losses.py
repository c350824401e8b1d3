"""A real cluster of a head and three nodes loses what it has while a job runs. The output has the same bytes each time."""

from __future__ import annotations

import json
import re
import subprocess
import time
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import pytest

from tests.acceptance.jobs import ClusterLab
from tests.cluster import Cluster

pytestmark = pytest.mark.needs("cluster")

COUNT = 60
# Each attempt writes a line about every tenth of a second, on storage that stays reachable when the network is cut.
SCRIPT = """
import os, time, uuid
from ledger import meet, note

def init():
    meet(4)  # those of both instances: what counts processes, or takes one away, is to find all
    note("init %s" % os.environ["HOSTNAME"])

def run(mini_batch):
    (path,), attempt = mini_batch, uuid.uuid4().hex[:8]
    name = os.path.basename(path)
    for step in range(int(os.environ.get("STEPS", "8"))):
        note("%s %s %.3f" % (name, attempt, time.time()))
        time.sleep(0.1)
    return [name]
"""

OWNERS = """
from pathlib import Path
for folder in Path("/proc").glob("[0-9]*"):
    try:
        if b"runner.cluster.owner" in (folder / "cmdline").read_bytes():
            print(folder.name)
    except OSError:
        pass
"""


@pytest.fixture
def lab(cluster: Cluster, request: pytest.FixtureRequest) -> ClusterLab:
    name = re.sub(r"\W+", "-", request.node.name.removeprefix("test_"))[:30].strip("-")
    lab = ClusterLab.on(cluster, name)
    lab.instances = 2
    lab.files(COUNT)
    lab.script(SCRIPT)
    lab.job(max_concurrency_per_instance=2, resources={"instance_type": "small"})
    return lab


class Running:
    """A job that has begun; what happens to it, and how it ends."""

    def __init__(self, lab: ClusterLab, name: str, *words: str) -> None:
        self.lab, self.name = lab, name
        created = lab.run("job", "create", "-f", "job.yml", "-n", name, "-o", "json", *words)
        assert created.status == 0, created.stderr
        self.wait(lambda: len(self.attempts) >= 6, "the job runs")

    @property
    def attempts(self) -> dict[str, list[tuple[str, float]]]:
        """Mini-batch → its lines: attempt and time."""
        found: dict[str, list[tuple[str, float]]] = {}
        for line in self.lab.ledger:
            if not line.startswith("init"):
                name, attempt, moment = line.split()
                found.setdefault(name, []).append((attempt, float(moment)))
        return found

    @property
    def inits(self) -> int:
        return sum(line.startswith("init") for line in self.lab.ledger)

    def wait(self, condition: Callable[[], bool], what: str, seconds: float = 60.0) -> float:
        begin = time.monotonic()
        while not condition():
            assert time.monotonic() - begin < seconds, f"not within {seconds:g} s: {what}\n{self.log}"
            time.sleep(0.05)
        return time.monotonic() - begin

    @property
    def log(self) -> str:
        file = self.lab.logs(self.name) / "sys" / "master_role.txt"
        scheduler = self.lab.cluster.root / "data" / ".runner" / "scheduler.log"
        return "\n".join(path.read_text()[-5000:] for path in (file, scheduler) if path.exists())

    @property
    def hosts(self) -> dict[str, str]:
        """Instance → node."""
        return dict(re.findall(r"(node_\d+) started with .* on (\S+)", self.log))

    def end(self, seconds: float = 120.0) -> dict[str, object]:
        """Its record, when all rows stand where they belong."""
        streamed = self.lab.run("job", "stream", self.name, "-o", "json", timeout=seconds)
        assert streamed.status == 0, streamed.stderr + self.log
        assert self.lab.rows.read_text().splitlines() == [f"f{number:05d}.txt" for number in range(COUNT)]
        return json.loads(streamed.stdout)

    def again(self, since: float) -> list[str]:
        """Mini-batches of which an attempt began after this moment that had an earlier one."""
        return [name for name, lines in self.attempts.items() if lines[0][1] < since and any(a != lines[0][0] for a, _ in lines)]

    def check_no_overlap(self) -> None:
        """No attempt has written anything after another one of the same mini-batch had begun."""
        for name, lines in self.attempts.items():
            order = list(dict.fromkeys(attempt for attempt, _ in sorted(lines, key=lambda line: line[1])))
            last = {attempt: max(t for a, t in lines if a == attempt) for attempt in order}
            first = {attempt: min(t for a, t in lines if a == attempt) for attempt in order}
            assert all(last[a] < first[b] for a, b in pairwise(order)), (name, lines)


def busy_node(job: Running) -> str:
    """A node that the job has an instance on."""
    job.wait(lambda: len(job.hosts) >= 2, "both instances have started")
    return next(iter(job.hosts.values()))


def moved(job: Running, began: float, seconds: float) -> float:
    """How long it takes until what ran on the lost node runs elsewhere."""
    job.wait(lambda: bool(job.again(began)), "what was lost runs elsewhere", seconds + 5)
    took = time.time() - began
    print(f"ran elsewhere after {took:.1f} s")
    assert took < seconds
    return took


def test_a_raylet_is_killed(lab: ClusterLab) -> None:
    job = Running(lab, "raylet", "--set", "environment_variables.STEPS=20")
    node = lab.cluster.node(busy_node(job))
    began = time.time()
    lab.cluster.kill_raylet(node)
    moved(job, began, 10)
    job.end()
    job.check_no_overlap()


def test_a_machine_is_gone(lab: ClusterLab) -> None:
    job = Running(lab, "machine", "--set", "environment_variables.STEPS=20")
    began = time.time()
    lab.cluster.kill_container(lab.cluster.node(busy_node(job)))
    moved(job, began, 20)
    job.end()
    job.check_no_overlap()


def test_a_network_is_cut_and_heals_after_a_minute(lab: ClusterLab) -> None:
    job = Running(lab, "cut", "--set", "environment_variables.STEPS=30")
    node = lab.cluster.node(busy_node(job))
    began = time.time()
    lab.cluster.cut(node)
    moved(job, began, 20)
    time.sleep(max(0.0, began + 60 - time.time()))
    lab.cluster.heal(node)
    job.end(300)
    job.check_no_overlap()


def test_the_owner_of_the_job_is_killed(lab: ClusterLab) -> None:
    job = Running(lab, "owner")
    before = job.inits
    assert lab.cluster.kill_process(lab.cluster.head, "runner.cluster.owner")
    job.end()
    assert job.inits == before == 4
    assert len((lab.cluster.root / "data/.runner/jobs/owner/owners.log").read_text().splitlines()) == 2


def test_the_actor_of_the_owner_is_killed(lab: ClusterLab) -> None:
    job = Running(lab, "owner-actor")
    before = job.inits
    assert lab.cluster.kill_actor("owner/owner-actor")
    job.end()
    assert job.inits == before == 4


def test_of_two_owners_the_older_one_stops(lab: ClusterLab) -> None:
    """It hangs, another one takes the job over, and then it goes on: nothing that it says counts."""
    job = Running(lab, "two")
    assert lab.cluster.kill_process(lab.cluster.head, "runner.cluster.owner", 19)
    assert lab.cluster.kill_actor("owner/two")
    owners = lab.cluster.root / "data/.runner/jobs/two/owners.log"
    job.wait(lambda: len(owners.read_text().splitlines()) == 2, "another owner has taken over")
    old = owners.read_text().split()[2]
    assert lab.cluster.kill_process(lab.cluster.head, "runner.cluster.owner", 18)
    job.wait(lambda: old not in lab.cluster.python(OWNERS).split(), "the older one has ended", 10)
    job.end()
    job.check_no_overlap()


def test_the_scheduler_is_killed(lab: ClusterLab) -> None:
    job = Running(lab, "scheduler")
    before = job.inits
    assert lab.cluster.kill_actor("scheduler")
    job.wait(lambda: lab.run("compute", "show", "cluster").status == 0, "the gateway is up again")
    job.end()
    assert job.inits == before == 4
    lab.files(4)
    again = lab.run("job", "create", "-f", "job.yml", "-n", "after", "--stream", timeout=90)
    assert again.status == 0, again.stderr


def test_the_process_of_an_instance_is_killed(lab: ClusterLab) -> None:
    job = Running(lab, "instance", "--set", "environment_variables.STEPS=20")
    node = lab.cluster.node(busy_node(job))
    began = time.time()
    assert lab.cluster.kill_process(node, "runner.cluster.instance")
    moved(job, began, 10)
    job.end()
    job.check_no_overlap()
    assert job.hosts.keys() == {"node_0", "node_1", "node_2"}


def test_the_process_of_an_instance_hangs(lab: ClusterLab) -> None:
    job = Running(lab, "hangs", "--set", "environment_variables.STEPS=20")
    node = lab.cluster.node(busy_node(job))
    began = time.time()
    assert lab.cluster.kill_process(node, "runner.cluster.instance", 19)
    moved(job, began, 20)
    job.end()
    job.check_no_overlap()


def test_the_container_of_an_instance_is_killed(lab: ClusterLab) -> None:
    job = Running(lab, "container", "--set", "environment_variables.STEPS=20")
    busy_node(job)
    found = subprocess.run(["docker", "ps", "-q", "--filter", "label=runner.job=container"], capture_output=True, text=True, check=True)
    began = time.time()
    subprocess.run(["docker", "kill", found.stdout.split()[0]], check=True, capture_output=True)
    moved(job, began, 10)
    job.end()
    job.check_no_overlap()


def test_the_head_is_lost(lab: ClusterLab) -> None:
    """All of Ray with it: the new head finds the job, and goes on from its journal."""
    job = Running(lab, "head")
    job.wait(lambda: lab.run("job", "show", "head", "-o", "json").job["progress"]["mini_batches"]["succeeded"] > 8, "some is done")
    lab.cluster.restart_head()
    job.wait(lambda: lab.run("compute", "show", "cluster").status == 0, "the gateway is up again")
    job.end(200)
    first = [lines[0][0] for lines in job.attempts.values()]
    assert sum(len({a for a, _ in lines}) for lines in job.attempts.values()) < COUNT + 24, "what was finished has not run again"
    assert len(first) == COUNT
    job.check_no_overlap()


def test_nothing_is_left_on_the_nodes(lab: ClusterLab) -> None:
    job = Running(lab, "left")
    sockets = sockets_of("left")
    assert len(sockets) == 2
    job.end()
    for name in ("node-1", "node-2"):
        node = lab.cluster.node(name)
        job.wait(lambda node=node: not lab.cluster.kill_process(node, "runner.cluster.instance", 0), f"no process on {name}", 3)  # type: ignore[misc]
    asked = ("docker", "ps", "-aq", "--filter", "label=runner.job=left")
    job.wait(lambda: not subprocess.run(asked, capture_output=True, text=True, check=True).stdout, "no container", 3)
    job.wait(lambda: not [folder for folder in sockets if Path(folder).exists()], "no folder", 3)


def sockets_of(job: str) -> list[str]:
    """The folders of its instances' sockets, as its containers have them mounted: others' jobs have theirs beside them."""
    found = subprocess.run(["docker", "ps", "-q", "--filter", f"label=runner.job={job}"], capture_output=True, text=True, check=True)
    shown = subprocess.run(["docker", "inspect", *found.stdout.split()], capture_output=True, text=True, check=True)
    mounts = [mount["Source"] for one in json.loads(shown.stdout) for mount in one["Mounts"]]
    return [source for source in mounts if source.startswith("/dev/shm/runner-")]
