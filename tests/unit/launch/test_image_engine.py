"""Which engine is asked, how its refusals are told, and the probe script, all without an engine."""

from __future__ import annotations

import hashlib
import json
import re
import socket
import subprocess
import sys
from types import SimpleNamespace

import docker
import pytest
import urllib3

from runner.errors import UserError
from runner.launch import engine_address, image, image_probe
from runner.launch.engine_address import Address, addresses, no_engine
from runner.launch.image import connect, connected, mount_options
from runner.launch.image_base import BUILD, after_image
from runner.launch.image_find import architecture_notice, digest_of
from runner.launch.image_probe import SCRIPTS, ImageFacts, cached_facts, facts_file, probe_image
from runner.launch.image_record import Image, engine_name
from runner.model.docker import BindMount, ContainerRequest

DIGEST = "sha256:" + "0123456789abcdef" * 4


@pytest.fixture(autouse=True)
def no_settings(tmp_path, monkeypatch):
    for name in ("DOCKER_HOST", "DOCKER_CONTEXT", "DOCKER_TLS_VERIFY", "DOCKER_CERT_PATH", "XDG_RUNTIME_DIR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path / "docker"))
    (tmp_path / "docker").mkdir()


def test_docker_host_is_asked_first(monkeypatch):
    monkeypatch.setenv("DOCKER_HOST", "tcp://engine.example:2375")
    monkeypatch.setenv("DOCKER_CONTEXT", "other")
    assert [str(one) for one in addresses()] == ["tcp://engine.example:2375 (from DOCKER_HOST)"]


def test_then_a_context(monkeypatch):
    monkeypatch.setenv("DOCKER_CONTEXT", "no-such-context")
    with pytest.raises(UserError, match="no context 'no-such-context'"):
        addresses()


@pytest.mark.parametrize("chosen", ["by a variable", "in the file"])
def test_the_context_that_is_chosen(tmp_path, monkeypatch, chosen):
    contexts = tmp_path / "docker" / "contexts"
    folder = hashlib.sha256(b"other").hexdigest()
    (contexts / "meta" / folder).mkdir(parents=True)
    meta = {"Name": "other", "Endpoints": {"docker": {"Host": "unix:///other.sock", "SkipTLSVerify": False}}}
    (contexts / "meta" / folder / "meta.json").write_text(json.dumps(meta))
    if chosen == "in the file":
        (tmp_path / "docker" / "config.json").write_text(json.dumps({"currentContext": "other"}))
    else:
        monkeypatch.setenv("DOCKER_CONTEXT", "other")
    assert [str(one) for one in addresses()] == ["unix:///other.sock (Docker's context 'other')"]
    assert addresses()[0].certificates == ""
    (contexts / "tls" / folder / "docker").mkdir(parents=True)
    assert addresses()[0].certificates.endswith("/docker")


def test_docker_settings_that_make_no_sense(monkeypatch):
    monkeypatch.setenv("DOCKER_HOST", "tcp://engine.example:2376")
    monkeypatch.setenv("DOCKER_TLS_VERIFY", "1")
    monkeypatch.setenv("DOCKER_CERT_PATH", "/no/such/folder")
    with pytest.raises(UserError, match="TLS"):
        connect()


def test_then_the_usual_sockets(tmp_path, monkeypatch):
    monkeypatch.setattr(engine_address, "DEFAULT_SOCKETS", (f"{tmp_path}/root.sock", "{XDG_RUNTIME_DIR}/docker.sock"))
    assert [one.url for one in addresses()] == [f"unix://{tmp_path}/root.sock"]
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    (tmp_path / "docker.sock").touch()
    assert [one.url for one in addresses()] == [f"unix://{tmp_path}/docker.sock"]


def test_no_engine_says_what_was_tried_and_what_to_do(tmp_path, monkeypatch):
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/no.sock")
    with pytest.raises(UserError, match=r"tried unix://.*/no.sock \(from DOCKER_HOST\): No such file or directory") as caught:
        connect()
    assert "--local" in caught.value.todo


@pytest.mark.parametrize(
    ("host", "said"),
    [
        ("tcp://localhost:99999", "Port out of range"),
        ("tcp://localhost:xx", "Port could not be cast"),
        ("tcp://[", "Invalid IPv6 URL"),
        ("::", "Port could not be cast"),
        ("tcp://", "Invalid bind address format$"),
        ("npipe://x", "named pipes"),
        ("fd://x", "not implemented"),
    ],
)
def test_what_is_no_address_of_an_engine(monkeypatch, host, said):
    monkeypatch.setenv("DOCKER_HOST", host)
    with pytest.raises(UserError, match="is no address of a Docker engine") as caught:
        connect()
    assert caught.value.problem.startswith(f"{host} (from DOCKER_HOST)")
    assert re.search(said, caught.value.problem)
    assert "unix://" in caught.value.allowed
    assert caught.value.todo.startswith("mend DOCKER_HOST, or add --local")


@pytest.mark.parametrize("host", ["tcp://\udcff:1", "tcp://a b:1", "unix:///no/such/\udcff", "unix://"])
def test_addresses_at_which_there_can_be_no_engine(monkeypatch, host):
    monkeypatch.setenv("DOCKER_HOST", host)
    with pytest.raises(UserError, match="no Docker engine answers"):
        connect()


def test_passwords_in_addresses_are_not_shown(monkeypatch):
    monkeypatch.setenv("DOCKER_HOST", "tcp://user:secret@localhost:1")
    with pytest.raises(UserError, match="is no address") as caught:
        connect()
    assert "secret" not in str(caught.value)


def test_an_engine_that_never_answers(monkeypatch):
    monkeypatch.setattr(image, "FIRST_SECONDS", 0.2)
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        monkeypatch.setenv("DOCKER_HOST", f"tcp://127.0.0.1:{silent.getsockname()[1]}")
        with pytest.raises(UserError, match=r"no Docker engine answers: tried tcp://.* no answer within 10 seconds\n") as caught:
            connect()
    assert "--local" in caught.value.todo


def test_later_requests_may_take_longer_than_the_first(monkeypatch):
    limits = []

    def make_client(_address, _version, *, seconds=image.API_SECONDS):
        limits.append(seconds)
        return SimpleNamespace(api_version="1.41", close=lambda: None)

    monkeypatch.setattr(image, "make_client", make_client)
    monkeypatch.setattr(image, "knock", lambda _url: None)
    connect()
    assert limits == [engine_address.FIRST_SECONDS, image.API_SECONDS]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"[]", "config.json: is no object"),
        (b"null", "config.json: is no object"),
        (b"{\nbroken", "config.json:2: is no JSON"),
        (b"\xff\xfe", "config.json: is no JSON in UTF-8"),
        (b"[" * 100_000, "config.json: is no JSON"),
        (b'{"currentContext": 5}', "config.json `currentContext`: has another value"),
        (b'{"credsStore": 5}', "`credsStore`"),
        (b'{"credHelpers": []}', "`credHelpers`"),
        (b'{"credHelpers": {"registry.example": 5}}', "`credHelpers.registry.example`"),
        (b'{"auths": {"registry.example": 5}}', "`auths.registry.example`"),
        (b'{"auths": {"registry.example": {"auth": 5}}}', "`auths.registry.example.auth`"),
        (b'{"auths": {"registry.example": {"auth": "!!"}}}', "`auths.registry.example.auth`"),
        (b'{"proxies": null}', "`proxies`"),
        (b'{"proxies": {"default": 5}}', "`proxies.default`"),
        (b'{"HttpHeaders": 5}', "`HttpHeaders`"),
    ],
)
def test_a_configuration_that_cannot_be_read_is_said(tmp_path, monkeypatch, content, said):
    (tmp_path / "docker" / "config.json").write_bytes(content)
    for host in ("", "tcp://engine.example:2375"):
        monkeypatch.setenv("DOCKER_HOST", host)
        with pytest.raises(UserError, match=said) as caught:
            connect()
        assert "DOCKER_CONFIG" in caught.value.todo


@pytest.mark.parametrize("content", ["", "{}", '{"auths": null, "currentContext": null}', '{"auths": {"a": {}, "b": {"auth": "YTpi"}}}'])
def test_configurations_that_docker_takes(tmp_path, content):
    (tmp_path / "docker" / "config.json").write_text(content)
    assert addresses()


def test_a_configuration_that_is_no_file(tmp_path):
    (tmp_path / "docker" / "config.json").mkdir()
    with pytest.raises(UserError, match=r"config.json: cannot be read: Is a directory"):
        addresses()


def test_the_configuration_at_home_counts_where_there_is_no_other(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / ".docker").mkdir()
    (tmp_path / ".docker" / "config.json").write_text("[]")
    with pytest.raises(UserError, match=r"\.docker/config.json"):
        addresses()
    (tmp_path / "docker" / "config.json").write_text("{}")
    assert addresses()


@pytest.mark.parametrize("content", ["[]", '{"Endpoints": []}', '{"Endpoints": {"docker": {"Host": 5}}}'])
@pytest.mark.parametrize("name", ["other", "\udcff"])
def test_contexts_that_make_no_sense(tmp_path, monkeypatch, name, content):
    monkeypatch.setenv("DOCKER_CONTEXT", name)
    folder = hashlib.sha256(name.encode(errors="surrogatepass")).hexdigest()
    (tmp_path / "docker" / "contexts" / "meta" / folder).mkdir(parents=True)
    (tmp_path / "docker" / "contexts" / "meta" / folder / "meta.json").write_text(content)
    with pytest.raises(UserError, match="Docker has no context"):
        addresses()


def test_an_engine_that_one_may_not_use():
    refused = docker.errors.DockerException(f"Error: {PermissionError(13, 'Permission denied')}")
    refused.__cause__ = ConnectionError("Connection aborted.", PermissionError(13, "Permission denied"))
    error = no_engine([(Address(url="unix:///var/run/docker.sock", source="the usual place"), refused)])
    assert "you may not use the Docker engine: tried unix:///var/run/docker.sock (the usual place): Permission denied" in error.problem
    assert "usermod -aG docker" in error.todo


def test_what_the_engine_refuses_is_a_users_error_in_its_own_words(monkeypatch):
    closed = []
    made = SimpleNamespace(address="unix:///x", close=lambda: closed.append(True))
    monkeypatch.setattr(image, "connect", lambda: made)
    with pytest.raises(UserError, match="engine at unix:///x refuses: no space left"), connected():
        raise image.EngineError("no space left")
    assert closed == [True]


@pytest.mark.parametrize(
    ("name", "wanted"),
    [
        ("a:1", "a:1"),
        (f"a:1@{DIGEST}", f"a@{DIGEST}"),
        (f"registry.example:5000/a:1@{DIGEST}", f"registry.example:5000/a@{DIGEST}"),
        (f"a@{DIGEST}", f"a@{DIGEST}"),
        (DIGEST, DIGEST),
    ],
)
def test_a_digest_counts_and_a_tag_beside_it_does_not(name, wanted):
    assert engine_name(name) == wanted


def test_the_digest_is_that_of_the_named_repository():
    digests = (f"other.example/a@{DIGEST}", f"registry.example/a@{DIGEST}")
    found = Image(id=DIGEST, digests=digests, labels={}, config={})
    assert digest_of(found, "registry.example/a:7") == digests[1]
    assert digest_of(found, "elsewhere.example/a") == digests[0]
    assert digest_of(Image(id=DIGEST, labels={}, config={}), "a") == ""


def test_selinux_labels_are_put_on_mounts():
    request = ContainerRequest(image="a", command=(), name="b", mounts=(BindMount(source="/x", target="/y"),))
    assert mount_options(request)["mounts"][0]["ReadOnly"] is True
    labelled = ContainerRequest(image="a", command=(), name="b", mounts=request.mounts, mount_label="z")
    assert mount_options(labelled) == {"binds": ["/x:/y:ro,z"]}


def test_an_engine_that_ends_in_the_middle_of_an_answer():
    for error in (urllib3.exceptions.ProtocolError("Connection broken"), docker.errors.StreamParseError("half a line")):
        with pytest.raises(image.EngineError, match=r"Connection broken|half a line"), image.plainly():
            raise error


def test_images_of_ours_have_our_tag():
    labels = {"runner.image": "12"}
    assert Image(id=DIGEST, labels=labels, config={}, tags=("a:1", "runner/image:12")).own_tag == "runner/image:12"
    assert Image(id=DIGEST, labels=labels, config={}, tags=("localhost/runner/image:12",)).own_tag == "localhost/runner/image:12"
    assert Image(id=DIGEST, labels=labels, config={}, tags=("runner/image:34", "mine:12")).own_tag == "", "made on top of one of ours"


def test_the_image_of_a_build_is_said_to_be_one():
    with pytest.raises(UserError, match="the image a:1 has no Python"):
        ImageFacts().python(after_image("a:1"))
    with pytest.raises(UserError, match="the image of the build of /context has no Python"):
        ImageFacts().python(after_image(f"{BUILD}/context"))


def test_images_for_other_machines_are_noticed():
    made = Image(id=DIGEST, labels={}, config={}, architecture="s390x")
    assert "is made for s390x" in architecture_notice(made, "a:1")[0]
    assert architecture_notice(Image(id=DIGEST, labels={}, config={}), "a:1") == ()


# The probe


@pytest.mark.parametrize("version", ["python3.6", "python3.7", "python3.13"])
def test_the_probe_runs_in_old_and_new_pythons(tmp_path, needs, monkeypatch, version):
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin")
    (tmp_path / "mamba").touch(0o755)
    monkeypatch.setenv("MAMBA_EXE", str(tmp_path / "micromamba"))
    (tmp_path / "micromamba").touch(0o755)
    subprocess.run([needs(version), str(SCRIPTS / "probe.py"), str(tmp_path / "facts.json")], check=True)
    facts = json.loads((tmp_path / "facts.json").read_text())
    assert facts["version"][:2] == [int(part) for part in version.removeprefix("python").split(".")]
    assert facts["tools"]["mamba"] == str(tmp_path / "mamba")
    assert facts["tools"]["micromamba"] == str(tmp_path / "micromamba")
    assert facts["passwd"].startswith("root:")


@pytest.mark.parametrize("script", ["probe.py", "install.py"])
def test_scripts_in_images_need_the_standard_library_only(script):
    import ast

    names = {
        alias.name for node in ast.walk(ast.parse((SCRIPTS / script).read_text())) if isinstance(node, ast.Import) for alias in node.names
    }
    assert names - {"pip"} <= sys.stdlib_module_names


def answers(**known):
    """In the place of containers: what each command answers."""
    asked = []

    def ask_one(_engine, _image, word, _label):
        asked.append(word)
        return known.get(word)

    return asked, ask_one


@pytest.mark.parametrize(
    ("python", "python3", "command", "seen"),
    [
        ([3, 8, 1], None, ("python",), ()),
        ([2, 7, 18], [3, 11, 2], ("python3",), ()),
        (None, [3, 11, 2], ("python3",), ()),
        (None, [3, 6, 1], None, ("python3 3.6.1",)),
        ([2, 7, 18], None, None, ("python 2.7.18",)),
        (None, None, None, ()),
    ],
)
def test_python_is_tried_before_python3(tmp_path, monkeypatch, python, python3, command, seen):
    known = {name: {"version": version} for name, version in (("python", python), ("python3", python3)) if version}
    asked, ask_one = answers(**known)
    monkeypatch.setattr(image_probe, "ask_one", ask_one)
    facts = probe_image(None, DIGEST, cache=tmp_path)  # type: ignore[arg-type]
    assert (facts.command, facts.seen) == (command, seen)
    assert asked == (["python"] if command == ("python",) else ["python", "python3"])
    assert probe_image(None, DIGEST, cache=tmp_path) == facts  # type: ignore[arg-type]
    assert len(asked) <= 2, "asked once"


def test_facts_of_another_format_are_asked_again(tmp_path):
    assert cached_facts(DIGEST, tmp_path) is None
    path = facts_file(DIGEST, tmp_path)
    path.parent.mkdir(parents=True)
    for text in ("", "{", json.dumps({"format": 0}), json.dumps({"format": image_probe.FORMAT, "path": "/bin"})):
        path.write_text(text)
        assert cached_facts(DIGEST, tmp_path) == (ImageFacts(path="/bin") if "/bin" in text else None)
