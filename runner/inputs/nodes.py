"""Checks of single YAML nodes, each a UserError with file:line, for the MLTable file."""

from __future__ import annotations

from collections.abc import Sequence

from runner.errors import UserError, did_you_mean
from runner.spec.yaml_source import Node


def check_keys(node: Node, allowed: Sequence[str], what: str) -> None:
    """Every key of the mapping is one of the allowed ones."""
    require_mapping(node)
    for key, child in node.entries.items():
        if key not in allowed:
            raise UserError(
                f"'{key}' is not a key {what}", place=child.place, allowed=", ".join(allowed), todo=did_you_mean(key.lower(), allowed)
            )


def require_mapping(node: Node) -> None:
    if not node.is_mapping:
        raise UserError(f"must be a mapping (`key: value`), not {node.kind}", place=node.place)


def require_list(node: Node) -> list[Node]:
    if not node.is_list:
        raise UserError(f"must be a list, not {node.kind}", place=node.place, todo="write each entry after a dash")
    return node.items


def require_text(node: Node) -> str:
    if not isinstance(node.value, str) or not node.value:
        raise UserError(f"must be text, not {node.kind}", place=node.place)
    return node.value


def read_text(node: Node, key: str, default: str) -> str:
    child = node.get(key)
    return default if child is None else require_text(child)


def read_choice(node: Node, key: str, allowed: Sequence[str], default: str) -> str:
    child = node.get(key)
    if child is None:
        return default
    text = str(child.text)
    if text not in allowed:
        raise UserError(
            f"{text!r} is not one of the values of `{key}`",
            place=child.place,
            allowed=", ".join(allowed),
            todo=did_you_mean(text.lower(), allowed),
        )
    return text


def read_bool(node: Node, key: str, default: bool) -> bool:
    child = node.get(key)
    if child is None:
        return default
    if not isinstance(child.value, bool):
        raise UserError(f"must be true or false, not {child.kind}", place=child.place)
    return child.value


def read_int(node: Node, *, low: int = 0) -> int:
    if isinstance(node.value, bool) or not isinstance(node.value, int) or node.value < low:
        raise UserError(f"must be a whole number of at least {low}, not {node.kind}", place=node.place)
    return node.value


def read_texts(node: Node) -> tuple[str, ...]:
    """A text, or a list of them."""
    return tuple(require_text(item) for item in node.items) if node.is_list else (require_text(node),)
