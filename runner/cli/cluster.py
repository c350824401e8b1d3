"""`runner cluster …`: the machines of a cluster."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Optional

import typer

from runner.cli.group import make_group
from runner.errors import Place, UserError, printable

if TYPE_CHECKING:
    from runner.cluster.ray_command import Node

app = make_group("Start and end this machine's part in a cluster.")

# Optional rather than `| None`: typer reads these at run time, in Python 3.10 as well.
NodeToken = Annotated[Path, typer.Option("--node-token-file", metavar="FILE", help="The secret of the nodes; the head makes it.")]
NodeAddress = Annotated[str, typer.Option("--node-ip-address", metavar="IP", help="This machine's address; default: found by itself.")]
InstanceType = Annotated[str, typer.Option("--instance-type", metavar="NAME", help="An instance type of the cluster's workspace.yml.")]
Labels = Annotated[Optional[list[str]], typer.Option("--label", metavar="KEY=VALUE", help="A label of this machine. Repeatable.")]  # noqa: UP045
Cpus = Annotated[Optional[float], typer.Option("--cpus", metavar="N", help="CPUs for jobs; default: all.")]  # noqa: UP045
Gpus = Annotated[Optional[float], typer.Option("--gpus", metavar="N", help="GPUs for jobs; default: all that Ray finds.")]  # noqa: UP045
Memory = Annotated[str, typer.Option("--memory", metavar="SIZE", help="Memory for jobs, e.g. 32GB; default: 70 % of what is free.")]
ObjectStore = Annotated[
    str, typer.Option("--object-store-memory", metavar="SIZE", help="Of Ray's object store, through which no data of jobs goes.")
]
Ports = Annotated[str, typer.Option("--ports", metavar="FIRST-LAST", help="Ports that Ray may listen on here; default: any.")]
Folder = Annotated[Optional[Path], typer.Option("--temp-dir", metavar="FOLDER", help="For Ray's logs and sockets.")]  # noqa: UP045
NODE_TOKEN = Path("/etc/runner/node.token")
SUBMIT_TOKEN = Path("/etc/runner/submit.token")
STORE = "100MB"


@app.command()
def head(
    workspace: Annotated[Path, typer.Option("--workspace", metavar="FOLDER", help="The cluster's workspace, with its workspace.yml.")],
    port: Annotated[int, typer.Option("--port", help="Ray's port, for the nodes.")] = 6379,
    gateway_port: Annotated[int, typer.Option("--gateway-port", help="The gateway's port, for users.")] = 6380,
    submit_token_file: Annotated[
        Path, typer.Option("--submit-token-file", metavar="FILE", help="The secret of the users; made when missing.")
    ] = SUBMIT_TOKEN,
    certificate: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option("--tls-cert-file", metavar="FILE", help="The gateway's certificate (PEM); it then speaks HTTPS only."),
    ] = None,
    key: Annotated[Optional[Path], typer.Option("--tls-key-file", metavar="FILE", help="And its private key.")] = None,  # noqa: UP045
    autoscaling: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option("--autoscaling-config", metavar="FILE", help="Of Ray's cluster launcher, where that starts the nodes."),
    ] = None,
    dashboard: Annotated[
        bool, typer.Option("--dashboard/--no-dashboard", help="Ray's dashboard, for which ray[default] is needed.")
    ] = False,
    node_token_file: NodeToken = NODE_TOKEN,
    node_ip_address: NodeAddress = "",
    instance_type: InstanceType = "",
    label: Labels = None,
    cpus: Cpus = None,
    gpus: Gpus = None,
    memory: Memory = "",
    object_store_memory: ObjectStore = STORE,
    ports: Ports = "",
    temp_dir: Folder = None,
) -> int:
    """Be the head of a cluster: Ray's head node, the scheduler and the gateway. Stays until it is ended."""
    from runner.cluster.start import Head, run_head

    if (certificate is None) != (key is None):
        raise UserError("one of certificate and key is missing", place=Place(field="--tls-cert-file"), todo="give both --tls-… options")
    for file, field in ((certificate, "--tls-cert-file"), (key, "--tls-key-file"), (autoscaling, "--autoscaling-config")):
        if file is not None and not file.is_file():
            raise UserError(f"there is no file {file}", place=Place(field=field))
    node = _node(node_token_file, node_ip_address, instance_type, label, cpus, gpus, memory, object_store_memory, ports, temp_dir)
    settings = Head(
        workspace=workspace, submit_token_file=submit_token_file, port=port, gateway_port=gateway_port, dashboard=dashboard,
        certificate=certificate, key=key, autoscaling=autoscaling,
    )  # fmt: skip
    return run_head(node, settings, _say)


@app.command()
def join(
    address: Annotated[str, typer.Argument(metavar="ADDRESS", help="Of the head: HOST or HOST:PORT.")],
    rejoin: Annotated[bool, typer.Option("--rejoin", help="Join again whenever this node has ended, or the head was not there.")] = False,
    node_token_file: NodeToken = NODE_TOKEN,
    node_ip_address: NodeAddress = "",
    instance_type: InstanceType = "",
    label: Labels = None,
    cpus: Cpus = None,
    gpus: Gpus = None,
    memory: Memory = "",
    object_store_memory: ObjectStore = STORE,
    ports: Ports = "",
    temp_dir: Folder = None,
) -> int:
    """Be a node of a cluster. Stays until it is ended."""
    from runner.cluster.ray_command import parse_address
    from runner.cluster.start import run_join

    node = _node(node_token_file, node_ip_address, instance_type, label, cpus, gpus, memory, object_store_memory, ports, temp_dir)
    return run_join(node, parse_address(address), _say, rejoin=rejoin)


@app.command()
def status() -> int:
    """Show what `runner cluster` has started here; the exit status is 1 unless there is something and all of it is up."""
    from runner.cluster.here import started_here

    found = started_here()
    for record in found:
        print(f"{record.what} of {record.address}, process {record.pid}: {'up' if record.ready else 'not up'}")
    return 0 if found and all(record.ready for record in found) else 1


@app.command()
def stop() -> int:
    """End the heads and nodes that were started here with `runner cluster`, and no other Ray."""
    from runner.cluster.here import started_here, stop

    found = started_here()
    for record in found:
        gently = stop(record)
        print(f"{'ended' if gently else 'killed'} the {record.what} of {record.address}, process {record.pid}")
    if not found:
        print("nothing of a cluster was started here", file=sys.stderr)
    return 0


def _node(
    token_file: Path,
    address: str,
    instance_type: str,
    labels: list[str] | None,
    cpus: float | None,
    gpus: float | None,
    memory: str,
    object_store_memory: str,
    ports: str,
    folder: Path | None,
) -> Node:
    from runner.cluster.ray_command import Node, check_own_address, parse_labels, parse_ports

    check_own_address(address)
    from runner.workspace.units import parse_size

    for number, field in ((cpus, "--cpus"), (gpus, "--gpus")):
        if number is not None and (number < 0 or number != int(number)):
            raise UserError(f"{number:g} is no number of them", place=Place(field=field), allowed="whole numbers from 0 on")
    return Node(
        token_file=token_file,
        address=address,
        labels=parse_labels(labels or [], instance_type),
        cpus=cpus,
        gpus=gpus,
        memory=parse_size(memory, Place(field="--memory")) if memory else None,
        object_store_memory=parse_size(object_store_memory, Place(field="--object-store-memory")) if object_store_memory else None,
        ports=parse_ports(ports) if ports else None,
        folder=folder,
    )


def _say(text: str) -> None:
    print(printable(text), file=sys.stderr, flush=True)
