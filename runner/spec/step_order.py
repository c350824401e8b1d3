"""Which steps of a pipeline need which, and an order in which they can run."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from heapq import heappop, heappush

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
    missing = {name: set(needs) for name, needs in depends_on.items()}
    places = {name: place for place, name in enumerate(depends_on)}
    waiting: dict[str, list[str]] = {name: [] for name in depends_on}
    for name, needs in missing.items():
        for other in needs:
            waiting[other].append(name)
    ready = [places[name] for name, needs in missing.items() if not needs]  # in the order of the file, so a heap
    names, order = list(depends_on), list[str]()
    while ready:
        order.append(names[heappop(ready)])
        for name in waiting[order[-1]]:
            missing[name].discard(order[-1])
            if not missing[name]:
                heappush(ready, places[name])
    if circling := {name: [n for n in depends_on[name] if n in needs] for name, needs in missing.items() if needs}:
        circle = _circle(circling)
        raise UserError(
            f"the steps wait for each other: {' → '.join([*circle, circle[0]])}",
            place=nodes[circle[0]].place,
            todo="a step can use the outputs of earlier steps only",
        )
    return order


def _circle(waiting: Mapping[str, list[str]]) -> list[str]:
    path = [next(iter(waiting))]
    while True:
        following = waiting[path[-1]][0]
        if following in path:
            return path[path.index(following) :]
        path.append(following)
