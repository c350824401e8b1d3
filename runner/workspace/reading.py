"""What the readers of parts of workspace.yml have in common; mistakes are gathered, so that all are told at once."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from runner.errors import UserError, did_you_mean

if TYPE_CHECKING:
    from runner.spec.yaml_source import Node

Errors = list[UserError]


class Reading:
    """Mistakes go into `errors`; what is returned for a mistaken value is of no use then."""

    def __init__(self, errors: Errors) -> None:
        self._errors = errors

    def _error(self, problem: str, node: Node, allowed: str = "", todo: str = "") -> None:
        self._errors.append(UserError(problem, place=node.place, allowed=allowed, todo=todo))

    def _is_mapping(self, node: Node, known: tuple[str, ...] | None) -> bool:
        if node.is_unset:
            return False
        if not node.is_mapping:
            self._errors.append(UserError(f"must be a mapping, not {node.kind}", place=node.place))
            return False
        for key, child in node.entries.items():
            if known is not None and key not in known:
                problem = UserError(f"unknown key '{key}'", place=child.place, allowed=", ".join(known), todo=did_you_mean(key, known))
                self._errors.append(problem)
        return True

    def _texts(self, node: Node | None, known: tuple[str, ...] | None) -> dict[str, str]:
        if node is None or not self._is_mapping(node, known):
            return {}
        return {key: child.text for key, child in node.entries.items() if self._is_scalar(child)}

    def _list(self, node: Node | None) -> list[Node]:
        if node is None or node.is_unset:
            return []
        if not node.is_list:
            self._errors.append(UserError(f"must be a list, not {node.kind}", place=node.place))
            return []
        return [one for one in node.items if self._is_scalar(one)]

    def _is_scalar(self, node: Node) -> bool:
        if node.is_mapping or node.is_list:
            self._errors.append(UserError(f"must be one value, not {node.kind}", place=node.place))
            return False
        return True

    def _choice(self, node: Node | None, known: tuple[str, ...]) -> str | None:
        if node is None or not self._is_scalar(node):
            return None
        if node.text not in known:
            todo = did_you_mean(node.text, known)
            self._errors.append(UserError(f"'{node.text}' is not known here", place=node.place, allowed=", ".join(known), todo=todo))
            return None
        return node.text

    def _file(self, node: Node | None) -> str | None:
        if node is None or not self._is_scalar(node):
            return None
        path = node.base / Path(node.text).expanduser()
        if not path.is_file():
            self._errors.append(UserError(f"the file '{node.text}' does not exist", place=node.place, todo=f"looked for {path}"))
        return str(path)

    def _number(self, node: Node | None, kind: type[float], allowed: str, low: float) -> float | None:
        if node is None or not self._is_scalar(node):
            return None
        try:
            value = kind(node.text)
        except ValueError:
            value = low - 1
        if not low <= value < float("inf"):
            self._errors.append(UserError(f"'{node.text}' is not a number that fits here", place=node.place, allowed=allowed))
            return None
        return value

    def _parsed(self, node: Node, parse: Callable[[Node], float | int]) -> int | None:
        """What `parse` makes of one value, in whole bytes or seconds."""
        if not self._is_scalar(node):
            return None
        try:
            return int(parse(node))
        except UserError as error:
            self._errors.append(error)
            return None
