"""What deploy/ has: files for other programs, which are asked about them where they are there."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner

from runner.cli import cluster
from runner.version import VERSION

DEPLOY = Path(__file__).resolve().parents[2] / "deploy"
UNITS = sorted((DEPLOY / "systemd").glob("*.service"))
VALIDATE = """
import sys, yaml
from ray.autoscaler._private.util import prepare_config, validate_config
config = yaml.safe_load(open(sys.argv[1]))
prepared = prepare_config(config)
validate_config(prepared)
print(prepared["provider"]["type"], prepared["provider"]["head_ip"], prepared["max_workers"])
"""


def compose() -> dict[str, object]:
    """As compose reads it when no variable is set."""
    text = (DEPLOY / "compose.yml").read_text()
    return yaml.safe_load(re.sub(r"\$\{\w+:-([^}]*)\}", r"\1", text))


def test_the_services_of_compose():
    services = compose()["services"]
    shared = [
        "/var/run/docker.sock:/var/run/docker.sock",
        "/dev/shm:/dev/shm",
        "/srv/runner:/srv/runner",
        "/etc/runner:/etc/runner",
        "/etc/passwd:/etc/passwd:ro",
        "/etc/group:/etc/group:ro",
    ]
    assert set(services) == {"head", "node", "azurite"}
    assert services["head"]["volumes"] == services["node"]["volumes"] == shared
    assert services["head"]["ports"] == ["127.0.0.1:6380:6380"]
    assert services["head"]["command"] == [
        "runner", "cluster", "head", "--workspace=/srv/runner/workspace", "--temp-dir=/tmp/ray", "--cpus=0"
    ]  # fmt: skip
    assert services["node"]["command"] == [
        "runner", "cluster", "join", "--rejoin", "head:6379", "--temp-dir=/tmp/ray", "--instance-type=small", "--cpus=2"
    ]  # fmt: skip
    assert services["node"]["depends_on"] == {"head": {"condition": "service_healthy"}}
    assert services["azurite"]["profiles"] == ["azurite"]
    for name in ("head", "node"):
        assert services[name]["init"] is True
        assert services[name]["healthcheck"]["test"] == ["CMD", "runner", "cluster", "status"]
        assert services[name]["environment"] == {"TMPDIR": "/srv/runner/local", "RUNNER_NODE_DIR": "/srv/runner/local/node"}


def test_compose_takes_the_version_that_is_built():
    assert compose()["services"]["head"]["image"] == f"runner-node:{VERSION}"


@pytest.mark.parametrize("name", ["head", "node"])
def test_the_options_in_compose_are_there(name):
    words = compose()["services"][name]["command"][2:]
    usage = CliRunner().invoke(cluster.app, [words[0], "--help"]).output
    assert [word for word in words if word.startswith("--") and word.partition("=")[0] not in usage] == []


def test_compose_itself_reads_it(needs):
    subprocess.run([needs("docker-compose"), "--file", str(DEPLOY / "compose.yml"), "config", "--quiet"], check=True, timeout=60)


@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.name)
def test_units_are_sound(unit, tmp_path, needs):
    copy = tmp_path / unit.name
    copy.write_text(unit.read_text().replace("/opt/runner/bin/runner", "/bin/true"))
    command = [needs("systemd-analyze"), "verify", "--man=no", str(copy)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.name)
def test_units_start_again_and_leave_docker_its_folders(unit):
    settings = dict(line.split("=", 1) for line in unit.read_text().splitlines() if re.match(r"[A-Z]\w*=", line))
    assert settings["Restart"] == "always"
    assert settings["OOMPolicy"] == "continue"
    assert settings["NoNewPrivileges"] == "yes"
    # A /tmp of its own, or a home that is hidden, would be another than what Docker mounts into jobs.
    assert not {"PrivateTmp", "ProtectHome", "PrivateDevices", "PrivateUsers", "DynamicUser", "ReadOnlyPaths"} & set(settings)


def test_ray_takes_the_file_of_its_cluster_launcher():
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", VALIDATE, str(DEPLOY / "ray-cluster.yaml")],
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.stdout.splitlines()[-1:] == ["local head.example 2"], done.stderr
