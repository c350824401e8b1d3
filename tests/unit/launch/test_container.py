"""The container that is asked for: want == got, without an engine."""

from __future__ import annotations

from runner.launch.container import container_request
from runner.model.docker import BindMount, ContainerRequest
from runner.model.ports import InstanceRequest


def test_the_container_of_an_instance() -> None:
    template = ContainerRequest(
        image="sha256:1",
        command=(),
        name="",
        environment={"HOME": "/h", "A": "image"},
        mounts=(BindMount(source="/p", target="/etc/passwd"),),
    )
    request = InstanceRequest(
        job="job",
        node="node_1",
        python="/usr/bin/python3",
        agent="/run/runner/agent",
        sockets="/dev/shm/runner-abc/i",
        environment={"A": "job"},
        working_dir="/w",
        gpus=("1",),
        mounts=(BindMount(source="/data", target="/data"),),
    )
    assert container_request(template, request) == ContainerRequest(
        image="sha256:1",
        command=("/usr/bin/python3", "/run/runner/agent", "/dev/shm/runner-abc/i"),
        name="runner-job-node_1-abc",
        labels={"runner.job": "job", "runner.instance": "node_1", "runner.sockets": "/dev/shm/runner-abc/i"},
        environment={"HOME": "/h", "A": "job", "RUNNER_INSTANCE": "/dev/shm/runner-abc/i", "RUNNER_WORKER": "-" * 10},
        mounts=(
            BindMount(source="/p", target="/etc/passwd"),
            BindMount(source="/data", target="/data"),
            BindMount(source="/dev/shm/runner-abc/i", target="/dev/shm/runner-abc/i", read_only=False),
        ),
        working_dir="/w",
        gpus=("1",),
    )
