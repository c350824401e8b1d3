"""Instances as containers of one Docker engine: the keeper is process 1, and when it ends the kernel ends all that is in there."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import docker
import docker.errors
import urllib3.exceptions

from runner.errors import UserError
from runner.failpoints import failpoint
from runner.launch.docker_body import create_body
from runner.launch.docker_client import FAILURES
from runner.launch.docker_policy import DockerWords
from runner.launch.image import connect
from runner.launch.owners import LABEL_OWNER, is_over, own_mark
from runner.launch.sharing import Sharing
from runner.model.docker import LABEL_INSTANCE, LABEL_JOB, BindMount, ContainerRequest
from runner.model.ports import InstanceRequest
from runner.worker.protocol import INSTANCE_MARK, NO_WORKER, WORKER_MARK

ASK_SECONDS = 3  # that a keeper gets to kill all that is its own, before the container is killed
END_SECONDS = 30.0  # for the engine to say that a container has ended, after it was told to end it
GONE = (*FAILURES, urllib3.exceptions.HTTPError, OSError)  # the container is removed already, or the engine itself is gone


@dataclass(frozen=True, kw_only=True)
class ContainerLauncher:
    """Starts keepers in containers. `template` is what all instances of the job have in common; names and mounts come from the request."""

    template: ContainerRequest
    arguments: DockerWords
    sharing: Sharing

    def start(self, request: InstanceRequest) -> ContainerInstance:
        """Errors: UserError with the engine's own words, when it refuses."""
        wanted = container_request(self.template, request)
        arguments = self.arguments.checked(reserved=wanted.mounts)
        self.sharing.open(wanted.mounts)
        engine = connect()
        try:
            with explained(f"the container of {request.node} could not be started"):
                client = engine.client()
                sweep(client)
                made = client.create_container_from_config(create_body(wanted, arguments), wanted.name)["Id"]
                failpoint("container.created")
                return self._started(client, made, request)
        finally:
            engine.close()

    def _started(self, client: Any, made: str, request: InstanceRequest) -> ContainerInstance:
        try:
            output = client.attach(made, stdout=True, stderr=True, stream=True)
            client.start(made)
        except BaseException:
            with contextlib.suppress(docker.errors.APIError):
                client.remove_container(made, force=True)  # the engine leaves it behind
            client.close()
            raise
        return ContainerInstance(client, made, output, request.log)

    def close(self, warn: Callable[[str], None]) -> None:
        """Gives back what another user than the submitter has written."""
        self.sharing.give_back(warn)


def sweep(client: Any) -> None:
    """Removes what processes that were killed have left: containers made and never started, paused, or of no use without them."""
    for one in client.containers(all=True, filters={"label": LABEL_OWNER}):
        if is_over(one["Labels"][LABEL_OWNER]):
            with contextlib.suppress(docker.errors.APIError):
                client.remove_container(one["Id"], force=True)


@contextlib.contextmanager
def explained(what: str) -> Iterator[None]:
    """What the engine refuses, in its own words, as a UserError."""
    try:
        yield
    except docker.errors.APIError as error:
        text = str(error.explanation or error)
        raise UserError(f"{what}: {text}", todo=_advice(text)) from None
    except (*FAILURES, OSError) as error:
        raise UserError(f"{what}: {error}", todo="see that the Docker engine runs and that you may use it") from None


def _advice(text: str) -> str:
    """What to do about the answers that users meet most often."""
    advice = {
        "device driver": "install the NVIDIA container toolkit on this machine, or take an instance type without GPUs",
        "operation not permitted": "the engine may not grant that: lower the limit, or leave the flag out of docker_args",
        "executable file not found": "take an image with a Python on its PATH",
        "bind source path does not exist": "see that the folder exists on the machine where the Docker engine runs",
        "no space left": "free space on the disk of the Docker engine: runner image prune, docker system prune",
    }
    return next((todo for word, todo in advice.items() if word in text), "mend docker_args or the image")


def container_request(template: ContainerRequest, request: InstanceRequest) -> ContainerRequest:
    """The container of one instance: its name and labels, its mounts, and variables that attribute processes to workers."""
    sockets = BindMount(source=request.sockets, target=request.sockets, read_only=False)
    marks = {INSTANCE_MARK: request.sockets, WORKER_MARK: NO_WORKER}
    suffix = Path(request.sockets).parent.name.rpartition("-")[2]  # of a restarted instance another one
    return replace(
        template,
        command=(request.python, request.agent, request.sockets),
        name=f"runner-{request.job}-{request.node}-{suffix}",
        labels={**template.labels, LABEL_JOB: request.job, LABEL_INSTANCE: request.node, LABEL_OWNER: own_mark()},
        environment={**template.environment, **request.environment, **marks},
        mounts=(*template.mounts, *request.mounts, sockets),
        working_dir=request.working_dir,
        gpus=request.gpus,
    )


class ContainerInstance:
    """A keeper in a container that the engine removes when it has ended. Two threads wait: for its output, and for its end."""

    def __init__(self, client: Any, made: str, output: Iterator[bytes], log: str) -> None:
        self._client, self._id = client, made
        self._status: int | None = None
        self._ended = threading.Event()
        self._reader = threading.Thread(target=self._read, args=(output, log), daemon=True, name="container-output")
        self._reader.start()
        threading.Thread(target=self._wait, daemon=True, name="container-end").start()

    @property
    def id(self) -> str:
        return self._id

    def kill(self) -> None:
        """Asks the keeper to end everything, then kills the container. Idempotent."""
        if not self._ended.is_set():
            with contextlib.suppress(UserError, *GONE):
                self._stop()
            self._ended.wait(END_SECONDS)

    def wait(self, timeout: float | None = None) -> int | None:
        """The exit status of the keeper, or None after `timeout` seconds."""
        return self._status if self._ended.wait(timeout) else None

    def let_go(self) -> None:
        """The engine takes down what a container had, its network for instance, in about a third of a second: nobody needs to wait."""

    def _stop(self) -> None:
        with contextlib.closing(connect()) as engine, contextlib.closing(engine.client()) as client:
            client.stop(self._id, timeout=ASK_SECONDS)

    def _read(self, output: Iterator[bytes], log: str) -> None:
        with open(log, "ab", buffering=0) as file, contextlib.suppress(*GONE):
            file.writelines(output)

    def _wait(self) -> None:
        status = 0
        with contextlib.suppress(*GONE):
            status = int(self._client.wait(self._id, condition="not-running")["StatusCode"])
        self._reader.join(ASK_SECONDS)
        self._client.close()
        self._status = status
        self._ended.set()
