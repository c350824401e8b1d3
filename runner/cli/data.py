"""`runner data …`, in the manner of `az ml data`: registering and copying data that has a name."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Optional

import typer

from runner.cli.assets import create_command
from runner.cli.group import make_group
from runner.cli.options import Format, NameOption, Output, Workspace, one_name
from runner.cli.show import print_data, print_table

app = make_group("Data that has a name and versions: azureml:<name>:<version> in job files.")
DataName = Annotated[Optional[str], typer.Argument(metavar="NAME", help="The data asset: NAME, or NAME:VERSION.", show_default=False)]  # noqa: UP045
Version = Annotated[
    Optional[str],  # noqa: UP045
    typer.Option("--version", "-v", metavar="VERSION", help="Default: the latest; for upload: the only one.", show_default=False),
]


app.command("create")(create_command("data"))


@app.command("list")
def list_data(name: DataName = None, name_option: NameOption = None, output: Output = None, workspace: Workspace = None) -> None:
    """List the data assets of the workspace, or the versions of one."""
    from runner.workspace import datastores
    from runner.workspace.config import find_workspace

    one = one_name(name, name_option, noun="data") if name or name_option else None
    assets = datastores.list_data(find_workspace(workspace), one)
    if output in (Format.json, Format.yaml):
        print_data(assets, output)
    else:
        keys = ("name", "version", "type", "path", "latest")
        print_table(keys, [[asset[key] for key in keys] for asset in assets])


@app.command("show")
def show_data(
    name: DataName = None, name_option: NameOption = None, version: Version = None, output: Output = None, workspace: Workspace = None
) -> None:
    """Show one data asset."""
    from runner.workspace import datastores
    from runner.workspace.config import find_workspace

    asset = datastores.show_data(find_workspace(workspace), one_name(name, name_option, noun="data"), version)
    if output is Format.table:
        print_table(("field", "value"), [(key, value) for key, value in asset.items() if value != ""])
    else:
        print_data(asset, output)


@app.command()
def upload(
    source: Annotated[Path, typer.Option("--source", "-s", metavar="PATH", help="A file or folder of this machine.")],
    name: DataName = None,
    name_option: NameOption = None,
    version: Version = None,
    workspace: Workspace = None,
) -> None:
    """Copy a file or a folder to where a data asset lies."""
    from runner.cli.transfers import shown
    from runner.workspace import datastores
    from runner.workspace.config import find_workspace

    found = find_workspace(workspace)
    with shown("uploading", "uploaded") as watch:
        print(datastores.upload_data(found, one_name(name, name_option, noun="data"), version, source, watch=watch))


@app.command()
def download(
    name: DataName = None,
    name_option: NameOption = None,
    version: Version = None,
    target: Annotated[Optional[Path], typer.Option("--target", "-t", metavar="PATH", help="Where to put it; default: here.")] = None,  # noqa: UP045
    workspace: Workspace = None,
) -> None:
    """Copy a data asset to this machine. A folder's content goes below the target."""
    from runner.cli.transfers import shown
    from runner.workspace import datastores
    from runner.workspace.config import find_workspace

    found = find_workspace(workspace)
    with shown("downloading", "downloaded") as watch:
        print(datastores.download_data(found, one_name(name, name_option, noun="data"), version, target, watch=watch))
