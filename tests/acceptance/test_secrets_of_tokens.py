"""A job that reaches its storage by tokens leaves none of them anywhere, nor the secret of a service principal."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
import yaml

from tests.acceptance.jobs import Lab
from tests.canary import files_below, processes, said, search
from tests.identity import CLIENT, SECRET, TENANT, TokenAzurite

HOLDING = """
import os, time

def run(mini_batch):
    while not os.path.exists(os.environ["GO_ON"]):
        time.sleep(0.05)
    return [open(path).read().strip() for path in mini_batch]
"""


@pytest.mark.needs("azurite")
@pytest.mark.parametrize("kind", ["service_principal", "managed_identity", "default"])
def test_nothing_is_left_of_secrets_and_tokens(tmp_path: Path, token_azurite: TokenAzurite, kind: str) -> None:
    """`default`: the workspace names none, and azure-identity finds the managed identity of the machine."""
    began, azurite, lab = time.monotonic(), token_azurite.azurite, Lab(tmp_path)
    container, root = azurite.container(), "azureml://datastores/az/paths"
    azurite.client(container).upload_blob("in/a.txt", "a\n")
    principal = {"tenant_id": TENANT, "client_id": CLIENT, "client_secret": SECRET, "authority_url": token_azurite.authority}
    credentials = {"service_principal": {"credentials": principal}, "managed_identity": {"credentials": {"managed_identity": True}}}.get(
        kind, {}
    )
    variables = token_azurite.environment | ({} if kind == "service_principal" else token_azurite.machine)
    entry = {"type": "azure_blob", "account_name": azurite.account, "container_name": container, "endpoint": azurite.endpoint}
    lab.settings(yaml.safe_dump({"datastores": {"az": {**entry, **credentials}}}))
    lab.script(HOLDING)
    go_on = tmp_path / "go-on"
    lab.job(
        inputs={"data": {"type": "uri_folder", "path": f"{root}/in"}},
        outputs={"rows": {"type": "uri_file", "path": f"{root}/out/rows.txt"}},
        environment_variables={"GO_ON": str(go_on)},
    )

    def left(*more: object) -> list[str]:
        secrets = (SECRET, *token_azurite.tokens)
        return sorted({name for secret in secrets for name in search(secret, files_below(tmp_path, leave_out=["workspace.yml"]), *more)})

    created = lab.run("job", "create", "-f", "job.yml", "-n", "job", "--local", **variables)
    assert created.status == 0, created.stderr
    while lab.run("job", "show", "job", "-o", "json").job["status"] != "Running":
        time.sleep(0.1)
    access = lab.state / "jobs" / "job" / "access.json"
    assert left(processes(began)) == ([str(access)] if kind == "service_principal" else [])
    go_on.touch()
    streamed = lab.run("job", "stream", "job", "-o", "json")
    assert streamed.job["status"] == "Completed", streamed.stderr
    assert token_azurite.tokens
    assert left(said(created=created.stdout + created.stderr, streamed=streamed.stdout + streamed.stderr)) == []
    assert azurite.client(container).download_blob("out/rows.txt").readall() == b"a\n"
