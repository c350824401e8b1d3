"""`runner datastore …`, in the manner of `az ml datastore`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Optional

import typer

from runner.cli.group import make_group
from runner.cli.options import Format, NameOption, Output, Workspace, one_name
from runner.cli.show import print_data, print_table
from runner.errors import printable

app = make_group("Where data lies: folders, and containers of blobs.")
StoreName = Annotated[Optional[str], typer.Argument(metavar="NAME", help="The name of the datastore.", show_default=False)]  # noqa: UP045
_SHOWN = ("name", "type", "default", "account_name", "container_name", "path", "credentials")


@app.command("list")
def list_datastores(output: Output = None, workspace: Workspace = None) -> None:
    """List the datastores of the workspace."""
    from runner.workspace import datastores
    from runner.workspace.config import find_workspace

    stores = datastores.list_datastores(find_workspace(workspace))
    if output in (Format.json, Format.yaml):
        print_data(stores, output)
    else:
        print_table(_SHOWN, [["-" if store[key] is None else store[key] for key in _SHOWN] for store in stores])


@app.command("show")
def show_datastore(name: StoreName = None, name_option: NameOption = None, output: Output = None, workspace: Workspace = None) -> int:
    """Show one datastore: where it is, the kind of its credential, and whether it can be reached (exit status 1 if not)."""
    from runner.workspace import datastores
    from runner.workspace.config import find_workspace

    store, refusal = datastores.show_datastore(find_workspace(workspace), one_name(name, name_option, noun="datastore"))
    if output is Format.table:
        print_table(("field", "value"), [(key, value) for key, value in store.items() if value is not None])
    else:
        print_data(store, output)
    if refusal is None:
        return 0
    if refusal.todo:
        print(f"  next: {printable(refusal.todo)}", file=sys.stderr)
    return 1


@app.command("create")
def create_datastore(name: StoreName = None, name_option: NameOption = None, workspace: Workspace = None) -> None:
    """Make the container, or the folder, that workspace.yml describes."""
    from runner.workspace import datastores
    from runner.workspace.config import find_workspace

    wanted = one_name(name, name_option, noun="datastore")
    made = datastores.create_datastore(find_workspace(workspace), wanted)
    print(f"made the datastore {wanted}" if made else f"the datastore {wanted} is there already")


@app.command()
def upload(
    source: Annotated[Path, typer.Option("--source", "-s", metavar="PATH", help="A file or folder of this machine.")],
    name: StoreName = None,
    name_option: NameOption = None,
    target: Annotated[
        str, typer.Option("--target", "-t", metavar="PATH", help="Where to put it; default: at the top, by its own name.")
    ] = "",
    workspace: Workspace = None,
) -> None:
    """Copy a file or a folder to a datastore. A folder's content goes below the target; what is there already is replaced."""
    from runner.cli.transfers import shown
    from runner.workspace import datastores
    from runner.workspace.config import find_workspace

    found = find_workspace(workspace)
    with shown("uploading", "uploaded") as watch:
        print(datastores.upload(found, one_name(name, name_option, noun="datastore"), source, target, watch=watch))


@app.command()
def download(
    source: Annotated[str, typer.Option("--source", "-s", metavar="PATH", help="A file or folder in the datastore; / is all of it.")],
    name: StoreName = None,
    name_option: NameOption = None,
    target: Annotated[Optional[Path], typer.Option("--target", "-t", metavar="PATH", help="Where to put it; default: here.")] = None,  # noqa: UP045
    workspace: Workspace = None,
) -> None:
    """Copy a file or a folder of a datastore to this machine. A folder's content goes below the target."""
    from runner.cli.transfers import shown
    from runner.workspace import datastores
    from runner.workspace.config import find_workspace

    found = find_workspace(workspace)
    with shown("downloading", "downloaded") as watch:
        print(datastores.download(found, one_name(name, name_option, noun="datastore"), source, target, watch=watch))
