"""`MLClient` on top of a client that records what it is asked for."""

from __future__ import annotations

import json
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import pytest

from runner import Input, MLClient, Output
from runner.entities import ParallelTask
from runner.errors import UserError
from runner.parallel import ParallelJob
from runner.sdk.submitted import JobFailedError
from runner.workspace.records import JobRecord

SECRET = "very-secret"


class Credential:
    def __repr__(self) -> str:
        return SECRET


def record(**further: Any) -> JobRecord:
    fields = {"name": "j", "type": "parallel", "status": "Completed", "created_at": "2026-01-02T03:04:05.678Z", **further}
    return JobRecord(**fields)


class Fake:
    def __init__(self, answer: JobRecord) -> None:
        self.answer, self.calls = answer, []

    def __getattr__(self, name: str) -> Any:
        def call(*args: Any, **kwargs: Any) -> Any:
            self.calls.append((name, args, kwargs))
            return [self.answer] if name == "list" else self.answer

        return call


@pytest.fixture
def fake(folder: Path) -> Fake:
    return Fake(record(outputs={"rows": {"type": "uri_file", "path": "/o", "uri": None, "mode": "upload"}}, tags={"a": "b"}))


@pytest.fixture
def client(fake: Fake) -> MLClient:
    made = MLClient(local=True)
    made.jobs._client = fake  # type: ignore[assignment]
    return made


def job() -> ParallelJob:
    return ParallelJob(
        inputs={"x": Input(path="data")}, outputs={"rows": Output()}, input_data="${{inputs.x}}", task=ParallelTask(code="src")
    )


def test_azures_arguments_are_taken_and_no_credential_is_shown(folder: Path) -> None:
    client = MLClient(Credential(), "s", "g", "w", show_progress=False, cloud="AzureCloud")
    assert SECRET not in repr(client)
    assert repr(client) == f"MLClient(workspace={str(folder)!r}, subscription_id='s', resource_group_name='g', workspace_name='w')"
    with pytest.raises(UserError, match="did you mean 'workspace'"):
        MLClient(workspce="x")


def test_from_config(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert MLClient.from_config(Credential()).workspace_name is None
    (folder / ".azureml").mkdir()
    (folder / ".azureml" / "config.json").write_text(json.dumps({"subscription_id": "s", "resource_group": "g", "workspace_name": "w"}))
    (folder / "below").mkdir()
    monkeypatch.chdir(folder / "below")
    client = MLClient.from_config(credential=Credential())
    assert (client.subscription_id, client.resource_group_name, client.workspace_name) == ("s", "g", "w")
    with pytest.raises(UserError, match=r"no team\.json"):
        MLClient.from_config(file_name="team.json")
    (folder / "bad.json").write_text("{")
    with pytest.raises(UserError, match=r"bad\.json.*not a workspace configuration"):
        MLClient.from_config(path=folder / "bad.json")


def test_create_or_update(client: MLClient, fake: Fake) -> None:
    made = client.jobs.create_or_update(job(), description="d", compute="c", tags={"k": "v"}, experiment_name="e", python="python3")
    ((name, (loaded,), keywords),) = fake.calls
    assert (name, keywords) == ("submit", {"local": True, "python": "python3"})
    mapping = loaded.mapping()
    assert (mapping["description"], mapping["compute"], mapping["tags"], mapping["experiment_name"]) == ("d", "c", {"k": "v"}, "e")
    assert (made.name, made.status, made.display_name) == ("j", "Completed", "j")
    assert made.outputs.rows.path == made.outputs["rows"].path == "/o"
    assert made.creation_context.created_at == datetime(2026, 1, 2, 3, 4, 5, 678000, timezone.utc)
    assert "status: Completed" in str(made)
    with pytest.raises(UserError, match="did you mean 'description'"):
        client.jobs.create_or_update(job(), descripton="d")


def test_only_jobs_are_submitted(client: MLClient, azure: Any) -> None:
    with pytest.raises(UserError, match="is no job that can be submitted"):
        client.jobs.create_or_update(azure.Input())
    with pytest.raises(UserError, match="is no job"):
        client.create_or_update(3)


def test_get_list_download(client: MLClient, fake: Fake, folder: Path) -> None:
    assert client.jobs.get("j").tags == {"a": "b"}
    assert [one.name for one in client.jobs.list(parent_job_name="p", tag="a=b", max_results=5)] == ["j"]
    assert list(client.jobs.list(list_view_type="ArchivedOnly")) == []
    client.jobs.download("j", output_name="rows", download_path="to")
    assert fake.calls[1:] == [
        ("list", (), {"parent": "p", "tag": "a=b", "status": None}),
        ("download", ("j", folder / "to"), {"output_name": "rows", "everything": False}),
    ]


def test_stream_raises_for_a_failed_job(client: MLClient, fake: Fake) -> None:
    client.jobs.stream("j")
    fake.answer = record(status="Failed", error={"message": "it broke"})
    with pytest.raises(JobFailedError, match="it broke"):
        client.jobs.stream("j")


def test_cancel_gives_a_poller(client: MLClient, fake: Fake) -> None:
    fake.answer = record(status="Running")
    poller = client.jobs.begin_cancel("j")
    assert (poller.done(), poller.status()) == (False, "InProgress")
    assert str(poller) == "<cancel of job j: InProgress>"
    fake.answer = record(status="Canceled")
    assert poller.result(timeout=5) is None
    assert (poller.done(), poller.status()) == (True, "Succeeded")


def test_validate_tells_mistakes(folder: Path) -> None:
    result = MLClient().jobs.validate(job())
    assert not result.passed
    assert any("task" in where for where in result.error_messages)
    with pytest.raises(UserError):
        MLClient().jobs.validate(job(), raise_on_failure=True)


def test_in_the_place_of_the_studio_stand_the_logs(client: MLClient, fake: Fake) -> None:
    fake.answer = record(logs="/a b/logs", error={"message": "it broke", "code": "UserError"})
    made = client.jobs.get("j")
    assert made.studio_url == made.services["Studio"].endpoint == "file:///a%20b/logs"
    assert made.error is not None
    assert (made.error.message, made.error["code"]) == ("it broke", "UserError")


def test_a_step_without_a_name_to_show_is_shown_by_its_own(client: MLClient, fake: Fake) -> None:
    fake.answer = record(name="p.train", parent="p")
    assert client.jobs.get("p.train").display_name == "train"


def test_a_compute_that_is_there_can_be_created(folder: Path) -> None:
    from runner.entities import AmlCompute

    client = MLClient()
    made = client.begin_create_or_update(AmlCompute(name="local", size="STANDARD_D2", min_instances=0)).result()
    assert made is not None
    assert (made.name, made.type, made.size) == ("local", "local", None)
    with pytest.raises(UserError, match=r"computes: \{cpu: \{type: local\}\}"):
        client.compute.begin_create_or_update(AmlCompute(name="cpu", max_instances=4))
    with pytest.raises(UserError, match="an object of type int cannot be created here"):
        client.begin_create_or_update(3)


def test_endpoints_are_told_what_does_their_work(client: MLClient) -> None:
    with pytest.raises(AttributeError, match="runner batch invoke"):
        _ = client.batch_endpoints
    with pytest.raises(ImportError, match="runner batch invoke"):
        from runner.entities import BatchEndpoint  # noqa: F401


def test_exceptions_have_azures_names(client: MLClient, fake: Fake) -> None:
    from runner.exceptions import JobException, MlException, UserErrorException, ValidationException

    assert JobException is JobFailedError
    assert ValidationException is UserErrorException is UserError
    assert issubclass(JobException, MlException)


def test_computes(folder: Path) -> None:
    compute = MLClient().compute
    assert [one.name for one in compute.list()] == ["local"]
    assert compute.get("local").provisioning_state == "Succeeded"
    with pytest.raises(UserError, match="there is no compute 'cpu'"):
        compute.get("cpu")


def test_where_all_runs_here_any_compute_is_this_machine(folder: Path) -> None:
    from runner.entities import AmlCompute

    client = MLClient(local=True)
    assert (client.compute.get("cpu-cluster").name, client.compute.get("cpu-cluster").type) == ("cpu-cluster", "local")
    made = client.begin_create_or_update(AmlCompute(name="cpu-cluster", max_instances=4)).result()
    assert made is not None
    assert made.name == "cpu-cluster"


def test_what_is_not_there_is_azures_error_too(folder: Path) -> None:
    from azure.core.exceptions import ResourceNotFoundError

    for get in (MLClient().compute.get, MLClient().jobs.get):
        with pytest.raises(ResourceNotFoundError):
            get("nothing")


@pytest.mark.parametrize("get", [lambda c: c.workspaces, lambda c: c.jobs.archive, lambda c: c.compute.begin_start])
def test_other_operations_give_one_sentence(client: MLClient, get: Any) -> None:
    with pytest.raises(AttributeError, match="is not available in this release of runner"):
        get(client)
    assert not hasattr(client, "schedules")
