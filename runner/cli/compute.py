"""`runner compute …`"""

from __future__ import annotations

from runner.cli.group import make_group
from runner.cli.options import ComputeName, Format, NameOption, Output, Workspace, one_name
from runner.cli.show import print_compute, print_data, print_table

app = make_group("Where jobs run.")


@app.command("list")
def list_computes(output: Output = None, workspace: Workspace = None) -> None:
    """List the computes of the workspace."""
    from runner.client import Client

    computes = Client(workspace).computes()
    if output in (Format.json, Format.yaml):
        print_data(computes, output)
    else:
        print_table(tuple(computes[0]), [tuple(compute.values()) for compute in computes])


@app.command("show")
def show_compute(name: ComputeName = None, name_option: NameOption = None, output: Output = None, workspace: Workspace = None) -> None:
    """Show one compute; of a cluster its nodes, who holds what of them, and the jobs that wait or run."""
    from runner.client import Client

    compute = Client(workspace).compute(one_name(name, name_option, noun="compute"))
    if output is Format.table:
        print_compute(compute)
    else:
        print_data(compute, output)
