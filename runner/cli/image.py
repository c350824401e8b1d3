"""`runner image …`: images of jobs ahead of them, and those that we have made."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Optional

import typer

from runner.cli.group import make_group
from runner.cli.options import File, Format, Output, Sets, Workspace, Yes, ask
from runner.cli.show import print_data, print_table
from runner.errors import Place, UserError, printable

if TYPE_CHECKING:
    from pathlib import Path

    from runner.images import Images, OwnImage
    from runner.model.job import Environment

app = make_group("Images of containers: pull and build them ahead of a job, list and clean up those that were made.")
Reference = Annotated[Optional[str], typer.Argument(metavar="IMAGE", help="An image, as a job file has it.", show_default=False)]  # noqa: UP045
EnvironmentName = Annotated[
    Optional[str],  # noqa: UP045
    typer.Argument(metavar="ENVIRONMENT", help="An environment of the workspace: name, name:version or name@latest.", show_default=False),
]


@app.command()
def pull(reference: Reference = None, file: File = None, sets: Sets = None, output: Output = None, workspace: Workspace = None) -> None:
    """Pull an image, or all images of a job file, by the workspace's image map; those that are there are renewed."""
    from runner.model.image_reference import parse_reference

    _one_of(reference, file, "IMAGE")
    images = _images(workspace)
    names = [one.image for one in _of_file(images, file, sets) if one.image] if file else []
    if reference:
        parse_reference(reference, Place(field="IMAGE"))
        names.append(reference)
    if not names and not file:
        raise UserError("no image is named", place=Place(field="IMAGE"), todo="give its name, or a job file with -f")
    pulled = [images.pull(name, say=_say) for name in dict.fromkeys(names)]
    _print([{"image": one.reference, "id": one.id, "digest": one.digest} for one in pulled], output)


@app.command()
def build(name: EnvironmentName = None, file: File = None, sets: Sets = None, output: Output = None, workspace: Workspace = None) -> None:
    """Make the images of a job file or of an environment: pull, build, and install its conda file. What is there is not made again."""
    _one_of(name, file, "ENVIRONMENT")
    images = _images(workspace)
    environments = _of_file(images, file, sets) if file else []
    if name:
        environments.append(images.of_name(name))
    if not environments:
        problem = "no step of the job file asks for an image" if file else "no environment is named"
        raise UserError(
            problem, place=Place(field="ENVIRONMENT"), todo="give its name, or a job file whose environment has `image` or `build`"
        )
    found = [images.build(one, say=_say, warn=lambda text: _say(f"Notice: {text}")) for one in environments]
    rows: list[dict[str, object]] = [
        {"image": one.reference, "id": one.id, "digest": one.digest, "python": one.facts.version_text} for one in found
    ]
    _print(rows, output)


@app.command("list")
def list_images(output: Output = None, workspace: Workspace = None) -> None:
    """List the images that were built or extended for jobs, the last used first."""
    _print([_own(one) for one in _images(workspace).list()], output, head=("name", "id", "bytes", "last_used", "made_from"))


@app.command()
def prune(
    keep: Annotated[str, typer.Option("--keep", metavar="AGE", help="Remove what was last used longer ago, e.g. 7d.")] = "30d",
    everything: Annotated[bool, typer.Option("--all", help="Also those of other workspaces, by when they were made.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would be removed.")] = False,
    yes: Yes = False,
    output: Output = None,
    workspace: Workspace = None,
) -> None:
    """Remove images that were built or extended for jobs and have not been used for long. Pulled images stay."""
    from runner.workspace.units import parse_age

    images = _images(workspace)
    chosen = images.plan_prune(keep=parse_age(keep, Place(field="--keep")), everything=everything)
    if not dry_run:
        chosen = _remove(images, chosen, yes=yes)
    _print([_own(one) for one in chosen], output, head=("name", "id", "bytes", "last_used", "made_from"))
    print(f"{len(chosen)} {'would be' if dry_run else 'are'} removed", file=sys.stderr)


def _remove(images: Images, chosen: Sequence[OwnImage], *, yes: bool) -> list[OwnImage]:
    if chosen:
        ask(f"Remove {len(chosen)} images ({', '.join(one.name for one in chosen)})?", yes=yes)
    return list(images.prune(chosen, _say))


def _one_of(name: str | None, file: Path | None, field: str) -> None:
    if name and file:
        raise UserError(f"both '{name}' and a job file with -f are given", place=Place(field=field), todo="give one of the two")


def _images(workspace: str | None) -> Images:
    from runner.client import Client
    from runner.images import Images

    return Images(Client(workspace))


def _of_file(images: Images, file: Path | None, sets: list[str] | None) -> list[Environment]:
    from runner.spec.load import read_job

    assert file is not None
    return images.of_job(read_job(file, sets or ()))


def _say(text: str) -> None:
    print(printable(text), file=sys.stderr, flush=True)


def _own(image: OwnImage) -> dict[str, object]:
    """As it is printed: JSON and YAML have all of it."""
    from runner.model.moments import utc

    used = utc(image.last_used) if image.last_used is not None else None
    return {
        "name": image.name, "id": image.id, "bytes": image.bytes, "created": image.created, "last_used": used, "made_from": image.made_from
    }  # fmt: skip


def _print(rows: list[dict[str, object]], output: Format | None, head: Sequence[str] = ()) -> None:
    """A table of the columns in `head`, or of all, unless something else is asked for."""
    if output in (Format.json, Format.yaml):
        print_data(rows, output)
        return
    columns = tuple(head or (rows[0] if rows else ("image", "id", "digest")))
    print_table([_heading(column) for column in columns], [[_cell(column, row[column]) for column in columns] for row in rows])


def _heading(column: str) -> str:
    return {"bytes": "size", "last_used": "last used (UTC)", "made_from": "made from"}.get(column, column)


def _cell(column: str, value: object) -> object:
    from runner.workspace.units import show_size

    if column == "bytes" and isinstance(value, int):
        return show_size(value)
    if column == "id":
        return str(value).removeprefix("sha256:")[:12]
    if column == "last_used":
        return str(value)[:19].replace("T", " ") if value else "not by this workspace"
    return value
