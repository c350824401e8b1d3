"""Azurite, Microsoft's emulator of blob storage, as a process of the tests (the fixtures are in tests/conftest.py).

The fixture `azurite` gives one that lives as long as the session and keeps everything in memory: take a fresh `container()` for each test.
What is installed is kept in TEST_CACHE or ~/.cache/runner-tests.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import selectors
import shutil
import subprocess
import tempfile
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.images.sources import cache_folder

if TYPE_CHECKING:
    from runner.model.datastore import BlobStore

VERSION = "3.37.0"
PROGRAM = "azurite-blob"
# Those of every Azurite; published, and not a secret.
ACCOUNT = "devstoreaccount1"
KEY = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="
OPTIONS = ("--silent", "--skipApiVersionCheck", "--inMemoryPersistence", "--disableTelemetry", "--blobPort", "0")
START_SECONDS = 60


@dataclass(frozen=True)
class Azurite:
    """One that runs. `endpoint` is the URL of the account's blob service."""

    endpoint: str
    account: str = ACCOUNT
    key: str = KEY

    @property
    def port(self) -> int:
        return int(self.endpoint.split("/")[2].rpartition(":")[2])

    def container(self) -> str:
        """Makes a fresh container and gives its name."""
        name = f"test-{uuid.uuid4().hex[:12]}"
        with self.client(name) as client:
            client.create_container()
        return name

    def store(self, container: str, name: str = "az") -> BlobStore:
        """The container as the datastore `name`, with the account's key."""
        from runner.model.datastore import BlobStore, Credential

        credential = Credential(kind="account_key", secret=self.key)
        root = f"azureml://datastores/{name}/paths"
        return BlobStore(root=root, name=name, endpoint=self.endpoint, container=container, credential=credential)

    def client(self, container: str) -> Any:
        """The SDK's ContainerClient, to arrange and to inspect what a test is about."""
        from azure.storage.blob import ContainerClient

        return ContainerClient(self.endpoint, container, credential={"account_name": self.account, "account_key": self.key})


@cache
def find_azurite() -> str | None:
    """The program: on the path, or in the cache, where it is put if npm can be had."""
    if found := shutil.which(PROGRAM):
        return found
    folder = cache_folder() / f"azurite-{VERSION}"
    program = folder / "node_modules" / ".bin" / PROGRAM
    if not shutil.which("node"):
        return None
    with open(cache_folder() / "azurite.lock", "w") as lock:  # several processes of a test run may want it at once
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not program.exists() and not installed(folder):
            return None
    return str(program)


def installed(folder: Path) -> bool:
    """Whether npm could install it into that folder, which is there when it is whole."""
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix="making-") as making:
        made = Path(making) / "made"
        words = ["npm", "install", "--silent", "--no-audit", "--no-fund", "--prefix", str(made), f"azurite@{VERSION}"]
        try:
            done = subprocess.run(words, cwd=making, capture_output=True, timeout=600, check=False)
        except (OSError, subprocess.TimeoutExpired):
            return False
        if not done.returncode:
            made.rename(folder)
        return not done.returncode


@contextmanager
def running_azurite(program: str, *options: str, scheme: str = "http", host: str = "127.0.0.1", key: str = KEY) -> Iterator[Azurite]:
    """Started on a free port, by default of the loopback device, and gone afterwards. `options` are more of the program's own."""
    environment = {**os.environ, "AZURITE_ACCOUNTS": f"{ACCOUNT}:{key}"}
    with tempfile.TemporaryDirectory(prefix="azurite-") as folder:
        process = subprocess.Popen(
            [program, *OPTIONS, "--blobHost", host, *options], cwd=folder, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
        )
        try:
            yield Azurite(f"{scheme}://{host}:{port_of(process)}/{ACCOUNT}", key=key)
        finally:
            process.terminate()
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
            with contextlib.suppress(OSError):
                process.stdout.close()  # type: ignore[union-attr]


def port_of(process: subprocess.Popen[bytes]) -> int:
    """What it says when it listens; it says next to nothing later, so that nobody has to read on."""
    assert process.stdout is not None
    said, end = b"", time.monotonic() + START_SECONDS
    with selectors.DefaultSelector() as selector:
        selector.register(process.stdout, selectors.EVENT_READ)
        while time.monotonic() < end:
            if not selector.select(1):
                continue
            piece = process.stdout.read1(4096)  # type: ignore[attr-defined]
            said += piece
            if found := re.search(rb"successfully listens on https?://\S+:(\d+)\s", said):
                return int(found[1])
            if not piece:
                break
    raise AssertionError(f"Azurite does not listen; it said: {said.decode(errors='replace')}")
