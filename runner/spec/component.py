"""Components, from a file or inline, and what a step makes of them: a value set on the step wins, 0 and false included."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from runner.errors import NotSupportedHere, UserError, did_you_mean
from runner.spec import schema
from runner.spec.context import find_version, known_versions, listed, names, parse_at
from runner.spec.expressions import Scope, names_parent
from runner.spec.kinds import advice
from runner.spec.literals import Declaration, OutputDeclaration, read_declaration, read_output_mode, read_type
from runner.spec.load import written_type
from runner.spec.problems import Problems
from runner.spec.values import Reader, check_keys, near_case
from runner.spec.yaml_source import Node, read_yaml, shown
from runner.storage.uri import Uri, local_path

KINDS = ("command", "parallel")  # of steps that run, and of their components
_KEYS = {"command": schema.COMMAND_COMPONENT, "parallel": schema.COMPONENT, "pipeline": schema.PIPELINE_COMPONENT}
_IN_STEP = dict.fromkeys(("compute", "limits", "identity", "services", "queue_settings", "experiment_name"), "it stands in the step")
_HINTS = {
    "command": {**schema.COMMAND_HINTS, **_IN_STEP},
    "parallel": {**schema.HINTS, **_IN_STEP, "limits": schema.HINTS["limits"]},
    "pipeline": {**_IN_STEP, "settings": "the settings of the pipeline that it is part of count"},
}
# Key by key; others are replaced whole.
_MERGED = ("resources", "retry_settings", "task", "environment_variables", "tags", "properties")
_BARE = re.compile(r"(?!(?:azureml|file):)[A-Za-z0-9][A-Za-z0-9_.-]*[:@][A-Za-z0-9_.-]+")
Registered = Mapping[str, Path]  # components of the workspace, by `name:version`: the files that hold them
_NOT_SETTINGS = ("$schema", "type", "name", "version", "inputs", "outputs", "component")


@dataclass(frozen=True, kw_only=True)
class Component:
    """A component as far as a step needs it. `settings` are its keys but for name, type and ports."""

    kind: str  # of KINDS, or pipeline
    settings: Node
    inputs: Mapping[str, Declaration] = field(default_factory=dict)
    outputs: Mapping[str, OutputDeclaration] = field(default_factory=dict)


def read_component(step: Node, problems: Problems, known: Registered) -> Component | None:
    """The component that a step names, or None. Raises a UserError when it cannot be had."""
    node = step.get("component")
    if node is None:
        return None
    tree = node if node.is_mapping else read_file(node, known)
    problems.name_file(tree.place.file, node.place)
    kind = _kind(tree)
    check_keys(tree, _KEYS[kind], f"of a {kind} component", problems, _HINTS[kind])
    for one in tree.walk() if kind != "pipeline" else ():
        if isinstance(one.value, str) and names_parent(one.value):
            problems.add(f"a component knows no parent: {shown(one.value)}", one.place, todo="declare an input and bind it in the step")
    reader = Reader(tree, Scope(), problems)
    inputs, outputs = reader.mapping("inputs"), reader.mapping("outputs")
    name = tree.get("name")
    if name is not None and name.place.file and not _is_component_name(name.text):  # Azure's package checks those of files only
        problems.add(
            f"'{name.text}' is not a name of a component", name.place, allowed="small letters, digits and _, beginning with a letter"
        )
    declared = {}
    for key, child in (inputs.entries if inputs else {}).items():
        with problems.catching():
            declared[key] = read_declaration(child, problems)
    kept = {key: child for key, child in tree.entries.items() if key not in _NOT_SETTINGS}
    return Component(kind=kind, settings=replace(tree, value=kept), inputs=declared, outputs=_outputs(outputs, problems))


def _is_component_name(name: str) -> bool:
    return name[:1].isalpha() and name.replace("_", "a").isalnum() and name.isascii() and name == name.lower()


def _outputs(outputs: Node | None, problems: Problems) -> dict[str, OutputDeclaration]:
    found = {}
    for key, child in (outputs.entries if outputs else {}).items():
        if child.is_mapping:
            check_keys(child, ("type", "mode", "description"), "of an output of a component", problems)
        elif not child.is_unset:
            problems.add(f"an output of a component is declared by a mapping, not {child.kind}", child.place, todo="write type: uri_folder")
        kind = read_type(child, Scope(), problems, "uri_folder", literals=False)
        found[key] = OutputDeclaration(type=kind, mode=read_output_mode(child, kind, Scope(), problems, "rw_mount"))
    return found


def with_component(step: Node, open_files: tuple[Path, ...], known: Registered) -> tuple[Node, tuple[Path, ...]]:
    """The step with its component in the place of a file's name, and that file. `open_files`: those that the step itself stands in."""
    node = step.get("component")
    if node is None or node.is_mapping:
        return step, ()
    file = file_of(node, known).resolve()
    if file in open_files:
        circle = [*open_files[open_files.index(file) :], file]
        raise UserError(
            f"the component contains itself: {' → '.join(one.name for one in circle)}", place=node.place, todo="name another component"
        )
    tree = read_file(node, known)
    return replace(step, value={**step.entries, "component": tree}), (file,)


def kind_of(step: Node, component: Component | None) -> str:
    """The type of a step: what is written, or what its component is. Errors: UserError when they differ."""
    written = step.get("type")
    if component is None:
        return written_type(step)
    if written is not None and written.text.lower() != component.kind:
        raise UserError(
            f"is of type {written.text.lower()}, but its component of type {component.kind}",
            place=written.place,
            allowed=component.kind,
            todo=f"write type: {component.kind}, or leave it out",
        )
    return component.kind


def has_file(node: Node) -> bool:
    """Whether a component is named by a path of this machine. Errors: UserError for a text that names nothing."""
    return bool(node.text) and _named(node).is_local


def read_file(node: Node, known: Registered) -> Node:
    """Errors: UserError, where the file is named if there is none, where it is wrong otherwise."""
    file = file_of(node, known)
    if not file.is_file():
        problem = f"this is a folder, not a file: {file}" if file.is_dir() else f"no such file: {file}"
        raise UserError(problem, place=node.place, todo=f"paths in a file begin at its folder, {node.base}")
    return read_yaml(file, todo=f"it is named in {node.place}")


def file_of(node: Node, known: Registered) -> Path:
    """The file that a step names, or the one that holds the registered component of that name."""
    text = node.text
    if node.is_list or not text:
        raise UserError(f"must name a file or be a mapping, not {node.kind}", place=node.place)
    uri = _named(node)
    if uri.is_local:
        return Path(local_path(uri, node.base))
    if uri.kind != "asset":
        raise NotSupportedHere(
            f"the component '{text}' lies neither on this machine nor in this workspace",
            place=node.place,
            allowed="./component.yml, azureml:NAME:VERSION of this workspace, or the component itself as a mapping",
        )
    key = find_version(uri, known)
    if key is None:
        raise UserError(
            f"the workspace has no component '{text}'",
            place=node.place,
            allowed=listed(known_versions(uri, known), "components"),
            todo=did_you_mean(uri.name, names(known) - {uri.name})
            or "register it: runner component create -f component.yml; or name its file, ./component.yml",
        )
    return known[key]


def _named(node: Node) -> Uri:
    """As on Azure, `azureml:` may be left out before a name with a version or label."""
    bare = _BARE.fullmatch(node.text) and not node.text.endswith((".yml", ".yaml"))
    return parse_at(f"azureml:{node.text}" if bare else node.text, node.place)


def _kind(tree: Node) -> str:
    node, kind = tree.get("type"), written_type(tree)
    allowed = ", ".join((*KINDS, "pipeline"))
    if not kind:
        raise UserError("the component has no type", place=tree.place, todo=advice(tree), allowed=allowed)
    place = node.place if node else tree.place
    if kind in schema.OTHER_JOBS:
        raise NotSupportedHere(f"components of type {kind} cannot run here", place=place, allowed=allowed)
    if kind not in (*KINDS, "pipeline"):
        raise UserError(f"'{kind}' is not a type of components", place=place, allowed=allowed, todo=near_case(kind, (*KINDS, "pipeline")))
    return kind


def lift_resources(step: Node, problems: Problems) -> Node:
    """instance_count, instance_type, docker_args and shm_size may stand on top, as the Python keywords do: they move below `resources`."""
    on_top = {key: child for key in schema.RESOURCES_ON_TOP if (child := step.get(key)) is not None}
    if not on_top:
        return step
    resources = step.get("resources")
    for key, child in on_top.items():
        below = resources.get(key) if resources else None
        if below is not None and below.plain() != child.plain():
            problems.add(f"{key} stands twice, with different values: here and below resources", child.place, todo="keep one of them")
    entries = {key: child for key, child in step.entries.items() if key not in schema.RESOURCES_ON_TOP}
    if resources is None:
        first = next(iter(on_top.values()))
        resources = replace(first, value={}, text="")
    entries["resources"] = replace(resources, value={**on_top, **resources.entries})
    return replace(step, value=entries)


def merge(component: Component | None, step: Node, problems: Problems) -> Node:
    """The settings of a step over those of its component."""
    step = lift_resources(step, problems)
    if component is None:
        return step
    merged = dict(lift_resources(component.settings, problems).entries)
    for key, child in step.entries.items():
        if child.is_unset:
            continue
        below = merged.get(key)
        if key in _MERGED and child.is_mapping and below is not None and below.is_mapping:
            child = replace(child, value={**below.entries, **{name: one for name, one in child.entries.items() if not one.is_unset}})
        merged[key] = child
    return replace(step, value=merged)
