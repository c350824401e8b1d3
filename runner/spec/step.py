"""One step, of whatever kind: its component, ports and settings put together and checked."""

from __future__ import annotations

from dataclasses import replace

from runner.model.job import Step
from runner.spec import schema, settings
from runner.spec.command_step import CommandStepReader
from runner.spec.component import KINDS, Component, kind_of, merge, read_component
from runner.spec.expressions import Ports, Scope
from runner.spec.load import written_type
from runner.spec.parallel_step import ParallelStepReader
from runner.spec.ports import Frame, Resolved, read_ports, words
from runner.spec.step_reader import StepReader
from runner.spec.values import Reader, check_keys
from runner.spec.yaml_source import Node

_READERS: dict[str, type[StepReader]] = {"command": CommandStepReader, "parallel": ParallelStepReader}
_KEYS = {"command": schema.COMMAND, "parallel": schema.PARALLEL}
_HINTS = {"command": schema.COMMAND_HINTS, "parallel": schema.HINTS}


def resolve_step(tree: Node, frame: Frame) -> Resolved:
    """Mistakes go into `frame.problems`; the result is of use only when there are none."""
    problems = frame.problems
    component: Component | None = None
    kind = written_type(tree)
    failed = True
    with problems.catching():
        component = read_component(tree, problems, frame.context.components)
        kind = kind_of(tree, component)
        failed = False
    if kind in KINDS:
        check_keys(tree, (*_KEYS[kind], *schema.WRITTEN_BY_AZURE), f"of a {kind} job", problems, _HINTS[kind])
    if failed:  # nothing more can be said without the component
        return Resolved(step=Step(name=frame.name), ports=Ports(unknown=True))
    merged = merge(component, tree, problems)
    outer = Reader(tree, Scope(parent=frame.parent, jobs=frame.jobs, words=words(frame)), problems)
    frame = replace(frame, context=replace(frame.context, identity=settings.identity(outer) or frame.context.identity))
    ports = read_ports(tree, merged, component, frame)
    scope = Scope(own=ports, parent=frame.parent, jobs=frame.jobs, words=words(frame))
    step = _READERS[kind](merged, scope, frame).step(ports)
    return Resolved(step=replace(step, notices=tuple(problems.notices)), ports=ports)
