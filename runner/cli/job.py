"""`runner job …`, with the options of `az ml job …`."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Optional

import typer

from runner.cli.group import make_group
from runner.cli.options import (
    File,
    Format,
    LargeSnapshot,
    Local,
    Name,
    NameOption,
    Output,
    Priority,
    Python,
    Sets,
    Stream,
    Workspace,
    Yes,
    ask,
    one_name,
    the_file,
)
from runner.cli.show import print_data, print_findings, print_job, print_jobs, print_plans, print_table
from runner.errors import Place, UserError

if TYPE_CHECKING:
    from runner.client import Client
    from runner.report.progress import ProgressView
    from runner.workspace.prune import Removal
    from runner.workspace.records import JobRecord
    from runner.workspace.transfer import Watch

app = make_group("Create, follow and clean up jobs.")
ForceRerun = Annotated[bool, typer.Option("--force-rerun", help="Run every step of a pipeline, also those whose results are known.")]
Compat = Annotated[
    bool,
    typer.Option(
        "--compat", help="Say of every key of the file instead whether it is the same as on Azure ML; components and batch deployments too."
    ),
]
NewName = Annotated[Optional[str], typer.Option("--name", "-n", metavar="NAME", help="The job's name, instead of the job file's.")]  # noqa: UP045


@app.command()
def create(
    file: File = None,
    name: NewName = None,
    sets: Sets = None,
    stream: Stream = False,
    local: Local = False,
    python: Python = None,
    output: Output = None,
    allow_large_snapshot: LargeSnapshot = False,
    priority: Priority = 0,
    force_rerun: ForceRerun = False,
    workspace: Workspace = None,
) -> int:
    """Create a job from a file. It runs in the background, or with --stream in the foreground; on a cluster if its compute is one."""
    from runner.client import Client
    from runner.spec.load import read_job

    client = Client(workspace)
    loaded = read_job(the_file(file), sets or ())
    options: dict[str, Any] = {
        "local": local,
        "python": python,
        "allow_large_snapshot": allow_large_snapshot,
        "priority": priority,
        "force_rerun": force_rerun,
    }
    return attended(lambda watch: client.submit(loaded, name=name, stream=stream, watch=watch, **options), output, streamed=stream)


@app.command()
def validate(
    file: File = None,
    name: NewName = None,
    sets: Sets = None,
    local: Local = False,
    python: Python = None,
    compat: Compat = False,
    output: Output = None,
    workspace: Workspace = None,
) -> None:
    """Check a job file and print what the job would do. Runs no code of yours."""
    from runner.client import Client
    from runner.spec.load import read_job

    if compat:
        from runner.compatibility.keys import findings

        print_findings(findings(read_job(the_file(file), sets or ()).root), output)
        return

    job, plans = Client(workspace).validate(read_job(the_file(file), sets or ()), name=name, local=local, python=python)
    print_plans(job, plans, output)


@app.command()
def show(name: Name = None, name_option: NameOption = None, output: Output = None, workspace: Workspace = None) -> None:
    """Show a job."""
    from runner.client import Client

    print_job(Client(workspace, must_exist=True).get(one_name(name, name_option)), output)


@app.command("list")
def list_jobs(
    tag: Annotated[Optional[str], typer.Option("--tag", metavar="KEY[=VALUE]", help="Only jobs with this tag.")] = None,  # noqa: UP045
    status: Annotated[Optional[str], typer.Option("--status", help="Only jobs with this status.")] = None,  # noqa: UP045
    parent: Annotated[Optional[str], typer.Option("--parent-job-name", "-p", help="The steps of this pipeline.")] = None,  # noqa: UP045
    max_results: Annotated[Optional[int], typer.Option("--max-results", "-r", min=1, help="At most so many.")] = None,  # noqa: UP045
    output: Output = None,
    workspace: Workspace = None,
) -> None:
    """List the jobs of the workspace, newest first."""
    from runner.client import Client

    print_jobs(Client(workspace, must_exist=True).list(tag=tag, status=status, parent=parent)[:max_results], output)


@app.command()
def stream(name: Name = None, name_option: NameOption = None, output: Output = None, workspace: Workspace = None) -> int:
    """Follow a job until it has ended. Ctrl-C leaves it running."""
    from runner.client import Client

    client, chosen = Client(workspace, must_exist=True), one_name(name, name_option)
    try:
        return attended(lambda watch: client.stream(chosen, watch), output, streamed=True)
    except KeyboardInterrupt:
        return _detached(chosen)


@app.command()
def cancel(name: Name = None, name_option: NameOption = None, output: Output = None, workspace: Workspace = None) -> None:
    """Ask a running job to stop. What is finished is kept, and `resume` goes on from it."""
    from runner.client import Client

    record = Client(workspace, must_exist=True).cancel(one_name(name, name_option))
    print(f"{record.name} has been asked to cancel", file=sys.stderr)
    print_job(record, output)


@app.command()
def resume(
    name: Name = None,
    name_option: NameOption = None,
    stream: Stream = False,
    code: Annotated[bool, typer.Option("--code", help="Take the code folder as it is now instead of the job's snapshot.")] = False,
    python: Python = None,
    allow_large_snapshot: LargeSnapshot = False,
    output: Output = None,
    workspace: Workspace = None,
) -> int:
    """Go on with a job that failed, was cancelled or interrupted; what is finished does not run again."""
    from runner.client import Client

    client, chosen = Client(workspace, must_exist=True), one_name(name, name_option)
    options: dict[str, Any] = {"code": code, "python": python, "allow_large_snapshot": allow_large_snapshot}
    return attended(lambda watch: client.resume(chosen, stream=stream, watch=watch, **options), output, streamed=stream)


@app.command()
def finish(
    name: Name = None,
    name_option: NameOption = None,
    partial: Annotated[bool, typer.Option("--partial", help="Publish what succeeded, in order; the job is marked as incomplete.")] = False,
    output: Output = None,
    workspace: Workspace = None,
) -> None:
    """Publish the rows that a failed or cancelled job has."""
    from runner.client import Client

    chosen = one_name(name, name_option)
    if not partial:
        problem = "`job finish` publishes an incomplete output"
        raise UserError(problem, place=Place(field="--partial"), todo="say so with --partial, or use `job resume`")
    with _watching(True) as watch:
        record = Client(workspace, must_exist=True).finish_partial(chosen, watch)
    print_job(record, output)


@app.command()
def download(
    name: Name = None,
    name_option: NameOption = None,
    download_path: Annotated[Path, typer.Option("--download-path", "-p", metavar="FOLDER", help="Where to put the copies.")] = Path(),
    output_name: Annotated[Optional[str], typer.Option("--output-name", help="Only this output.")] = None,  # noqa: UP045
    everything: Annotated[bool, typer.Option("--all", help="All outputs and the logs; without it, only the logs.")] = False,
    workspace: Workspace = None,
) -> None:
    """Copy outputs and logs of a job."""
    from runner.client import Client

    client, chosen = Client(workspace, must_exist=True), one_name(name, name_option)
    with _copying(client.get(chosen), wanted=everything or output_name is not None) as watch:
        made = client.download(chosen, download_path, output_name=output_name, everything=everything, watch=watch)
    for path in made:
        print(path)
    if everything:
        from runner.workspace.download import missing_outputs

        record = client.get(chosen)
        for output in missing_outputs(record, made, download_path):
            print(f"the output {output!r} is not there: the job is {record.status}", file=sys.stderr)


@app.command()
def delete(
    name: Name = None,
    name_option: NameOption = None,
    yes: Yes = False,
    workspace: Workspace = None,
) -> None:
    """Remove a job: its folder, its logs, and its outputs unless the job file gave them a path."""
    from runner.client import Client

    client, chosen = Client(workspace, must_exist=True), one_name(name, name_option)
    client.get(chosen)
    ask(f"Remove job {chosen} with its logs and outputs?", yes=yes)
    removal = client.delete(chosen)
    from runner.workspace.units import show_size

    print(f"{chosen} is removed, {show_size(removal.bytes)} are free again", file=sys.stderr)


@app.command()
def prune(
    keep: Annotated[Optional[str], typer.Option("--keep", metavar="AGE", help="Remove what is older, e.g. 30d.")] = None,  # noqa: UP045
    max_size: Annotated[Optional[str], typer.Option("--max-size", metavar="SIZE", help="Remove the oldest beyond, e.g. 50GB.")] = None,  # noqa: UP045
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would be removed.")] = False,
    yes: Yes = False,
    output: Output = None,
    workspace: Workspace = None,
) -> None:
    """Remove old jobs (with logs and outputs, as `delete` does) and caches."""
    from runner.client import Client
    from runner.workspace.units import parse_age, parse_size, show_size

    if keep is None and max_size is None:
        raise UserError("it is not said what to keep", place=Place(field="--keep"), todo="give --keep 30d, or --max-size 50GB, or both")
    age = parse_age(keep, Place(field="--keep")) if keep else None
    size = parse_size(max_size, Place(field="--max-size")) if max_size else None
    client = Client(workspace, must_exist=True)
    removals = client.plan_prune(keep=age, max_size=size)
    if not dry_run:
        removals = _remove(client, removals, yes=yes)
    if output in (Format.json, Format.yaml):
        print_data([{"kind": one.kind, "name": one.name, "bytes": one.bytes} for one in removals], output)
    else:
        print_table(("kind", "name", "size"), [(one.kind, one.name, show_size(one.bytes)) for one in removals])
    print(f"{len(removals)} {'would be' if dry_run else 'are'} removed, {_size(removals)}", file=sys.stderr)


def _remove(client: Client, removals: list[Removal], *, yes: bool) -> list[Removal]:
    """What has been removed, once the user has agreed. Ctrl-C ends it between two, or within one that is then gone in part."""
    if removals:
        jobs = ", ".join(one.name for one in removals if one.kind == "job") or "none"
        others = sum(one.kind != "job" for one in removals)
        ask(f"Remove jobs with their logs and outputs ({jobs}), and caches ({others}): {_size(removals)}?", yes=yes)
    removed: list[Removal] = []
    try:
        for one in client.prune(removals, say=lambda text: print(text, file=sys.stderr)):
            removed.append(one)  # noqa: PERF402 (what is done counts when it is interrupted)
    except KeyboardInterrupt:
        names = ", ".join(one.name for one in removed) or "nothing"
        print(f"\n{len(removed)} of {len(removals)} are removed, {_size(removed)}: {names}", file=sys.stderr)
        raise
    return removed


def _size(removals: list[Removal]) -> str:
    from runner.workspace.units import show_size

    return show_size(sum(one.bytes for one in removals))


@contextlib.contextmanager
def _copying(record: JobRecord, *, wanted: bool) -> Iterator[Watch]:
    """Progress of outputs that come from blob storage; what lies on this machine is copied without a word."""
    from runner.storage.addresses import is_address

    if not (wanted and any(is_address(str(port["path"])) for port in record.outputs.values())):
        yield lambda _moved: None
        return
    from runner.cli.transfers import shown

    with shown("downloading", "downloaded") as watch:
        yield watch


@contextlib.contextmanager
def _watching(wanted: bool) -> Iterator[ProgressView | None]:
    """Progress on stderr for as long as the command stays with the job."""
    if not wanted:
        yield None
        return
    from runner.report.progress import progress_view

    view = progress_view()
    try:
        yield view
    finally:
        view.close()


def attended(act: Callable[[ProgressView | None], JobRecord], output: Format | None, *, streamed: bool) -> int:
    """Hands a job over or follows it, and tells how it ended, or that it goes on without us."""
    try:
        with _watching(streamed) as watch:
            record = act(watch)
    except KeyboardInterrupt as interrupt:
        name = getattr(interrupt, "name", None)  # of a cluster's job: runner.remote.Detached
        if name is None:
            raise
        return _detached(name)
    return _end(record, output, streamed=streamed)


def _detached(name: str) -> int:
    """Says that a job which was followed goes on, and how to come back; gives the exit status."""
    text = f"No longer following; the job goes on. Come back with `runner job stream {name}`, stop it with `runner job cancel {name}`."
    print(f"\n{text}", file=sys.stderr)
    return 130


def _end(record: JobRecord, output: Format | None, *, streamed: bool) -> int:
    """The page of a job that was followed to its end, on stderr; the job, on stdout, unless a person has seen all; the exit status."""
    from runner.client import exit_status, last_page

    if output is not None or not (streamed and sys.stdout.isatty()):
        print_job(record, output)
    if streamed:
        sys.stdout.flush()
        print(f"\n{last_page(record)}", file=sys.stderr)  # last, so that on a terminal the job in full does not push it out of sight
    return exit_status(record)
