"""`task.program_arguments`: splitting into words, and the predefined arguments among them ("Predefined program arguments").

Predefined arguments are read, never removed: the script sees them too. Ranges are those of Azure's documentation.
"""

from __future__ import annotations

import difflib
import shlex
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from runner.errors import Place, UserError
from runner.spec.expressions import Scope, check_closed, drop_optional, substitute
from runner.spec.problems import Problems
from runner.spec.values import INT_MAX, to_bool, to_float, to_int
from runner.spec.yaml_source import shown

SHORTEST_ABBREVIATION = 12  # characters after the dashes; anything shorter is the user's own
LONGEST_SECONDS = 259_200  # three days, Azure's limit of all time-outs

Value = int | float | bool | str

_MARK = "\ue000"  # stands for an expression while a shell's rules split the words: a character of the private use area


def split_arguments(text: str, scope: Scope, place: Place) -> tuple[str, ...]:
    """The script's `sys.argv[1:]`. An expression is one word, or part of one, whatever blanks or quotes its value has."""
    text = drop_optional(text, scope, place)
    check_closed(text, place)
    values: list[str] = []

    def keep(value: str) -> str:
        values.append(value)
        return f"{_MARK}{len(values) - 1}{_MARK}"

    if _MARK in text:
        raise UserError("the character U+E000 cannot stand in arguments", place=place)
    masked = substitute(text, scope, place, keep)
    try:
        words = shlex.split(masked)
    except ValueError as error:
        raise UserError(
            f"cannot be split into words: {str(error).lower()} in {shown(text)}",
            place=place,
            todo="close the quote, or write \\' or \\\" for a quote itself",
        ) from None
    return tuple(_unmask(word, values) for word in words)


def _unmask(word: str, values: Sequence[str]) -> str:
    parts = word.split(_MARK)  # every second part is the number of an expression
    return "".join(values[int(part)] if index % 2 else part for index, part in enumerate(parts))


@dataclass(frozen=True, kw_only=True)
class Option:
    """A predefined argument: how its value is read (None: it does not parse), and what may stand there."""

    name: str
    parse: Callable[[str], Value | None]
    fits: Callable[[Value], bool]
    allowed: str


def _anything(value: Value) -> bool:  # noqa: ARG001
    return True


def _seconds(name: str) -> Option:
    return Option(
        name=name,
        parse=to_float,
        fits=lambda v: 0 < float(v) <= LONGEST_SECONDS,
        allowed=f"seconds, more than 0 and at most {LONGEST_SECONDS}",
    )


def _count(name: str) -> Option:
    return Option(
        name=name, parse=to_int, fits=lambda v: -1 <= int(v) <= INT_MAX, allowed=f"a whole number from -1 (no limit) to {INT_MAX}"
    )


def _flag(name: str) -> Option:
    return Option(name=name, parse=to_bool, fits=_anything, allowed="True, False")


_ALL = (
    _count("error_threshold"),
    _count("allowed_failed_count"),
    Option(name="allowed_failed_percent", parse=to_float, fits=lambda v: 0 <= float(v) <= 100, allowed="a number from 0 to 100"),
    _seconds("task_overhead_timeout"),
    _seconds("progress_update_timeout"),
    _seconds("first_task_creation_timeout"),
    Option(
        name="resource_monitor_interval",
        parse=to_float,
        fits=lambda v: 0 <= float(v) <= INT_MAX,
        allowed=f"seconds from 0 (off) to {INT_MAX}",
    ),
    _flag("copy_logs_to_parent"),
    Option(name="metrics_name_prefix", parse=str, fits=_anything, allowed="text"),
    _flag("push_metrics_to_parent"),
    _flag("append_row_dataframe_header"),
    Option(name="profiling_module", parse=str, fits=lambda v: v == "cProfile", allowed="cProfile"),
)
OPTIONS = {option.name: option for option in _ALL}


def read_predefined(words: Sequence[str], place: Place, problems: Problems) -> dict[str, Value]:
    """The predefined arguments among the words; the last of several wins, as with argparse."""
    found: dict[str, Value] = {}
    for name, value in _options(words):
        with problems.catching():
            option = OPTIONS.get(name)
            if option is not None:
                found[name] = _value(option, name, value, place)
                continue
            option = _abbreviated(name, value)
            if option is not None:
                problems.notice(f"program_arguments: --{name} is read as --{option.name}")
                found[option.name] = _value(option, name, value, place)
            elif near := _misspelled(name):
                problems.notice(f"program_arguments: --{name} is left to the script; did you mean --{near}?")
    return found


def _options(words: Sequence[str]) -> Iterator[tuple[str, str | None]]:
    """`--name=value` and `--name value` as (name, value); the value is None where none follows."""
    for index, word in enumerate(words):
        if word == "--":
            return
        if not word.startswith("--"):
            continue
        name, equals, value = word[2:].partition("=")
        following = words[index + 1] if index + 1 < len(words) and not words[index + 1].startswith("--") else None
        yield name, value if equals else following


def _value(option: Option, written: str, text: str | None, place: Place) -> Value:
    if text is None:
        raise UserError(f"the argument --{written} needs a value", place=place, allowed=option.allowed)
    value = option.parse(text)
    if value is None or not option.fits(value):
        raise UserError(f"the argument --{written} cannot be {shown(text)}", place=place, allowed=option.allowed)
    return value


def _abbreviated(name: str, text: str | None) -> Option | None:
    """Azure's own argparse takes unique beginnings (`--resource_monitor_interva 20` occurs in real jobs)."""
    matches = [option for option in _ALL if option.name.startswith(name)]
    if len(name) < SHORTEST_ABBREVIATION or len(matches) != 1 or text is None or matches[0].parse(text) is None:
        return None
    return matches[0]


def _misspelled(name: str) -> str | None:
    plain = name.replace("-", "_").lower()
    near = difflib.get_close_matches(plain, OPTIONS, n=1, cutoff=0.86)
    return near[0] if near else None
