"""The steps of a pipeline. A step that is a pipeline itself is laid open: its steps stand among the others, as `<step>_<inner step>`."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from runner.errors import NotSupportedHere, UserError
from runner.model.job import JobOutput, Step
from runner.spec import schema
from runner.spec.component import KINDS, Component, kind_of, read_component, with_component
from runner.spec.expressions import Ports, Scope
from runner.spec.kinds import advice
from runner.spec.load import written_type
from runner.spec.ports import Frame, declared_ports
from runner.spec.script import missing
from runner.spec.settings import identity
from runner.spec.step import resolve_step
from runner.spec.step_order import dependencies, in_order
from runner.spec.values import Reader, check_keys, near_case
from runner.spec.yaml_source import Node

MAX_STEPS = 10_000  # of a pipeline, those of inner ones included
DEEPEST = 50  # pipelines in each other
_STEP_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,254}")
_TYPES = (*KINDS, "pipeline")
_ALLOWED = ", ".join(_TYPES)
_OF_OUTERMOST = ("settings", "compute", "experiment_name", "services")  # without effect on an inner pipeline


@dataclass(kw_only=True)
class Steps:
    """What has been resolved so far, of the outermost pipeline and all inner ones."""

    done: dict[str, Step] = field(default_factory=dict)
    nodes: dict[str, Node] = field(default_factory=dict)
    depends_on: dict[str, tuple[str, ...]] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Group:
    """A pipeline whose steps are to be resolved. `frame` is that of its steps, but for their names and neighbours."""

    frame: Frame
    prefix: str = ""  # before the names of its steps
    depth: int = 0
    needs: tuple[str, ...] = ()  # steps that all of its steps wait for
    files: tuple[Path, ...] = ()  # of the job and the components that it stands in, outermost first

    def step(self, name: str, ports: Mapping[str, Ports]) -> Frame:
        others = {other: known for other, known in ports.items() if other != name}
        full = self.prefix + name
        return replace(self.frame, name=f"{self.frame.name}.{full}", step=full, problems=self.frame.problems.for_step(), jobs=others)


def resolve_steps(tree: Node, group: Group, steps: Steps) -> tuple[str, ...]:
    """Resolves what stands below `jobs:` into `steps`, and returns the names that it has there."""
    problems = group.frame.problems
    ports: dict[str, Ports] = {}
    files: dict[str, tuple[Path, ...]] = {}
    nodes = _nodes(tree, ports, files, group)
    ports |= {name: Ports() for name in nodes}
    depends_on = dependencies(nodes)
    parts: dict[str, tuple[str, ...]] = {}  # the steps that each of these is made of
    with problems.catching():
        for name in in_order(depends_on, nodes):
            needs = tuple(dict.fromkeys([*group.needs, *(part for other in depends_on[name] for part in parts[other])]))
            here = replace(group, needs=needs, files=(*group.files, *files[name]))
            parts[name], ports[name] = _resolve(name, nodes[name], here, ports, steps)
    return tuple(part for made in parts.values() for part in made)


def _resolve(name: str, node: Node, group: Group, ports: Mapping[str, Ports], steps: Steps) -> tuple[tuple[str, ...], Ports]:
    if _is_pipeline(node):
        return _resolve_inner(name, node, group, ports, steps)
    frame, full = group.step(name, ports), group.prefix + name
    resolved = resolve_step(node, frame)
    with frame.problems.catching():
        _check_name(full, node, steps)
        _check_places(full, node, resolved.step, steps)
    steps.done[full], steps.nodes[full], steps.depends_on[full] = resolved.step, node, group.needs
    return (full,), resolved.ports


def _check_places(name: str, node: Node, step: Step, steps: Steps) -> None:
    """Errors: UserError for an output that is another step's, too."""
    places = {output.path: (other, port) for other, one in steps.done.items() for port, output in one.outputs.items()}
    for port, output in step.outputs.items():
        if output.path in places:
            other = ".".join(places[output.path])
            outputs = node.get("outputs")
            at = (outputs.get(port) if outputs else None) or node
            raise UserError(
                f"the output '{port}' of the step '{name}' has the path of '{other}': {output.path}",
                place=at.place,
                todo="give each a path of its own, or leave it out",
            )


def _resolve_inner(name: str, node: Node, group: Group, ports: Mapping[str, Ports], steps: Steps) -> tuple[tuple[str, ...], Ports]:
    """Its ports are those of a step; its steps have them for a parent. What needs it needs all of its steps."""
    frame, problems = group.step(name, ports), group.frame.problems
    keys = (*schema.PIPELINE, "comment", "version", *schema.WRITTEN_BY_AZURE)
    check_keys(node, keys, "of a pipeline in a pipeline", problems)
    for key in _OF_OUTERMOST:
        if node.get(key):
            problems.notice(f"{node.entries[key].place.field} has no effect: that of the outermost pipeline counts")
    read = read_pipeline(node, frame)
    if read is None or _is_too_deep(node, group):
        return (), Ports(unknown=True)
    outer = Reader(node, Scope(parent=frame.parent, jobs=frame.jobs), problems)
    context = replace(frame.context, identity=identity(outer) or frame.context.identity)
    bound: dict[str, JobOutput] = {}
    inner = replace(group.frame, context=context, parent=read.ports, untyped=read.untyped, bound=bound, jobs={})
    made = resolve_steps(
        read.tree,
        replace(group, frame=inner, prefix=f"{group.prefix}{name}_", depth=group.depth + 1),
        steps,
    )
    for unwritten in read.ports.outputs.keys() - bound.keys() if not problems.errors else ():
        problems.notice(f"no step of '{name}' writes its output '{unwritten}'")
    outputs = _typed(read.ports.outputs, bound, frame.bound)
    return made, replace(read.ports, outputs=outputs, unknown=read.tree.get("jobs") is None)


def _typed(outputs: Mapping[str, JobOutput], bound: Mapping[str, JobOutput], above: dict[str, JobOutput]) -> dict[str, JobOutput]:
    """The outputs of an inner pipeline with the types that its steps gave them, also where they are those of the pipeline `above`."""
    typed = {name: replace(output, type=bound[name].type) if name in bound else output for name, output in outputs.items()}
    types = {output.path: output.type for output in typed.values()}
    above.update({name: replace(output, type=types.get(output.path, output.type)) for name, output in above.items()})
    return typed


@dataclass(frozen=True, kw_only=True)
class PipelineTree:
    """A pipeline's ports, and the tree with its steps: its own, or that of its component."""

    tree: Node
    ports: Ports
    untyped: frozenset[str]  # outputs whose type nobody wrote


def read_pipeline(tree: Node, frame: Frame) -> PipelineTree | None:
    """Of a job, or of a step that is a pipeline. None where its component cannot be had, which has been put down then."""
    problems, jobs = frame.problems, tree.get("jobs")
    component: Component | None = None
    failed = True
    with problems.catching():
        component = read_component(tree, problems, frame.context.components)
        if component is not None:
            kind_of(tree, component)
            if jobs is not None:
                raise UserError("component and jobs exclude each other", place=jobs.place, todo="keep one of them")
        failed = False
    if failed:
        return None
    outputs = tree.get("outputs")
    untyped = frozenset(name for name, node in (outputs.entries if outputs else {}).items() if node.get("type") is None)
    return PipelineTree(
        tree=component.settings if component else tree,
        ports=declared_ports(tree, tree, component, frame),
        untyped=untyped - frozenset(component.outputs if component else ()),
    )


def _nodes(tree: Node, ports: dict[str, Ports], files: dict[str, tuple[Path, ...]], group: Group) -> dict[str, Node]:
    """The steps that can run here, with their components as read from `files`; the others are put down with name, type and line."""
    problems = group.frame.problems
    jobs = Reader(tree, Scope(), problems).mapping("jobs")
    if tree.get("jobs") is None or (jobs and not jobs.entries):
        with problems.catching():
            raise missing(tree, "jobs", "a pipeline needs at least one step below jobs:")
    found = {}
    for name, node in (jobs.entries if jobs else {}).items():
        ports[name] = Ports(unknown=True)
        with problems.catching():
            _check_step(name, node)
            found[name], files[name] = with_component(node, group.files, group.frame.context.components)
            if (component := found[name].get("component")) is not None:
                problems.name_file(component.place.file, node.place)
    return found


def _is_pipeline(node: Node) -> bool:
    component = node.get("component")
    return "pipeline" in (written_type(node), "" if node.get("type") or component is None else written_type(component))


def _is_too_deep(node: Node, group: Group) -> bool:
    if group.depth < DEEPEST:
        return False
    group.frame.problems.add(f"more than {DEEPEST} pipelines stand in each other", node.place, todo="put some of their steps into one")
    return True


def _check_name(name: str, node: Node, steps: Steps) -> None:
    if not _STEP_NAME.fullmatch(name):
        raise UserError("the names of the pipelines that the step stands in are too long", place=node.place, todo="choose shorter ones")
    if name in steps.done:
        raise UserError(
            f"two steps have the name '{name}': those of a pipeline in a pipeline are named <step>_<inner step>",
            place=node.place,
            todo="give one of them another name",
        )
    if len(steps.done) >= MAX_STEPS:
        raise UserError(f"the pipeline has more than {MAX_STEPS:,} steps", place=node.place, todo="divide it")


def _check_step(name: str, node: Node) -> None:
    if not _STEP_NAME.fullmatch(name):
        raise UserError(
            f"'{name}' is not a name of a step", place=node.place, allowed="letters, digits and _, beginning with a letter or _"
        )
    if not node.is_mapping:
        raise UserError(
            f"a step must be a mapping, not {node.kind}", place=node.place, todo="write type: command and its keys below it, indented"
        )
    written, kind = node.get("type"), written_type(node)
    if not kind and node.get("component") is None:
        raise missing(node, "type", advice(node))
    if kind in schema.OTHER_JOBS:
        raise NotSupportedHere(
            f"the step '{name}' is of type {kind}, which this build cannot run",
            place=written.place if written else None,
            allowed=_ALLOWED,
        )
    if kind not in ("", *_TYPES) and written:
        raise UserError(
            f"the step '{name}' has the unknown type '{written.text}'",
            place=written.place,
            allowed=_ALLOWED,
            todo=near_case(kind, _TYPES),
        )
