"""What each instance of a step is told: paths, arguments, environment, limits."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import runner.worker
from runner.compute.local import gpus, gpus_of
from runner.engine.settings import InstanceSettings, WorkerSettings
from runner.inputs.fetch import place_of
from runner.inputs.file_list import NO_STORES
from runner.model.job import JobInput, JobOutput, Step
from runner.model.paths import JobPaths
from runner.model.ports import InstanceRequest, SourceSummary
from runner.outputs.aggregate import TABLE
from runner.outputs.append_row import RowFormat, row_file
from runner.outputs.folders import instance_paths, upload_paths
from runner.pipeline.model_folder import lay_out_model
from runner.pipeline.mounts import AGENT_FOLDER, for_container
from runner.pipeline.site import Site
from runner.pipeline.tracking import store_folder
from runner.pipeline.variables import apart, job_variables, replace_path, replace_paths
from runner.storage import addresses
from runner.storage.stores import Stores

FETCHED = "inputs"  # in the folder of an instance: files of mini-batches that lie elsewhere
AGENT = str(Path(runner.worker.__path__[0]))


@dataclass(frozen=True, kw_only=True)
class InstancePlan:
    """The same for all instances of one run of a step. `moved`: inputs that scripts get at another path; `instances`: how many there may
    be; `gpus`: those of this one, where somebody else has said which; `agent`: where the worker folder lies for the Docker engine;
    `code`: the snapshot, where it has been brought nearer; `tracking`: variables of MLflow; `beside`: the instances that there are, where
    their number says not enough.
    """

    step: Step
    paths: JobPaths
    summary: SourceSummary
    row_format: RowFormat
    site: Site
    processes: int
    instances: int
    gpus_each: int = 0  # that the instance type says; 0: those of this machine are shared out
    gpus: tuple[str, ...] | None = None
    epoch: int
    tracking: Mapping[str, str] = field(default_factory=dict)
    moved: Mapping[str, str] = field(default_factory=dict)
    stores: Stores = NO_STORES
    beside: tuple[str, ...] = ()
    agent: str = AGENT
    code: Path | None = None


def instance_settings(plan: InstancePlan, number: int) -> InstanceSettings:
    step, node = plan.step, f"node_{number}"
    written = {name: output for name, output in step.outputs.items() if name != step.append_row_to or output.type != "uri_file"}
    placed = _placed(plan, written)
    outputs = _own_places(plan, node, written)
    fetched = _new_folder(plan.paths.workers / node / FETCHED)
    uploads = upload_paths(plan.paths.workers / node / "outputs", step.outputs)
    split = _split_input(plan, fetched)
    moved = {**_unmoved(step), **split, **plan.moved, **outputs, **_uploaded(step, uploads)}
    output_dir = _output_dir(plan, uploads, moved)
    rows = row_file(step.outputs[step.append_row_to]) if step.append_row_to else ""
    local = [outputs.get(one.path, one.path) for one in written.values() if not addresses.is_address(one.path)]
    gpus = _gpus(plan, number)
    arguments = step.arguments
    model = lay_out_model(replace_path(step.model, moved), plan.paths.workers / node / "model") if step.model else None
    variables = job_variables(step, bi_output=output_dir, tracking=plan.tracking, model=model, gpus=len(gpus))
    shown, told = apart(variables)
    words = [replace_path(word, moved) for word in step.program_arguments]
    return InstanceSettings(
        worker=_worker_settings(plan, node, words, output_dir, gpus, told),
        request=_request(plan, node, moved, gpus, {output_dir, *local, *uploads.values()}, replace_paths(shown, moved)),
        parts=plan.paths.parts,
        epoch=plan.epoch,
        instances=step.resources.instance_count,
        beside=plan.beside,
        fetched=fetched,
        names={local: address for address, local in split.items()},
        max_retries=step.retry.max_retries,
        timeout=step.retry.timeout,
        error_threshold=step.error_threshold,
        task_overhead_timeout=arguments.task_overhead_timeout,
        first_task_creation_timeout=arguments.first_task_creation_timeout,
        synced=tuple({_folder(one) for one in written.values() if not addresses.is_address(one.path)}),
        placed={_folder(one, outputs): _folder(one) for one in placed.values()},
        uploads=uploads,
        withheld=_withheld_uploads(step, uploads),
        upload_files=tuple(one.path for one in step.outputs.values() if one.type == "uri_file" and addresses.is_address(one.path)),
        kept_out=(rows, addresses.join(addresses.parent(rows), TABLE)) if rows else (),
        rows_blob=rows if addresses.is_address(rows) else "",
    )


def _own_places(plan: InstancePlan, node: str, outputs: Mapping[str, JobOutput]) -> Mapping[str, str]:
    """Output → where this instance has it, if it is not the place itself."""
    root = plan.paths.instance_outputs
    if plan.step.command:
        shutil.rmtree(root, ignore_errors=True)  # what another instance has left, which is gone, or an earlier run
        return instance_paths(root, node, _placed(plan, outputs))
    return instance_paths(root, node, outputs) if plan.instances > 1 else {}


def _placed(plan: InstancePlan, outputs: Mapping[str, JobOutput]) -> dict[str, JobOutput]:
    """Local outputs that get what was written at the end; not where that is another user's, which we may not move."""
    there = {} if plan.site.foreign else outputs
    return {name: one for name, one in there.items() if _is_withheld(one, plan.step) and not addresses.is_address(one.path)}


def _unmoved(step: Step) -> Mapping[str, str]:
    """All ports where they are: where one path begins another (`rows`, `rows.txt`), only the one that moves is changed."""
    ports: tuple[JobInput | JobOutput, ...] = (*step.inputs.values(), *step.outputs.values())
    return {one.path: one.path for one in ports if one.path}


def _is_withheld(output: JobOutput, step: Step) -> bool:
    """Whether its place gets what was written when that has succeeded, and nothing before."""
    return bool(step.command) and output.mode == "upload"


def _withheld_uploads(step: Step, uploads: Mapping[str, str]) -> tuple[str, ...]:
    """Addresses of folders; not of one in which another output is to be seen."""
    seen = {_folder(one) for one in step.outputs.values() if not _is_withheld(one, step)}
    return tuple(uploads.keys() - seen)


def _new_folder(parent: Path) -> Path:
    """In a place of its own: threads of an earlier run of the instance may still write to theirs."""
    shutil.rmtree(parent, ignore_errors=True)  # what a run that was killed has left
    return parent / os.urandom(4).hex()


def _split_input(plan: InstancePlan, fetched: Path) -> Mapping[str, str]:
    """Its place here, if it consists of files in blob storage: they are laid out below it while mini-batches need them."""
    given = plan.step.inputs.get(plan.step.input_data)
    if plan.summary.kind != "files" or given is None or given.mode == "direct" or not addresses.is_address(given.path or ""):
        return {}
    return {given.path or "": place_of(given, fetched)}


def _uploaded(step: Step, uploads: Mapping[str, str]) -> dict[str, str]:
    """Address of an output → the local path that this instance's scripts get."""
    found = {}
    for output in step.outputs.values():
        if (folder := _folder(output)) in uploads:
            found[output.path] = f"{uploads[folder]}/{addresses.base_name(output.path)}" if output.type == "uri_file" else uploads[folder]
    return found


def _request(
    plan: InstancePlan, node: str, moved: Mapping[str, str], gpus: tuple[str, ...], written: set[str], variables: Mapping[str, str]
) -> InstanceRequest:
    step, paths = plan.step, plan.paths
    log = paths.logs / "sys" / "node" / node / "_keeper.txt"
    log.parent.mkdir(parents=True, exist_ok=True)
    request = InstanceRequest(
        job=step.name,
        node=node,
        python=plan.site.python,
        agent=plan.agent,
        sockets="",
        environment=variables,
        working_dir=str(paths.root),
        log=str(log),
        gpus=gpus,
    )
    return (
        for_container(request, step, paths, moved=moved, written=written, tracking=store_folder(plan.tracking), stores=plan.stores)
        if plan.site.container
        else request
    )


def _gpus(plan: InstancePlan, number: int) -> tuple[str, ...]:
    """The devices of one instance: as many as its type has, else its share of this machine's."""
    if plan.gpus is not None:
        return plan.gpus
    if not plan.gpus_each:
        return gpus_of(number, instances=plan.instances)
    first = number * plan.gpus_each
    return (*gpus()[first : first + plan.gpus_each], *map(str, range(first, first + plan.gpus_each)))[: plan.gpus_each]


def _worker_settings(
    plan: InstancePlan, node: str, words: list[str], output_dir: str, gpus: tuple[str, ...], told: Mapping[str, str]
) -> WorkerSettings:
    """`told`: variables that stand in no configuration of a container."""
    step = plan.step
    return WorkerSettings(
        job=step.name,
        node=node,
        processes=plan.processes,
        kind=plan.summary.kind,
        root=plan.summary.root,
        code=plan.code or plan.paths.code,
        source=step.code,
        copies=plan.paths.workers,
        entry_script=step.entry_script,
        command=step.command,
        arguments=words,
        append_rows=step.append_row_to is not None,
        to_csv=plan.row_format.to_csv,
        header=plan.row_format.header,
        logging_level=step.logging_level,
        logs=plan.paths.logs,
        output_dir=output_dir,
        foreign=plan.site.foreign,
        agent=AGENT_FOLDER if plan.site.container else AGENT,
        gpus=tuple(map(str, range(len(gpus)))) if plan.site.container else gpus,  # a container sees only its own, and counts them from 0
        profile=step.arguments.profiling_module == "cProfile",
        environment=told,
    )


def _output_dir(plan: InstancePlan, uploads: Mapping[str, str], moved: Mapping[str, str]) -> str:
    """`AZUREML_BI_OUTPUT_PATH` and `EntryScript.output_dir`: the folder of the rows, else the first output folder."""
    step = plan.step
    names = [step.append_row_to, *step.outputs] if step.append_row_to else list(step.outputs)
    for name in names:
        folder = _folder(step.outputs[name])
        return uploads.get(folder) or replace_path(folder, moved)
    return str(plan.paths.root / "output")


def _folder(output: JobOutput, moved: Mapping[str, str] | None = None) -> str:
    """The path or address of the folder that it is, or stands in. `moved`: outputs that lie elsewhere for now."""
    path = (moved or {}).get(output.path, output.path)
    return addresses.parent(path) if output.type == "uri_file" else path
