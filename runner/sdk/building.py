"""The steps that are made while a pipeline function runs, and the names they get."""

from __future__ import annotations

import re
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from types import FrameType
from typing import Any, Protocol

from runner.errors import Place, UserError

_active = threading.local()


class Step(Protocol):
    """As the builder sees it."""

    name: str | None

    @property
    def _component_name(self) -> str: ...


class Builder:
    """Gathers the steps of one pipeline in the order in which they are made."""

    def __init__(self) -> None:
        self.steps: list[Any] = []
        self.uncalled: list[Any] = []  # made in the function, and so far not called to make a step

    def made(self, template: Any) -> None:
        self.uncalled.append(template)

    def called(self, template: Any, step: Any) -> None:
        self.uncalled = [one for one in self.uncalled if one is not template]
        self.steps.append(step)


def current() -> Builder | None:
    """The builder of the pipeline function that runs in this thread."""
    builder: Builder | None = getattr(_active, "builder", None)
    return builder


@contextmanager
def building() -> Iterator[Builder]:
    around = current()
    _active.builder = builder = Builder()
    try:
        yield builder
    finally:
        _active.builder = around


def call_with_locals(function: Callable[..., Any], arguments: Mapping[str, Any]) -> tuple[Any, dict[str, Any]]:
    """What the function returns, and its local variables at that moment: by these Azure names the steps."""
    found: dict[str, Any] = {}
    before = sys.getprofile()

    def watch(frame: FrameType, event: Any, argument: Any) -> None:
        if event == "return" and frame.f_code is code:
            found.clear()
            found.update(frame.f_locals)
        if before is not None:
            before(frame, event, argument)

    code = getattr(function, "__code__", None) or type(function).__call__.__code__
    sys.setprofile(watch)
    try:
        result = function(**arguments)
    finally:
        sys.setprofile(before)
    return result, found


def name_steps(steps: list[Any], variables: Mapping[str, Any], pipeline: str) -> dict[str, Any]:
    """Azure's rules. A step is called by its `name`, else by the variable that holds it. One without either is called as the last
    named one of the same component, else by the component's name; further ones of the same name get `_1`, `_2`, ….
    """
    names = _by_variable(steps, variables, pipeline)
    last = {_base(step): names[id(step)] for step in steps if id(step) in names}
    used = Counter(names.values())
    result: dict[str, Any] = {}
    for step in steps:
        if id(step) not in names:
            base = last.get(_base(step), _base(step)) if step.name is None else _base(step)
            used[base] += 1
            names[id(step)] = _identifier(base) + (f"_{used[base] - 1}" if used[base] > 1 else "")
        name = names[id(step)]
        if name in result:
            raise _twice(name, pipeline)
        result[name] = step
    return result


def _by_variable(steps: list[Any], variables: Mapping[str, Any], pipeline: str) -> dict[int, str]:
    known = {id(step) for step in steps}
    names: dict[int, str] = {}
    for variable, step in variables.items():
        if id(step) not in known:
            continue
        name = step.name.lower() if step.name else variable
        if name == "_":
            continue
        if name in names.values() and id(step) not in names:
            raise _twice(name, pipeline)
        names[id(step)] = name
    return names


def _base(step: Step) -> str:
    return step.name.lower() if step.name else step._component_name


def _identifier(text: str) -> str:
    name = re.sub(r"[\W_]+", "_", text.lower()).strip("_")
    return f"n{name}" if name[:1].isdigit() else name


def _twice(name: str, pipeline: str) -> UserError:
    return UserError(
        f"two steps of the pipeline `{pipeline}` are called `{name}`",
        place=Place(field=f"jobs.{name}"),
        todo="set step.name = '…' on one of them, or leave `name` out of parallel_run_function: steps are then named by their variables",
    )
