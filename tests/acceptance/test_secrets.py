"""No credential of blob storage is written down anywhere but in the one file that lives as long as its job."""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from pathlib import Path
from urllib.parse import parse_qs, quote

import pytest
import yaml

from tests.acceptance.jobs import ContainerLab, Lab
from tests.azurite import Azurite
from tests.canary import containers, files_below, processes, said, search

SCRIPT = """
import os, time

def run(mini_batch):
    for _ in range(600):
        if os.path.exists(os.environ["GO_ON"]):
            break
        time.sleep(0.05)
    print("worked on", mini_batch)
    return [open(path).read() for path in mini_batch]
"""
VARIABLE = "LAKE_KEY"  # of the kind `env`
OWN = ("workspace.yml", "job.yml", "key.txt")  # the user's own files


@pytest.fixture
def azurite(azurite_with_a_secret: Azurite) -> Azurite:
    return azurite_with_a_secret


def sas_of(azurite: Azurite, container: str) -> str:
    from azure.storage.blob import generate_container_sas

    expiry = datetime.now(timezone.utc) + timedelta(hours=1)
    return generate_container_sas(azurite.account, container, account_key=azurite.key, permission="racwdl", expiry=expiry)


class Case:
    """A job of a lab whose credential is of one kind; `canary` is what must be found nowhere."""

    def __init__(self, kind: str, lab: Lab, azurite: Azurite) -> None:
        self.lab, self.container, self.began = lab, azurite.container(), time.monotonic()
        self.given = {VARIABLE: azurite.key} if kind == "env" else {}  # the environment of commands
        with azurite.client(self.container) as client:
            for number in range(3):
                client.upload_blob(f"in/{number}.txt", f"{number}\n")
        sas = sas_of(azurite, self.container)
        signature = parse_qs(sas)["sig"][0]
        connection = f"DefaultEndpointsProtocol=http;AccountName={azurite.account};AccountKey={azurite.key};BlobEndpoint={azurite.endpoint}"
        (lab.folder / "key.txt").write_text(azurite.key)
        credentials = {
            "account_key": ({"account_key": azurite.key}, azurite.key),
            "file": ({"account_key": {"file": "key.txt"}}, azurite.key),
            "env": ({"account_key": {"env": VARIABLE}}, azurite.key),
            "sas_token": ({"sas_token": sas}, signature),
            "connection_string": ({"connection_string": connection}, azurite.key),
        }
        root, suffix = "azureml://datastores/az/paths", ""
        if kind == "job_file":
            root, suffix, self.canary = f"{azurite.endpoint}/{self.container}", f"?{sas}", signature
        else:
            given, self.canary = credentials[kind]
            entry = {"type": "azure_blob", "account_name": azurite.account, "container_name": self.container, "endpoint": azurite.endpoint}
            lab.settings(yaml.safe_dump({"datastores": {"az": {**entry, "credentials": given}}}))
        lab.script(SCRIPT)
        self.go_on = lab.ledger_file.parent / "go-on"  # which containers see
        lab.job(
            inputs={"data": {"type": "uri_folder", "path": f"{root}/in{suffix}"}},
            outputs={"rows": {"type": "uri_file", "path": f"{root}/out/rows.txt{suffix}"}},
            environment_variables={"GO_ON": str(self.go_on)},
        )

    @property
    def access(self) -> Path:
        return self.lab.state / "jobs" / "job" / "access.json"

    def search(self, *more) -> list[str]:
        return search(self.canary, files_below(self.lab.folder, leave_out=OWN), *more)


@pytest.mark.parametrize("kind", ["account_key", "file", "env", "sas_token", "connection_string", "job_file"])
def test_nothing_has_the_secret(kind: str, tmp_path: Path, azurite: Azurite) -> None:
    case = Case(kind, Lab(tmp_path), azurite)
    created = case.lab.run("job", "create", "-f", "job.yml", "-n", "job", "--local", **case.given)
    assert created.status == 0, created.stderr
    _wait(case, "Running")
    assert case.search(processes(case.began)) == [str(case.access)]
    assert case.access.stat().st_mode & 0o777 == 0o600
    case.go_on.touch()
    streamed = case.lab.run("job", "stream", "job", "-o", "json", **case.given)
    assert streamed.job["status"] == "Completed", streamed.stderr
    shown = case.lab.run("job", "show", "job", **case.given)
    stores = case.lab.run("datastore", "show", "az", **case.given) if kind != "job_file" else created
    fetched = case.lab.run("job", "download", "job", "--all", "-p", "got", **case.given)
    outputs = {"created": created.stdout + created.stderr, "streamed": streamed.stdout + streamed.stderr, "shown": shown.stdout}
    outputs |= {"store": stores.stdout + stores.stderr, "fetched": fetched.stdout + fetched.stderr}
    assert case.search(said(**outputs)) == []
    assert not case.access.exists()
    if kind != "job_file":
        assert (case.lab.folder / "got/named-outputs/rows/rows.txt").read_text().split() == ["0", "1", "2"]
    else:
        assert "was reached with a SAS of the job file, which is not kept" in fetched.stderr


def test_a_command_that_runs_its_job_itself_hands_its_variables_to_nobody(tmp_path: Path, azurite: Azurite) -> None:
    case = Case("env", Lab(tmp_path), azurite)
    with case.lab.start("job", "create", "-f", "job.yml", "-n", "job", "--local", "--stream", **case.given) as command:
        _wait(case, "Running")
        assert case.search(processes(case.began)) == [str(case.access), f"/proc/{command.pid}/environ"]
        case.go_on.touch()
        assert command.wait(60) == 0


@pytest.mark.needs("docker", "azurite")
def test_no_container_has_the_secret(tmp_path: Path, azurite: Azurite, test_image: Callable[[str], str]) -> None:
    case = Case("account_key", ContainerLab(tmp_path, image=test_image("bare")), azurite)
    created = case.lab.run("job", "create", "-f", "job.yml", "-n", "job")
    assert created.status == 0, created.stderr
    _wait(case, "Running")
    mine = _until(lambda: [data for _, data in containers() if str(tmp_path).encode() in data])
    assert case.search(processes(case.began), containers()) == [str(case.access)]
    mounts = [mount["Source"] for data in mine for one in json.loads(data) for mount in one["Mounts"]]
    assert mounts
    assert not [mount for mount in mounts if case.access.is_relative_to(mount)]
    case.go_on.touch()
    streamed = case.lab.run("job", "stream", "job", "-o", "json")
    assert streamed.job["status"] == "Completed", streamed.stderr
    assert case.search(containers()) == []


HUSH = "hush+hush/0123456789"
HASH = "print(hashlib.sha256(os.environ['{name}'].encode()).hexdigest(), flush=True)"
WAIT = "[time.sleep(0.05) for _ in range(1200) if not os.path.exists(os.environ['GO_ON'])]"


@pytest.mark.needs("docker")
@pytest.mark.parametrize("name", ["MLFLOW_TRACKING_PASSWORD", "MLFLOW_TRACKING_TOKEN"])
def test_no_container_has_the_password_of_a_tracking_server(tmp_path: Path, test_image: Callable[[str], str], name: str) -> None:
    """It stands in the address of workspace.yml, or in the environment of `job create`; scripts and commands have it."""
    lab, token = ContainerLab(tmp_path, image=test_image("bare")), name.endswith("TOKEN")
    given = {name: HUSH} if token else {}
    user = "" if token else f"me:{quote(HUSH, safe='')}@"
    lab.settings(f"mlflow: {{tracking_uri: 'http://{user}127.0.0.1:9'}}\n")
    told = HASH.format(name=name)
    lab.script(f"import hashlib, os, time\n\ndef run(mini_batch):\n    {told}\n    {WAIT}\n    return mini_batch\n")
    lab.files(1)
    score = lab.job(environment_variables={"GO_ON": str(lab.ledger_file.parent / "go-on")})
    step = yaml.safe_load(score.read_text())
    text = f'python3 -c "import hashlib, os, time; {told}; {WAIT}"'
    command = {"type": "command", "command": text, "environment_variables": step["environment_variables"]}
    lab.place(command)
    lab.write({"type": "pipeline", "jobs": {"score": step, "look": command}})
    created = lab.run("job", "create", "-f", "job.yml", "-n", "job", **given)
    assert created.status == 0, created.stderr
    logs, expected = lab.logs(), hashlib.sha256(HUSH.encode()).hexdigest()

    def prints() -> list[bytes]:
        read = [path.read_bytes() for step in ("score", "look") for path in (logs / step / "user" / "stdout").rglob("*.txt")]
        found = [text for text in read if text.strip()]
        return found if len(found) == 2 else []

    assert {text.decode().strip() for text in _until(prints)} == {expected}
    mine = [data for _, data in containers() if str(tmp_path).encode() in data]
    assert len(mine) == 2
    assert search(HUSH, containers(), files_below(tmp_path, leave_out=["workspace.yml"])) == []
    (lab.ledger_file.parent / "go-on").touch()
    streamed = lab.run("job", "stream", "job", "-o", "json")
    assert streamed.job["status"] == "Completed", streamed.stderr
    outputs = said(created=created.stdout + created.stderr, streamed=streamed.stdout + streamed.stderr)
    assert search(HUSH, files_below(tmp_path, leave_out=["workspace.yml"]), outputs) == []


@pytest.mark.parametrize("end", ["cancel", "kill"])
def test_it_goes_on_with_credentials_made_anew(end: str, tmp_path: Path, azurite: Azurite) -> None:
    case = Case("sas_token", Lab(tmp_path), azurite)
    assert case.lab.run("job", "create", "-f", "job.yml", "-n", "job", "--local").status == 0
    _wait(case, "Running")
    if end == "cancel":
        case.lab.run("job", "cancel", "job")
        _wait(case, "Canceled")
        assert not case.access.exists()
    else:
        os.kill(_owner(case), 9)
        _wait(case, "Failed")
        assert case.search() == []  # the workspace has it
    case.go_on.touch()
    resumed = case.lab.run("job", "resume", "job", "--stream", "-o", "json")
    assert resumed.status == 0, resumed.stderr
    assert not case.access.exists()
    assert case.search(said(resumed=resumed.stdout + resumed.stderr)) == []
    with azurite.client(case.container) as client:
        assert client.download_blob("out/rows.txt").readall().split() == [b"0", b"1", b"2"]


def test_a_sas_of_a_job_file_is_gone_after_the_job(tmp_path: Path, azurite: Azurite) -> None:
    case = Case("job_file", Lab(tmp_path), azurite)
    assert case.lab.run("job", "create", "-f", "job.yml", "-n", "job", "--local").status == 0
    _wait(case, "Running")
    case.lab.run("job", "cancel", "job")
    _wait(case, "Canceled")
    resumed = case.lab.run("job", "resume", "job", "--stream")
    assert resumed.status == 2
    assert "with a SAS of the job file, which is not kept" in resumed.stderr
    assert case.lab.run("job", "delete", "job", "-y").status == 0


@pytest.mark.parametrize("kind", ["account_key", "job_file"])
def test_a_job_file_among_the_code_is_not_copied(kind: str, tmp_path: Path, azurite: Azurite) -> None:
    case = Case(kind, Lab(tmp_path), azurite)
    case.go_on.touch()
    job = yaml.safe_load((tmp_path / "job.yml").read_text())
    job["task"]["code"] = "."
    job["task"]["entry_script"] = "code/score.py"
    (tmp_path / "job.yml").write_text(yaml.safe_dump(job))
    (tmp_path / "key.txt").unlink()
    done = case.lab.score()
    assert done.status == 0, done.stderr
    assert "left out of the snapshot of the code, for a credential is in it" in done.stderr
    assert case.search(said(done=done.stdout + done.stderr)) == []


def test_refusals_do_not_quote_it(tmp_path: Path, azurite: Azurite) -> None:
    case = Case("job_file", Lab(tmp_path), azurite)
    text = (tmp_path / "job.yml").read_text()
    for old, new in (("/in?", "/absent?"), ("/in?", "/../in?"), ("uri_folder", "uri_file"), ("path:", "pth:")):
        (tmp_path / "job.yml").write_text(text.replace(old, new, 1))
        done = case.lab.run("job", "validate", "-f", "job.yml", "--local")
        assert done.status == 2
        assert case.search(said(done=done.stdout + done.stderr)) == []


def _until(found: Callable[[], list[bytes]]) -> list[bytes]:
    end = time.monotonic() + 60
    while time.monotonic() < end:
        if there := found():
            return there
        time.sleep(0.2)
    raise AssertionError("nothing was found")


def _wait(case: Case, status: str) -> None:
    end = time.monotonic() + 60
    while time.monotonic() < end:
        shown = case.lab.run("job", "show", "job", "-o", "json")
        if shown.status == 0 and json.loads(shown.stdout)["status"] == status:
            return
        time.sleep(0.1)
    raise AssertionError(f"the job is not {status}: {shown.stdout}")


def _owner(case: Case) -> int:
    for process in Path("/proc").iterdir():
        if process.name.isdigit():
            try:
                words = (process / "cmdline").read_bytes().split(b"\0")
            except OSError:
                continue
            if b"runner.owner" in words and any(str(case.lab.folder).encode() in word for word in words):
                return int(process.name)
    raise AssertionError("the job has no owner")


def test_finishing_a_failed_job_takes_credentials_once_more(tmp_path: Path, azurite: Azurite) -> None:
    case = Case("account_key", Lab(tmp_path), azurite)
    case.go_on.touch()
    case.lab.script(
        "def run(mini_batch):\n    assert '1.txt' not in mini_batch[0]\n    return [open(path).read() for path in mini_batch]\n"
    )
    job = yaml.safe_load((tmp_path / "job.yml").read_text())
    (tmp_path / "job.yml").write_text(yaml.safe_dump({**job, "mini_batch_error_threshold": 0, "retry_settings": {"max_retries": 0}}))
    assert case.lab.score().status == 1
    assert not case.access.exists()
    done = case.lab.run("job", "finish", "job", "--partial")
    assert done.status == 0, done.stderr
    assert not case.access.exists()
    assert case.search(said(done=done.stdout + done.stderr)) == []
    with azurite.client(case.container) as client:
        rows = client.download_blob("out/rows.txt")
        assert b"1" not in rows.readall().split()
