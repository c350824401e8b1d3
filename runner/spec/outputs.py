"""The outputs of a job or step: where they lie, bindings to the parent's outputs, defaults."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace

from runner.errors import UserError
from runner.model.job import JobInput, JobOutput
from runner.spec.context import ResolveContext, at_place, locate, own_place
from runner.spec.disk import is_file, is_folder, lies_in, trouble
from runner.spec.expressions import Scope, meaning, only_expression
from runner.spec.inputs import check_port_name
from runner.spec.literals import OutputDeclaration, read_output_mode, read_type
from runner.spec.problems import Problems
from runner.spec.schema import OUTPUT
from runner.spec.values import Reader, as_text, check_keys, near_case
from runner.spec.yaml_source import Node
from runner.storage.addresses import is_address
from runner.storage.uri import without_query

_HALF_EXPRESSION = re.compile(r"\$\{(name|output_name|default_datastore)\}")  # what an f-string makes of ${{name}}
_KERNEL = ("/proc", "/sys")  # where root seems to have the permission to write


@dataclass(frozen=True, kw_only=True)
class OutputReader:
    """Reads outputs one by one. `job` is the name that default paths carry; `bound` gathers the parent's outputs that were bound."""

    scope: Scope
    context: ResolveContext
    problems: Problems
    job: str
    default_datastore: str
    untyped: frozenset[str] = frozenset()  # outputs of the parent whose type nobody wrote: they take that of the step
    bound: dict[str, JobOutput]

    def read(self, name: str, node: Node, declaration: OutputDeclaration | None = None) -> JobOutput:
        """`declaration` is that of the component, where there is one."""
        declared, mode = (declaration.type, declaration.mode) if declaration else ("", "rw_mount")
        scope = replace(self.scope, words={**self.scope.words, "output_name": name})
        if not node.is_mapping:
            text = "" if node.is_unset else as_text(node, scope) if only_expression(node.text) is None else node.text
            return self._made(name, declared, text, node, mode)
        check_keys(node, OUTPUT, "of an output", self.problems)
        reader = Reader(node, scope, self.problems)
        kind = read_type(node, scope, self.problems, declared, literals=False)
        if declared and kind != declared:
            raise UserError(f"is of type {kind}", place=node.place, allowed=f"type {declared}, as the component declares it")
        path = node.get("path")
        text = "" if path is None else path.text if only_expression(path.text) else reader.text("path")
        output = self._made(name, kind, text, path or node, mode)
        version = reader.text("version") or None
        if version and not node.get("name"):
            self.problems.add("a version needs a name", node.entries["version"].place, todo="write name: as well, or leave version out")
        asset = reader.text("name") or None
        if asset:
            self.problems.notice(f"output {name}: its name '{asset}' is kept without effect: this build registers no data assets")
        mode = read_output_mode(node, output.type, scope, self.problems, output.mode)
        return replace(output, mode=mode, name=asset, version=version)

    def _made(self, name: str, kind: str, text: str, at: Node, mode: str) -> JobOutput:
        inner = only_expression(text)
        if inner is not None:
            return self._bound(inner, kind, at)
        kind = kind or "uri_folder"
        if not text:
            path = own_place(self.default_datastore, self.job, name, self.context, at.place)
            self._check_place(path, path, kind, at)
            return JobOutput(type=kind, path=path, mode=mode)
        if half := _HALF_EXPRESSION.search(text):
            whole = f"${{{{{half[1]}}}}}"
            self.problems.notice(f"output {name}: '{half[0]}' stays in its path as it is, it means nothing: write {whole}, no f-string")
        path, text = locate(text, at.base, self.context, at.place), without_query(text)
        self._check_place(path, text, kind, at)
        return JobOutput(type=kind, path=path, uri=text, mode=mode)

    def default(self, name: str, declared: OutputDeclaration, at: Node) -> JobOutput:
        """Of an output that a component declares and the job does not mention."""
        path = own_place(self.default_datastore, self.job, name, self.context, at.place)
        return JobOutput(type=declared.type, path=path, mode=declared.mode)

    def _check_place(self, path: str, text: str, kind: str, at: Node) -> None:
        if is_address(path):
            with at_place(at.place):
                self._check_blob(path, text, kind)
        else:
            _check_target(path, text, kind, at)

    def _check_blob(self, path: str, text: str, kind: str) -> None:
        """The same for an address."""
        blobs = self.context.blobs
        if blobs.is_container(path) and kind == "uri_file":
            raise UserError(f"'{text}' is a container, but the output is of type uri_file", todo="name a blob in it")
        there = "folder" if kind == "uri_file" and text.endswith("/") else blobs.there(path)
        if kind == "uri_file" and there == "folder":
            raise UserError(f"'{text}' is a folder, but the output is of type uri_file", todo="name a file, or write type: uri_folder")
        if kind != "uri_file" and there == "file":
            raise UserError(f"'{text}' is a file, but the output is of type {kind}", todo="name a folder, or write type: uri_file")
        blobs.check_writable(path, kind)

    def _bound(self, inner: str, kind: str, at: Node) -> JobOutput:
        value = meaning(inner, self.scope, at.place)
        if not isinstance(value, JobOutput) or not inner.startswith("parent.outputs."):
            what = "an input" if isinstance(value, JobInput) else "no output of the pipeline"
            raise UserError(f"'${{{{{inner}}}}}' is {what}", place=at.place, allowed="${{parent.outputs.<name>}}, or a path")
        name = inner.split(".")[2]
        if name in self.bound:
            raise UserError(
                f"the pipeline's output '{name}' is bound by another output already",
                place=at.place,
                todo="give this one an output of its own",
            )
        if name in self.untyped:
            value = replace(value, type=kind or value.type)
        elif kind and kind != value.type:
            raise UserError(
                f"is of type {kind}, but the pipeline's output '{name}' of type {value.type}",
                place=at.place,
                todo="write the same type in both",
            )
        self.bound[name] = value
        return replace(value, name=None, version=None)  # the pipeline registers it, not the step


def read_outputs(
    node: Node | None, reader: OutputReader, declared: Mapping[str, OutputDeclaration] | None
) -> tuple[dict[str, JobOutput], frozenset[str]]:
    """All outputs, and the names of those that have a mistake. `declared`: the types of a component's outputs; None without a component."""
    found: dict[str, JobOutput] = {}
    broken = set()
    entries = dict(node.entries if node else {})
    for name, child in entries.items():
        broken.add(name)
        with reader.problems.catching():
            check_port_name(name, child, "output")
            if declared is not None and name not in declared:
                raise UserError(
                    f"the component has no output '{name}'",
                    place=child.place,
                    allowed=", ".join(declared) or "(no outputs)",
                    todo=near_case(name, list(declared)),
                )
            output = reader.read(name, child, declared[name] if declared else None)
            _check_unique(name, output, found, child)
            found[name] = output
            broken.discard(name)
    return found, frozenset(broken)


def _check_unique(name: str, output: JobOutput, others: Mapping[str, JobOutput], node: Node) -> None:
    for other, there in others.items():
        if there.path == output.path:
            raise UserError(
                f"the outputs '{other}' and '{name}' have the same path {output.path}", place=node.place, todo="give each a path of its own"
            )


def _check_target(path: str, text: str, kind: str, at: Node) -> None:
    """What stands at the path already must be of the same kind, and it must be possible to write there."""
    if kind == "uri_file" and (text.endswith("/") or is_folder(path)):
        raise UserError(
            f"'{text}' is a folder, but the output is of type uri_file", place=at.place, todo="name a file, or write type: uri_folder"
        )
    if kind != "uri_file" and is_file(path):
        raise UserError(
            f"'{text}' is a file, but the output is of type {kind}", place=at.place, todo="name a folder, or write type: uri_file"
        )
    reason = trouble(path)
    if not reason and not is_file(path) and not is_folder(path):  # it would be replaced: even /dev/null
        raise UserError(f"'{text}' is a device, a pipe or a socket", place=at.place, todo="name a file or a folder")
    if reason.startswith("cannot"):
        raise UserError(f"'{text}' {reason}", place=at.place, todo="name another path")
    parent = os.path.dirname(path) if kind == "uri_file" else path
    while trouble(parent):
        parent = os.path.dirname(parent)
    if not is_folder(parent):
        raise UserError(f"'{text}' cannot be made: {parent} is a file", place=at.place, todo="name another path")
    if any(one == parent or lies_in(parent, one) for one in _KERNEL):
        raise UserError(f"'{text}' cannot be made: {parent} is the system's own", place=at.place, todo="name another path")
    if not os.access(parent, os.W_OK | os.X_OK):
        raise UserError(f"'{text}' cannot be made: no permission to write in {parent}", place=at.place, todo="name another path")
