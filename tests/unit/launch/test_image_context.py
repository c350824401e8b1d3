"""Build contexts: files, hash, archive, Dockerfile."""

from __future__ import annotations

import os
import socket
import tarfile

import pytest

from runner.errors import UserError
from runner.launch.image import files_of_context
from runner.launch.image_context import map_froms, read_context, statements, with_bundle
from runner.model.docker import DockerSettings

NO_SETTINGS = DockerSettings()


@pytest.fixture
def folder(tmp_path):
    made = tmp_path / "context"
    (made / "sub").mkdir(parents=True)
    (made / "Dockerfile").write_text("FROM python:3.11\nCOPY . /\n")
    (made / "a.txt").write_text("a")
    (made / "sub" / "b.txt").write_text("b")
    (made / "outside").symlink_to(tmp_path)
    return made


def read(folder, dockerfile="Dockerfile", settings=NO_SETTINGS):
    return read_context(str(folder), dockerfile, settings, files_of_context)


def test_the_archive_has_links_as_links_and_no_owner(folder):
    context = read(folder)
    with context.archive() as file, tarfile.open(fileobj=file) as archive:
        members = {member.name: member for member in archive.getmembers()}
    assert set(members) == {"Dockerfile", "a.txt", "outside", "sub", "sub/b.txt"}
    assert members["outside"].issym()
    assert {(member.uid, member.gid, member.uname) for member in members.values()} == {(0, 0, "")}


def test_the_hash_counts_content_and_not_times(folder):
    first = read(folder).content_hash
    os.utime(folder / "a.txt", (1, 1))
    assert read(folder).content_hash == first
    for change in (
        lambda: (folder / "a.txt").write_text("other"),
        lambda: (folder / "a.txt").chmod(0o700),
        lambda: (folder / "a.txt").rename(folder / "c.txt"),
        lambda: (folder / "outside").unlink(),
        lambda: (folder / "Dockerfile").write_text("FROM python:3.12\n"),
    ):
        before = read(folder).content_hash
        change()
        assert read(folder).content_hash != before


def test_the_image_map_counts_and_proxies_and_bundles_do_not(folder, tmp_path):
    (tmp_path / "bundle.pem").write_text("certificates")
    first = read(folder).content_hash
    network = DockerSettings(proxy={"http_proxy": "http://proxy.example"}, ca_bundle=str(tmp_path / "bundle.pem"))
    assert read(folder, settings=network).content_hash == first
    assert read(folder, settings=DockerSettings(image_map={"python": "mine.example/python"})).content_hash != first


def test_the_bundle_is_in_the_archive_only(folder, tmp_path):
    (tmp_path / "bundle.pem").write_text("certificates")
    (tmp_path / "bundle.pem").chmod(0o600)
    (folder / ".dockerignore").write_text("*\n!a.txt\n")
    with (
        read(folder, settings=DockerSettings(ca_bundle=str(tmp_path / "bundle.pem"))).archive() as file,
        tarfile.open(fileobj=file) as archive,
    ):
        assert {"a.txt", "Dockerfile", ".runner-ca.pem"} <= set(archive.getnames())
        assert "sub/b.txt" not in archive.getnames()
        assert archive.getmember(".runner-ca.pem").mode == 0o644
        dockerfile = archive.extractfile("Dockerfile")
        assert dockerfile is not None
        assert b"COPY .runner-ca.pem /etc/runner-ca.pem\nARG SSL_CERT_FILE=" in dockerfile.read()


def test_a_dockerignore_of_the_dockerfile_wins(folder):
    (folder / "other.Dockerfile").write_text("FROM python\n")
    (folder / ".dockerignore").write_text("a.txt\n")
    (folder / "other.Dockerfile.dockerignore").write_text("sub\n")
    assert "a.txt" not in read(folder).files
    assert "a.txt" in read(folder, "other.Dockerfile").files
    assert "sub/b.txt" not in read(folder, "other.Dockerfile").files


@pytest.mark.parametrize("name", ["../Dockerfile", "/etc/passwd", "outside/Dockerfile"])
def test_the_dockerfile_must_lie_in_its_context(folder, tmp_path, name):
    (tmp_path / "Dockerfile").write_text("FROM python\n")
    with pytest.raises(UserError, match="lies outside of its build context") as caught:
        read(folder, name)
    assert "dockerfile_path" in str(caught.value)


def test_a_dockerfile_that_is_missing(folder):
    with pytest.raises(UserError, match="has no file 'Containerfile'"):
        read(folder, "Containerfile")
    assert read(folder, "./sub/../Dockerfile").dockerfile == "Dockerfile"


def test_sockets_are_left_out(folder, monkeypatch):
    monkeypatch.chdir(folder)
    with socket.socket(socket.AF_UNIX) as made:
        made.bind("sock")
        context = read(folder)
        with context.archive() as file, tarfile.open(fileobj=file) as archive:
            assert "sock" not in archive.getnames()
        assert context.content_hash


DOCKERFILE = """\
# syntax comment
ARG BASE=python
FROM --platform=linux/amd64 registry.example/a:1 AS first
RUN echo \\
    # a comment between
    FROM registry.example/not-me
from first
FROM scratch
FROM $BASE
FROM registry.example/b"""


def test_the_image_map_leads_from_lines():
    mapped = map_froms(DOCKERFILE, {"registry.example/": "mine.example/"})
    assert mapped == DOCKERFILE.replace("registry.example/a:1", "mine.example/a:1").replace("registry.example/b", "mine.example/b")
    assert map_froms(DOCKERFILE, {}) == DOCKERFILE


def test_statements_are_whole():
    assert "".join(statements(DOCKERFILE)) == DOCKERFILE
    assert next(piece for piece in statements(DOCKERFILE) if piece.startswith("RUN")).count("\n") == 3


def test_each_stage_gets_the_bundle():
    lines = with_bundle(DOCKERFILE).splitlines()
    after = [lines[number + 1] for number, line in enumerate(lines) if line.lower().startswith("from ")]
    assert after == ["COPY .runner-ca.pem /etc/runner-ca.pem"] * 5
