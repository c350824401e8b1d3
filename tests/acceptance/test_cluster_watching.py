"""A real cluster is watched: what its nodes find about themselves, a node that cannot run anything, metrics, records of who did what."""

from __future__ import annotations

import json
import os
import pwd
import re
import urllib.error
import urllib.request
from typing import Any

import pytest

from tests.acceptance.jobs import NAMES, ClusterLab
from tests.cluster import Cluster
from tests.exposition import Exposition, parse

pytestmark = pytest.mark.needs("cluster")

FAILS_ON_ONE = NAMES.replace("    return", "    assert 'f00002' not in mini_batch[0]\n    return")
HOSTS = """
import json, ray
ray.init(log_to_driver=False, logging_level="error", namespace="runner")
print(json.dumps([one["name"] for one in ray.util.list_named_actors(all_namespaces=True)]))
"""
NOWHERE = "unix:///var/run/nowhere.sock"


@pytest.fixture
def lab(cluster: Cluster, request: pytest.FixtureRequest) -> ClusterLab:
    name = re.sub(r"\W+", "-", request.node.name.removeprefix("test_"))[:30].strip("-")
    lab = ClusterLab.on(cluster, name)
    lab.files(6)
    lab.script()
    lab.job(max_concurrency_per_instance=2, resources={"instance_type": "small"})
    return lab


def get(lab: ClusterLab, path: str) -> bytes:
    token = lab.cluster.submit_token_file.read_text().strip()
    asked = urllib.request.Request(f"http://{lab.cluster.gateway}{path}", headers={"Authorization": f"Bearer {token}"})
    with urllib.request.urlopen(asked, timeout=90) as answer:
        return bytes(answer.read())


def nodes(lab: ClusterLab) -> dict[str, dict[str, Any]]:
    shown = lab.run("compute", "show", "cluster", "-o", "json")
    return {node["name"]: node for node in json.loads(shown.stdout)["nodes"] if node["alive"]} if shown.status == 0 else {}


def broken_node(lab: ClusterLab, name: str = "bad") -> None:
    """A node without a Docker engine, which sorts before the others: it is the first to be chosen."""
    lab.cluster.add_node("small", name=name, environment={"DOCKER_HOST": NOWHERE})
    lab.cluster.wait_until(lambda: name in nodes(lab), "the scheduler knows it")


def test_the_doctor_finds_what_is_wrong_with_a_node(lab: ClusterLab) -> None:
    broken_node(lab)
    examined = lab.run("doctor", "cluster", "-o", "json")
    assert examined.status == 1, examined.stderr
    checks = {(one["node"], one["name"]): (one["ok"], one["text"]) for one in json.loads(examined.stdout)}
    wrong = {key for key, (ok, _) in checks.items() if not ok}
    assert wrong == {("bad", "docker"), ("bad", "datastore shared")}, checks
    assert NOWHERE in checks["bad", "docker"][1]
    for name in ("node-1", "node-2", "node-3"):
        found = {check for node, check in checks if node == name}
        assert found == {"docker", "runner", "ray", "disk", "memory", "user", "clock", "datastore shared"}
        assert "also for its Docker engine" in checks[name, "datastore shared"][1]
    assert ("head", "docker") not in checks, "nothing runs there"


def test_a_node_that_cannot_run_anything_is_set_aside(lab: ClusterLab) -> None:
    broken_node(lab)
    for number in range(2):
        done = lab.score(name=f"aside-{number}", timeout=120)
        assert done.status == 0, done.stderr
        assert done.counts == (6, 6, 0)
    node = nodes(lab)["bad"]
    assert "instances of aside-0 and aside-1 could not be started here and could elsewhere" in node["set_aside"]
    assert NOWHERE in node["set_aside"]
    table = lab.run("compute", "show", "cluster", "-o", "table").stdout
    assert re.search(r"^bad +set aside: instances of aside-0", table, re.MULTILINE), table

    log = lab.cluster.root / "data/.runner/scheduler.log"
    before = log.read_text().count(node["id"][:8])
    assert lab.score(name="aside-2").status == 0
    assert log.read_text().count(node["id"][:8]) == before, "nothing is tried there any more"

    undrained = lab.run("node", "undrain", "bad", "-o", "json", timeout=60)
    assert undrained.status == 0, undrained.stderr
    assert json.loads(undrained.stdout)["set_aside"] == ""
    assert not nodes(lab)["bad"]["set_aside"]


def test_a_job_whose_nodes_are_all_broken_is_told_why(lab: ClusterLab) -> None:
    broken_node(lab)
    for name in ("node-1", "node-2"):
        assert lab.run("node", "drain", name).status == 0
    try:
        done = lab.score(name="hopeless", timeout=120)
    finally:
        for name in ("node-1", "node-2"):
            assert lab.run("node", "undrain", name).status == 0
    assert done.status == 1
    assert "no instance could be started" in done.stderr
    assert NOWHERE in done.stderr


def test_a_datastore_that_a_node_does_not_see(lab: ClusterLab) -> None:
    """The node has the folder, as an empty one of its own: what was mounted there is not."""
    broken_node(lab, "blind")
    lab.cluster.hide(lab.cluster.node("blind"), f"{lab.cluster.root}/data")
    done = lab.score(name="blind", timeout=120)
    assert done.status == 0, done.stderr
    assert done.counts == (6, 6, 0)
    text = (lab.cluster.root / "data/.runner/scheduler.log").read_text()
    assert "the node blind does not see the datastore shared" in text


def metrics(lab: ClusterLab) -> Exposition:
    return parse(get(lab, "/metrics").decode())


def grown(before: Exposition, after: Exposition, name: str, **labels: str) -> float:
    return after.value(name, **labels) - before.value(name, **labels)


def test_metrics(lab: ClusterLab) -> None:
    lab.script(FAILS_ON_ONE)
    settings = {"retry_settings": {"max_retries": 1}, "mini_batch_error_threshold": -1}
    lab.job(max_concurrency_per_instance=2, resources={"instance_type": "small"}, **settings)
    before = metrics(lab)
    done = lab.score(name="measured", timeout=120)
    assert done.counts == (6, 5, 1), done.stderr
    lab.cluster.wait_until(lambda: not metrics(lab).value("runner_jobs_running"), "the job has ended")
    after = metrics(lab)
    assert grown(before, after, "runner_jobs_submitted_total") == 1
    assert grown(before, after, "runner_jobs_ended_total", status="Completed") == 1
    assert grown(before, after, "runner_jobs_ended_total", status="Failed") == 0
    assert grown(before, after, "runner_mini_batches_total", result="succeeded") == 5
    assert grown(before, after, "runner_mini_batches_total", result="failed") == 1
    assert grown(before, after, "runner_mini_batch_retries_total") == 1
    assert grown(before, after, "runner_items_total") == 6
    assert grown(before, after, "runner_journal_syncs_total") >= 1
    assert grown(before, after, "runner_exchanges_total") >= 2
    assert 0 < grown(before, after, "runner_exchange_work_seconds_total") < 10
    assert grown(before, after, "runner_instance_start_seconds_count") == 1
    assert 0 < grown(before, after, "runner_instance_start_seconds_sum") < 60
    assert grown(before, after, "runner_instance_image_seconds_count") == 1
    assert after.value("runner_nodes", state="ready") >= 3
    assert after.value("runner_state_free_bytes") > 1 << 20
    assert sum(name == "runner_node_folder_free_bytes" and free > 1 << 20 for (name, _), free in after.samples.items()) >= 1
    assert after.value("runner_instances", state="running") == 0
    assert "measured" not in get(lab, "/metrics").decode(), "no job's name is a label"


def test_metrics_while_a_job_runs(lab: ClusterLab) -> None:
    lab.script(f"import time\n{NAMES}".replace("    return", "    time.sleep(3)\n    return"))
    before = metrics(lab)
    created = lab.run("job", "create", "-f", "job.yml", "-n", "running")
    assert created.status == 0, created.stderr
    lab.cluster.wait_until(lambda: metrics(lab).value("runner_workers", state="busy") == 2, "its workers are busy")
    found = metrics(lab)
    assert found.value("runner_workers", state="ready") == 2
    assert found.value("runner_jobs_running") == 1
    assert found.value("runner_instances", state="running") == 1
    assert lab.run("job", "stream", "running", timeout=60).status == 0
    lab.cluster.wait_until(lambda: not metrics(lab).value("runner_jobs_running"), "the job has ended")
    assert grown(before, metrics(lab), "runner_mini_batches_total", result="succeeded") == 6
    assert metrics(lab).value("runner_workers", state="ready") == 0


def test_metrics_need_the_token(lab: ClusterLab) -> None:
    asked = urllib.request.Request(f"http://{lab.cluster.gateway}/metrics")
    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(asked, timeout=10)
    refused.value.close()
    assert refused.value.code == 401


def test_the_audit_log(lab: ClusterLab) -> None:
    path = lab.cluster.root / "data/.runner/audit.log"
    begin = path.stat().st_size
    lab.job(
        max_concurrency_per_instance=2,
        resources={"instance_type": "small", "docker_args": "-e HIDDEN=in-docker-args-4711 --label a=in-a-label-4711"},
        environment_variables={"LEDGER": str(lab.ledger_file), "PASSWORD": "in-a-variable-4711"},
    )
    assert lab.score(name="audited", timeout=120).status == 0
    assert lab.score("--set", "resources.instance_count=99", name="refused").status != 0
    assert denied(lab, "/v1/nodes/node-3/drain") == 403
    for name in ("node-1", "node-2"):
        assert lab.run("node", "drain", name).status == 0
    try:
        assert lab.run("job", "create", "-f", "job.yml", "-n", "withdrawn").status == 0
        assert lab.run("job", "cancel", "withdrawn").status == 0
    finally:
        for name in ("node-1", "node-2"):
            assert lab.run("node", "undrain", name).status == 0
    lab.cluster.wait_until(lambda: path.read_text().count('"event": "end", "job": "audited"') == 1, "the end is written down")
    text = path.read_text()[begin:]
    records = [json.loads(line) for line in text.splitlines()]

    def of(event: str, **fields: str) -> dict[str, Any]:
        found = [one for one in records if one["event"] == event and fields.items() <= one.items()]
        assert len(found) == 1, (event, fields, records)
        return found[0]

    submit, start, end = (of(event, job="audited") for event in ("submit", "start", "end"))
    assert (submit["uid"], submit["user"]) == (os.getuid(), pwd.getpwuid(os.getuid()).pw_name)
    assert submit["address"].count(".") == 3
    assert submit["steps"][0]["image"] == start["image"] == lab.image
    assert start["image_id"].startswith("sha256:")
    assert start["node"] in ("node-1", "node-2")
    assert start["docker_args"][:4] == ["-e", "HIDDEN=…", "--label", "a=…"]
    assert start["variables"] == ["LEDGER", "PASSWORD"]
    assert (end["status"], end["counts"]["mini_batches"]["succeeded"]) == ("Completed", 6)
    assert "99 instances" in of("refused", job="refused")["why"]
    assert "administrator" in of("refused", node="node-3")["why"]
    assert of("cancel", job="withdrawn")["uid"] == os.getuid()
    assert of("end", job="withdrawn")["status"] == "Canceled"
    for event in ("drain", "undrain"):
        assert {one["node"] for one in records if one["event"] == event} == {"node-1", "node-2"}
    assert '"event": "scheduler start"' in path.read_text()

    assert path.stat().st_mode & 0o777 == 0o640
    for secret in secrets_of(lab):
        assert secret not in path.read_text()


def denied(lab: ClusterLab, path: str) -> int:
    token = lab.cluster.submit_token_file.read_text().strip()
    asked = urllib.request.Request(f"http://{lab.cluster.gateway}{path}", b"{}", {"Authorization": f"Bearer {token}"})
    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(asked, timeout=10)
    refused.value.close()
    return refused.value.code


def secrets_of(lab: ClusterLab) -> list[str]:
    state = lab.cluster.root / "data/.runner"
    files = [*(lab.cluster.root / "tokens").iterdir(), state / "admin.key"]
    files += [path for name in ("access.key", "secret") for path in (state / "jobs").glob(f"*/{name}")]
    assert len(files) >= 5
    return [*(path.read_text().strip() for path in files), "4711"]


def test_counts_when_the_owner_is_killed_and_an_instance_is_lost(lab: ClusterLab) -> None:
    lab.files(50)
    lab.script(f"import time\n{NAMES}".replace("    return", "    time.sleep(1)\n    return"))
    before = metrics(lab)
    assert lab.run("job", "create", "-f", "job.yml", "-n", "killed").status == 0
    lab.cluster.wait_until(lambda: grown(before, metrics(lab), "runner_mini_batches_total", result="succeeded") > 2, "some are done")
    assert lab.cluster.kill_process(lab.cluster.head, "runner.cluster.owner")
    lab.cluster.wait_until(lambda: grown(before, metrics(lab), "runner_mini_batches_total", result="succeeded") > 8, "its successor counts")
    assert [name for name in ("node-1", "node-2") if lab.cluster.kill_process(lab.cluster.node(name), "runner.cluster.instance")]
    lab.cluster.wait_until(lambda: grown(before, metrics(lab), "runner_instances_lost_total", how="gone") == 1, "the loss is counted")
    streamed = lab.run("job", "stream", "killed", timeout=120)
    assert streamed.status == 0, streamed.stderr
    lab.cluster.wait_until(lambda: not metrics(lab).value("runner_jobs_running"), "the job has ended")
    after = metrics(lab)
    assert grown(before, after, "runner_mini_batches_total", result="succeeded") == 50
    assert grown(before, after, "runner_items_total") == 50
    assert grown(before, after, "runner_jobs_ended_total", status="Completed") == 1
    assert grown(before, after, "runner_instance_start_seconds_count") == 2


def test_another_scheduler_watches_as_the_one_before(lab: ClusterLab) -> None:
    """A drain lasts; the processes that examine nodes do not."""
    path = lab.cluster.root / "data/.runner/audit.log"
    starts = path.read_text().count('"scheduler start"')
    assert lab.run("node", "drain", "node-1").status == 0
    try:
        assert lab.cluster.kill_actor("scheduler")
        lab.cluster.wait_until(lambda: path.read_text().count('"scheduler start"') == starts + 1, "there is another scheduler")
        lab.cluster.wait_until(lambda: "node-1" in nodes(lab), "it knows the nodes")
        assert nodes(lab)["node-1"]["draining"]
        assert metrics(lab).value("runner_nodes", state="draining") == 1
    finally:
        assert lab.run("node", "undrain", "node-1").status == 0
    assert lab.run("doctor", "cluster").status == 0
    assert not [name for name in json.loads(lab.cluster.python(HOSTS)) if name.startswith("checks/")]


def test_an_instance_that_hangs_is_a_lost_lease(lab: ClusterLab) -> None:
    lab.files(40)
    lab.script(f"import time\n{NAMES}".replace("    return", "    time.sleep(1)\n    return"))
    before = metrics(lab)
    assert lab.run("job", "create", "-f", "job.yml", "-n", "silent").status == 0
    lab.cluster.wait_until(lambda: metrics(lab).value("runner_instances", state="running") == 1, "it runs")
    assert [name for name in ("node-1", "node-2") if lab.cluster.kill_process(lab.cluster.node(name), "runner.cluster.instance", 19)]
    lab.cluster.wait_until(lambda: grown(before, metrics(lab), "runner_instances_lost_total", how="silent") == 1, "the loss is counted")
    assert lab.run("job", "stream", "silent", timeout=120).status == 0
    assert grown(before, metrics(lab), "runner_instances_lost_total", how="gone") == 0
