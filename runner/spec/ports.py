"""The inputs and outputs of one step: what is written on it, what its component declares, what its pipeline hands down."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from runner.errors import UserError
from runner.model.job import JobInput, JobOutput, Step
from runner.spec.component import Component
from runner.spec.context import ResolveContext
from runner.spec.disk import is_file, lies_in
from runner.spec.expressions import Ports, Scope, only_expression
from runner.spec.inputs import InputReader, read_inputs
from runner.spec.outputs import OutputReader, read_outputs
from runner.spec.problems import Problems
from runner.spec.schema import EVALUATED_MODES
from runner.spec.script import missing
from runner.spec.values import Reader
from runner.spec.yaml_source import Node
from runner.storage.addresses import is_address, relative


@dataclass(frozen=True, kw_only=True)
class Frame:
    """What surrounds a step: the workspace, and its pipeline where it has one."""

    name: str  # of the job: `<pipeline>.<step>` for a step
    context: ResolveContext
    problems: Problems
    step: str | None = None
    experiment: str = ""
    default_compute: str = ""  # of the pipeline
    default_datastore: str = ""
    parent: Ports | None = None
    jobs: Mapping[str, Ports] = field(default_factory=dict)
    untyped: frozenset[str] = frozenset()  # outputs of the parent whose type nobody wrote
    bound: dict[str, JobOutput] = field(default_factory=dict)  # outputs of the parent that steps have bound


@dataclass(frozen=True, kw_only=True)
class Resolved:
    """A step, and its ports as others may refer to them."""

    step: Step
    ports: Ports


def words(frame: Frame) -> dict[str, str]:
    return {"name": frame.name, "default_datastore": frame.default_datastore}


def read_ports(tree: Node, merged: Node, component: Component | None, frame: Frame) -> Ports:
    """Those of a step, whose outputs must lie apart from what it and its pipeline read."""
    ports, split = declared_ports(tree, merged, component, frame), named_port(merged.get("input_data"), "inputs")
    reader = Reader(tree, Scope(), frame.problems)
    above = {f"parent.inputs.{name}": one for name, one in (frame.parent.inputs if frame.parent else {}).items() if one.is_data}
    for name, output in ports.outputs.items():
        at = reader.below("outputs").written(name) or tree
        with frame.problems.catching():
            exists = output.type == "uri_file" and _is_file(output.path, frame.context)
            _check_apart(name, output, {**ports.inputs, **above}, split, at, frame.problems, exists=exists)
    side = {name: one for name, one in ports.inputs.items() if one.path and one.is_data and name != split}
    _check_modes(side, reader.below("inputs"), tree, frame.problems)
    return ports


def declared_ports(tree: Node, merged: Node, component: Component | None, frame: Frame) -> Ports:
    """What is written on a step or pipeline, and what its component declares."""
    outer = Scope(parent=frame.parent, jobs=frame.jobs, words=words(frame))
    reader = Reader(tree, outer, frame.problems)
    split = named_port(merged.get("input_data"), "inputs")
    inputs = InputReader(scope=outer, context=frame.context, problems=frame.problems, split=split)
    found, broken = read_inputs(reader.mapping("inputs"), inputs, component.inputs if component else None)
    for name, declared in (component.inputs if component else {}).items():
        if name in found or name in broken:
            continue
        with frame.problems.catching():
            broken |= {name}
            if declared.default is None and not declared.optional:
                todo = f"the component has an input '{name}' of type {declared.type} without a default"
                written = reader.mapping("inputs")
                raise missing(written or tree, name, todo, below="" if written else "inputs")
            found[name] = inputs.default(declared)
            broken -= {name}
    outputs = OutputReader(
        scope=outer,
        context=frame.context,
        problems=frame.problems,
        job=frame.name,
        default_datastore=frame.default_datastore,
        untyped=frame.untyped,
        bound=frame.bound,
    )
    made, broken_outputs = read_outputs(reader.mapping("outputs"), outputs, component.outputs if component else None)
    for name, declared_output in (component.outputs if component else {}).items():
        if name not in made and name not in broken_outputs:
            made[name] = outputs.default(name, declared_output, tree)
    return Ports(inputs=found, outputs=made, broken=broken | broken_outputs)


def _is_file(path: str, context: ResolveContext) -> bool:
    return context.blobs.there(path) == "file" if is_address(path) else is_file(path)


def _lies_in(path: str, folder: str) -> bool:
    if is_address(path) or is_address(folder):
        return bool(relative(path, folder))
    return lies_in(path, folder)


def _check_modes(inputs: Mapping[str, JobInput], reader: Reader, tree: Node, problems: Problems) -> None:
    """The same data is given to a step in one way: what its arguments say of it is a path."""
    seen: dict[str, tuple[str, JobInput]] = {}
    for name, given in inputs.items():
        other, before = seen.setdefault(given.path or "", (name, given))
        if _way(before) != _way(given):
            problems.add(
                f"the inputs '{other}' and '{name}' are the same data, in the modes {before.mode} and {given.mode}",
                (reader.written(name) or tree).place,
                allowed="one mode for both",
                todo=f"write mode: {before.mode}, or give the step only one of them",
            )


def _way(given: JobInput) -> str:
    """Of giving it to a script: another place, none, or where it is fetched to."""
    if given.mode in EVALUATED_MODES or (given.mode == "direct" and is_address(given.path or "")):
        return given.mode.partition("_")[0]
    return ""


def _check_apart(
    name: str, output: JobOutput, inputs: Mapping[str, JobInput], split: str | None, at: Node, problems: Problems, *, exists: bool
) -> None:
    """No output in the place of an input or of a file in one; inside the folder that is split it would be an item of the next run.

    `exists`: there is a file in the output's place.
    """
    for other, there in inputs.items():
        if there.path == output.path:
            raise UserError(f"the output '{name}' has the path of the input '{other}'", place=at.place, todo="give it a path of its own")
        if not there.path or not _lies_in(output.path, there.path):
            continue
        if exists:
            raise UserError(
                f"the output '{name}' would overwrite {output.path}, a file of the input '{other}'",
                place=at.place,
                todo="give it a path outside the input",
            )
        if other == split:
            problems.notice(f"the output '{name}' lies inside the input '{other}': a later run will take it for an item")
    if exists:
        problems.notice(f"{output.path} exists and will be replaced when the job completes")


def named_port(node: Node | None, side: str) -> str | None:
    """`x` of a value that is `${{inputs.x}}` and nothing else."""
    inner = only_expression(node.value) if node is not None and isinstance(node.value, str) else None
    head, _, name = (inner or "").partition(".")
    return name if head == side and name else None
