"""The inputs of a job or step: literals, data by path, bindings to the parent; defaults and types from a component's declaration."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace

from runner.errors import UserError
from runner.model.job import DATA_TYPES, FOLDER_TYPES, LITERAL_TYPES, JobInput, JobOutput
from runner.spec.context import ResolveContext, at_place, locate_data
from runner.spec.disk import is_file, is_folder, is_pipe, trouble
from runner.spec.expressions import Scope, as_text, has_expression, meaning, only_expression
from runner.spec.literals import Declaration, check_declared, convert, infer_literal, long_literal, read_type
from runner.spec.problems import Problems
from runner.spec.schema import DATA_INPUT, INPUT, INPUT_MODES, TABLE_MODES
from runner.spec.values import Reader, check_keys, near_case, require_scalar, resolved
from runner.spec.yaml_source import Node
from runner.storage.addresses import is_address
from runner.storage.uri import looks_like_uri, without_query

_PORT_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_-]*")
_WEB = re.compile("https?://", re.IGNORECASE)
_NO_LITERAL = dict.fromkeys(
    ("value", "default", "min", "max", "enum"), "that is for literals: write type: integer (or another) and no path"
)


def _means_data(text: str) -> bool:
    """Whether a text without a type is where data lies. An address of the web is a text for whoever asks for it, as on Azure, unless it
    has a signature: such a one is kept out of records.
    """
    return looks_like_uri(text) and (not _WEB.match(text) or "sig=" in text)


@dataclass(frozen=True, kw_only=True)
class InputReader:
    """Reads inputs one by one. `split` is the name of the input that `input_data` names, if any."""

    scope: Scope
    context: ResolveContext
    problems: Problems
    split: str | None = None

    def read(self, name: str, node: Node, declared: Declaration | None = None) -> JobInput:
        """Raises a UserError when the input cannot be made out."""
        found = self._bound(node)
        if found is not None:
            return self._fit(found, node, declared)
        if node.is_mapping:
            return self._long(name, node, declared)
        if node.is_unset:
            raise UserError("the input has no value", place=node.place, todo="write a literal, a path, or a mapping with type and path")
        text = require_scalar(node)
        is_text = isinstance(node.value, str) and not has_expression(text)
        if declared.is_data if declared else is_text and (name == self.split or _means_data(text)):
            return self._data(node, text, declared.type if declared else "", (declared.mode if declared else "") or "ro_mount", node)
        if declared:
            return self._declared_literal(convert(node, declared.type, self.scope), node, declared)
        return infer_literal(resolved(node, self.scope))

    def default(self, declared: Declaration) -> JobInput:
        """The value of a declared input that nobody set."""
        if declared.default is not None:
            if declared.is_data:
                return self._data(
                    declared.default, require_scalar(declared.default), declared.type, declared.mode or "ro_mount", declared.node
                )
            return self._declared_literal(convert(declared.default, declared.type, Scope()), declared.default, declared)
        if declared.optional:
            return JobInput(type=declared.type, optional_unset=True)
        raise UserError("has no value and is not optional", place=declared.node.place)

    def _bound(self, node: Node) -> JobInput | None:
        """`${{parent.…}}`, alone or as the path of a long form."""
        holder = node.get("path") if node.is_mapping else node
        if holder is None or not isinstance(holder.value, str):
            return None
        inner = only_expression(holder.value)
        if inner is None:
            return None
        value = meaning(inner, self.scope, holder.place)
        if isinstance(value, str):
            return None
        if isinstance(value, JobOutput):
            return self._with_mode(JobInput(type=value.type, path=value.path, uri=holder.text), node)
        return self._with_mode(value, node)

    def _with_mode(self, found: JobInput, node: Node) -> JobInput:
        if not node.is_mapping:
            return found
        check_keys(node, INPUT, "of an input", self.problems)
        kind = read_type(node, self.scope, self.problems, found.type)
        if found.is_data != (kind in DATA_TYPES):
            raise UserError(f"is bound to a value of type {found.type}", place=node.place, allowed=f"type: {found.type}")
        if not found.is_data:
            return found if found.optional_unset else convert(_literal(found, node), kind, Scope())
        _check_shape(found, kind, node)
        return replace(found, type=kind, mode=self._mode(node, kind, found.mode))

    def _fit(self, found: JobInput, node: Node, declared: Declaration | None) -> JobInput:
        """What was bound, seen through the declaration of the component."""
        if declared is None or (found.optional_unset and declared.optional):
            return found
        if found.optional_unset:
            if declared.default is None:
                raise UserError(
                    "is bound to an optional input that got no value, but the component needs one",
                    place=node.place,
                    todo="give it a value or a default, or declare it `optional: true` in the component",
                )
            return self.default(declared)
        if declared.is_data:
            if not found.is_data:
                raise UserError(
                    f"is bound to a literal of type {found.type}",
                    place=node.place,
                    allowed=f"data of type {declared.type}, as the component declares it",
                    todo=f"write the input that it is bound to as type: {declared.type} and path:",
                )
            _check_shape(found, declared.type, node)
            written = node.is_mapping and node.get("mode") is not None
            return replace(found, type=declared.type, mode=found.mode if written else declared.mode or found.mode)
        if found.is_data:
            raise UserError(
                f"is bound to data of type {found.type}",
                place=node.place,
                allowed=f"a literal of type {declared.type}, as the component declares it",
            )
        return self._declared_literal(convert(_literal(found, node), declared.type, Scope()), node, declared)

    def _declared_literal(self, value: JobInput, node: Node, declared: Declaration) -> JobInput:
        check_declared(value, node, declared.node, self.problems)
        return value

    def _long(self, name: str, node: Node, declared: Declaration | None) -> JobInput:
        kind = read_type(node, self.scope, self.problems, declared.type if declared else "")
        is_literal = kind in LITERAL_TYPES or (
            not kind and node.get("path") is None and (node.get("value") or node.get("default")) is not None
        )
        if declared and declared.is_data == is_literal:
            raise UserError(
                f"is of type {kind or 'string'}", place=node.place, allowed=f"type {declared.type}, as the component declares it"
            )
        if is_literal:
            value = long_literal(node, kind, self.scope, self.problems)
            return self._declared_literal(value, node, declared) if declared else value
        check_keys(node, DATA_INPUT, f"of an input of type {kind or 'uri_folder'}", self.problems, _NO_LITERAL)
        for key in ("datastore", "path_on_compute"):
            if node.get(key):
                self.problems.notice(f"input {name}: {key} is kept without effect: nothing is uploaded")
        path = node.get("path")
        if path is None:
            if Reader(node, self.scope, self.problems).boolean("optional", False):
                return JobInput(type=kind or "uri_folder", optional_unset=True)
            raise UserError("the input has no path", place=node.place, todo="write path: and where the data lies")
        text = Reader(node, self.scope, self.problems).text("path")
        return self._data(path, text, kind, self._mode(node, kind, (declared.mode if declared else "") or "ro_mount"), path)

    def _mode(self, node: Node, kind: str, default: str) -> str:
        written = node.get("mode")
        if written is None:
            return default
        text = Reader(node, self.scope, self.problems).text("mode").lower()
        allowed = TABLE_MODES if kind == "mltable" else INPUT_MODES
        if text not in allowed:
            only = " (eval_mount and eval_download are for type: mltable)" if text in TABLE_MODES else ""
            self.problems.add(
                f"'{text}' is not a mode of an input of type {kind or 'uri_folder'}{only}",
                written.place,
                allowed=", ".join(allowed),
                todo=near_case(text, allowed),
            )
            return default
        return text

    def _data(self, node: Node, text: str, kind: str, mode: str, at: Node) -> JobInput:
        path, of_asset = locate_data(text, node.base, self.context, at.place, model=kind.endswith("_model"))
        text = without_query(text)
        kind = kind or of_asset
        single = self._is_single(path, text, at)
        if single and kind in ("uri_folder", "mltable"):
            table = kind == "mltable" and os.path.basename(path) == "MLTable"
            raise UserError(
                f"'{text}' is a file, but the input is of type {kind}",
                place=at.place,
                allowed="a folder",
                todo="name the folder that the MLTable file lies in" if table else "write type: uri_file, or name a folder",
            )
        if not single and kind == "uri_file":
            raise UserError(
                f"'{text}' is a folder, but the input is of type uri_file",
                place=at.place,
                allowed="a file",
                todo="write type: uri_folder, or name a file",
            )
        if not kind and not single and self._has_table(path):
            self.problems.notice(
                f"{at.place.field}: read as a uri_folder, though there is an MLTable file in it: write type: mltable to read the table"
            )
        found = self.context.uploads.get(path, path)
        return JobInput(type=kind or ("uri_file" if single else "uri_folder"), path=found, uri=text, mode=mode)

    def _is_single(self, path: str, text: str, at: Node) -> bool:
        """Whether a file stands there, and not a folder. Errors: UserError where there is nothing."""
        if not is_address(path):
            if reason := trouble(path):
                raise UserError(f"'{text}' {reason}", place=at.place, todo=_where(text, path, at))
            if is_pipe(path):  # it can be read once only, and nobody knows when it ends
                raise UserError(f"'{text}' is a pipe, not a file or a folder", place=at.place, todo="copy what comes from it into a file")
            return not is_folder(path)
        with at_place(at.place):
            there = self.context.blobs.there(path)
        if there == "nothing":
            raise UserError(f"'{text}' does not exist", place=at.place, todo=f"looked for the blob {path}, and for blobs below {path}/")
        if there == "file" and text.endswith("/"):
            raise UserError(f"'{text}' is no folder: there is a blob of that name", place=at.place, todo="leave the last / out")
        return there == "file"

    def _has_table(self, path: str) -> bool:
        return self.context.blobs.holds_file(path, "MLTable") if is_address(path) else is_file(f"{path}/MLTable")


def _literal(found: JobInput, at: Node) -> Node:
    """The value of a literal as if it had been written where it is bound."""
    return replace(at, value=found.value, text=as_text(found, at.text, at.place))


def _check_shape(found: JobInput, kind: str, at: Node) -> None:
    """A file cannot be bound to what is a folder, nor a folder to a file; a model may be either."""
    for one, other in ((found.type, kind), (kind, found.type)):
        if one == "uri_file" and other in FOLDER_TYPES:
            raise UserError(
                f"is bound to data of type {found.type}, but is of type {kind}: one is a file, the other a folder",
                place=at.place,
                todo="write the same type in both places",
            )


def _where(text: str, path: str, at: Node) -> str:
    if text.startswith("~"):
        return "~ is not expanded: write the whole path"
    origin = "the job file" if at.place.file else f"{at.base}"  # of a value that stands in no file
    return f"looked for {path}" + ("" if text.startswith("/") else f"; paths are relative to {origin}")


def read_inputs(
    node: Node | None, reader: InputReader, declared: Mapping[str, Declaration] | None
) -> tuple[dict[str, JobInput], frozenset[str]]:
    """All inputs of a job or step, and the names of those that have a mistake. `declared` is None without a component."""
    found: dict[str, JobInput] = {}
    broken = set()
    entries = node.entries if node else {}
    for name, child in entries.items():
        broken.add(name)
        with reader.problems.catching():
            check_port_name(name, child, "input")
            if declared is not None and name not in declared:
                raise UserError(
                    f"the component has no input '{name}'",
                    place=child.place,
                    allowed=", ".join(declared) or "(no inputs)",
                    todo=near_case(name, list(declared)),
                )
            if child.is_unset and declared is not None:
                found[name] = reader.default(declared[name])
            else:
                found[name] = reader.read(name, child, declared[name] if declared else None)
            broken.discard(name)
    return found, frozenset(broken)


def check_port_name(name: str, node: Node, what: str) -> None:
    """Names of inputs and outputs stand in expressions and environment variables: letters, digits, `_` and `-`.

    The name of an input may consist of several, with dots between them: that of a group, and of the input in it.
    """
    parts = name.split(".") if what == "input" else [name]
    if len(name) > 255 or not all(_PORT_NAME.fullmatch(part) for part in parts):
        raise UserError(
            f"'{name}' is not a name of an {what}", place=node.place, allowed="letters, digits, _ and -, beginning with a letter or _"
        )
