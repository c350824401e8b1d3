"""The containers of a step: its image found or made, whose they are, and what all of them have in common."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from runner.errors import Place, UserError
from runner.launch.accounts import Account, account_files, account_of, submitter
from runner.launch.container import ContainerLauncher
from runner.launch.docker_policy import DockerWords
from runner.launch.image_find import ImageFound, describe_image, find_image
from runner.launch.network import CA_PATH, network_environment
from runner.launch.sharing import Sharing, recover
from runner.model.docker import BindMount, ContainerRequest, DockerPolicy, DockerSettings, InstanceType
from runner.model.job import Step
from runner.model.paths import JobPaths
from runner.pipeline.engines import fitting_engine
from runner.pipeline.mounts import data_mounts
from runner.pipeline.options import RunOptions
from runner.workspace.units import parse_size

Say = Callable[[str], None]


def prepare_container(
    step: Step,
    paths: JobPaths,
    options: RunOptions,
    kind: InstanceType,
    *,
    say: Say,
    warn: Say,
    on_cancel: Callable[[Callable[[], None]], None],
) -> tuple[ImageFound, ContainerLauncher]:
    """The image and what starts its containers. Errors: UserError for an engine, image or user that is not to be had."""
    recover(paths.lent, warn)
    engine = fitting_engine(step, kind)
    for warning in engine.warnings:
        warn(warning)
    assert step.environment is not None
    image = find_image(step.environment, docker=options.docker, cache=options.cache, say=say, warn=warn, on_cancel=on_cancel)
    words = _words(step, options)
    own = submitter(as_root=engine.kind.rootless)  # whose root is this user outside
    account = _account(words, image) or own
    check_account(account, options.docker.policy)
    python = image.facts.executable
    template = replace(_template(step, image, account, options.docker, kind, folder=paths.workers / "accounts"), userns=engine.userns)
    sharing = Sharing(job=step.name, image=image.id, python=python, account=account, own=own, userns=engine.userns, record=paths.lent)
    return image, ContainerLauncher(template=template, arguments=words, sharing=sharing)


def describe_container(step: Step, options: RunOptions, kind: InstanceType) -> tuple[str, tuple[str, ...]]:
    """The image in one line, and notices; nothing is pulled or built, and no user code runs. Errors: as `prepare_container` has them,
    as far as the image is here, and for mounts over ours.
    """
    assert step.environment is not None
    _words(step, options).checked(reserved=data_mounts(step, options.stores))
    engine = fitting_engine(step, kind)
    plan = describe_image(step.environment, docker=options.docker, cache=options.cache)
    if plan.ready:  # what it has can be looked at, as every job does once
        image = find_image(step.environment, docker=options.docker, cache=options.cache, say=_silent)
        _account(_words(step, options), image)
    return f"that of the image {plan.text}", (*engine.warnings, *plan.notices)


def _silent(_line: str) -> None:
    pass


def _words(step: Step, options: RunOptions) -> DockerWords:
    base = Path(step.resources.docker_args_base)
    return DockerWords(words=step.resources.docker_args, policy=options.docker.policy, environment=os.environ, directory=base)


def _account(words: DockerWords, image: ImageFound) -> Account | None:
    """That of `--user`."""
    user = words.checked().config.get("User")
    return account_of(str(user), image.facts.passwd, image.facts.group) if user else None


def check_account(account: Account, policy: DockerPolicy) -> None:
    """Errors: UserError where users are kept apart, and the container would run as another one than the submitter."""
    if policy.only_user is not None and (account.uid != policy.only_user or account.gid not in policy.only_groups):
        raise UserError(
            f"docker_args: --user {account} is not allowed on this cluster: containers run as the user who has submitted the job",
            place=Place(field="resources.docker_args"),
            allowed=f"{policy.only_user}, with one of the groups " + ", ".join(map(str, policy.only_groups)),
            todo="leave --user out",
        )


def _template(
    step: Step, image: ImageFound, account: Account, docker: DockerSettings, kind: InstanceType, *, folder: Path
) -> ContainerRequest:
    """What all containers of the step have in common. `folder`: for files that are mounted."""
    mounts = account_files(account, image.facts.passwd, image.facts.group, folder=folder)
    if docker.ca_bundle:
        mounts += (BindMount(source=docker.ca_bundle, target=CA_PATH),)
    return ContainerRequest(
        image=image.id,
        command=(),
        name="",
        environment={**image.environment, **network_environment(docker), **account.variables},
        mounts=mounts,
        user=str(account),
        shm_size=parse_size(step.resources.shm_size, Place(field="resources.shm_size")),
        cpus=kind.cpus,
        memory=kind.memory,
        mount_label=docker.mount_label,
    )
