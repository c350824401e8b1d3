"""`${{…}}` and `$[[…]]` (inputs-outputs: expressions): finding them, and what they stand for.

A `Scope` says which names a value may refer to. `${{inputs.x}}` and `${{outputs.y}}` belong to the job itself; with a parent
(a pipeline), `${{parent.inputs.x}}`, `${{parent.outputs.y}}` and `${{parent.jobs.s.outputs.y}}` do as well.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from runner.errors import NotSupportedHere, Place, UserError, did_you_mean
from runner.model.job import JobInput, JobOutput
from runner.spec.yaml_source import shown

Meaning = JobInput | JobOutput | str

_EXPRESSION = re.compile(r"\$\{\{(.*?)\}\}", re.DOTALL)
_OPTIONAL = re.compile(r"\$\[\[(.*?)\]\]", re.DOTALL)
_WORDS = ("inputs", "outputs", "parent", "name", "output_name", "default_datastore")
FORMS = "${{inputs.<name>}}, ${{outputs.<name>}}"
PARENT_FORMS = "${{parent.inputs.<name>}}, ${{parent.outputs.<name>}}, ${{parent.jobs.<step>.outputs.<name>}}"


@dataclass(frozen=True, kw_only=True)
class Ports:
    """The inputs and outputs of a job or step that can be referred to.

    `broken` are names whose mistake has been put down already; with `unknown`, so has that of the step as a whole.
    """

    inputs: Mapping[str, JobInput] = field(default_factory=dict)
    outputs: Mapping[str, JobOutput] = field(default_factory=dict)
    broken: frozenset[str] = frozenset()
    unknown: bool = False


class FollowUpError(UserError):
    """Refers to something whose own mistake is in the list already: not worth a line."""


@dataclass(frozen=True, kw_only=True)
class Scope:
    """What expressions can refer to. `words` are those without dots: `name`, `default_datastore`, `output_name`."""

    own: Ports = field(default_factory=Ports)
    parent: Ports | None = None
    jobs: Mapping[str, Ports] = field(default_factory=dict)  # the steps of the parent that stand before this one
    words: Mapping[str, str] = field(default_factory=dict)


def has_expression(text: str) -> bool:
    return "${{" in text or "$[[" in text


def only_expression(text: str) -> str | None:
    """The inside of a text that is one expression and nothing else."""
    match = _EXPRESSION.fullmatch(text.strip())
    return match[1].strip() if match and "${{" not in match[1] else None


def names_parent(text: str) -> bool:
    """Whether a text refers to something of the parent."""
    return any(inner.strip().split(".")[0] in ("parent", "parents") for inner in _EXPRESSION.findall(text))


def steps_named(text: str) -> Iterator[str]:
    """The steps whose inputs or outputs a text refers to."""
    for match in _EXPRESSION.finditer(text):
        parts = match[1].strip().split(".")
        if len(parts) >= 3 and parts[0] in ("parent", "parents") and parts[1] == "jobs":
            yield parts[2]


def substitute(text: str, scope: Scope, place: Place, keep: Callable[[str], str] = lambda value: value) -> str:
    """The text with every expression replaced by what it stands for; `keep` may wrap each replacement."""
    check_closed(text, place)
    return _EXPRESSION.sub(lambda match: keep(as_text(meaning(match[1].strip(), scope, place), match[0], place)), text)


def drop_optional(text: str, scope: Scope, place: Place) -> str:
    """`$[[ … ]]` without its brackets, or nothing where it names an optional input that got no value."""
    if text.count("$[[") > len(_OPTIONAL.findall(text)):
        raise UserError("'$[[' is not closed", place=place, todo="write $[[ --option ${{inputs.name}} ]]")

    def part(match: re.Match[str]) -> str:
        named = [meaning(inner.strip(), scope, place) for inner in _EXPRESSION.findall(match[1])]
        return "" if any(isinstance(one, JobInput) and one.optional_unset for one in named) else match[1]

    return _OPTIONAL.sub(part, text)


def check_closed(text: str, place: Place) -> None:
    if text.count("${{") > len(_EXPRESSION.findall(text)) or any("${{" in inner for inner in _EXPRESSION.findall(text)):
        raise UserError(f"'${{{{' is not closed in {shown(text)}", place=place, todo="every ${{ needs its }}")


def as_text(value: Meaning, written: str, place: Place) -> str:
    """What an expression puts into a text: a path, a literal as Python's str() gives it (sdk), a word."""
    if isinstance(value, str):
        return value
    if isinstance(value, JobOutput):
        return value.path
    if value.optional_unset:
        raise UserError(
            f"{written} is an optional input that got no value",
            place=place,
            todo=f"set it, or write $[[ … {written} ]], which is dropped when it is unset",
        )
    return str(value.path if value.is_data else value.value)


def meaning(inner: str, scope: Scope, place: Place) -> Meaning:
    """What the inside of one `${{…}}` refers to; an unknown name is an error that lists the known ones."""
    parts = inner.split(".")
    head = parts[0]
    if head == "inputs" or head == "outputs":
        return _port(parts[1:], scope.own, head, "this job", inner, place, above=scope.parent)
    if head == "parent" or (head == "parents" and scope.parent is None):
        return _of_parent(parts[1:], scope, inner, place)
    if len(parts) == 1 and head in scope.words:
        return scope.words[head]
    if head == "search_space":
        raise NotSupportedHere(f"'${{{{{inner}}}}}' belongs to sweep jobs, which this build does not run", place=place)
    if head in ("name", "output_name", "default_datastore"):
        raise UserError(
            f"'${{{{{inner}}}}}' has no meaning here",
            place=place,
            allowed=_forms(scope),
            todo=f"${{{{{head}}}}} stands in the paths of outputs",
        )
    known = [*_WORDS[: 3 if scope.parent else 2], *scope.words]
    raise UserError(f"'${{{{{inner}}}}}' is not known", place=place, allowed=_forms(scope), todo=_suggest(inner, head, known))


def _forms(scope: Scope) -> str:
    words = [f"${{{{{word}}}}}" for word in scope.words]
    return ", ".join([FORMS, *([PARENT_FORMS] if scope.parent else []), *words])


def _suggest(inner: str, head: str, known: Iterable[str]) -> str:
    near = did_you_mean(head, known)
    if not near:
        return ""
    word = near.removeprefix("did you mean '").removesuffix("'?")
    return f"did you mean '${{{{{word}{inner[len(head) :]}}}}}'?"


def _of_parent(parts: list[str], scope: Scope, inner: str, place: Place) -> Meaning:
    if scope.parent is None:
        raise UserError(
            f"'${{{{{inner}}}}}' stands in a job that has no parent",
            place=place,
            allowed=_forms(scope),
            todo="only the steps of a pipeline have one: leave 'parent.' out",
        )
    head = parts[0] if parts else ""
    if head in ("inputs", "outputs"):
        return _port(parts[1:], scope.parent, head, "the pipeline", inner, place)
    if head != "jobs":
        raise UserError(
            f"'${{{{{inner}}}}}' is not known", place=place, allowed=PARENT_FORMS, todo=did_you_mean(head, ["inputs", "outputs", "jobs"])
        )
    step = parts[1] if len(parts) > 1 else ""
    if step not in scope.jobs:
        raise UserError(
            f"'${{{{{inner}}}}}': the pipeline has no step '{step}' that this one can use",
            place=place,
            allowed=", ".join(scope.jobs) or "(no other steps)",
            todo=did_you_mean(step, scope.jobs),
        )
    if len(parts) < 3 or parts[2] not in ("inputs", "outputs"):
        raise UserError(
            f"'${{{{{inner}}}}}' does not say what of the step",
            place=place,
            allowed=f"${{{{parent.jobs.{step}.outputs.<name>}}}}, ${{{{parent.jobs.{step}.inputs.<name>}}}}",
            todo=did_you_mean(parts[2] if len(parts) > 2 else "", ["inputs", "outputs"]),
        )
    return _port(parts[3:], scope.jobs[step], parts[2], f"step '{step}'", inner, place)


def _port(
    parts: list[str], ports: Ports, side: str, whose: str, inner: str, place: Place, *, above: Ports | None = None
) -> JobInput | JobOutput:
    """`above`: those of the pipeline around a step, which may have been meant."""
    known = _side(ports, side)
    name = ".".join(parts)
    if name not in known and parts[1:] == ["path"]:  # ${{inputs.x.path}}, of Azure's older files
        name = parts[0]
    if ports.unknown or name in ports.broken:
        raise FollowUpError(f"'{name}' has a mistake of its own", place=place)
    if name not in known:
        what = side.removesuffix("s")
        raise UserError(
            f"'${{{{{inner}}}}}': {whose} has no {what} '{name}'",
            place=place,
            allowed=", ".join(known) or f"(no {side})",
            todo=did_you_mean(name, known) or (f"did you mean '${{{{parent.{inner}}}}}'?" if above and name in _side(above, side) else ""),
        )
    return known[name]


def _side(ports: Ports, side: str) -> Mapping[str, JobInput | JobOutput]:
    return ports.inputs if side == "inputs" else ports.outputs
