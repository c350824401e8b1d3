"""A private registry on this machine, for one user: Debian's `docker-registry` with a password file."""

from __future__ import annotations

import base64
import json
import shutil
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

USER, PASSWORD = "tester", "correct-horse-9"
HTPASSWD = "tester:$2y$05$L0SQpl6oXqwvXR0FutuzCOFQ9jSilVJJ4eAk4zZUVJbersFIfPYcW\n"  # bcrypt of the same: what the registry reads
CONFIG = """\
version: 0.1
log: {{level: error}}
storage: {{filesystem: {{rootdirectory: {folder}/data}}}}
http: {{addr: "127.0.0.1:{port}"}}
auth: {{htpasswd: {{realm: test, path: {folder}/htpasswd}}}}
"""


@dataclass(frozen=True)
class Registry:
    address: str  # 127.0.0.1:port: engines talk plain HTTP to such ones

    def push(self, image: str, name: str) -> str:
        """Pushes a local image under this name and leaves it there only; gives its digest."""
        import docker

        client = docker.APIClient(version="auto", timeout=120)
        full = f"{self.address}/{name}"
        repository, _, tag = full.rpartition(":")
        client.tag(image, repository, tag)
        credentials = {"username": USER, "password": PASSWORD}
        digest = ""
        for event in client.push(repository, tag=tag, stream=True, decode=True, auth_config=credentials):
            assert "error" not in event, event
            digest = (event.get("aux") or {}).get("Digest", digest)
        client.remove_image(full)
        client.close()
        return digest


def docker_config(folder: Path, registry: Registry, *, password: str = PASSWORD) -> Path:
    """A DOCKER_CONFIG whose file has the credentials."""
    folder.mkdir()
    secret = base64.b64encode(f"{USER}:{password}".encode()).decode()
    (folder / "config.json").write_text(json.dumps({"auths": {registry.address: {"auth": secret}}}))
    return folder


def helper_config(folder: Path, registry: Registry) -> Path:
    """A DOCKER_CONFIG that names a credential helper, which lies in the same folder; it must be on the PATH."""
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps({"credHelpers": {registry.address: "of-the-tests"}}))
    helper = folder / "docker-credential-of-the-tests"
    answer = json.dumps({"ServerURL": registry.address, "Username": USER, "Secret": PASSWORD})
    helper.write_text(f"#!/bin/sh\nread server\n[ $1 = get ] && [ \"$server\" = {registry.address} ] && echo '{answer}'\n")
    helper.chmod(0o755)
    return folder


@contextmanager
def running_registry(folder: Path) -> Iterator[Registry]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    (folder / "htpasswd").write_text(HTPASSWD)
    (folder / "config.yml").write_text(CONFIG.format(folder=folder, port=port))
    program = shutil.which("docker-registry")
    assert program is not None
    with open(folder / "log", "wb") as log:
        process = subprocess.Popen([program, "serve", str(folder / "config.yml")], stdout=log, stderr=log)
    try:
        wait_until_it_answers(f"http://127.0.0.1:{port}/v2/")
        yield Registry(f"127.0.0.1:{port}")
    finally:
        process.terminate()
        process.wait(20)


def wait_until_it_answers(url: str) -> None:
    for _ in range(100):
        try:
            urllib.request.urlopen(url, timeout=5)
        except urllib.error.HTTPError:
            return  # 401: it is there, and asks for a password
        except OSError:
            time.sleep(0.1)
    raise AssertionError(f"{url} does not answer")
