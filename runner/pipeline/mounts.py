"""What a container sees of this machine: each path where it lies here, so that scripts, rows and messages name the same paths as ever."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path

from runner.errors import UserError
from runner.inputs.file_list import NO_STORES
from runner.launch.accounts import HOME, TEMPORARY
from runner.launch.docker_paths import engine_sockets, gives_socket, is_below
from runner.model.docker import BindMount
from runner.model.job import Step
from runner.model.paths import JobPaths
from runner.model.ports import InstanceRequest
from runner.storage.addresses import is_address
from runner.storage.stores import Stores

AGENT_FOLDER = "/run/runner/agent"
# Where an image keeps what makes it run: nothing of ours may cover it.
SYSTEM_FOLDERS = ("/bin", "/boot", "/dev", "/etc", "/lib", "/lib32", "/lib64", "/proc", "/run", "/sbin", "/sys", "/usr")
SHAREABLE = ("/usr/local/share/", "/usr/share/", "/dev/shm/", "/run/media/", "/usr/src/")  # noqa: S108
MANY = 100  # files that an MLTable may name one by one, beyond which their folders are mounted


def for_container(
    request: InstanceRequest,
    step: Step,
    paths: JobPaths,
    *,
    moved: Mapping[str, str],
    written: Iterable[str],
    tracking: Path | None,
    stores: Stores = NO_STORES,
) -> InstanceRequest:
    """The request of an instance in a container: with mounts, and the container's own path of the agent.

    `moved`: inputs and outputs that this instance has elsewhere; `written`: what the script writes to; `tracking`: MLflow's folder.
    Errors: UserError for an input or output that lies where images keep their own files.
    """
    own = paths.workers / request.node
    files = {str(Path(output.path).parent) for output in step.outputs.values() if output.type == "uri_file"}
    outputs = {str(_made(Path(folder_of(path, step)))) for path in written}
    mounts = path_mounts(
        read_only=read_paths(step, moved, stores),
        writable={path: path not in files for path in outputs},
        own=[*own_folders(paths, request.node), *([str(_made(tracking))] if tracking else [])],
        protected=str(paths.root),
    )
    fixed = (
        BindMount(source=request.agent, target=AGENT_FOLDER),
        BindMount(source=str(_made(own / "home")), target=HOME, read_only=False),
        BindMount(source=str(_made(own / "tmp")), target=TEMPORARY, read_only=False),
    )
    return replace(request, agent=AGENT_FOLDER, working_dir=str(own), mounts=(*fixed, *mounts))


def own_folders(paths: JobPaths, node: str) -> list[str]:
    """Of an instance: its workers' copies of the code, and their logs."""
    return [str(_made(folder)) for folder in (paths.workers / node, paths.logs / "user", paths.logs / "sys" / "node" / node)]


def read_paths(step: Step, moved: Mapping[str, str], stores: Stores = NO_STORES) -> list[str]:
    """Inputs and the model, and what the MLTables among the inputs name; of those in blob storage where they are now.

    Files of the input that is split lie in the instance's own folder.
    """
    paths = [step.model, moved.get(step.model, "")] if step.model else []
    for name, one in step.inputs.items():
        if one.is_data and one.path:
            paths.append(one.path)
            paths += [moved[one.path]] if one.path in moved and not (name == step.input_data and is_address(one.path)) else []
            paths += _named_by_table(Path(one.path), stores) if one.type == "mltable" and not is_address(one.path) else []
    return [path for path in paths if path and not is_address(path)]


def path_mounts(*, read_only: Iterable[str], writable: Mapping[str, bool], own: Iterable[str], protected: str) -> tuple[BindMount, ...]:
    """Each path at its own place: inputs, outputs (and whether all that is there is the job's), and what is the runner's `own`.

    `protected`, the job's folder, is read-only where a writable folder contains it.
    """
    mounts = {path: BindMount(source=path, target=path, shared=True) for path in read_only}
    mounts |= {path: BindMount(source=path, target=path, read_only=False, shared=True, whole=whole) for path, whole in writable.items()}
    mounts |= {path: BindMount(source=path, target=path, read_only=False) for path in own}
    if protected and any(is_below(protected, one.target) for one in mounts.values() if not one.read_only):
        mounts.setdefault(protected, BindMount(source=protected, target=protected))
    for path in mounts:
        check_place(path)
    return tuple(mounts[path] for path in sorted(mounts))


def folder_of(path: str, step: Step) -> str:
    """What is mounted for an output: the folder that a file stands in, so that the script can replace the file."""
    files = {Path(output.path).name for output in step.outputs.values() if output.type == "uri_file"}
    return str(Path(path).parent) if Path(path).name in files and not Path(path).is_dir() else path


def data_mounts(step: Step, stores: Stores = NO_STORES) -> tuple[BindMount, ...]:
    """What is known of a step's mounts before it runs. Errors: UserError for an input or output that no container can be given."""
    fixed = tuple(BindMount(source=path, target=path) for path in (AGENT_FOLDER, HOME, TEMPORARY))
    outputs = {folder_of(output.path, step): True for output in step.outputs.values() if not is_address(output.path)}
    return fixed + path_mounts(read_only=read_paths(step, {}, stores), writable=outputs, own=(), protected="")


def check_place(path: str) -> None:
    """Both as it is written, which is where it will be in the container, and as where it leads, which is what will be there."""
    real = os.path.realpath(path)
    if any(_is_of_images(one) for one in (path, real)):
        raise UserError(
            f"'{path}' cannot be given to a container: images keep files of their own there"
            + (f" (it leads to '{real}')" if real != path else ""),
            todo="copy the data to another folder, or run the script in processes of this machine with --local",
        )
    if gives_socket(real, engine_sockets()):
        raise UserError(
            f"'{path}' cannot be given to a container: it leads to the socket of the Docker engine, and so to all of this machine",
            todo="name a folder with data alone",
        )


def _is_of_images(path: str) -> bool:
    return (path == "/" or any(is_below(path, folder) for folder in SYSTEM_FOLDERS)) and not path.startswith(SHAREABLE)


def _named_by_table(folder: Path, stores: Stores) -> list[str]:
    from runner.inputs.mltable import find, read

    return list(read(folder, stores).roots(many=MANY)) if find(folder) else []


def _made(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    return folder
