"""The keys of a job, component or deployment file, each with its row of the table: `runner job validate --compat`."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from runner.compatibility.table import Row, row_of
from runner.errors import Place
from runner.spec.component import file_of, has_file, read_file
from runner.spec.expressions import has_expression
from runner.spec.load import written_type
from runner.spec.yaml_source import Node

_UNKNOWN = Row(
    what="", status="unknown", here="Not a key of Azure's, or not at this place: `runner job validate` says what may stand here."
)
# Keys with rows of their own stand below these; what stands below others belongs to the row of the key above.
_GROUPS = {
    "settings": "settings",
    "retry_settings": "retry_settings",
    "resources": "resources",
    "limits": "limits",
    "queue_settings": "queue_settings",
    "task": "task",
    "environment": "environment",
    "build": "build",
    "model": "model",
    "code_configuration": "code_configuration",
}
_PORTS = ("inputs", "outputs")
_EXPRESSION = "${{inputs.x}}"  # whose row is that of all expressions
_ENVIRONMENT, _JOB = {"image", "build", "conda_file"}, {"type", "command", "task", "jobs", "component"}


@dataclass(frozen=True, kw_only=True)
class Finding:
    """`key`: as it stands in the file, e.g. `jobs.score.task.code`."""

    key: str
    place: Place
    status: str  # of the table's, or `unknown`
    here: str


def findings(root: Node) -> Iterator[Finding]:
    """For every key of the file, in its order; names that the user gives (of steps, inputs, outputs) have no rows of their own.

    A component's file comes where a step names it, once. Errors: UserError where it is missing or no YAML.
    """
    if root.get("code_configuration") or root.get("endpoint_name"):
        yield from _deployment(root, "")
    elif _ENVIRONMENT & root.entries.keys() and not _JOB & root.entries.keys():
        yield from _below("environment", root, "", command=False)
    else:
        yield from _job(root, "", set())


def _deployment(root: Node, path: str) -> Iterator[Finding]:
    for key, child in root.entries.items():
        yield _finding(path + key, child, f"deployment.{key}", False)
        if key == "settings" and not path:
            yield from _deployment(child, "settings.")
        else:
            yield from _below(key, child, path + key, False)


def _job(node: Node, path: str, seen: set[Path]) -> Iterator[Finding]:
    """`seen`: files of components."""
    command = written_type(node) == "command"
    for key, child in node.entries.items():
        here = path + key
        yield _finding(here, child, key, command)
        if key == "jobs":
            for name, step in child.entries.items():
                yield from _job(step, f"{here}.{name}.", seen)
        elif key == "component":
            yield from _component(child, f"{here}.", seen)
        elif key in _PORTS:
            yield from _ports(child, here, key, command)
        else:
            yield from _below(key, child, here, command)


def _component(node: Node, path: str, seen: set[Path]) -> Iterator[Finding]:
    if node.is_mapping:
        yield from _job(node, path, seen)
    elif has_file(node) and (file := file_of(node, {}).resolve()) not in seen:
        seen.add(file)
        yield from _job(read_file(node, {}), path, seen)


def _ports(node: Node, path: str, side: str, command: bool) -> Iterator[Finding]:
    for name, port in node.entries.items():
        if not port.is_mapping and not port.is_unset:
            short = _EXPRESSION if has_expression(port.text) else f"{side}.*.value"
            yield _finding(f"{path}.{name}", port, short, command)
        for key, child in port.entries.items():
            yield _finding(f"{path}.{name}.{key}", child, f"{side}.*.{key}", command)


def _below(key: str, node: Node, path: str, command: bool) -> Iterator[Finding]:
    """`environment` is one in whatever it stands, `build` as well."""
    group = _GROUPS.get(key)
    for name, child in node.entries.items() if group else ():
        here = f"{path}.{name}" if path else name
        yield _finding(here, child, f"{group}.{name}", command)
        yield from _below(name, child, here, command)


def _finding(key: str, node: Node, name: str, command: bool) -> Finding:
    row = row_of(name, command=command) or _UNKNOWN
    return Finding(key=key, place=node.place, status=row.status, here=row.here)
