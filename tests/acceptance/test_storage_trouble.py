"""Jobs on a storage that has a bad day, or refuses: what a user sees of it, and that nothing is lost."""

from __future__ import annotations

import base64
import os
import threading
import time
from datetime import datetime, timedelta, timezone
from pathlib import Path

import yaml
from azure.storage.blob import ContainerSasPermissions, generate_container_sas

from tests.acceptance.blobs import DATASTORE, InBlob, in_blob
from tests.acceptance.jobs import Lab
from tests.azurite import Azurite
from tests.fault_proxy import FaultProxy

# By default an outage is as long as it takes to be told; 60 s were measured by hand.
OUTAGE = float(os.environ.get("OUTAGE_SECONDS", "12"))
SLOWLY = """
import os, time
from ledger import note

def run(mini_batch):
    name = os.path.basename(mini_batch[0])
    note(name)
    time.sleep(0.05)
    return [name + " " + open(mini_batch[0]).read().strip()]
"""


def lab_behind(azurite: Azurite, tmp_path: Path) -> InBlob:
    lab = in_blob(Lab, azurite)(tmp_path)
    assert isinstance(lab, InBlob)
    return lab


def credentials(lab: InBlob, **credentials: str) -> None:
    """Others than the account's key, in workspace.yml."""
    lab._add_datastore()
    path = lab.folder / "workspace.yml"
    data = yaml.safe_load(path.read_text())
    data["datastores"][DATASTORE]["credentials"] = credentials
    path.write_text(yaml.safe_dump(data))
    lab._add_datastore = lambda: None  # type: ignore[method-assign]


def test_an_outage_is_waited_for_and_shown(fault_proxy: FaultProxy, tmp_path: Path) -> None:
    lab = lab_behind(fault_proxy.front, tmp_path)
    lab.files(400)
    lab.script(SLOWLY)
    lab.job(max_concurrency_per_instance=2, arguments=None)
    over = threading.Event()

    def go_out() -> None:
        while len(lab.ledger) < 40:
            time.sleep(0.05)
        with fault_proxy.outage():
            over.wait(OUTAGE)

    outage = threading.Thread(target=go_out)
    outage.start()
    try:
        done = lab.score(timeout=OUTAGE + 120)
    finally:
        over.set()
        outage.join()
    assert done.status == 0, done.stderr
    assert lab.rows.read_text() == "".join(f"f{n:05d}.txt {n}\n" for n in range(400))
    assert len(lab.ledger) == 400, "no mini-batch was tried twice"
    assert f"waiting for datastore '{DATASTORE}'" in done.stderr
    assert f"datastore '{DATASTORE}' answers again" in done.stderr


def test_bad_days_change_no_byte(fault_proxy: FaultProxy, tmp_path: Path) -> None:
    lab = lab_behind(fault_proxy.front, tmp_path)
    lab.files(60)
    lab.script(SLOWLY)
    lab.job(max_concurrency_per_instance=2, mini_batch_size="3")
    lab.send()
    fault_proxy.answer(503, "ServerBusy", times=5, method="GET", skip=3)
    fault_proxy.answer(429, "TooManyRequests", {"Retry-After": "1"}, times=2, method="GET", skip=10)
    fault_proxy.truncate(1, times=3, method="GET", path="/f000")
    fault_proxy.reset(times=3, method="GET", skip=20)
    fault_proxy.slow(1.0, times=3, method="GET", skip=25)
    fault_proxy.lose_answer(times=1, method="PUT", query="comp=blocklist")
    done = lab.score()
    assert done.status == 0, done.stderr
    names = [[f"f{n:05d}.txt" for n in range(first, first + 3)] for first in range(0, 60, 3)]
    assert lab.rows.read_text() == "".join(f"{name[0]} {int(name[0][1:6])}\n" for name in names)
    assert done.job["progress"]["mini_batches"]["retries"] == 0


def test_wrong_credentials_are_found_at_once(azurite: Azurite, tmp_path: Path) -> None:
    lab = lab_behind(azurite, tmp_path)
    lab.files(3)
    lab.script()
    path = lab.job()
    credentials(lab, account_key=base64.b64encode(b"k" * 64).decode())
    began = time.monotonic()
    done = lab.score()
    assert done.status == 2
    assert time.monotonic() - began < 10
    assert f"datastore '{DATASTORE}'" in done.stderr
    assert "its account key" in done.stderr
    assert str(path.name) in done.stderr
    assert not lab.ledger
    assert not lab.jobs


def test_a_missing_container_is_found_at_once(azurite: Azurite, tmp_path: Path) -> None:
    lab = lab_behind(azurite, tmp_path)
    lab.script()
    lab.files(1)
    lab.job()
    lab.container = "not-there"
    lab.send = lambda: None  # type: ignore[method-assign]
    lab.fetch = lambda: None  # type: ignore[method-assign]
    done = lab.score()
    assert done.status == 2
    assert "there is no such container" in done.stderr
    assert f"runner datastore create {DATASTORE}" in done.stderr
    assert not lab.jobs


def test_no_permission_to_write_is_found_before_anything_runs(azurite: Azurite, tmp_path: Path) -> None:
    lab = lab_behind(azurite, tmp_path)
    lab.files(3)
    lab.script()
    lab.job()
    lab.send()
    sas = generate_container_sas(
        azurite.account,
        lab.container,
        azurite.key,
        permission=ContainerSasPermissions(read=True, list=True),
        expiry=datetime.now(timezone.utc) + timedelta(hours=1),
    )
    credentials(lab, sas_token=sas)
    done = lab.score()
    assert done.status == 2
    assert "does not let us write" in done.stderr
    assert "outputs.rows" in done.stderr
    assert sas not in done.stderr + done.stdout
    assert not lab.ledger


def test_an_input_that_changes_fails_what_reads_it(azurite: Azurite, tmp_path: Path) -> None:
    lab = lab_behind(azurite, tmp_path)
    lab.files(300)
    lab.script(SLOWLY)
    lab.job(max_concurrency_per_instance=1, mini_batch_error_threshold=-1)
    lab.send()
    job = lab.start("job", "create", "-f", "job.yml", "-n", "job", "--local", "--stream", "-o", "json")
    while len(lab.ledger) < 5:
        time.sleep(0.05)
    azurite.client(lab.container).upload_blob(lab._blob("input/f00299.txt"), b"another\n", overwrite=True)
    _, shown = job.communicate(timeout=120)
    assert job.returncode == 0, shown
    lab.fetch()
    assert lab.rows.read_text() == "".join(f"f{n:05d}.txt {n}\n" for n in range(299))
    assert "f00299.txt' has changed since it was listed" in shown
