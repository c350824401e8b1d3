"""`make cluster-up`, `cluster-demo`, `cluster-down`: the image of a node as it is shipped, the compose file, an ordinary job."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

pytestmark = pytest.mark.needs("cluster", "docker-compose")

ROOT = Path(__file__).resolve().parents[2]
TAG = "runner-test/shipped-node:latest"


def call(*words: str, **environment: str) -> str:
    done = subprocess.run(
        words, cwd=ROOT, env=os.environ | environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stdout[-5000:]
    return done.stdout


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory, test_image) -> Iterator[dict[str, str]]:
    base, root = test_image("bare"), tmp_path_factory.mktemp("cluster")
    for folder in (root, *root.parents):  # the users as whom jobs run have to get there
        if folder.is_relative_to("/tmp/pytest-of-root") or folder == root:
            folder.chmod(0o755)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    call(sys.executable, "deploy/bundle.py", "image", f"--base={base}", f"--tag={TAG}")
    given = {
        "RUNNER_ROOT": str(root), "RUNNER_PROJECT": f"runner-test-{os.getpid()}", "RUNNER_GATEWAY_PORT": str(port), "RUNNER_IMAGE": TAG,
        "RUNNER_BIN": str(Path(sys.executable).parent), "BASE": base,
    }  # fmt: skip
    try:
        yield given
    finally:
        call("deploy/cluster.sh", "down", **given)


def test_a_job_on_a_cluster_of_one_command(settings):
    up = call("deploy/cluster.sh", "up", **settings)
    assert f"the gateway is at localhost:{settings['RUNNER_GATEWAY_PORT']}" in up
    assert (Path(settings["RUNNER_ROOT"]) / "etc" / "node.token").stat().st_mode & 0o777 == 0o600
    demo = call("deploy/cluster.sh", "demo", **settings)
    assert "on 2 nodes" in demo
    [result] = (Path(settings["RUNNER_ROOT"]) / "data" / "azureml").glob("*/predictions")
    rows = result.read_text().splitlines()
    assert [row.partition(",")[0] for row in rows] == [f"digit-{number:04}.png" for number in range(1797)]
