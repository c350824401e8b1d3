"""What all Python objects share: known attributes only, access as a mapping, and the plain mapping that a YAML file would give."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from enum import Enum
from pathlib import PurePath
from typing import Any, ClassVar

from runner.errors import Place, UserError, did_you_mean


class UnknownNameError(UserError, AttributeError):
    """An attribute or port that isn't there; an AttributeError too, so that `hasattr` and `copy` work as they should."""


def refuse_unknown(owner: str, given: Iterable[str], known: Iterable[str]) -> None:
    """The SDK swallows unknown keywords; here the first one is an error, with the name that was probably meant."""
    names = list(dict.fromkeys(known))
    for word in given:
        if word in names:
            continue
        raise UserError(f"{owner} has no parameter `{word}`", allowed=", ".join(names), todo=did_you_mean(word, names))


class Reference:
    """Something that stands for an expression such as `${{parent.inputs.x}}`: its `str()` is that expression, also in f-strings.

    Copies are the same object, because a reference means one port of one step.
    """

    def _expression(self) -> str:
        raise NotImplementedError

    def __str__(self) -> str:
        return self._expression()

    def __deepcopy__(self, memo: dict[int, Any]) -> Reference:
        return self

    def __copy__(self) -> Reference:
        return self


def plain(value: Any, field: str = "") -> Any:
    """The value as YAML could hold it: records become mappings, references expressions, paths and enums text."""
    if value is None or isinstance(value, (bool, int, float)):
        return value.value if isinstance(value, Enum) else value
    if isinstance(value, Enum):
        return plain(value.value, field)
    if isinstance(value, str):
        return str(value)
    if isinstance(value, Reference):
        return value._expression()
    if isinstance(value, Record):
        return value._to_mapping()
    if isinstance(value, PurePath) or hasattr(value, "__fspath__"):
        return os.fspath(value)
    if isinstance(value, Mapping):
        return {plain(key): plain(item, f"{field}.{key}" if field else str(key)) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item, f"{field}[{index}]") for index, item in enumerate(value)]
    raise UserError(
        f"an object of type {type(value).__module__}.{type(value).__qualname__} cannot stand here",
        place=Place(field=field) if field else None,
        allowed="text, numbers, booleans, lists, mappings, and the objects of runner, runner.parallel, runner.entities",
    )


class Registered:
    """What the workspace says of an asset that it has; without meaning for one that only Python knows."""

    name: Any
    version: Any
    latest_version: str | None = None
    creation_context: Any = None

    @property
    def id(self) -> str | None:
        """How jobs refer to it: `azureml:name:version`."""
        return f"azureml:{self.name}:{self.version}" if self.creation_context is not None else None

    def _now_known(self, context: Any, latest: str | None) -> None:
        object.__setattr__(self, "creation_context", context)
        object.__setattr__(self, "latest_version", latest)


def not_found(error: UserError) -> UserError:
    """Scripts catch Azure's own error, to register what is not there yet; whoever does has imported it."""
    azure = sys.modules.get("azure.core.exceptions")
    if azure is None:
        return error
    kind: type[UserError] = type("NotFoundError", (UserError, azure.ResourceNotFoundError), {})
    return kind(error.problem, place=error.place, allowed=error.allowed, todo=error.todo)


class Record:
    """`_FIELDS` are the attributes, which are the keys of the mapping too; `_COERCE` turns what is assigned into what is kept."""

    _FIELDS: ClassVar[tuple[str, ...]] = ()
    _COERCE: ClassVar[Mapping[str, Callable[[Any], Any]]] = {}
    _EMPTY: ClassVar[frozenset[str]] = frozenset()  # keys that are left out when they are empty, as they are by default

    def __setattr__(self, name: str, value: Any) -> None:
        if not name.startswith("_") and name not in self._FIELDS and not _is_settable(type(self), name):
            raise UnknownNameError(f"{type(self).__name__} has no attribute `{name}`", todo=did_you_mean(name, self._FIELDS))
        coerce = self._COERCE.get(name)
        object.__setattr__(self, name, coerce(value) if coerce else value)

    def _to_mapping(self) -> dict[str, Any]:
        """The keys that have a value, 0 and false included, in the order of the declaration."""
        return self._mapping_of(self._FIELDS)

    def _mapping_of(self, keys: Iterable[str]) -> dict[str, Any]:
        values = ((key, getattr(self, key)) for key in keys)
        return {key: plain(value, key) for key, value in values if value is not None and not (key in self._EMPTY and not value)}

    def keys(self) -> list[str]:
        return [key for key in self._FIELDS if getattr(self, key) is not None]

    def values(self) -> list[Any]:
        return [getattr(self, key) for key in self.keys()]

    def items(self) -> list[tuple[str, Any]]:
        return [(key, getattr(self, key)) for key in self.keys()]

    def get(self, key: str, default: Any = None) -> Any:
        return getattr(self, key) if key in self else default

    def has_key(self, key: str) -> bool:
        return key in self

    def update(self, *args: Any, **kwargs: Any) -> None:
        for key, value in dict(*args, **kwargs).items():
            setattr(self, key, value)

    def __getitem__(self, key: str) -> Any:
        if key not in self:
            raise KeyError(key)
        return getattr(self, key)

    def __setitem__(self, key: str, value: Any) -> None:
        setattr(self, key, value)

    def __contains__(self, key: object) -> bool:
        return isinstance(key, str) and key in self._FIELDS and getattr(self, key) is not None

    def __iter__(self) -> Iterator[str]:
        return iter(self.keys())

    def __len__(self) -> int:
        return len(self.keys())

    def __bool__(self) -> bool:
        return True

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, type(self)):
            return NotImplemented
        return self._to_mapping() == other._to_mapping()

    __hash__ = object.__hash__

    def __repr__(self) -> str:
        from runner.sdk.text import mask

        return f"{type(self).__name__}({', '.join(f'{key}={mask(value)!r}' for key, value in self._to_mapping().items())})"


def _is_settable(cls: type, name: str) -> bool:
    found = getattr(cls, name, None)
    return isinstance(found, property) and found.fset is not None


def coerced(kind: type[Any]) -> Callable[[Any], Any]:
    """For `_COERCE`: a mapping becomes an object of that class (its unknown keys are errors), everything else stays."""
    return lambda value: kind(**value) if isinstance(value, Mapping) else value
