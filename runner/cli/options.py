"""Options that several commands have, spelled once, as `az ml` spells them."""

from __future__ import annotations

import enum
import sys
from pathlib import Path
from typing import Annotated, Optional

import typer

from runner.errors import Place, UserError


class Format(str, enum.Enum):
    """Of what goes to stdout."""

    json = "json"
    yaml = "yaml"
    table = "table"


# Optional rather than `| None`: typer reads these at run time, in Python 3.10 as well.
Name = Annotated[Optional[str], typer.Argument(metavar="NAME", help="The name of the job.", show_default=False)]  # noqa: UP045
ComputeName = Annotated[Optional[str], typer.Argument(metavar="NAME", help="The name of the compute.", show_default=False)]  # noqa: UP045
NameOption = Annotated[Optional[str], typer.Option("--name", "-n", metavar="NAME", help="The same, as `az ml job` has it.")]  # noqa: UP045
File = Annotated[Optional[Path], typer.Option("--file", "-f", metavar="FILE", help="The job file (YAML).")]  # noqa: UP045
Sets = Annotated[
    Optional[list[str]],  # noqa: UP045
    typer.Option("--set", metavar="PATH=VALUE", help="Change a value of the job file, e.g. --set inputs.images.path=data. Repeatable."),
]
Output = Annotated[Optional[Format], typer.Option("--output", "-o", help="How to print the result.", show_default=False)]  # noqa: UP045
Workspace = Annotated[
    Optional[str],  # noqa: UP045
    typer.Option("--workspace", metavar="FOLDER", help="The workspace; default: RUNNER_WORKSPACE, else found from here upwards."),
]
Stream = Annotated[
    bool,
    typer.Option("--stream", help="Stay with the job until it has ended. Ctrl-C then cancels it; on a cluster, it only stops following."),
]
Local = Annotated[bool, typer.Option("--local", help="Run every step on this machine in processes, whatever `compute` and `image` say.")]
Python = Annotated[
    Optional[str],  # noqa: UP045
    typer.Option("--python", metavar="PATH", help="The interpreter for the entry script, instead of one made from the conda file."),
]
Priority = Annotated[int, typer.Option("--priority", help="On a cluster: jobs of a higher priority start first.", show_default=True)]
ClusterOption = Annotated[
    Optional[str],  # noqa: UP045
    typer.Option("--compute", metavar="NAME", help="The cluster; need not be named where the workspace has one."),
]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Don't ask.")]
LargeSnapshot = Annotated[bool, typer.Option("--allow-large-snapshot", help="Accept a code folder of more than 300 MB.")]


def one_name(argument: str | None, option: str | None, *, noun: str = "job") -> str:
    """The job (or other noun) that a command is about, given as an argument or with -n."""
    if argument and option and argument != option:
        raise UserError(f"two {noun}s are named: {argument!r} and {option!r}", place=Place(field="--name"), todo="name one")
    name = argument or option
    if not name:
        todo = f"give its name: -n NAME; `runner {noun} list` shows all"
        raise UserError(f"no {noun} is named", place=Place(field="--name"), todo=todo)
    return name


def ask(question: str, *, yes: bool) -> None:
    """Ends the command if the user says no; a question is asked on a terminal only, and not with `--yes`."""
    if not yes and sys.stdin.isatty() and sys.stdout.isatty():
        typer.confirm(question, abort=True)


def the_file(file: Path | None) -> Path:
    """The job file; required."""
    if file is None:
        raise UserError("no job file is given", place=Place(field="--file"), todo="give one: -f job.yml")
    return file
