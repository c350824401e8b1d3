"""Jobs as the runner reads them, in the normal form in which they are compared with Azure's: a mapping of dotted names once it is flat."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

from runner.model.datastore import DataAsset
from runner.model.job import NO_TIMEOUT, Environment, JobInput, JobOutput, PipelineJob, Step
from runner.spec.command_text import with_values
from runner.spec.resolve import ResolveContext

CORPUS = Path(__file__).resolve().parents[1] / "data" / "corpus"
ENVIRONMENTS = {"sklearn:1": {"image": "mcr.example/sklearn:1"}, "sklearn:2": {"image": "mcr.example/sklearn:2"}}

Plain = dict[str, Any]


def files(*folders: str) -> list[str]:
    return sorted(str(path.relative_to(CORPUS)) for folder in folders for path in (CORPUS / folder).glob("*.yml"))


def corpus_context(tmp_path: Path) -> ResolveContext:
    store = tmp_path / "store"
    (store / "images").mkdir(parents=True)
    (store / "images" / "a.txt").write_text("one")
    return ResolveContext(
        name="job_1",
        root=CORPUS,
        datastores={"workspaceblobstore": store, "archive": tmp_path / "archive"},
        computes=("local", "cpu-cluster", "gpu-cluster"),
        instance_types=("Standard_DS3_v2", "Standard_NC6s_v3"),
        environments=ENVIRONMENTS,
        data={"listing:1": DataAsset(path="./data/rows.csv", type="uri_file")},
    )


def our_steps(job: Step | PipelineJob) -> dict[str, Step]:
    return dict(job.steps) if isinstance(job, PipelineJob) else {"": job}


def our_job(job: Step | PipelineJob, context: ResolveContext) -> Plain:
    """The steps, and below `job` what is of the whole; where outputs without a path lie, by datastore."""
    steps = our_steps(job)
    whole: Plain = {"experiment_name": job.experiment_name}
    if isinstance(job, PipelineJob):
        whole |= {key: getattr(job, key) for key in ("display_name", "description", "continue_on_step_failure", "force_rerun")}
        whole |= {"tags": dict(job.tags), "inputs": {name: our_input(one) for name, one in job.inputs.items()}}
        whole["outputs"] = {name: our_output(one) for name, one in job.outputs.items()}
    places = {
        f"{name}.{port}": next((store for store, folder in context.datastores.items() if Path(one.path).is_relative_to(folder)), "")
        for name, step in steps.items()
        for port, one in step.outputs.items()
        if not one.uri
    }
    return {**{name: our_step(step) for name, step in steps.items()}, "job": whole, "places": places}


def our_step(step: Step) -> Plain:
    plain: Plain = {
        "type": step.type,
        "display_name": step.display_name,
        "description": step.description,
        "tags": dict(step.tags),
        "compute": step.compute,
        "identity": identity(step.identity),
        "environment_variables": dict(step.environment_variables),
        "environment": our_environment(step.environment),
        "code": step.code,
        "inputs": {name: our_input(one) for name, one in step.inputs.items()},
        "outputs": {name: our_output(one) for name, one in step.outputs.items()},
        "is_deterministic": step.is_deterministic,
        "resources": {
            "instance_count": step.resources.instance_count,
            "max_instance_count": step.resources.max_instance_count,
            "instance_type": list(step.resources.instance_type),
            "shm_size": step.resources.shm_size,
            "docker_args": list(step.resources.docker_args),
            "properties": dict(step.resources.properties),
        },
    }
    if step.type == "command":
        timeout = None if step.retry.timeout == NO_TIMEOUT else step.retry.timeout
        return {**plain, "command": with_values(step.command, step.program_arguments), "limits": {"timeout": timeout}}
    return {
        **plain,
        "retry_settings": {"max_retries": step.retry.max_retries, "timeout": step.retry.timeout},
        "mini_batch_size": step.mini_batch_size,
        "partition_keys": list(step.partition_keys),
        "max_concurrency_per_instance": step.max_concurrency_per_instance,
        "mini_batch_error_threshold": step.mini_batch_error_threshold,
        "error_threshold": step.error_threshold,
        "logging_level": step.logging_level,
        "input_data": step.input_data,
        "entry_script": step.entry_script,
        "model": step.model,
        "append_row_to": step.append_row_to,
        "program_arguments": list(step.program_arguments),
    }


def our_input(one: JobInput) -> Plain:
    if one.optional_unset:
        return {"type": one.type, "unset": True}
    return {"type": one.type, "path": one.uri, "mode": one.mode} if one.is_data else {"type": one.type, "value": one.value}


def our_output(one: JobOutput) -> Plain:
    return {"type": one.type, "path": one.uri, "mode": one.mode, "name": one.name, "version": one.version}


def our_environment(environment: Environment | None) -> Plain:
    plain = {key: value for key, value in asdict(environment).items() if value} if environment else {}
    plain.pop("conda_path", None)
    if f"{plain.get('name')}:{plain.get('version')}" in ENVIRONMENTS:  # looked up: Azure's loader leaves that to the service
        return {"name": plain["name"], "version": plain["version"]}
    return plain


def identity(written: Any) -> Plain:
    """`managed_identity` is another spelling of `managed`."""
    return {**(written or {}), "type": written["type"].replace("managed_identity", "managed")} if written else {}


def flat(tree: Any, prefix: str = "") -> dict[str, Any]:
    if isinstance(tree, dict):
        return {key: value for name, child in tree.items() for key, value in flat(child, f"{prefix}.{name}".strip(".")).items()}
    return {prefix: tree}
