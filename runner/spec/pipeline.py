"""Pipelines: their ports, the order of the steps, and what every step gets from above."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from runner.errors import NotSupportedHere, UserError
from runner.model.job import JobOutput, PipelineJob, Step
from runner.spec import schema
from runner.spec.component import KINDS
from runner.spec.compute import check_compute, compute_name
from runner.spec.context import ResolveContext, check_datastore
from runner.spec.expressions import Ports, Scope, steps_named
from runner.spec.inputs import InputReader, read_inputs
from runner.spec.load import written_type
from runner.spec.outputs import OutputReader, read_outputs
from runner.spec.ports import Frame
from runner.spec.problems import Problems
from runner.spec.script import missing
from runner.spec.settings import identity
from runner.spec.step import resolve_step
from runner.spec.step_reader import NEVER_REUSED
from runner.spec.values import Reader, check_keys, near_case
from runner.spec.yaml_source import Node

_STEP_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,254}")


@dataclass(frozen=True, kw_only=True)
class _Defaults:
    """`settings` of a pipeline."""

    compute: str
    datastore: str
    continue_on_step_failure: bool
    force_rerun: bool


@dataclass(kw_only=True)
class _Steps:
    """What has been resolved of the steps so far."""

    done: dict[str, Step] = field(default_factory=dict)
    ports: dict[str, Ports] = field(default_factory=dict)
    bound: dict[str, JobOutput] = field(default_factory=dict)


def resolve_pipeline(root: Node, context: ResolveContext, problems: Problems) -> PipelineJob:
    check_keys(
        root, (*schema.PIPELINE, *schema.WRITTEN_BY_AZURE), "of a pipeline", problems, {"compute_target": "write settings.default_compute"}
    )
    if root.get("component"):
        problems.unsupported(
            "pipelines made of a pipeline component cannot run here", root.entries["component"].place, todo="write its steps below jobs:"
        )
    defaults = _defaults(root, context, problems)
    scope = Scope(words={"name": context.name, "default_datastore": defaults.datastore})
    reader = Reader(root, scope, problems)
    context = replace(context, identity=identity(reader))  # that of its steps, too, where they have none
    inputs, broken = read_inputs(reader.mapping("inputs"), InputReader(scope=scope, context=context, problems=problems), None)
    outputs_node = reader.mapping("outputs")
    outputs, broken_outputs = read_outputs(
        outputs_node,
        OutputReader(scope=scope, context=context, problems=problems, job=context.name, default_datastore=defaults.datastore, bound={}),
        None,
    )
    untyped = frozenset(name for name, node in (outputs_node.entries if outputs_node else {}).items() if node.get("type") is None)
    parent = Ports(inputs=inputs, outputs=outputs, broken=broken | broken_outputs)
    experiment = reader.text("experiment_name") or context.experiment
    steps = _Steps()
    nodes = _nodes(root, steps, problems)
    depends_on = _dependencies(nodes)
    with problems.catching():
        for name in _in_order(depends_on, nodes):
            _resolve_one(
                name,
                nodes,
                steps,
                Frame(
                    name=f"{context.name}.{name}",
                    step=name,
                    context=context,
                    problems=problems.for_step(),
                    experiment=experiment,
                    default_compute=defaults.compute,
                    default_datastore=defaults.datastore,
                    parent=parent,
                    untyped=untyped,
                    bound=steps.bound,
                ),
            )
    _check_one_compute(nodes, steps, context, problems)
    _notices(reader, outputs, steps)
    return PipelineJob(
        name=context.name,
        display_name=reader.text("display_name"),
        experiment_name=experiment,
        description=reader.text("description"),
        tags=reader.text_mapping("tags"),
        properties=reader.text_mapping("properties"),
        inputs=inputs,
        outputs={
            name: replace(steps.bound.get(name, output), name=output.name, version=output.version, mode=output.mode)
            for name, output in outputs.items()
        },
        steps=steps.done,
        depends_on=depends_on,
        continue_on_step_failure=defaults.continue_on_step_failure,
        force_rerun=defaults.force_rerun,
        notices=tuple(problems.notices),
    )


def _resolve_one(name: str, nodes: Mapping[str, Node], steps: _Steps, frame: Frame) -> None:
    others = {other: steps.ports.get(other, Ports()) for other in [*nodes, *steps.ports] if other != name}
    resolved = resolve_step(nodes[name], replace(frame, jobs=others))
    steps.done[name], steps.ports[name] = resolved.step, resolved.ports


def _check_one_compute(nodes: Mapping[str, Node], steps: _Steps, context: ResolveContext, problems: Problems) -> None:
    """A pipeline is handed to a cluster as a whole: its steps must agree."""
    used = {name: step.compute for name, step in steps.done.items()}
    cluster = next((name for name, compute in used.items() if compute in context.clusters), None)
    other = next((name for name, compute in used.items() if cluster is not None and compute != used[cluster]), None)
    if cluster is not None and other is not None:
        there, elsewhere = f"the step '{cluster}' runs on the cluster '{used[cluster]}'", f"the step '{other}' on '{used[other]}'"
        problems.unsupported(
            f"{there}, {elsewhere}: a pipeline cannot be divided",
            nodes[other].entries.get("compute", nodes[other]).place,
            todo="give all steps the same compute, e.g. by settings.default_compute",
        )


def _defaults(root: Node, context: ResolveContext, problems: Problems) -> _Defaults:
    reader = Reader(root, Scope(), problems).below("settings")
    check_keys(reader.node, schema.PIPELINE_SETTINGS, "of settings", problems)
    for key in ("on_init", "on_finalize"):
        if node := reader.written(key):
            problems.unsupported(f"{key} is not run by this build", node.place, todo="leave it out")
    compute = ""
    for holder in (Reader(root, Scope(), problems), reader):  # settings.default_compute wins over compute
        key = "compute" if holder is not reader else "default_compute"
        if node := holder.written(key):
            compute = compute_name(holder.text(key), context)
            if not context.local:
                with problems.catching():
                    check_compute(compute, node, context)
    return _Defaults(
        compute=compute,
        datastore=_datastore(reader, context),
        continue_on_step_failure=reader.boolean("continue_on_step_failure", True),
        force_rerun=reader.boolean("force_rerun", False),
    )


def _datastore(reader: Reader, context: ResolveContext) -> str:
    node = reader.written("default_datastore")
    if node is None:
        return context.default_datastore
    name = reader.text("default_datastore").removeprefix("azureml:").rpartition("/datastores/")[2].removeprefix("azureml://datastores/")
    with reader.problems.catching():
        check_datastore(name, context, node.place)
        return name
    return context.default_datastore


def _nodes(root: Node, steps: _Steps, problems: Problems) -> dict[str, Node]:
    """The steps that can run here; the others are put down with name, type and line."""
    jobs = Reader(root, Scope(), problems).mapping("jobs")
    if root.get("jobs") is None or (jobs and not jobs.entries):
        with problems.catching():
            raise missing(root, "jobs", "a pipeline needs at least one step below jobs:")
    found = {}
    for name, node in (jobs.entries if jobs else {}).items():
        with problems.catching():
            steps.ports[name] = Ports(unknown=True)
            _check_step(name, node)
            found[name] = node
            del steps.ports[name]
    return found


def _check_step(name: str, node: Node) -> None:
    if not _STEP_NAME.fullmatch(name):
        raise UserError(
            f"'{name}' is not a name of a step", place=node.place, allowed="letters, digits and _, beginning with a letter or _"
        )
    if not node.is_mapping:
        raise UserError(
            f"a step must be a mapping, not {node.kind}", place=node.place, todo="write type: command and its keys below it, indented"
        )
    written, kind, allowed = node.get("type"), written_type(node), ", ".join(KINDS)
    if not kind and node.get("component") is None:
        raise missing(node, "type", "write type: command or type: parallel")
    if kind in (*schema.OTHER_JOBS, "pipeline"):
        raise NotSupportedHere(
            f"the step '{name}' is of type {kind}, which this build cannot run",
            place=written.place if written else None,
            allowed=allowed,
        )
    if kind not in ("", *KINDS) and written:
        raise UserError(
            f"the step '{name}' has the unknown type '{written.text}'", place=written.place, allowed=allowed, todo=near_case(kind, KINDS)
        )


def _dependencies(nodes: Mapping[str, Node]) -> dict[str, tuple[str, ...]]:
    """Which steps each one refers to by `${{parent.jobs.<step>.…}}`; unknown names are told of where they stand."""
    return {
        name: tuple(
            dict.fromkeys(step for one in node.walk() if isinstance(one.value, str) for step in steps_named(one.value) if step in nodes)
        )
        for name, node in nodes.items()
    }


def _in_order(depends_on: Mapping[str, tuple[str, ...]], nodes: Mapping[str, Node]) -> list[str]:
    """Every step after those it depends on, otherwise in the order of the file. A circle is an error that names it."""
    order: list[str] = []
    while len(order) < len(depends_on):
        ready = next((name for name, needs in depends_on.items() if name not in order and set(needs) <= set(order)), None)
        if ready is None:
            circle = _circle({name: [n for n in needs if n not in order] for name, needs in depends_on.items() if name not in order})
            raise UserError(
                f"the steps wait for each other: {' → '.join([*circle, circle[0]])}",
                place=nodes[circle[0]].place,
                todo="a step can use the outputs of earlier steps only",
            )
        order.append(ready)
    return order


def _circle(waiting: Mapping[str, list[str]]) -> list[str]:
    path = [next(iter(waiting))]
    while True:
        following = waiting[path[-1]][0]
        if following in path:
            return path[path.index(following) :]
        path.append(following)


def _notices(reader: Reader, outputs: Mapping[str, JobOutput], steps: _Steps) -> None:
    for name in outputs:
        if name not in steps.bound and not reader.problems.errors:
            reader.problems.notice(f"no step writes the pipeline's output '{name}'")
    settings = reader.below("settings")
    if settings.written("force_rerun") and not settings.boolean("force_rerun", False):
        reader.problems.notice(f"settings.force_rerun: false has no effect yet: {NEVER_REUSED}")
    for key in (*schema.WRITTEN_BY_AZURE, "services"):
        if reader.written(key):
            reader.problems.notice(f"{key} is kept without effect")
