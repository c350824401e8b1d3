"""Parts that some tests need and not every machine has: another Python, a file system to fill up, a Docker engine.

A test says `@pytest.mark.needs("python3.8", "docker")`, or asks the fixture `needs` when it wants what was found: `needs("python3.8")`
gives the interpreter's path, `needs("docker")` the engine's address, `needs("docker-user")` the name of an ordinary user whom the engine
obeys (`docker_engine.as_tester` runs a command as that user). "cluster" is what a cluster of containers takes, and the fixture `cluster`
gives one that the session's tests share (tests/cluster.py). With "engine-podman" and the like tests/engines.py can start such an engine.
"azurite" is an emulator of blob storage, and the fixture `azurite` one that runs (tests/azurite.py).
`test_image("pandas")` makes one of the images in tests/images and gives its tag. Where a part is absent the test is shown as NOT RUN; with
REQUIRE_ALL=1 in the environment, as in `.ci/run`, it fails.
"""

from __future__ import annotations

import base64
import importlib.util
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

import pytest

from tests.azurite import VERSION as AZURITE_VERSION
from tests.azurite import Azurite, find_azurite, running_azurite
from tests.docker_engine import TESTER, find_engine, find_tester
from tests.engines import KINDS, find_kind
from tests.fault_proxy import FaultProxy
from tests.identity import TokenAzurite, running_token_azurite

if TYPE_CHECKING:
    from tests.cluster import Cluster

REQUIRE_ALL = os.environ.get("REQUIRE_ALL", "") not in ("", "0")
SECOND_PYTHON = "second-python"
TMPFS = "tmpfs"
DOCKER = "docker"
DOCKER_USER = "docker-user"
PROGRAMS = ("docker-registry", "docker-compose", "systemd-analyze")
CLUSTER = "cluster"
ROOT_USER = "root"
AZURITE = "azurite"
ENGINE = "engine-"  # and a kind of tests/engines.py


def python_works(path: str, version: str) -> bool:
    """Whether `path` runs and is of that version: a pyenv shim on the path may do neither."""
    code = "import sys; print('%d.%d' % sys.version_info[:2])"
    try:
        done = subprocess.run([path, "-S", "-c", code], capture_output=True, text=True, timeout=30, check=False)
    except OSError:
        return False
    return done.returncode == 0 and done.stdout.strip() == version


@cache
def find_python(version: str) -> str | None:
    """An interpreter of version `3.8`: the running one, `python3.8` on the path, or one of pyenv's."""
    if version == "{}.{}".format(*sys.version_info[:2]):
        return sys.executable
    on_path = [str(Path(folder) / f"python{version}") for folder in os.environ.get("PATH", "").split(os.pathsep) if folder]
    root = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv")
    pyenv = [str(path) for path in sorted((root / "versions").glob(f"{version}.*/bin/python"), reverse=True)]
    return next((path for path in on_path + pyenv if os.access(path, os.X_OK) and python_works(path, version)), None)


@cache
def find_second_python() -> str | None:
    """The oldest interpreter, from 3.7 on, that is not of the running one's version."""
    running = sys.version_info[1]
    return next((path for minor in range(7, 20) if minor != running and (path := find_python(f"3.{minor}"))), None)


@cache
def can_mount_tmpfs() -> str | None:
    """A word when this process may mount a file system (root), else None."""
    folder = tempfile.mkdtemp(prefix="needs-")
    try:
        mount = ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", folder]
        if os.geteuid() or subprocess.run(mount, capture_output=True, timeout=30, check=False).returncode:
            return None
        subprocess.run(["umount", folder], capture_output=True, timeout=30, check=True)
        return "yes"
    finally:
        os.rmdir(folder)


@cache
def find_cluster() -> str | None:
    """The engine's address, where nodes of a cluster can be made and their networks be cut."""
    address = find_engine()
    programs = all(shutil.which(name, path=os.environ.get("PATH", "") + ":/usr/sbin:/sbin") for name in ("nsenter", "iptables"))
    return address if address and address.startswith("unix://") and programs and not os.geteuid() else None


@cache
def find_part(part: str) -> tuple[str | None, str]:
    """What was found of the part, or None; and what would have to be there."""
    if version := re.fullmatch(r"python(3\.\d+)", part):
        return find_python(version[1]), f"Python {version[1]} on the path or below ~/.pyenv/versions"
    if part == SECOND_PYTHON:
        return find_second_python(), "a second Python, 3.7 or newer, on the path or below ~/.pyenv/versions"
    if part == ROOT_USER:
        return None if os.geteuid() else "root", "root"
    if part == TMPFS:
        return can_mount_tmpfs(), "root, to mount a small tmpfs"
    if part == DOCKER:
        return find_engine(), "a Docker engine that answers at DOCKER_HOST or the default socket"
    if part == DOCKER_USER:
        return find_tester(), f"root, and a user {TESTER} who can reach the Docker engine and run {sys.executable} (.ci/run makes one)"
    if part in PROGRAMS:
        return shutil.which(part), f"the program {part} (.ci/run installs it)"
    if part == AZURITE:
        return find_azurite(), f"azurite-blob on the path, or node, npm and its registry to install azurite@{AZURITE_VERSION}"
    if part == CLUSTER:
        return find_cluster(), "root, nsenter, iptables, and a Docker engine at a socket of this machine"
    if part.startswith(ENGINE) and part.removeprefix(ENGINE) in KINDS:
        return find_kind(part.removeprefix(ENGINE))
    if part == "mltable":
        return "mltable" if importlib.util.find_spec("mltable") else None, "the mltable package"
    known = (
        "python3.N",
        SECOND_PYTHON,
        ROOT_USER,
        TMPFS,
        DOCKER,
        DOCKER_USER,
        *PROGRAMS,
        CLUSTER,
        AZURITE,
        *(ENGINE + kind for kind in KINDS),
        "mltable",
    )
    raise pytest.UsageError(f"unknown part {part!r}: known are {', '.join(known)}")


def demand(part: str) -> str:
    found, what = find_part(part)
    return found if found is not None else leave(what)


def leave(lacking: str) -> NoReturn:
    if REQUIRE_ALL:
        pytest.fail(f"REQUIRE_ALL is set, and this machine lacks {lacking}", pytrace=False)
    pytest.skip(f"NOT RUN: needs {lacking}")


@pytest.fixture
def needs() -> Callable[[str], str]:
    """`needs(part)` gives what was found of the part, and leaves the test where there is nothing."""
    return demand


@pytest.fixture(scope="session")
def test_image() -> Callable[[str], str]:
    """`test_image(name)` gives the tag of one of the images of the tests, which is made where the engine lacks it."""

    @cache
    def tag(name: str) -> str:
        demand(DOCKER)
        # Only here: these import the Docker package, which takes its time.
        from tests.images import build, sources

        try:
            build.ensure([name])
        except sources.Lacking as error:
            leave(str(error))
        return build.tag_of(name)

    return tag


@pytest.fixture(scope="session")
def azurite() -> Iterator[Azurite]:
    """Blob storage for all tests of the session: `azurite.container()` makes a container of a test's own."""
    with running_azurite(demand(AZURITE)) as running:
        yield running


@pytest.fixture(scope="session")
def azurite_with_a_secret() -> Iterator[Azurite]:
    """One whose key no other process knows: for tests that search the whole machine for it."""
    with running_azurite(demand(AZURITE), key=base64.b64encode(os.urandom(64)).decode()) as running:
        yield running


@pytest.fixture(scope="session")
def azurite_of_the_cluster(cluster_of_the_session: Cluster) -> Iterator[Azurite]:
    """One that the cluster's nodes reach, as this machine does: on their own network."""
    with running_azurite(demand(AZURITE), host=cluster_of_the_session.bridge) as running:
        yield running


@pytest.fixture(scope="session")
def token_azurite_of_the_session(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TokenAzurite]:
    with running_token_azurite(demand(AZURITE), tmp_path_factory.mktemp("tokens")) as running:
        yield running


@pytest.fixture
def token_azurite(token_azurite_of_the_session: TokenAzurite, monkeypatch: pytest.MonkeyPatch) -> TokenAzurite:
    """Blob storage over https that takes tokens, and who gives them (tests/identity.py); this process trusts its certificate."""
    for name, value in token_azurite_of_the_session.environment.items():
        monkeypatch.setenv(name, value)
    token_azurite_of_the_session.reset()
    return token_azurite_of_the_session


@pytest.fixture
def fault_proxy(azurite: Azurite) -> Iterator[FaultProxy]:
    """Stands before Azurite: `fault_proxy.front` is what to use, and the proxy is told what goes wrong (tests/fault_proxy.py)."""
    with FaultProxy(azurite) as proxy:
        yield proxy


@pytest.fixture(scope="session")
def cluster_of_the_session(test_image: Callable[[str], str]) -> Iterator[Cluster]:
    demand(CLUSTER)
    test_image("node")
    from tests.cluster import Cluster

    with Cluster() as cluster:
        yield cluster


@pytest.fixture
def cluster(cluster_of_the_session: Cluster) -> Cluster:
    """A head and three nodes (node-1 and node-2 of type small, node-3 big), made once in each test process (about 1.5 GB): its tests mostly
    wait, so that several clusters beside one another take less time. What a test has broken is mended for the next.
    """
    cluster_of_the_session.repair()
    return cluster_of_the_session


def pytest_configure(config: pytest.Config) -> None:
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # as in the background of a script: what tests start would ignore it, too
        signal.signal(signal.SIGINT, signal.default_int_handler)
    config.addinivalue_line("markers", "needs(*parts): leaves the test, as NOT RUN, on machines that lack a part (tests/conftest.py)")


def pytest_runtest_setup(item: pytest.Item) -> None:
    for marker in item.iter_markers("needs"):
        for part in marker.args:
            demand(part)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    reasons = Counter(
        report.longrepr[2].partition("NOT RUN: ")[2]
        for report in terminalreporter.stats.get("skipped", [])
        if isinstance(report.longrepr, tuple) and "NOT RUN: " in report.longrepr[2]
    )
    for reason, count in sorted(reasons.items()):
        terminalreporter.write_line(f"NOT RUN: {count} test{'s' if count > 1 else ''}: {reason}", yellow=True)
