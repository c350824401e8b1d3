"""A real cluster of a head and three nodes in containers on this machine: start, empty mini-batches, losses. Needs what its tests need.

The nodes share this machine's cores: what is compared is compared on the same cluster, one after the other.
"""

from __future__ import annotations

import json
import os
import re
import time
from collections.abc import Callable
from datetime import datetime
from pathlib import Path

from benchmarks.measure import show
from tests.acceptance.jobs import ClusterLab
from tests.cluster import Cluster
from tests.images.build import ensure

ROUNDS = int(os.environ.get("BENCHMARK_ROUNDS", "3"))
EMPTY = 300_000
CALLS = 3_000
TIMES = ("started_at", "ended_at")
FIRST = "import time\nfrom ledger import note\n\ndef run(mini_batch):\n    note(repr(time.time()))\n    return mini_batch\n"
NOTHING = "def run(mini_batch):\n    return mini_batch\n"
STEPS = """
import os, time, uuid
from ledger import note

def run(mini_batch):
    attempt = uuid.uuid4().hex[:8]
    for step in range(10):
        note("%s %s %.3f" % (os.path.basename(mini_batch[0]), attempt, time.time()))
        time.sleep(0.1)
    return mini_batch
"""
# One call of an actor for each, six actors on three nodes, a hundred in flight on each.
ACTORS = """
import sys, time
import ray
ray.init(log_to_driver=False, logging_level="error")

@ray.remote(num_cpus=1)
class Worker:
    def run(self, path):
        return path

workers = [Worker.remote() for _ in range(6)]
ray.get([worker.run.remote("x") for worker in workers])
count, began, flying = int(sys.argv[1]), time.time(), []
for number in range(count):
    flying.append(workers[number % 6].run.remote("f%05d.txt" % number))
    if len(flying) >= 600:
        ray.get(flying[:300])
        del flying[:300]
ray.get(flying)
print(count / (time.time() - began))
"""
DATA = """
import sys, time
import ray
ray.init(log_to_driver=False, logging_level="error")
import ray.data
ray.data.DataContext.get_current().enable_progress_bars = False
count = int(sys.argv[1])
began = time.time()
ray.data.range(count).map_batches(lambda batch: batch, batch_size=1, concurrency=6).materialize()
print(count / (time.time() - began))
"""


def lab_of(cluster: Cluster, name: str, script: str, files: int, **keys: object) -> ClusterLab:
    lab = ClusterLab.on(cluster, name)
    lab.script(script)
    lab.files(files)
    lab.instances = 3
    lab.job(max_concurrency_per_instance=2, **keys)
    return lab


def run(lab: ClusterLab, name: str) -> float:
    """Seconds of the whole command."""
    began = time.monotonic()
    done = lab.run("job", "create", "-f", "job.yml", "-n", name, "--stream", timeout=600)
    assert done.status == 0, done.stderr
    return time.monotonic() - began


def start(cluster: Cluster) -> None:
    seconds = []
    lab = lab_of(cluster, "start", FIRST, 3)
    for number in range(ROUNDS):
        lab.ledger_file.unlink(missing_ok=True)
        began = time.time()
        run(lab, f"start-{number}")
        seconds.append(min(map(float, lab.ledger)) - began)
    show("from the command to the first run(), three instances", "s", {"cluster": seconds})


def empty(cluster: Cluster) -> None:
    lab = lab_of(cluster, "many", NOTHING, EMPTY)
    names = ("actor calls, one each", "Ray Data, batch_size=1", "from the first instance to the rows", "whole command")
    rates: dict[str, list[float]] = {name: [] for name in names}
    for number in range(ROUNDS):
        rates["whole command"].append(EMPTY / run(lab, f"many-{number}"))
        job = lab.run("job", "show", f"many-{number}", "-o", "json").job
        began, ended = (datetime.fromisoformat(job[name].replace("Z", "+00:00")) for name in TIMES)
        rates["from the first instance to the rows"].append(EMPTY / (ended - began).total_seconds())
        rates["actor calls, one each"].append(float(cluster.python(ACTORS, str(CALLS)).split()[-1]))
        rates["Ray Data, batch_size=1"].append(float(cluster.python(DATA, "300").split()[-1]))
    show("empty mini-batches", "/s", rates, against="actor calls, one each")


def loss(cluster: Cluster, title: str, happen: Callable[[str], None], mend: Callable[[str], None]) -> None:
    """From what happens to a node until a mini-batch that ran on it then, or until it stopped, runs elsewhere."""
    seconds = []
    for number in range(ROUNDS):
        cluster.repair()
        name = re.sub(r"\W+", "-", f"{title}-{number}")
        lab = lab_of(cluster, name, STEPS, 120)
        assert lab.run("job", "create", "-f", "job.yml", "-n", name).status == 0
        while len(lab.ledger) < 60 or not (node := first_node(lab, name)):
            time.sleep(0.1)
        began = time.time()
        happen(node)
        seconds.append(until_elsewhere(lab, began))
        mend(node)
        lab.run("job", "cancel", name)
    show(f"{title}: until its mini-batches run elsewhere", "s", {"cluster": seconds})


def first_node(lab: ClusterLab, name: str) -> str:
    """The node that the job's first instance runs on; empty before that is known."""
    log = (lab.logs(name) / "sys" / "master_role.txt").read_text()
    return next(iter(re.findall(r"node_\d+ started with .* on (\S+)", log)), "")


def until_elsewhere(lab: ClusterLab, began: float) -> float:
    while time.time() - began < 60:
        seen: dict[str, str] = {}
        for line in lab.ledger:
            name, attempt, moment = line.split()
            if seen.setdefault(name, attempt) != attempt and float(moment) > began:
                return float(moment) - began
        time.sleep(0.05)
    raise AssertionError("nothing runs elsewhere")


def main() -> None:
    """All of them."""
    ensure(["bare", "node"])
    with Cluster(types=("small", "small", "small")) as cluster:
        print(json.dumps({"nodes": sorted(cluster.alive()), "folder": Path(cluster.root).name}))
        start(cluster)
        empty(cluster)
        loss(cluster, "raylet killed", lambda name: cluster.kill_raylet(cluster.node(name)), lambda _name: None)
        loss(cluster, "network cut", lambda name: cluster.cut(cluster.node(name)), lambda name: cluster.heal(cluster.node(name)))


if __name__ == "__main__":
    main()
