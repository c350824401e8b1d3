"""The bundle for machines without a network: made, checked, installed – without images, which take their time."""

from __future__ import annotations

import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Its folder, unpacked."""
    folder = tmp_path_factory.mktemp("bundle")
    target = folder / "bundle.tar"
    command = [sys.executable, "deploy/bundle.py", "bundle", "--no-node-image", f"--target={target}"]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True, timeout=300)
    with tarfile.open(target) as tar:
        tar.extractall(folder, filter="data")
    return next(folder.glob("runner-*"))


def install(bundle: Path, *words: str) -> subprocess.CompletedProcess[str]:
    environment = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "PYTHON": sys.executable, "PIP_NO_INDEX": "1"}
    return subprocess.run([bundle / "install.sh", *words], env=environment, capture_output=True, text=True, timeout=300, check=False)


def test_it_installs_the_runner_with_ray_and_no_network(bundle, tmp_path):
    done = install(bundle, "--prefix", str(tmp_path / "runner"), "--no-images")
    assert done.returncode == 0, done.stderr
    code = "import ray, docker, runner.worker.keeper, azureml_user; print(runner.__file__)"
    python = tmp_path / "runner" / "bin" / "python"
    done = subprocess.run([python, "-c", code], cwd=tmp_path, capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.startswith(str(tmp_path))


def test_it_has_what_a_cluster_takes(bundle):
    names = {path.name for path in bundle.iterdir()}
    assert names >= {
        "install.sh",
        "compose.yml",
        "ray-cluster.yaml",
        "systemd",
        "node.Dockerfile",
        "wheels",
        "images",
        "docs",
        "SHA256SUMS",
    }


def test_a_changed_file_is_found(bundle):
    assert install(bundle, "--check").returncode == 0
    file = bundle / "constraints.txt"
    before = file.read_bytes()
    file.write_bytes(before + b"\n")
    try:
        done = install(bundle, "--prefix", "/nowhere")
        assert done.returncode == 1
        assert "constraints.txt: FAILED" in done.stdout + done.stderr
    finally:
        file.write_bytes(before)
