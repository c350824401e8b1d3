"""Which steps of a pipeline need which, and an order in which they can run."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from runner.errors import UserError
from runner.spec.expressions import steps_named
from runner.spec.yaml_source import Node


def dependencies(nodes: Mapping[str, Node]) -> dict[str, tuple[str, ...]]:
    """Which steps each one refers to by `${{parent.jobs.<step>.…}}`; unknown names are told of where they stand."""
    return {
        name: tuple(dict.fromkeys(step for text in _texts(node) for step in steps_named(text) if step in nodes))
        for name, node in nodes.items()
    }


def _texts(node: Node) -> Iterator[str]:
    """Those of a step itself: its component, and the steps of a pipeline in the place of one, have parents of their own."""
    for key, child in node.entries.items():
        if key not in ("component", "jobs"):
            yield from (one.value for one in child.walk() if isinstance(one.value, str))


def in_order(depends_on: Mapping[str, tuple[str, ...]], nodes: Mapping[str, Node]) -> list[str]:
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
