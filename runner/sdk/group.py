"""`@group`: a class whose fields are inputs of a pipeline, given to the pipeline's function as one argument.

As in `azure.ai.ml.dsl._group_decorator`: the input of a field is called `<argument>.<field>`, with further names for groups in groups.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping
from copy import deepcopy
from dataclasses import dataclass
from enum import Enum
from typing import Any, TypeVar

from runner.errors import UserError, did_you_mean
from runner.sdk.io import Input, Output
from runner.sdk.record import UnknownNameError, refuse_unknown

T = TypeVar("T")

_FIELDS = "__group_fields__"
_NOTHING = object()


@dataclass(frozen=True, kw_only=True)
class Field:
    """`group`: the class of a group in this one."""

    default: Any = None
    declared: Input | None = None
    group: type | None = None


def group(cls: type[T]) -> type[T]:
    """Makes a class of annotated fields a group: `ParamClass(field=value, …)`, keywords only.

    Fields are annotated with `int`, `float`, `str`, `bool`, an enum, an `Input(…)` or another group, and may have a default; those
    without one and without a value are reported when the pipeline is submitted. The fields of parent groups come first.
    """
    fields: dict[str, Field] = {}
    for parent in reversed(cls.__mro__[1:]):
        fields |= parent.__dict__.get(_FIELDS, {})
    annotations = _annotations(cls)
    plain = [name for name, value in vars(cls).items() if not name.startswith("_") and not callable(value) and name not in annotations]
    for name in (*annotations, *plain):
        fields[name] = _field(cls, name, annotations.get(name), vars(cls).get(name, _NOTHING))

    def init(self: Any, **values: Any) -> None:
        refuse_unknown(cls.__name__, values, fields)
        for name, field in fields.items():
            value = values[name] if name in values else deepcopy(field.default)  # what is set on it later is this one's alone
            setattr(self, name, field.group() if value is None and field.group else value)

    def show(self: Any) -> str:
        return f"{type(self).__qualname__}({', '.join(f'{name}={getattr(self, name)!r}' for name in fields)})"

    words = [inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=field.default) for name, field in fields.items()]
    init.__signature__ = inspect.Signature([inspect.Parameter("self", inspect.Parameter.POSITIONAL_ONLY), *words])  # type: ignore[attr-defined]
    for name, value in ((_FIELDS, fields), ("__init__", init), ("__repr__", show)):
        setattr(cls, name, value)
    return cls


def group_of(annotation: Any, default: Any) -> type | None:
    """The group that a parameter of a pipeline's function takes, by its annotation or its default."""
    if isinstance(annotation, type) and hasattr(annotation, _FIELDS):
        return annotation
    return type(default) if is_group(default) else None


def is_group(value: Any) -> bool:
    """Whether it is the value of one."""
    return not isinstance(value, type) and hasattr(type(value), _FIELDS)


class GroupArgument:
    """What a pipeline's function gets for a group: by attribute the pipeline's inputs, and groups of them."""

    def __init__(self, name: str, members: Mapping[str, Any]) -> None:
        self._name, self._members = name, dict(members)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        if name not in self._members:
            todo = did_you_mean(name, self._members)
            raise UnknownNameError(f"the group `{self._name}` has no field `{name}`", allowed=", ".join(self._members), todo=todo)
        return self._members[name]

    def __repr__(self) -> str:
        return f"<group {self._name}: {', '.join(self._members)}>"


def leaves(of: type, value: Any, owner: str) -> Iterator[tuple[str, Field, Any]]:
    """(name below the group, field, value) of every input. `value`: of the group, None for its defaults, or a `GroupArgument`.

    Errors: UserError for anything else.
    """
    fields: Mapping[str, Field] = getattr(of, _FIELDS)
    value = of() if value is None else value
    if not isinstance(value, (of, GroupArgument)):
        raise UserError(f"{owner} must be a {of.__name__}, not {type(value).__qualname__}", todo=f"write {of.__name__}(…)")
    for name, field in fields.items():
        member = getattr(value, name)
        if field.group is None:
            yield name, field, member
        else:
            yield from ((f"{name}.{below}", one, given) for below, one, given in leaves(field.group, member, f"{owner}.{name}"))


def argument(of: type, name: str, inputs: Mapping[str, Any]) -> GroupArgument:
    """Of `inputs`, by their dotted names."""
    fields: Mapping[str, Field] = getattr(of, _FIELDS)
    members = {key: argument(one.group, f"{name}.{key}", inputs) if one.group else inputs[f"{name}.{key}"] for key, one in fields.items()}
    return GroupArgument(name, members)


def _annotations(cls: type) -> Mapping[str, Any]:
    """As objects, also where the class's file has `from __future__ import annotations`."""
    try:
        return inspect.get_annotations(cls, eval_str=True)
    except NameError:  # of a name that only type checkers see
        return inspect.get_annotations(cls)


def _field(cls: type, name: str, annotation: Any, default: Any) -> Field:
    if name.startswith("_"):
        raise UserError(f"the field `{name}` of the group {cls.__name__} begins with _", todo="fields of groups have public names")
    if isinstance(annotation, Output) or annotation is Output:
        todo = "return outputs from the pipeline's function"
        raise UserError(f"the field `{name}` of the group {cls.__name__} is an output", allowed="inputs", todo=todo)
    given = None if default is _NOTHING else default
    if (inner := group_of(annotation, given)) is not None:
        return Field(default=given, group=inner)
    if isinstance(annotation, Input):
        return Field(default=annotation.default if given is None else given, declared=annotation)
    if isinstance(annotation, type) and issubclass(annotation, Enum):
        return Field(default=given, declared=Input(type="string", enum=[one.value for one in annotation]))
    return Field(default=given, declared=Input(type="string", optional=True) if default is None else None)
