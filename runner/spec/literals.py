"""Literal inputs: their types, and the declarations of components (`default`, `min`, `max`, `enum`, `optional`)."""

from __future__ import annotations

from dataclasses import dataclass

from runner.errors import UserError
from runner.model.job import DATA_TYPES, LITERAL_TYPES, JobInput, JobOutput
from runner.spec.expressions import Scope, meaning, only_expression
from runner.spec.problems import Problems
from runner.spec.schema import DATA_INPUT, LITERAL_INPUT, OUTPUT_MODES
from runner.spec.values import Reader, as_text, check_keys, describe, near_case, resolved, to_bool, to_float, to_int, to_number
from runner.spec.yaml_source import Node, Scalar, scalar_text

ALIASES = {"float": "number", "double": "number", "int": "integer", "bool": "boolean", "str": "string"}  # of Azure's Python annotations
_EXAMPLES = {"integer": "a whole number", "number": "a number", "boolean": "true, false", "string": "text"}


@dataclass(frozen=True, kw_only=True)
class Declaration:
    """One input as a component declares it."""

    node: Node
    type: str
    optional: bool
    default: Node | None
    mode: str

    @property
    def is_data(self) -> bool:
        return self.type in DATA_TYPES


@dataclass(frozen=True, kw_only=True)
class OutputDeclaration:
    """One output as a component declares it."""

    type: str
    mode: str = "rw_mount"


def read_type(node: Node, scope: Scope, problems: Problems, default: str, *, literals: bool = True) -> str:
    """The `type` of an input or output, in any case of letters."""
    written = node.get("type")
    if written is None:
        return default
    known = (*LITERAL_TYPES, *DATA_TYPES) if literals else DATA_TYPES
    with problems.catching():
        text = as_text(written, scope)
        text = ALIASES.get(text.lower(), text.lower()) if literals else text.lower()
        if text in known:
            return text
        problems.add(
            f"'{text}' is not a type of {'inputs' if literals else 'outputs'}",
            written.place,
            allowed=", ".join(known),
            todo=near_case(text, known),
        )
    return default


def read_output_mode(node: Node, kind: str, scope: Scope, problems: Problems, default: str) -> str:
    """The `mode` of an output, in any case of letters."""
    written = node.get("mode")
    text = Reader(node, scope, problems).text("mode", default).lower()
    allowed = OUTPUT_MODES if kind == "mltable" else tuple(mode for mode in OUTPUT_MODES if mode != "direct")
    if written is not None and text not in allowed:
        problems.add(
            f"'{text}' is not a mode of an output of type {kind}",
            written.place,
            allowed=", ".join(allowed),
            todo=near_case(text, allowed),
        )
    return "rw_mount" if text == "mount" else text


def read_declaration(node: Node, problems: Problems) -> Declaration:
    """An input of a component file."""
    scope = Scope()
    if not node.is_mapping:
        problems.add(
            f"an input of a component is declared by a mapping, not {node.kind}",
            node.place,
            todo="write type: uri_folder (or another type)",
        )
        return Declaration(node=node, type="string", optional=True, default=None, mode="")
    kind = read_type(node, scope, problems, "uri_folder")
    if node.get("type") is None:
        problems.add("an input of a component needs a type", node.place, allowed=", ".join((*LITERAL_TYPES, *DATA_TYPES)))
    keys = ("type", "default", "description", "optional", "mode") if kind in DATA_TYPES else LITERAL_INPUT
    check_keys(node, keys, f"of an input of type {kind}", problems)
    reader = Reader(node, scope, problems)
    if kind in LITERAL_TYPES:
        _check_limits(node, kind, problems)
        if (default := node.get("default")) is not None:
            with problems.catching():
                check_declared(convert(default, kind, scope), default, node, problems)
    return Declaration(
        node=node, type=kind, optional=reader.boolean("optional", False), default=node.get("default"), mode=reader.text("mode")
    )


def infer_literal(value: Scalar) -> JobInput:
    """A literal whose type nobody wrote."""
    kind = (
        "boolean"
        if isinstance(value, bool)
        else "integer"
        if isinstance(value, int)
        else "number"
        if isinstance(value, float)
        else "string"
    )
    return JobInput(type=kind, value=value)


def convert(node: Node, kind: str, scope: Scope) -> JobInput:
    """A literal of the given type, from whatever was written: a numeric string is a number, a number written for text stays as written."""
    value = resolved(node, scope)
    if kind == "string":
        text = as_text(node, scope)
        return JobInput(type=kind, value=scalar_text(value) if isinstance(value, bool) else text)
    parsed = {"integer": to_int, "number": to_number, "boolean": to_bool}[kind](value)
    if parsed is None:
        raise UserError(f"{describe(value)} is not of type {kind}", place=node.place, allowed=_EXAMPLES[kind])
    return JobInput(type=kind, value=parsed)


def check_declared(value: JobInput, node: Node, limits: Node, problems: Problems) -> None:
    """`min`, `max` and `enum` of a declaration or of a literal's long form."""
    scope = Scope()
    choices = limits.get("enum")
    if choices is not None and choices.is_list:
        allowed = [convert(one, value.type, scope).value for one in choices.items]
        if value.value not in allowed:
            problems.add(f"{describe(value.value)} is not one of the values", node.place, allowed=", ".join(map(str, allowed)))
    if value.type not in ("integer", "number") or not isinstance(value.value, (int, float)):
        return
    low, high = limits.get("min"), limits.get("max")
    if (low and value.value < _bound(low)) or (high and value.value > _bound(high)):
        words = [f"at least {low.text}" if low else "", f"at most {high.text}" if high else ""]
        problems.add(f"{value.value} is out of range", node.place, allowed=", ".join(filter(None, words)))


def _check_limits(node: Node, kind: str, problems: Problems) -> None:
    """Of a declaration or a long form: whether its `min`, `max` and `enum` can hold for anything."""
    low, high, choices = node.get("min"), node.get("max"), node.get("enum")
    if choices is not None and (not choices.is_list or not choices.items):
        problems.add(f"must be a list of values, not {choices.kind}", choices.place, allowed="e.g. enum: [red, green]")
    for limit in (low, high):
        if limit and kind not in ("integer", "number", ""):
            problems.notice(f"{limit.place.field} has no effect on an input of type {kind}")
            return
    with problems.catching():
        if low and high and _bound(low) > _bound(high):
            problems.add(f"min {low.text} is more than max {high.text}", low.place, todo="change one of them")


def _check_no_data(value: Node, kind: str, scope: Scope) -> None:
    inner = only_expression(value.text) if isinstance(value.value, str) else None
    found = meaning(inner, scope, value.place) if inner is not None else None
    if isinstance(found, JobOutput) or (isinstance(found, JobInput) and found.is_data):
        raise UserError(
            f"is bound to data of type {found.type}, but is a literal",
            place=value.place,
            allowed=f"a literal of type {kind}" if kind else "a literal",
            todo=f"write type: {found.type} and path: {value.text}",
        )


def _bound(node: Node) -> float:
    number = to_float(resolved(node, Scope()))
    if number is None:
        raise UserError(f"{node.kind} is not a number", place=node.place)
    return number


def long_literal(node: Node, kind: str, scope: Scope, problems: Problems) -> JobInput:
    """`{type: integer, value: 3}`, or `default:` in the place of `value:`."""
    check_keys(node, LITERAL_INPUT, f"of an input of type {kind or 'string'}", problems, dict.fromkeys(DATA_INPUT, "literals have none"))
    _check_limits(node, kind, problems)
    value = node.get("value") or node.get("default")
    if value is not None:
        _check_no_data(value, kind, scope)
    if value is None:
        if Reader(node, scope, problems).boolean("optional", False):
            return JobInput(type=kind or "string", optional_unset=True)
        raise UserError("the input has no value", place=node.place, todo="write value: (a literal) or path: (data)")
    found = convert(value, kind, scope) if kind else infer_literal(resolved(value, scope))
    check_declared(found, value, node, problems)
    return found
