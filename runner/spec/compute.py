"""Names of computes: Azure's ways to write them, and which the workspace knows."""

from __future__ import annotations

from runner.errors import UserError, did_you_mean
from runner.spec.context import ResolveContext, add_local, listed
from runner.spec.yaml_source import Node


def compute_name(text: str, context: ResolveContext) -> str:
    """The name of a compute without Azure's wrappings; nothing and `serverless` mean the workspace's default."""
    name = text.removeprefix("azureml:").rpartition("/computes/")[2]
    return context.default_compute if name in ("", "serverless") else name


def check_compute(name: str, node: Node, context: ResolveContext) -> None:
    if name not in context.computes:
        near = did_you_mean(name, context.computes)
        raise UserError(
            f"the compute '{name}' is not known",
            place=node.place,
            allowed=listed(context.computes, "computes"),
            todo=f"{near} " * bool(near) + f"{add_local(node.place)} to run on this machine whatever the job says",
        )
