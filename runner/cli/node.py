"""`runner node …`: the nodes of a cluster, for its administrators."""

from __future__ import annotations

from typing import Annotated

import typer

from runner.cli.group import make_group
from runner.cli.options import ClusterOption, Format, Output, Workspace
from runner.cli.show import print_data, print_nodes

app = make_group("Take nodes of a cluster out of use, and back.")
NodeName = Annotated[str, typer.Argument(metavar="NODE", help="Its host name, or the beginning of its id.", show_default=False)]


@app.command()
def drain(node: NodeName, compute: ClusterOption = None, output: Output = None, workspace: Workspace = None) -> None:
    """Give a node nothing new; what runs there goes on. For administrators."""
    _change(node, compute, output, workspace, undo=False)


@app.command()
def undrain(node: NodeName, compute: ClusterOption = None, output: Output = None, workspace: Workspace = None) -> None:
    """Use a drained node again. For administrators."""
    _change(node, compute, output, workspace, undo=True)


def _change(node: str, compute: str | None, output: Format | None, workspace: str | None, *, undo: bool) -> None:
    from runner.client import Client

    found = Client(workspace).drain(node, compute=compute, undo=undo)
    if output is Format.table:
        print_nodes([found])
    else:
        print_data(dict(found), output)
