"""Jobs on a real cluster of a head and three nodes, two small and a big one, each in a container: whose turn it is, who may do what."""

from __future__ import annotations

import json
import os
import pwd
import re
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.acceptance.jobs import ClusterLab, Outcome
from tests.cluster import Cluster
from tests.docker_engine import TESTER, as_tester

pytestmark = pytest.mark.needs("cluster")

SLOW = """
import os, time
from ledger import note

def init():
    note("init %s" % os.uname().nodename)

def run(mini_batch):
    # Until the test has seen what it wants to see.
    end = time.monotonic() + float(os.environ.get("SECONDS", "0.2"))
    while time.monotonic() < end and not os.path.exists(os.environ["LEDGER"] + ".go"):
        time.sleep(0.02)
    note("ran by %d:%d" % (os.getuid(), os.getgid()))
    return [os.path.basename(path) for path in mini_batch]
"""
ENDLESS = 1000  # seconds
NO_TIMEOUT = {"timeout": ENDLESS}
TABLE = """
def run(frame):
    frame["double"] = frame.a * 2
    return frame
"""


@pytest.fixture
def lab(cluster: Cluster, request: pytest.FixtureRequest) -> Iterator[ClusterLab]:
    lab = ClusterLab.on(cluster, re.sub(r"\W+", "-", request.node.name.removeprefix("test_"))[:40].strip("-"))
    lab.files(12)
    lab.script(SLOW)
    yield lab
    for job in json.loads(lab.run("job", "list", "-o", "json").stdout or "[]"):
        if job["status"] not in ("Completed", "Failed", "Canceled"):
            lab.run("job", "cancel", job["name"])


def create(lab: ClusterLab, name: str, *words: str, status: int = 0) -> Outcome:
    done = lab.run("job", "create", "-f", "job.yml", "-n", name, "-o", "json", "--set", f"outputs.rows.path=out/{name}.txt", *words)
    assert done.status == status, done.stderr
    return done


def go(lab: ClusterLab) -> None:
    """Mini-batches end, and those to come take no time."""
    lab.ledger_file.with_name(lab.ledger_file.name + ".go").touch()


def state(lab: ClusterLab, name: str) -> str:
    return str(lab.run("job", "show", name, "-o", "json").job["status"])


def wait(condition: Callable[[], bool], seconds: float = 60.0) -> float:
    begin = time.monotonic()
    while not condition():
        assert time.monotonic() - begin < seconds
        time.sleep(0.1)
    return time.monotonic() - begin


def end(lab: ClusterLab, *names: str) -> None:
    for name in names:
        done = lab.run("job", "stream", name)
        assert done.status == 0, done.stderr


def containers(job: str) -> list[str]:
    found = subprocess.run(["docker", "ps", "-q", "--filter", f"label=runner.job={job}"], capture_output=True, text=True, check=True)
    return found.stdout.split()


def shown(lab: ClusterLab) -> dict[str, dict[str, object]]:
    return {node["name"]: node for node in json.loads(lab.run("compute", "show", "cluster", "-o", "json").stdout)["nodes"]}


def test_rows_are_the_same_as_on_this_machine(lab: ClusterLab) -> None:
    lab.instances = 3
    lab.job()
    end(lab, create(lab, "there").job["name"])
    here = lab.run("job", "create", "-f", "job.yml", "-n", "here", "--local", "--stream", "--set", "outputs.rows.path=out/here.txt")
    assert here.status == 0, here.stderr
    assert (lab.folder / "out" / "there.txt").read_bytes() == (lab.folder / "out" / "here.txt").read_bytes()


def test_without_an_image_it_runs_in_processes_of_the_nodes(lab: ClusterLab) -> None:
    lab.instances = 2
    lab.job(task={"environment": None})
    end(lab, create(lab, "processes").job["name"])
    assert {line for line in lab.ledger if line.startswith("init")} <= {"init node-1", "init node-2", "init node-3"}
    assert not containers("processes")


def test_a_table(lab: ClusterLab) -> None:
    table = lab.folder / "table"
    table.mkdir()
    (table / "rows.csv").write_text("a,b\n" + "".join(f"{i},x{i}\n" for i in range(5000)))
    (table / "MLTable").write_text("paths: [{file: rows.csv}]\ntransformations: [{read_delimited: {delimiter: ','}}]\n")
    lab.script(TABLE)
    inputs = {"data": {"type": "mltable", "path": "table"}}
    lab.job(inputs=inputs, mini_batch_size="4kb", task={"environment": {"image": "runner-test/pandas"}}, resources={"instance_count": 2})
    end(lab, create(lab, "table").job["name"])
    assert (lab.folder / "out/table.txt").read_text().splitlines() == [f"{i} x{i} {2 * i}" for i in range(5000)]


def test_what_another_user_in_the_containers_has_written_is_the_submitters(lab: ClusterLab) -> None:
    lab.files(4)
    lab.script(
        "import os\n\ndef run(b):\n    name = os.path.basename(b[0])\n"
        "    open(os.path.join(os.environ['AZURE_ML_OUTPUT_side'], name), 'w').close()\n    return [os.getuid()]\n"
    )
    outputs = {"rows": {"type": "uri_file", "path": "out/rows.txt"}, "side": {"type": "uri_folder", "path": "side"}}
    lab.job(outputs=outputs, resources={"instance_count": 2, "docker_args": "--user 1234:1234"})
    done = lab.run("job", "create", "-f", "job.yml", "-n", "users", "--stream")
    assert done.status == 0, done.stderr
    assert "given back" not in done.stderr
    assert set(lab.rows.read_text().split()) == {"1234"}
    assert {path.stat().st_uid for path in (lab.folder / "side").iterdir()} == {os.getuid()}


def test_create_returns_at_once_and_the_job_can_be_followed_left_and_followed_again(lab: ClusterLab) -> None:
    lab.job(environment_variables={"LEDGER": str(lab.ledger_file), "SECONDS": "1"}, max_concurrency_per_instance=2)
    begin = time.monotonic()
    created = create(lab, "followed")
    assert time.monotonic() - begin < 3
    assert created.job["status"] in ("Queued", "Preparing")
    following = lab.start("job", "stream", "followed")
    assert following.stderr is not None
    assert following.stderr.readline()  # it follows
    wait(lambda: bool(lab.ledger))
    following.send_signal(signal.SIGINT)
    _, told = following.communicate(timeout=20)
    assert following.returncode == 130
    assert "job stream followed" in told
    end(lab, "followed")
    assert (lab.folder / "out/followed.txt").read_text().count("\n") == 12


def test_cancelling_stops_the_containers_within_seconds(lab: ClusterLab) -> None:
    lab.job(environment_variables={"LEDGER": str(lab.ledger_file), "SECONDS": "60"}, retry_settings={"timeout": 300})
    create(lab, "cancelled")
    wait(lambda: bool(lab.ledger))
    assert containers("cancelled")
    begin = time.monotonic()
    assert lab.run("job", "cancel", "cancelled").status == 0
    wait(lambda: not containers("cancelled"), 10)
    took = time.monotonic() - begin
    wait(lambda: state(lab, "cancelled") == "Canceled", 10)
    print(f"containers gone after {took:.1f} s")


def test_a_job_that_was_cancelled_goes_on_at_once_and_its_name_is_used_again(lab: ClusterLab) -> None:
    lab.files(30)
    lab.job(environment_variables={"LEDGER": str(lab.ledger_file), "SECONDS": "0.4"}, max_concurrency_per_instance=1)
    changed = lab.folder / "input" / "f00029.txt"
    for _ in range(2):
        before = len(lab.ledger)
        create(lab, "again")
        wait(lambda: len(lab.ledger) > before + 5)  # noqa: B023
        assert lab.run("job", "cancel", "again").status == 0
        wait(lambda: state(lab, "again") == "Canceled", 20)
        before_it = changed.stat()
        changed.write_text("changed")
        refused = lab.run("job", "resume", "again", "--stream")
        assert refused.status == 2
        assert "f00029.txt" in refused.stderr
        changed.write_text("29\n")
        os.utime(changed, ns=(before_it.st_atime_ns, before_it.st_mtime_ns))
        resumed = lab.run("job", "resume", "again", "--stream")
        assert resumed.status == 0, resumed.stderr
        assert len((lab.folder / "out/again.txt").read_text().split()) == 30
        assert lab.run("job", "delete", "again", "--yes").status == 0


def test_a_job_that_waits_is_cancelled(lab: ClusterLab) -> None:
    lab.job(environment_variables={"LEDGER": str(lab.ledger_file), "SECONDS": "30"}, resources={"instance_count": 3})
    create(lab, "first")
    create(lab, "second")
    assert lab.run("job", "cancel", "second").status == 0
    assert state(lab, "second") == "Canceled"
    lab.run("job", "cancel", "first")


def test_first_come_first_served(lab: ClusterLab) -> None:
    variables = {"LEDGER": str(lab.ledger_file), "SECONDS": str(ENDLESS)}
    lab.job(environment_variables=variables, resources={"instance_count": 3}, max_concurrency_per_instance=1, retry_settings=NO_TIMEOUT)
    create(lab, "a")
    wait(lambda: state(lab, "a") == "Running")
    assert create(lab, "b").job["status"] == "Queued"
    wait(lambda: "3 nodes" in lab.run("job", "show", "b", "-o", "json").job["reason"])
    one = ["--set", "resources.instance_count=1"]
    for number in range(3):
        create(lab, f"c{number}", *one)
    create(lab, "d", *one, "--priority", "1")
    go(lab)
    end(lab, "a", "b", "c0", "c1", "c2", "d")
    started = {name: lab.run("job", "show", name, "-o", "json").job["started_at"] for name in ("b", "c0", "c1", "c2", "d")}
    assert min(started, key=lambda name: started[name]) == "d"
    assert started["b"] < min(started[name] for name in ("c0", "c1", "c2"))


def test_what_the_cluster_can_never_have_is_an_error_before_anything_starts(lab: ClusterLab) -> None:
    lab.job(resources={"instance_count": 3, "instance_type": "small"})
    told = create(lab, "too-many", status=2).stderr
    assert "3 instances of small are asked for, and the cluster has 2 nodes of that kind" in told
    assert "1 of big with 2 CPUs" in told
    assert lab.run("job", "show", "too-many").status == 2


def test_the_first_of_several_types_that_is_free(lab: ClusterLab) -> None:
    variables = {"LEDGER": str(lab.ledger_file), "SECONDS": str(ENDLESS)}
    lab.job(resources={"instance_type": ["big", "small"]}, environment_variables=variables, retry_settings=NO_TIMEOUT)
    create(lab, "preferred")
    wait(lambda: any(node["holds"] for node in shown(lab).values()))
    create(lab, "next-best")
    wait(lambda: sum(bool(node["holds"]) for node in shown(lab).values()) == 2)
    holds = {name: [hold["job"] for hold in node["holds"]] for name, node in shown(lab).items()}  # type: ignore[union-attr]
    assert holds["node-3"] == ["preferred"]
    assert ["next-best"] in (holds["node-1"], holds["node-2"])


def test_quotas(lab: ClusterLab, cluster: Cluster) -> None:
    settings = cluster.root / "workspace" / "workspace.yml"
    before = settings.read_text()
    try:
        settings.write_text(before + "quotas: {instances_per_user: 1, queued_jobs_per_user: 1}\n")
        assert cluster.kill_actor("scheduler")
        wait(lambda: lab.run("compute", "show", "cluster").status == 0)
        variables = {"LEDGER": str(lab.ledger_file), "SECONDS": str(ENDLESS)}
        lab.job(environment_variables=variables, retry_settings=NO_TIMEOUT)
        assert "at most 1 of one user" in create(lab, "too-wide", "--set", "resources.instance_count=2", status=2).stderr
        create(lab, "within")
        wait(lambda: state(lab, "within") == "Running")
        create(lab, "beyond")
        wait(lambda: "quota" in str(lab.run("job", "show", "beyond", "-o", "json").job.get("reason")))
        assert "1 jobs in the queue" in create(lab, "refused", status=2).stderr
    finally:
        go(lab)
        settings.write_text(before)
        cluster.kill_actor("scheduler")
        wait(lambda: lab.run("compute", "show", "cluster").status == 0)
    end(lab, "within", "beyond")


def test_what_lies_on_this_machine_only_is_brought_there_once(lab: ClusterLab, cluster: Cluster) -> None:
    with tempfile.TemporaryDirectory() as own:
        for number in range(5):
            Path(own, f"own{number}.txt").write_text("x")
        lab.job(inputs={"data": {"type": "uri_folder", "path": own}})
        create(lab, "uploaded")
        create(lab, "again")
    end(lab, "uploaded", "again")
    assert (lab.folder / "out/again.txt").read_text().split() == [f"own{number}.txt" for number in range(5)]
    assert len(list((cluster.root / "data" / "LocalUpload").iterdir())) >= 1


def test_grows_into_free_nodes_and_gives_them_back(lab: ClusterLab) -> None:
    lab.files(300)
    variables = {"LEDGER": str(lab.ledger_file), "SECONDS": "0.5"}
    lab.job(resources={"max_instance_count": 3}, environment_variables=variables, max_concurrency_per_instance=1)
    create(lab, "grows")
    wait(lambda: len({line for line in lab.ledger if line.startswith("init")}) == 3)
    create(lab, "needs", "--set", "resources.instance_count=2", "--set", "resources.max_instance_count=2")
    wait(lambda: state(lab, "needs") == "Running", 40)
    assert state(lab, "grows") == "Running"
    go(lab)
    end(lab, "grows", "needs")
    assert lab.run("job", "show", "grows", "-o", "json").job["progress"]["mini_batches"]["retries"] == 0
    ran = sum(line.startswith("ran") for line in lab.ledger)
    assert ran == 600  # of both jobs, each mini-batch once: what ran on what was given back was finished first


def test_a_node_that_joins_is_taken_up(lab: ClusterLab, cluster: Cluster) -> None:
    lab.files(60)
    variables = {"LEDGER": str(lab.ledger_file), "SECONDS": "1"}
    lab.job(resources={"instance_type": "small", "instance_count": 2}, environment_variables=variables, max_concurrency_per_instance=1)
    create(lab, "joins")
    wait(lambda: len({line for line in lab.ledger if line.startswith("init")}) == 2)
    cluster.kill_container(cluster.node("node-2"))
    wait(lambda: not shown(lab).get("node-2", {"alive": False})["alive"], 30)
    added = cluster.add_node("small")
    wait(lambda: bool(shown(lab)[added.name]["holds"]), 30)
    end(lab, "joins")
    assert (lab.folder / "out/joins.txt").read_text().count("\n") == 60


def test_a_drained_node_finishes_what_runs_and_gets_nothing_new(lab: ClusterLab) -> None:
    lab.files(40)
    variables = {"LEDGER": str(lab.ledger_file), "SECONDS": "0.5"}
    lab.job(resources={"instance_type": "small"}, environment_variables=variables, max_concurrency_per_instance=1)
    create(lab, "drained")
    wait(lambda: bool(lab.ledger))
    node = next(name for name, found in shown(lab).items() if found["holds"])
    assert lab.run("node", "drain", node).status == 0
    wait(lambda: not shown(lab)[node]["holds"], 30)
    assert shown(lab)[node]["draining"]
    end(lab, "drained")
    assert sum(line.startswith("ran") for line in lab.ledger) == 40
    assert lab.run("node", "undrain", node).status == 0
    assert not shown(lab)[node]["draining"]


@pytest.mark.needs("docker-user")
def test_a_job_belongs_to_who_has_submitted_it(lab: ClusterLab, cluster: Cluster) -> None:
    user = pwd.getpwnam(TESTER)
    cluster.submit_token_file.chmod(0o644)
    lab.job(environment_variables={"LEDGER": str(lab.ledger_file), "SECONDS": "2"}, max_concurrency_per_instance=1)
    subprocess.run(["chown", "-R", f"{user.pw_uid}:{user.pw_gid}", str(lab.folder)], check=True)

    def as_user(*words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*as_tester(), *lab.command(*words)], cwd=lab.folder, env=lab.environment(), capture_output=True, text=True, timeout=120
        )

    created = as_user("job", "create", "-f", "job.yml", "-n", "theirs", "--set", "outputs.rows.path=out/theirs.txt")
    assert created.returncode == 0, created.stderr
    wait(lambda: f"ran by {user.pw_uid}:{user.pw_gid}" in lab.ledger)  # before root's job: the ledger belongs to who writes first
    create(lab, "roots")  # of this test's user, who is root
    refused = as_user("job", "cancel", "roots")
    assert refused.returncode == 2
    assert "another user" in refused.stderr
    downloaded = as_user("job", "download", "roots", "--all", "--download-path", str(lab.folder / "taken"))
    assert downloaded.returncode != 0
    assert not [path for path in (lab.folder / "taken").rglob("*") if path.is_file()]
    assert lab.run("job", "cancel", "theirs").status == 0  # root is an administrator
    wait(lambda: state(lab, "theirs") == "Canceled", 20)
    folder = cluster.root / "data" / ".runner" / "jobs" / "theirs"
    for path in [*folder.rglob("*"), *(cluster.root / "data" / "azureml" / "theirs").rglob("*")]:
        assert path.lstat().st_uid == user.pw_uid, path
    lab.run("job", "cancel", "roots")


def test_another_version_is_refused(lab: ClusterLab, cluster: Cluster) -> None:
    import urllib.error
    import urllib.request

    lab.job(environment_variables={"LEDGER": str(lab.ledger_file), "SECONDS": "1"})
    create(lab, "versions")
    key = (cluster.root / "data/.runner/jobs/versions/access.key").read_text()
    body = json.dumps({"key": key, "runner": "0.0.1"}).encode()
    headers = {"Authorization": f"Bearer {cluster.submit_token_file.read_text().strip()}"}
    request = urllib.request.Request(f"http://{cluster.gateway}/v1/jobs/versions", data=body, headers=headers)
    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(request, timeout=10)
    assert "has runner 0.0.1, the cluster has" in refused.value.read().decode()
