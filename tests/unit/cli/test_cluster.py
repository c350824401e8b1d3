"""Jobs whose compute is a cluster, seen from the machine that submits them. The cluster is a pretended gateway."""

from __future__ import annotations

import json
import os
import shutil
import stat
import sys
import threading
from dataclasses import replace
from pathlib import Path

import pytest

from runner.cli import app as cli
from runner.client import Client
from runner.errors import JobConflict, UserError, UserErrors
from runner.model.events import JobEnded, StatusChanged
from runner.remote import Detached
from runner.spec.load import read_job
from runner.workspace.access import drop_access
from runner.workspace.locks import hold_outputs
from runner.workspace.records import JobRecord, write_json
from runner.workspace.wire import encode
from tests.unit.fake_gateway import ADMIN, TOKEN, FakeGateway

JOB = """
type: parallel
compute: azureml:cluster
inputs: {data: {type: uri_folder, path: in}, labels: {type: uri_file, path: labels.csv}}
outputs: {rows: {type: uri_file}}
input_data: ${{inputs.data}}
resources: {instance_count: 3, max_instance_count: 5, instance_type: [big, gpu]}
task:
  type: run_function
  code: src
  entry_script: score.py
  append_row_to: "${{outputs.rows}}"
  program_arguments: --labels ${{inputs.labels}}
"""
WORKSPACE = """
datastores: {{data: {{path: {data}, shared: true}}}}
default_datastore: data
computes: {{cluster: {{type: ray, address: "127.0.0.1:{port}", token_file: token}}, box: {{type: local}}}}
instance_types: {{gpu: {{gpus: 2}}, big: {{cpus: 16}}}}
defaults: {{free_space_floor: 1MB}}
"""


@pytest.fixture
def fake():
    with FakeGateway() as gateway:
        yield gateway


@pytest.fixture
def data(tmp_path_factory):
    """The shared datastore."""
    return tmp_path_factory.mktemp("shared") / "data"


@pytest.fixture
def hints():
    return []


@pytest.fixture
def client(folder, fake, data, hints):
    data.mkdir()
    (folder / "workspace.yml").write_text(WORKSPACE.format(data=data, port=fake.port))
    (folder / "token").write_text(TOKEN)
    (folder / "labels.csv").write_text("a,b\n")
    (folder / "job.yml").write_text(JOB)
    fake.state = str(data / ".runner")
    return Client(say=hints.append)


def _submit(client, name="one", **options):
    return client.submit(read_job("job.yml"), name=name, **options)


def _end(client, name, status="Completed", **fields):
    """What the owner on the cluster leaves."""
    paths = client.workspace.job_paths(name)
    record = JobRecord.from_json(json.loads(paths.record.read_text()))
    write_json(paths.record, replace(record, status=status, **fields).to_json())


def test_a_job_is_handed_over(client, fake, data, folder):
    record = _submit(client, priority=2)
    assert (record.status, record.reason, record.compute) == ("Queued", "no free node", "cluster")
    paths = client.store.paths("one")
    assert paths.root == data / ".runner/jobs/one"
    assert stat.S_IMODE(paths.access_key.stat().st_mode) == 0o600
    key = paths.access_key.read_text()
    assert len(bytes.fromhex(key)) == 32
    asked = {"key": key, "priority": 2, "resume": False, "retry_failed": False, "runner": fake.version}
    assert fake.asked("POST", "/v1/jobs/one") == [asked]
    assert (paths.code / "score.py").is_file()
    assert not client.store.is_running("one")
    assert not (folder / ".runner").exists()
    assert not stat.S_IMODE(paths.root.stat().st_mode) & 0o007
    job = client._stored("one")
    assert job.resources.max_instance_count == 5
    assert not [text for text in job.notices if "without effect" in text]


def test_local_inputs_are_copied_once(client, data, folder):
    _submit(client)
    job = client._stored("one")
    where = job.inputs["data"].path
    assert where.startswith(str(data / "LocalUpload"))
    assert where.endswith("/in")
    assert sorted(os.listdir(where)) == ["0.txt", "1.txt", "2.txt"]
    assert job.inputs["data"].uri == "in"
    assert job.program_arguments == ("--labels", job.inputs["labels"].path)
    assert Path(job.inputs["labels"].path).read_text() == "a,b\n"
    assert client.get("one").inputs["labels"]["path"] == job.inputs["labels"].path
    before = {path: path.stat().st_ino for path in data.glob("LocalUpload/**/*")}
    _submit(client, "two")
    assert {path: path.stat().st_ino for path in data.glob("LocalUpload/**/*")} == before
    (folder / "in" / "0.txt").write_text("y")
    _submit(client, "three")
    assert client._stored("three").inputs["data"].path != where


def test_shared_inputs_stay_where_they_are(client, data, folder):
    shutil.move(folder / "in", data / "in")
    (folder / "in").symlink_to(data / "in")
    _submit(client)
    assert client._stored("one").inputs["data"].path == str(data / "in")


def test_a_link_out_of_the_shared_datastore_is_followed(client, data, folder):
    (data / "in").symlink_to(folder / "in")
    _write_job(folder, "path: in}", f"path: {data}/in}}")
    _submit(client)
    assert client._stored("one").inputs["data"].path.startswith(str(data / "LocalUpload"))


def _write_job(folder, old, new):
    text = (folder / "job.yml").read_text()
    assert old in text
    (folder / "job.yml").write_text(text.replace(old, new))


def test_local_outputs_are_refused(client, folder, data):
    _write_job(folder, "rows: {type: uri_file}", "rows: {type: uri_file, path: out/rows.txt}")
    with pytest.raises(UserError, match=rf"job.yml:5 (.|\n)*which the machines of the compute 'cluster' do not share(.|\n)*{data}"):
        _submit(client)
    _write_job(folder, "path: out/rows.txt", f"path: {data}/rows.txt")
    assert _submit(client).outputs["rows"]["path"] == str(data / "rows.txt")


def _table(folder, *entries):
    (folder / "in" / "MLTable").write_text("paths:\n" + "".join(f"  - {entry}\n" for entry in entries))
    _write_job(folder, "type: uri_folder", "type: mltable")


@pytest.mark.parametrize("entry", ["file: ../labels.csv", "pattern: ../*.csv", "file: {folder}/labels.csv", "folder: ../in"])
def test_tables_that_lead_out_of_their_folder(client, folder, entry):
    shown = entry.format(folder=folder)
    _table(folder, "file: 0.txt", shown)
    if entry == "folder: ../in":
        _submit(client)  # back into it
        return
    with pytest.raises(
        UserError, match=r"MLTable:3(.|\n)*(leads out of the table's folder|lies on this machine only)(.|\n)*shared datastore"
    ):
        _submit(client)
    assert client.store.names() == []


def test_tables_of_shared_files(client, data, folder):
    (data / "a.csv").write_text("x\n")
    _table(folder, "pattern: '*.txt'", f"file: {data}/a.csv")
    _submit(client)
    assert (data / "LocalUpload").exists()


def test_a_table_in_the_datastore_that_names_local_files(client, data, folder):
    (data / "t").mkdir()
    (data / "t" / "MLTable").write_text(f"paths:\n  - file: {folder}/labels.csv\n  - file: ../nowhere/else.csv\n")
    (data / "nowhere").mkdir()
    (data / "nowhere" / "else.csv").write_text("x\n")
    _write_job(folder, "{type: uri_folder, path: in}", f"{{type: mltable, path: {data}/t}}")
    with pytest.raises(UserError, match=r"MLTable:2(.|\n)*lies on this machine only") as caught:
        _submit(client)
    assert not isinstance(caught.value, UserErrors)


def test_what_the_gateway_refuses_leaves_nothing(client, fake, data):
    fake.refuse["/v1/jobs/one"] = (409, {"error": {"problem": "more than the cluster can ever have", "allowed": "4", "todo": ""}})
    with pytest.raises(UserError, match="more than the cluster can ever have"):
        _submit(client)
    assert client.store.names() == []
    assert list((data / ".runner/drafts").iterdir()) == []
    assert not (data / "azureml/one").exists()
    del fake.refuse["/v1/jobs/one"]
    assert _submit(client).status == "Queued"


def test_an_answer_that_got_lost(client, fake):
    fake.on_submit = lambda name, asked: fake.refuse.update({"/v1/jobs/" + name: (502, b"proxy")}) or {"status": "Queued"}
    path = "/v1/jobs/one"
    original = fake.answer

    def answer(method, asked_path, body, headers):
        if (method, asked_path) == ("POST", path):
            original(method, asked_path, body, headers)
            fake.refuse.clear()
            return 502, b"proxy"
        return original(method, asked_path, body, headers)

    fake.answer = answer
    assert _submit(client).status == "Queued"
    assert client.store.names() == ["one"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda fake: setattr(fake, "version", "9.9"), "install the same version"),
        (
            lambda fake: setattr(fake, "state", "/elsewhere/.runner"),
            "looks for jobs in /elsewhere/.runner, and this workspace keeps them in",
        ),
    ],
)
def test_a_cluster_that_does_not_fit_is_found_before_anything_is_made(client, fake, data, change, message):
    change(fake)
    with pytest.raises(UserError, match=message):
        _submit(client)
    assert list(data.iterdir()) == []


def test_the_limits_of_this_machine_do_not_hold(client, folder):
    _write_job(folder, "instance_count: 3, max_instance_count: 5", "instance_count: 500")
    _write_job(folder, "input_data:", "max_concurrency_per_instance: 64\ninput_data:")
    _, plans = client.validate(read_job("job.yml"))
    assert plans[0].workers == 32000
    _write_job(folder, "_per_instance: 64", "_per_instance: 6400")
    with pytest.raises(UserError, match="6,400 worker processes on each instance"):
        _submit(client)


@pytest.mark.parametrize(("kind", "workers"), [("[big, gpu]", 48), ("gpu", 6), ("[gpu, big]", 6), ("", None)])
def test_workers_of_a_plan(client, folder, kind, workers):
    _write_job(folder, "instance_type: [big, gpu]", f"instance_type: {kind}")
    _, plans = client.validate(read_job("job.yml"))
    assert (plans[0].workers, plans[0].compute) == (workers, "cluster")
    assert plans[0].python == "the nodes' Python, on the nodes of cluster"


def test_an_image_is_no_matter_of_this_machine(client, folder):
    _write_job(folder, "task:\n", "task:\n  environment: {image: registry.example/scorer:1}\n")
    assert _submit(client).status == "Queued"
    with pytest.raises(UserError, match="the job runs in a container"):
        _submit(client, "two", python="/usr/bin/python3")


def test_a_build_context_is_copied(client, folder, data):
    (folder / "docker").mkdir()
    (folder / "docker" / "Dockerfile").write_text("FROM x\n")
    _write_job(folder, "task:\n", "task:\n  environment: {build: {path: docker}}\n")
    _submit(client)
    context = client._stored("one").environment.build_context
    assert context.startswith(str(data / "LocalUpload"))
    assert os.listdir(context) == ["Dockerfile"]


def test_a_model_is_copied(client, folder, data):
    (folder / "model.bin").write_text("m")
    _write_job(folder, "task:\n", "task:\n  model: model.bin\n")
    _submit(client)
    model = Path(client._stored("one").model)
    assert model.is_relative_to(data / "LocalUpload")
    assert model.read_text() == "m"


def test_the_default_compute(client, folder, fake):
    with open(folder / "workspace.yml", "a") as file:
        file.write("default_compute: cluster\n")
    _write_job(folder, "compute: azureml:cluster\n", "")
    assert _submit(Client()).compute == "cluster"


def test_a_name_that_is_taken(client, data):
    (data / ".runner/jobs").mkdir(parents=True)
    (data / ".runner/jobs/one").mkdir()
    with pytest.raises(JobConflict, match="'one' is taken"):
        _submit(client)


PIPELINE = """
type: pipeline
settings: {default_compute: cluster}
inputs: {data: {type: uri_folder, path: in}}
jobs:
  first: &step
    type: parallel
    inputs: {data: "${{parent.inputs.data}}"}
    outputs: {rows: {type: uri_folder}}
    input_data: ${{inputs.data}}
    task: {type: run_function, code: src, entry_script: score.py, append_row_to: "${{outputs.rows}}"}
  second:
    <<: *step
    inputs: {data: "${{parent.jobs.first.outputs.rows}}"}
"""


def test_a_pipeline_goes_to_its_cluster_as_a_whole(client, folder, data, fake):
    (folder / "job.yml").write_text(PIPELINE)
    record = _submit(client)
    assert (record.type, record.compute, record.status) == ("pipeline", "cluster", "Queued")
    job = client._stored("one")
    assert job.steps["first"].inputs["data"].path == job.inputs["data"].path
    assert job.steps["second"].inputs["data"].path == str(data / "azureml/one.first/rows")
    assert (client.store.paths("one").step("second").code / "score.py").is_file()
    assert client.get("one.first").status == "Queued"
    fake.jobs.clear()


def test_a_pipeline_cannot_be_divided(client, folder):
    (folder / "job.yml").write_text(PIPELINE + "    compute: box\n")
    with pytest.raises(UserError, match=r"job.yml:\d+ (.|\n)*'first' runs on the cluster 'cluster', the step 'second' on 'box'"):
        _submit(client)


def test_local_wins_over_the_cluster(client, pretending, pretend, fake, folder):
    pretending(pretend())
    assert _submit(client, stream=True, local=True).status == "Completed"
    assert fake.requests == []
    _write_job(folder, "azureml:cluster", "local")
    assert _submit(client, "two", stream=True, priority=1).status == "Completed"
    assert fake.requests == []


def test_priority_on_this_machine_is_told_to_have_none(client, pretending, pretend, hints):
    pretending(pretend())
    _submit(client, stream=True, local=True, priority=1)
    assert hints == ["the priority has no effect: the job does not run on a cluster"]


def test_jobs_are_shown_as_the_cluster_has_them(client, fake, hints):
    for name in ("one", "two", "three", "four"):
        _submit(client, name)
    fake.requests.clear()
    fake.jobs = {"one": {"status": "Queued", "reason": "2 of 3 nodes"}, "two": {"status": "Running"}}
    fake.jobs["three"] = {"status": "Failed", "reason": "its owner died 3 times"}
    _end(client, "four")
    shown = {job.name: job for job in client.list()}
    assert {name: job.status for name, job in shown.items()} == {"one": "Queued", "two": "Running", "three": "Failed", "four": "Completed"}
    assert shown["one"].reason == "2 of 3 nodes"
    assert shown["three"].error["message"] == "its owner died 3 times"
    assert [path for _, path, _ in fake.requests] == ["/v1/cluster"]
    assert client.get("one").reason == "2 of 3 nodes"
    _end(client, "two", "Finalizing")
    assert client.get("two").status == "Finalizing"
    assert hints == []


def test_a_job_that_the_cluster_does_not_know_is_interrupted(client, fake):
    _submit(client)
    fake.jobs.clear()
    assert client.get("one").status == "Queued"  # it may be on its way
    os.utime(client.store.paths("one").record, (1, 1))
    assert client.get("one").error["code"] == "interrupted"
    assert client.list()[0].error["code"] == "interrupted"


def test_a_cluster_that_does_not_answer(client, fake, hints, folder):
    _submit(client)
    _submit(client, "two")
    fake.refuse["/v1/cluster"] = fake.refuse["/v1/jobs/one"] = (502, b"")
    assert [job.status for job in client.list()] == ["Queued", "Queued"]
    assert client.get("one").status == "Queued"
    assert len(hints) == 1
    assert "unfinished jobs are shown as they were last recorded" in hints[0]
    with pytest.raises(JobConflict, match="has not ended: it is Queued on the cluster"):
        client.delete("one")


def test_streaming(client, fake):
    ended = JobEnded(at=2.0, status="Completed", code="completed", message="")

    def finish():
        _end(client, "one")

    fake.events["one"] = [encode(StatusChanged(at=1.0, status="Running")), b"\n", finish, encode(ended)]
    seen = []
    record = _submit(client, stream=True, watch=seen.append)
    assert record.status == "Completed"
    assert (seen[0].status, "no free node" in seen[0].reason) == ("Queued", True)
    assert seen[1:] == [StatusChanged(at=1.0, status="Running"), ended]
    assert client.stream("one", seen.append).status == "Completed"


def test_streaming_goes_on_after_the_head_was_away(client, fake, monkeypatch):
    calls = []

    monkeypatch.setattr("runner.remote._PAUSES", (0.05,))

    def away():
        calls.append(1)
        if len(calls) == 1:
            fake.refuse["/v1/jobs/one/events"] = (503, b"")
            threading.Timer(0.3, fake.refuse.clear).start()
            return "break"
        _end(client, "one", "Failed")
        return None

    fake.events["one"] = [encode(StatusChanged(at=1.0, status="Running")), away]
    seen = []
    assert _submit(client, stream=True, watch=seen.append).status == "Failed"
    kinds = [type(event).__name__ for event in seen]
    assert kinds == ["StatusChanged", "StatusChanged", "Message", "StatusChanged"]
    assert "trying again" in seen[2].text


def test_a_stream_that_is_refused(client, fake):
    _submit(client)
    fake.refuse["/v1/jobs/one/events"] = (403, {"error": {"problem": "this is not the job's key"}})
    with pytest.raises(UserError, match="this is not the job's key"):
        client.stream("one")


def test_ctrl_c_only_detaches(client, fake, monkeypatch):
    def interrupt(_event):
        raise KeyboardInterrupt

    _submit(client)
    fake.events["one"] = [encode(StatusChanged(at=1.0, status="Running"))]
    with pytest.raises(Detached) as caught:
        client.stream("one", interrupt)
    assert caught.value.name == "one"
    assert fake.asked("POST", "/cancel") == []


def test_cancel(client, fake):
    _submit(client)
    key = client.store.paths("one").access_key.read_text()
    assert client.cancel("one").status == "CancelRequested"
    assert fake.asked("POST", "/v1/jobs/one/cancel") == [{"key": key}]
    _end(client, "one", "Canceled")
    with pytest.raises(UserError, match="has ended already"):
        client.cancel("one")


def test_resume(client, fake):
    _submit(client)
    with pytest.raises(JobConflict, match="has not ended"):
        client.resume("one")
    _end(client, "one", "Failed", error={"message": "m", "code": "threshold", "log": ""})
    before = client.store.paths("one").record.read_text()
    fake.refuse["/v1/jobs/one"] = (409, {"error": {"problem": "too many jobs"}})
    with pytest.raises(UserError, match="too many jobs"):
        client.resume("one")
    assert json.loads(client.store.paths("one").record.read_text()) == json.loads(before)
    fake.refuse.clear()
    fake.requests.clear()
    record = client.resume("one", code=True)
    assert (record.status, record.error) == ("Queued", None)
    asked = fake.asked("POST", "/v1/jobs/one")[0]
    assert (asked["resume"], asked["retry_failed"]) == (True, True)
    assert not client.store.is_running("one")


def test_delete_and_finish_wait_for_the_end(client, fake):
    _submit(client)
    for act in (client.delete, client.finish_partial):
        with pytest.raises(JobConflict, match="it is Queued on the cluster cluster"):
            act("one")
    _end(client, "one", "Failed")
    client.delete("one")
    assert client.store.names() == []
    assert client.plan_prune(keep=0) == []


def test_prune_leaves_jobs_alone_that_wait(client):
    _submit(client)
    assert [one for one in client.plan_prune(keep=0) if one.kind == "job"] == []


def test_two_jobs_with_one_output(client, folder, data):
    _write_job(folder, "rows: {type: uri_file}", f"rows: {{type: uri_file, path: {data}/rows.txt}}")
    held = hold_outputs([Path(data / "rows.txt")], job="other", registry=client.workspace.locks)
    with held, pytest.raises(JobConflict, match="job other is writing to"):
        _submit(client)
    _submit(client)


def test_addresses_are_left_alone_and_credentials_lie_in_the_job(client, fake, folder, data, monkeypatch):
    credentials = "credentials: {account_key: {file: key.txt}}"
    az = f"az: {{type: azure_blob, account_name: acc, container_name: data, {credentials}}}"
    settings = (folder / "workspace.yml").read_text()
    (folder / "workspace.yml").write_text(settings.replace("datastores: {", f"datastores: {{{az}, "))
    (folder / "key.txt").write_text("c4nary")
    monkeypatch.setattr("runner.spec.blobs.Blobs.there", lambda _self, address: "folder" if address.endswith("in") else "nothing")
    monkeypatch.setattr("runner.spec.blobs.Blobs.check_writable", lambda _self, _address, _kind: None)
    root = "azureml://datastores/az/paths"
    _write_job(folder, "path: in}", f"path: '{root}/in'}}")
    _write_job(folder, "rows: {type: uri_file}", f"rows: {{type: uri_file, path: '{root}/out.txt'}}")
    client = Client()
    _submit(client)
    paths, job = client.store.paths("one"), client._stored("one")
    assert (job.inputs["data"].path, job.outputs["rows"].path) == (f"{root}/in", f"{root}/out.txt")
    assert job.inputs["labels"].path.startswith(str(data / "LocalUpload"))
    assert stat.S_IMODE(paths.access.stat().st_mode) == 0o600
    assert "c4nary" in paths.access.read_text()
    assert "c4nary" not in paths.spec.read_text() + paths.record.read_text() + paths.stores.read_text()
    drop_access(paths)
    _end(client, "one", "Failed")
    (folder / "key.txt").write_text("newer")
    fake.jobs.clear()
    client.resume("one")
    assert "newer" in paths.access.read_text()


def test_a_table_with_a_sas_is_not_copied(client, folder, data):
    url = "https://acc.blob.core.windows.net/c/t.csv?sv=1&sig=c4nary"
    (folder / "in" / "MLTable").write_text(f"paths:\n  - file: {url}\n")
    _write_job(folder, "uri_folder", "mltable")
    with pytest.raises(UserError, match=r"MLTable:2(.|\n)*there is a SAS in the table(.|\n)*describe the container") as caught:
        _submit(client)
    assert "c4nary" not in str(caught.value)
    assert not list(data.rglob("MLTable"))


# The command line


@pytest.fixture
def command(client, capsys, monkeypatch):
    """Runs a command; gives its exit status, stdout and stderr."""

    def run(*words):
        monkeypatch.setattr(sys, "argv", ["runner", *words])
        status = cli.run()
        out, err = capsys.readouterr()
        return status, out, err

    return run


def test_create_and_list_on_the_command_line(command, fake):
    status, out, _ = command("job", "create", "-f", "job.yml", "-n", "one", "--priority", "5")
    assert status == 0
    assert json.loads(out)["reason"] == "no free node"
    assert fake.asked("POST", "/v1/jobs/one")[0]["priority"] == 5
    status, out, _ = command("job", "list")
    assert "Queued" in out


def test_ctrl_c_on_the_command_line(command, fake, monkeypatch):
    def interrupt(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr("runner.remote.decode", interrupt)
    for words in (("job", "create", "-f", "job.yml", "-n", "one", "--stream"), ("job", "stream", "one")):
        fake.events["one"] = [encode(StatusChanged(at=1.0, status="Running"))]
        status, out, err = command(*words)
        assert status == 130
        assert "Come back with `runner job stream one`" in err
        assert out == ""


def test_compute_list_and_show(command, fake, folder):
    fake.jobs["busy"] = {"status": "Running", "instances": [2, 1]}
    status, out, _ = command("compute", "list")
    assert status == 0
    assert [line.split()[:2] for line in out.splitlines()[2:]] == [["local", "local"], ["cluster", "ray"], ["box", "local"]]
    status, out, _ = command("compute", "show", "cluster", "-o", "table")
    assert "node-a  ready  gpu    6 of 8     0 of 1     16.0 GB of 32.0 GB  busy (node_0, alice)" in out
    assert "busy  Running  alice  0         1 of 2" in out
    status, out, _ = command("compute", "show", "cluster")
    shown = json.loads(out)
    assert (shown["cores"], shown["head"], shown["nodes"][0]["name"], shown["maximum"]) == (8, "head-a", "node-a", {"gpu": 4})
    fake.refuse["/v1/cluster"] = (503, b"")
    status, out, _ = command("compute", "list", "-o", "json")
    assert json.loads(out)[1]["state"].startswith("Unreachable: ")
    assert command("compute", "show", "cluster")[0] == 2


def test_drain(command, client, data):
    status, _, err = command("node", "drain", "node-a")
    assert (status, "for administrators of the cluster" in err) == (2, True)
    client.workspace.make()
    (data / ".runner" / "admin.key").write_text(ADMIN + "\n")
    status, out, _ = command("node", "drain", "node-a", "--compute", "cluster", "-o", "table")
    assert (status, "draining" in out) == (0, True)
    status, out, _ = command("node", "undrain", "node-a")
    assert json.loads(out)["draining"] is False


def test_doctor(command, fake, folder, data):
    status, out, _ = command("doctor")
    assert status == 0, out
    assert "node-a  docker" in out
    status, out, _ = command("doctor", "cluster", "-o", "json")
    assert {check["name"] for check in json.loads(out)} == {"workspace", "datastore data", "token", "gateway", "clock", "docker"}
    fake.state = "/elsewhere"
    status, out, _ = command("doctor")
    assert (status, "NOT OK" in out, "looks for jobs in /elsewhere" in out) == (1, True, True)
    (folder / "token").unlink()
    data.rmdir()
    status, out, _ = command("doctor")
    assert (status, out.count("NOT OK")) == (1, 2)
    assert "mount it at that path" in out


def test_commands_that_need_a_cluster(folder, capsys, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["runner", "doctor"])
    assert cli.run() == 2
    assert "the workspace has no cluster" in capsys.readouterr().err
