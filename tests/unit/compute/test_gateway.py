from __future__ import annotations

import socket

import pytest

from runner.compute.gateway import Gateway, GatewayUnreachable, JobState
from runner.errors import UserError
from runner.model.cluster import RayCompute
from tests.unit.fake_gateway import ADMIN, TOKEN, FakeGateway


@pytest.fixture
def fake():
    with FakeGateway() as gateway:
        yield gateway


@pytest.fixture
def compute(fake, tmp_path):
    (tmp_path / "token").write_text(TOKEN + "\n")
    return RayCompute(name="cluster", host="127.0.0.1", port=fake.port, token_file=str(tmp_path / "token"))


@pytest.fixture
def gateway(compute):
    return Gateway(compute, version="0.1.0")


def test_a_job(fake, gateway):
    assert gateway.state("one") is None
    assert gateway.submit("one", "k", priority=3, resume=True) == JobState(status="Queued", reason="no free node")
    expected = {"key": "k", "priority": 3, "resume": True, "retry_failed": False, "runner": "0.1.0"}
    assert fake.asked("POST", "/v1/jobs/one") == [expected]
    assert gateway.state("one") == JobState(status="Queued", reason="no free node")
    assert gateway.cancel("one", "k").status == "Queued"
    assert gateway.cluster()["head"] == "head-a"
    assert gateway.doctor()["nodes"][0]["name"] == "node-a"
    assert gateway.clock()


def test_events_are_lines_without_the_signs_of_life(fake, gateway):
    fake.jobs["one"] = {"status": "Running"}
    fake.events["one"] = [b'{"event":"A"}\n', b"\n", b'{"event":', b'"B"}\n\n']
    assert list(gateway.events("one", "k")) == [b'{"event":"A"}\n', b'{"event":"B"}\n']


def test_a_stream_that_breaks_just_ends(fake, gateway):
    fake.jobs["one"] = {"status": "Running"}
    fake.events["one"] = [b'{"event":"A"}\n', b'{"half', lambda: "break"]
    assert next(iter(gateway.events("one", "k"))) == b'{"event":"A"}\n'
    assert [line for line in gateway.events("one", "k") if line.endswith(b"\n")] == [b'{"event":"A"}\n']


def test_nodes_are_for_administrators(fake, gateway):
    with pytest.raises(UserError, match=r"this is for administrators(.|\n)*next: ask somebody"):
        gateway.drain("node-a", "wrong")
    assert gateway.drain("node-a", ADMIN)["draining"] is True
    assert gateway.undrain("node-a", ADMIN)["draining"] is False


def test_the_gateways_own_words(fake, gateway):
    fake.refuse["/v1/jobs/one"] = (409, {"error": {"problem": "too many", "allowed": "8", "todo": "wait", "field": "instance_count"}})
    with pytest.raises(UserError, match=r"^`instance_count`: too many\n  allowed: 8\n  next: wait$"):
        gateway.submit("one", "k")


@pytest.mark.parametrize(("status", "body"), [(404, b"<html>"), (500, b"{}"), (200, b"hello"), (200, b"[]")])
def test_something_else_at_the_address(fake, gateway, status, body):
    fake.refuse["/v1/cluster"] = (status, body)
    with pytest.raises(GatewayUnreachable, match="is not the gateway of a cluster"):
        gateway.cluster()


def test_nobody_there(compute):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        nobody = Gateway(RayCompute(name="cluster", host="127.0.0.1", port=free.getsockname()[1], token_file=compute.token_file))
        with pytest.raises(
            GatewayUnreachable, match=r"cannot be reached at http://127.0.0.1:\d+: (.|\n)*`runner cluster head`(.|\n)*firewall"
        ):
            nobody.cluster()
        with pytest.raises(GatewayUnreachable):
            nobody.events("one", "k")


def test_a_gateway_that_says_nothing_is_given_up(compute, monkeypatch):
    monkeypatch.setattr("runner.compute.gateway.ANSWER", 0.1)
    with socket.socket() as deaf:
        deaf.bind(("127.0.0.1", 0))
        deaf.listen()
        silent = Gateway(RayCompute(name="c", host="127.0.0.1", port=deaf.getsockname()[1], token_file=compute.token_file))
        with pytest.raises(GatewayUnreachable, match="no answer in time"):
            silent.cluster()


def test_a_certificate_that_cannot_be_read(compute, tmp_path):
    (tmp_path / "ca.pem").write_text("nonsense")
    odd = RayCompute(name="c", host="127.0.0.1", port=compute.port, token_file=compute.token_file, ca_file=str(tmp_path / "ca.pem"))
    with pytest.raises(GatewayUnreachable, match=r"cannot be trusted(.|\n)*ca_file"):
        Gateway(odd).cluster()


def test_another_version(fake, gateway):
    fake.version = "0.2.0"
    with pytest.raises(UserError, match=r"this machine has runner 0\.1\.0, the cluster cluster has 0\.2\.0: install the same version"):
        gateway.check_version(gateway.cluster())


def test_a_wrong_token_is_told_without_the_token(fake, compute, tmp_path):
    (tmp_path / "token").write_text("secret-secret")
    with pytest.raises(UserError, match=r"does not accept the submit token of the compute cluster \(in .*/token\)") as caught:
        Gateway(compute).cluster()
    assert "secret-secret" not in str(caught.value)
    assert "secret" not in repr(Gateway(compute))


@pytest.mark.parametrize(
    ("text", "message"),
    [(None, "No such file"), ("", "is empty"), ("a b", "is no token"), ("a\nX-Other: b", "is no token"), ("\xe4", "is no token")],
)
def test_a_token_that_is_none(compute, tmp_path, text, message):
    (tmp_path / "token").unlink()
    if text is not None:
        (tmp_path / "token").write_text(text)
    with pytest.raises(UserError, match=rf"the submit token of the compute cluster \(in .*/token\).*{message}"):
        Gateway(compute).cluster()


def test_a_token_in_the_environment(fake, monkeypatch):
    compute = RayCompute(name="c", host="127.0.0.1", port=fake.port, token_env="MY_TOKEN")
    monkeypatch.delenv("MY_TOKEN", raising=False)
    with pytest.raises(UserError, match=r"in the environment variable MY_TOKEN(.|\n)*is empty(.|\n)*export MY_TOKEN=…"):
        Gateway(compute).cluster()
    monkeypatch.setenv("MY_TOKEN", TOKEN)
    assert Gateway(compute).cluster()["head"] == "head-a"
