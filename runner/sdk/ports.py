"""The inputs and outputs of a job object, by attribute: `step.inputs.images.mode = "download"`, `step.outputs.scores`."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, MutableMapping
from typing import Any, Generic, Protocol, TypeVar

from runner.errors import Place, UserError, did_you_mean
from runner.sdk.group import is_group, leaves
from runner.sdk.io import Input, Output, as_input, as_output
from runner.sdk.record import Reference, UnknownNameError, plain, refuse_unknown


class Owner(Protocol):
    """Of outputs: a step that other steps can refer to."""

    _token: str  # stands for its name until the pipeline is finished


_PLAIN_TYPES = {bool: "boolean", int: "integer", float: "number", str: "string"}


class NodeInput:
    """One input of a job: what it was given (`_value`) and what it was declared as (`_declared`)."""

    def __init__(self, name: str, value: Any = None, declared: Input | None = None) -> None:
        self._name, self._declared = name, declared
        self._changes: dict[str, Any] = {}
        self._value = as_input(value, f"inputs.{name}")

    def _assign(self, value: Any) -> None:
        self._value, self._changes = as_input(value._value if isinstance(value, NodeInput) else value, f"inputs.{self._name}"), {}
        if isinstance(value, NodeInput):
            self._changes = dict(value._changes)

    def _get(self, key: str) -> Any:
        if key in self._changes:
            return self._changes[key]
        for source in (self._value, self._declared):
            if isinstance(source, Input) and getattr(source, key) is not None:
                return getattr(source, key)
        return None

    @property
    def mode(self) -> str | None:
        found: str | None = self._get("mode")
        return found

    @mode.setter
    def mode(self, value: str) -> None:
        self._changes["mode"] = value

    @property
    def path(self) -> Any:
        return str(self._value) if isinstance(self._value, Reference) else self._get("path")

    @path.setter
    def path(self, value: Any) -> None:
        if isinstance(self._value, Input):
            self._changes["path"] = value
        else:
            self._value = Input(type=str(self.type or "uri_folder"), path=value)

    def _set_type(self, value: str) -> None:
        self._changes["type"] = value

    type = property(lambda self: self._get("type"), _set_type)

    @property
    def _is_set(self) -> bool:
        """A declaration without path or default is no value; nor is an input of the pipeline that nobody set."""
        if isinstance(self._value, Input):
            return self._value._is_literal or self._get("path") is not None
        if isinstance(self._value, PipelineInput):
            return not self._value._is_left_out
        return self._value is not None

    def _to_mapping(self) -> Any:
        """A plain value, or the mapping of an input. An unset one gives its declaration, or None."""
        declared = self._declared._to_mapping() if self._declared else {}
        if not self._is_set:
            return {**declared, **plain(self._changes)} or None
        about = {key: value for key, value in declared.items() if key not in ("path", "default", "optional")}
        if isinstance(self._value, (Input, dict)):
            return {**about, **plain(self._value), **plain(self._changes)}
        if self._declared and self._declared._is_literal:
            return self._literal(about)
        about |= plain(self._changes)
        return {**about, "path": plain(self._value)} if about else plain(self._value)

    def _literal(self, about: dict[str, Any]) -> Any:
        """Short where nothing is lost by it."""
        value = plain(self._value)
        short = _PLAIN_TYPES.get(type(value)) == about["type"] and not {"min", "max", "enum"} & set(about)
        return value if short and not isinstance(self._value, Reference) else {**about, "value": value}

    def __str__(self) -> str:
        return str(plain(self._value))

    def __repr__(self) -> str:
        from runner.sdk.text import mask

        return f"<input {self._name}: {mask(self._to_mapping())!r}>"


class PipelineInput(Reference):
    """An argument of a pipeline function: `${{parent.inputs.<name>}}` wherever a step has a value, in f-strings too."""

    def __init__(self, port: NodeInput, *, optional: bool) -> None:
        self._port, self._optional = port, optional

    @property
    def name(self) -> str:
        return self._port._name

    def result(self) -> Any:
        """What was given for it, while the pipeline function runs; by a pipeline around this one, what that was given."""
        value = self._port._value
        return value.result() if isinstance(value, PipelineInput) else value

    @property
    def _is_left_out(self) -> bool:
        return self._optional and not self._port._is_set

    def _expression(self) -> str:
        return f"${{{{parent.inputs.{self._port._name}}}}}"

    def __bool__(self) -> bool:
        raise UserError(
            f"the pipeline's input `{self._port._name}` has no truth value: its value is known only when the pipeline runs",
            todo=f"write `{self._port._name}.result()` for what was given now",
        )

    def __repr__(self) -> str:
        return f"<pipeline input {self._port._name}>"


class NodeOutput(Reference):
    """One output of a job; given to an input of a later step, or in an f-string, it is `${{parent.jobs.<step>.outputs.<name>}}`."""

    _KEYS = ("type", "path", "mode", "name", "version", "description")

    def __init__(self, name: str, value: Any, owner: Owner | None) -> None:
        self._name, self._owner = name, owner
        self._bound: str | None = None  # the output of the pipeline that this one is
        self._changes: dict[str, Any] = {}
        self._value = as_output(value, f"outputs.{name}")

    @property
    def port_name(self) -> str:
        return self._name

    def _assign(self, value: Any) -> None:
        self._value, self._changes = as_output(value, f"outputs.{self._name}"), {}

    def __getattr__(self, key: str) -> Any:
        if key.startswith("_") or key not in self._KEYS:
            raise UnknownNameError(f"an output has no attribute `{key}`", todo=did_you_mean(key, self._KEYS))
        stored = getattr(self._value, key) if isinstance(self._value, Output) else self._value if key == "path" else None
        return self._changes.get(key, stored)

    def __setattr__(self, key: str, value: Any) -> None:
        if key.startswith("_"):
            object.__setattr__(self, key, value)
            return
        refuse_unknown("an output", [key], self._KEYS)
        self._changes[key] = value

    def _expression(self) -> str:
        return f"${{{{parent.jobs.{self._owner._token}.outputs.{self._name}}}}}" if self._owner else f"${{{{outputs.{self._name}}}}}"

    def _settings(self) -> dict[str, Any]:
        """What was declared and set, the promotion to an output of the pipeline left aside."""
        changes = plain(self._changes)
        if isinstance(self._value, Output):
            return {**self._value._to_mapping(), **changes}
        return {**({"path": self._value} if self._value else {}), **changes}

    def _to_mapping(self) -> Any:
        """An output that the pipeline returns is that output: type, path and name stand there."""
        if self._bound:
            return f"${{{{parent.outputs.{self._bound}}}}}"
        settings = self._settings()
        return settings["path"] if set(settings) == {"path"} and str(settings["path"]).startswith("${{") else settings

    def __repr__(self) -> str:
        from runner.sdk.text import mask

        return f"<output {self._name}: {mask(self._settings())!r}>"


Port = TypeVar("Port", NodeInput, NodeOutput)


class Ports(MutableMapping[str, Any], Generic[Port]):
    """Inputs or outputs by attribute and by key; assigning gives the port a new value. `closed` ones have no further names."""

    _side: str
    _make: Callable[[str, Any], Port]
    _closed: bool
    _owner: str  # for messages
    _ports: dict[str, Port]

    def __init__(
        self, side: str, make: Callable[[str, Any], Port], values: Mapping[str, Any], *, closed: bool = False, owner: str = "the job"
    ) -> None:
        ports = {name: make(name, value) for name, value in values.items()}
        self.__dict__.update(_side=side, _make=make, _closed=closed, _owner=owner, _ports=ports)

    def _find(self, name: str) -> Any:
        """The port; the ports of a group where it is called so."""
        if name not in self._ports and any(port.startswith(f"{name}.") for port in self._ports):
            return PortGroup(self, name)
        if name not in self._ports:
            raise UnknownNameError(
                f"{self._owner} has no {self._side.removesuffix('s')} `{name}`",
                place=Place(field=self._side), allowed=", ".join(self._ports) or f"(no {self._side})", todo=did_you_mean(name, self._ports),
            )  # fmt: skip
        return self._ports[name]

    def _put(self, name: str, value: Any) -> None:
        if is_group(value):
            for below, _, member in leaves(type(value), value, name):
                self._put(f"{name}.{below}", member)
            return
        if name not in self._ports and not self._closed:
            self._ports[name] = self._make(name, None)
        self._find(name)._assign(value)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return self._find(name)

    def __setattr__(self, name: str, value: Any) -> None:
        self._put(name, value)

    def __getitem__(self, name: str) -> Port:
        return self._ports[name]

    def __setitem__(self, name: str, value: Any) -> None:
        self._put(name, value)

    def __delitem__(self, name: str) -> None:
        del self._ports[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._ports)

    def __len__(self) -> int:
        return len(self._ports)

    def __dir__(self) -> list[str]:
        return [*super().__dir__(), *self._ports]

    def __repr__(self) -> str:
        return repr(self._ports)

    def _to_mapping(self) -> dict[str, Any]:
        """The mapping of every port; an unset input is left out."""
        mappings = {name: port._to_mapping() for name, port in self._ports.items()}
        return {name: value for name, value in mappings.items() if value is not None}


class PortGroup:
    """The ports `<name>.…` of a job, by attribute: `job.inputs.params.rate = 2`."""

    def __init__(self, ports: Ports[Any], name: str) -> None:
        self.__dict__.update(_ports=ports, _name=name)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return self._ports._find(f"{self._name}.{name}")

    def __setattr__(self, name: str, value: Any) -> None:
        self._ports._put(f"{self._name}.{name}", value)

    def __repr__(self) -> str:
        return f"<inputs {self._name}.…>"
