"""`runner doctor`: what keeps this machine, or a node, from running jobs on a cluster."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated, Optional

import typer

from runner.cli.options import Format, Output, Workspace
from runner.cli.show import print_data, print_table

Cluster = Annotated[
    Optional[str],  # noqa: UP045
    typer.Argument(metavar="COMPUTE", help="The cluster; need not be named where the workspace has one.", show_default=False),
]


def doctor(compute: Cluster = None, output: Output = None, workspace: Workspace = None) -> int:
    """Check this machine and every node of a cluster. Exit status 1 if something is not as it should be."""
    from runner.client import Client
    from runner.workspace.doctor import examine

    client = Client(workspace)
    checks = list(examine(client.workspace, client.cluster(compute)))
    if output in (Format.json, Format.yaml):
        print_data([asdict(check) for check in checks], output)
    else:
        rows = [(check.node, check.name, "ok" if check.ok else "NOT OK", check.text) for check in checks]
        print_table(("where", "what", "", "found"), rows)
    return 0 if all(check.ok for check in checks) else 1
