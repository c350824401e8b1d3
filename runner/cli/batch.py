"""`runner batch …`: deployments of batch endpoints, run over an input, with the options of `az ml batch-endpoint invoke`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Optional

import typer

from runner.cli.group import make_group
from runner.cli.job import attended
from runner.cli.options import LargeSnapshot, Local, Output, Priority, Python, Sets, Stream, Workspace
from runner.cli.show import print_plans
from runner.errors import Place, UserError

if TYPE_CHECKING:
    from runner.spec.load import LoadedJob

app = make_group("Run batch deployments.")

DeploymentFile = Annotated[Optional[Path], typer.Option("--file", "-f", metavar="FILE", help="The deployment's file (YAML).")]  # noqa: UP045
Input = Annotated[
    Optional[str],  # noqa: UP045
    typer.Option("--input", metavar="PATH|URI", help="What to score: a folder, a file, an address, a data asset."),
]
InputType = Annotated[Optional[str], typer.Option("--input-type", help="uri_folder or uri_file; default: as the input is.")]  # noqa: UP045
OutputPath = Annotated[Optional[str], typer.Option("--output-path", metavar="FOLDER|URI", help="The folder that the rows go to.")]  # noqa: UP045
Instances = Annotated[Optional[int], typer.Option("--instance-count", "-c", help="Instead of the deployment's.")]  # noqa: UP045
BatchSize = Annotated[Optional[int], typer.Option("--mini-batch-size", "-m", help="Files of a mini-batch, instead of the deployment's.")]  # noqa: UP045
JobName = Annotated[Optional[str], typer.Option("--name", "-n", "--job-name", metavar="NAME", help="The name of the job.")]  # noqa: UP045
Experiment = Annotated[Optional[str], typer.Option("--experiment-name", help="Instead of the endpoint's name.")]  # noqa: UP045


@app.command()
def invoke(
    file: DeploymentFile = None,
    input: Input = None,  # noqa: A002  (it is the name of the option)
    input_type: InputType = None,
    output_path: OutputPath = None,
    sets: Sets = None,
    instance_count: Instances = None,
    mini_batch_size: BatchSize = None,
    name: JobName = None,
    experiment_name: Experiment = None,
    stream: Stream = False,
    local: Local = False,
    python: Python = None,
    output: Output = None,
    allow_large_snapshot: LargeSnapshot = False,
    priority: Priority = 0,
    workspace: Workspace = None,
) -> int:
    """Run a deployment over an input: a job like any other, which `runner job` follows."""
    from runner.client import Client

    loaded = _job(
        file, sets, input=input, input_type=input_type, output_path=output_path, instance_count=instance_count,
        mini_batch_size=mini_batch_size, experiment_name=experiment_name,
    )  # fmt: skip
    client = Client(workspace)
    options: dict[str, Any] = {"local": local, "python": python, "allow_large_snapshot": allow_large_snapshot, "priority": priority}
    return attended(lambda watch: client.submit(loaded, name=name, stream=stream, watch=watch, **options), output, streamed=stream)


@app.command()
def validate(
    file: DeploymentFile = None,
    input: Input = None,  # noqa: A002
    input_type: InputType = None,
    output_path: OutputPath = None,
    sets: Sets = None,
    instance_count: Instances = None,
    mini_batch_size: BatchSize = None,
    local: Local = False,
    python: Python = None,
    output: Output = None,
    workspace: Workspace = None,
) -> None:
    """Check a deployment and print what it would do with an input. Runs no code of yours."""
    from runner.client import Client

    loaded = _job(
        file, sets, input=input, input_type=input_type, output_path=output_path, instance_count=instance_count,
        mini_batch_size=mini_batch_size,
    )  # fmt: skip
    job, plans = Client(workspace).validate(loaded, local=local, python=python)
    print_plans(job, plans, output)


def _job(file: Path | None, sets: list[str] | None, *, input: str | None, input_type: str | None, **more: Any) -> LoadedJob:  # noqa: A002
    from runner.spec.deployment import Invocation, deployment_job, read_deployment

    if file is None:
        raise UserError("no deployment is given", place=Place(field="--file"), todo="give its file: -f deployment.yml")
    if not input:
        raise UserError("no input is given", place=Place(field="--input"), todo="say what to score: --input FOLDER")
    if input_type not in (None, "uri_folder", "uri_file"):
        raise UserError(f"'{input_type}' is not a type of inputs", place=Place(field="--input-type"), allowed="uri_folder, uri_file")
    invocation = Invocation(input=input, input_type=input_type, base=Path.cwd(), **more)
    return deployment_job(read_deployment(file, sets or ()), invocation)
