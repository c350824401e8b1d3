"""Where the script of a step runs: in processes of this machine with one of its interpreters, or in containers of the job's image."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from runner.compute.local import cores, gpus_of
from runner.errors import Place, UserError
from runner.launch.process import ProcessLauncher
from runner.launch.python_env import describe_python, find_python
from runner.model.docker import InstanceType
from runner.model.job import Step
from runner.model.paths import JobPaths
from runner.model.ports import Launcher
from runner.pipeline.options import RunOptions

Say = Callable[[str], None]
OnCancel = Callable[[Callable[[], None]], None]


@dataclass(frozen=True, kw_only=True)
class Site:
    """What starts the keepers of a step, and with which interpreter."""

    python: str
    launcher: Launcher
    container: bool = False
    image: Mapping[str, str] = field(default_factory=dict)  # of containers: its reference, id and digest
    foreign: bool = False  # the script runs as another user than the submitter, who must be let in


def in_container(step: Step, options: RunOptions) -> bool:
    """Whether the step's environment is an image, and is to be used."""
    return not options.local and step.environment is not None and step.environment.is_container


def on_cluster(step: Step, options: RunOptions) -> bool:
    """Whether the step runs on other machines than this one, which need not be alike."""
    return not options.local and step.compute in options.clusters


def instance_type(step: Step, options: RunOptions) -> InstanceType:
    """The first of the job's instance types, as the workspace describes it."""
    return next((options.instance_types[name] for name in step.resources.instance_type if name in options.instance_types), InstanceType())


def processes_of(step: Step, options: RunOptions) -> int:
    """Workers of each instance: as asked, else one per GPU, else the cores of the instance."""
    if step.max_concurrency_per_instance:
        return step.max_concurrency_per_instance
    kind, instances = instance_type(step, options), step.resources.instance_count
    count = kind.gpus or len(gpus_of(instances - 1, instances=instances)) * (not kind.cpus)
    return count or max(1, int(kind.cpus or cores() // instances))


def asked_processes(step: Step, options: RunOptions) -> int | None:
    """Workers of each instance as far as it is known where a job is submitted: None where the nodes of a cluster decide."""
    if not on_cluster(step, options):
        return processes_of(step, options)
    kind = instance_type(step, options)
    return step.max_concurrency_per_instance or kind.gpus or (max(1, int(kind.cpus)) if kind.cpus else None)


def describe_site(step: Step, options: RunOptions) -> tuple[str, tuple[str, ...]]:
    """What runs the script, in one line, and notices; nothing is pulled, built or made. Errors: UserError as `prepare_site` has them."""
    if on_cluster(step, options):
        return _describe_nodes(step, options), ()
    if not in_container(step, options):
        return describe_python(step.environment, cache=options.cache, override=options.python)
    _refuse_python(options)
    from runner.pipeline.container_site import describe_container  # loads the Docker SDK

    return describe_container(step, options, instance_type(step, options))


def prepare_site(step: Step, paths: JobPaths, options: RunOptions, *, say: Say, warn: Say, on_cancel: OnCancel) -> Site:
    """Finds or makes what runs the script. `say` gets the output of pip, of a pull or a build, line by line.

    Errors: UserError for an interpreter or image that is not to be had.
    """
    if not in_container(step, options):
        python = find_python(step.environment, cache=options.cache, override=options.python, say=say, warn=warn, on_cancel=on_cancel)
        return Site(python=python, launcher=ProcessLauncher(options.withheld))
    _refuse_python(options)
    from runner.pipeline.container_site import prepare_container  # loads the Docker SDK

    kind = instance_type(step, options)
    image, launcher = prepare_container(step, paths, options, kind, say=say, warn=warn, on_cancel=on_cancel)
    used = {"image": image.reference, "image_id": image.id, "image_digest": image.digest}
    return Site(python=image.facts.executable, launcher=launcher, container=True, image=used, foreign=launcher.sharing.foreign)


def _describe_nodes(step: Step, options: RunOptions) -> str:
    """This machine needs neither the image nor the interpreter."""
    environment = step.environment
    if environment is not None and environment.is_container:
        _refuse_python(options)
        made = f"an image built from {environment.build_context}" if environment.build_context else f"the image {environment.image}"
        return f"{made}, on the nodes of {step.compute}"
    if options.python:
        return f"{options.python}, on the nodes of {step.compute}"
    made = "a virtual environment made from the conda file" if environment is not None and environment.conda else "the nodes' Python"
    return f"{made}, on the nodes of {step.compute}"


def _refuse_python(options: RunOptions) -> None:
    if options.python:
        raise UserError(
            "--python names an interpreter of this machine, and the job runs in a container",
            place=Place(field="--python"),
            todo="leave it out: the image's own Python is used; or add --local to run the script without the image",
        )
