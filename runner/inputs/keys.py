"""Partition formats: how the path of a file says which partition it belongs to (`/{store}/{day:yyyy/MM/dd}/{name}.csv`).

As `extract_columns_from_partition_format` of an MLTable file has it: `{c}` is text up to the next `/` or literal,
`{c:yyyy/MM/dd}` a moment, `*` any text within one path segment. Beyond it: no match is an error (mltable: silent nulls), the
parts of a date are read where the format has them (mltable reads yyyy/dd/MM as y/M/d), and a format that could match in several
places is taken to describe the end of the path.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property

from runner.errors import InputError, Place, UserError

EXAMPLE = "/{store}/{day:yyyy/MM/dd}/{name}.csv"
_ALLOWED = f"text, *, {{name}} and {{name:yyyy/MM/dd/HH/mm/ss}}, as in {EXAMPLE}"

_DATE_PARTS = {
    "yyyy": (r"\d{4}", "year"),
    "MM": (r"\d{2}", "month"),
    "dd": (r"\d{2}", "day"),
    "HH": (r"\d{2}", "hour"),
    "mm": (r"\d{2}", "minute"),
    "ss": (r"\d{2}", "second"),
}
_DATE = re.compile("|".join(_DATE_PARTS))
_TOKEN = re.compile(r"\{(?P<inside>[^{}]*)\}|(?P<wild>\*)|(?P<text>[^{}*]+)|(?P<stray>[{}])")


@dataclass(frozen=True, kw_only=True)
class Placeholder:
    """One `{name}` of a format. `date` is what stands after the colon, "" for text; `parts` its pieces in order (year, month, …)."""

    name: str
    date: str = ""
    parts: tuple[str, ...] = ()

    @property
    def is_date(self) -> bool:
        return bool(self.date)


@dataclass(frozen=True, kw_only=True)
class PartitionFormat:
    """A parsed format; make one with `parse`."""

    text: str
    placeholders: tuple[Placeholder, ...]
    regex: str

    @staticmethod
    def parse(text: str, *, place: Place | None = None) -> PartitionFormat:
        """Raises a UserError at `place` for a format without placeholders, with a stray brace, a name twice, or an unreadable date."""
        placeholders: list[Placeholder] = []
        regex: list[str] = []
        for token in _TOKEN.finditer(text):
            if token["stray"]:
                raise UserError(
                    f"the partition format '{text}' has a '{token['stray']}' without its partner", place=place, allowed=_ALLOWED
                )
            if token["wild"]:
                regex.append("[^/]*")
            elif token["text"] is not None:
                regex.append(re.escape(token["text"]))
            else:
                placeholder, pattern = _placeholder(token["inside"], text, place)
                if any(other.name == placeholder.name for other in placeholders):
                    raise UserError(
                        f"the partition format '{text}' has '{{{placeholder.name}}}' twice",
                        place=place,
                        todo="give each placeholder its own name",
                    )
                placeholders.append(placeholder)
                regex.append(pattern)
        if not placeholders:
            raise UserError(f"the partition format '{text}' has no placeholder", place=place, allowed=_ALLOWED)
        return PartitionFormat(text=text, placeholders=tuple(placeholders), regex="".join(regex))

    @property
    def names(self) -> tuple[str, ...]:
        """The columns it makes, in the order of the format."""
        return tuple(placeholder.name for placeholder in self.placeholders)

    @cached_property
    def _searches(self) -> tuple[re.Pattern[str], re.Pattern[str]]:
        return re.compile(self.regex + r"\Z", re.DOTALL), re.compile(self.regex, re.DOTALL)

    def match(self, path: str) -> dict[str, object]:
        """The value of each placeholder (`str`, or `datetime` without a zone) in the path, which has `/` as separator.

        A format that reaches the end of the path is matched there, any other in the leftmost place where it fits. Raises an
        InputError that names path and format when it fits nowhere or gives an impossible date.
        """
        at_end, anywhere = self._searches
        found = at_end.search(path) or anywhere.search(path)
        if not found:
            raise InputError(
                f"the path '{path}' does not fit the partition format '{self.text}'",
                todo="mend the format, or leave this file out of `paths`",
            )
        groups = iter(found.groups())
        return {
            one.name: self._moment(one, [next(groups) for _ in one.parts], path) if one.is_date else next(groups)
            for one in self.placeholders
        }

    def _moment(self, placeholder: Placeholder, digits: list[str], path: str) -> datetime:
        values = {"month": 1, "day": 1} | {part: int(text) for part, text in zip(placeholder.parts, digits, strict=True)}
        try:
            return datetime(**values)  # type: ignore[arg-type]
        except ValueError as error:
            raise InputError(
                f"'{{{placeholder.name}:{placeholder.date}}}' of the partition format finds no date in '{path}': {error}"
            ) from None


def _placeholder(inside: str, text: str, place: Place | None) -> tuple[Placeholder, str]:
    name, colon, date = inside.partition(":")
    if not name.strip():
        raise UserError(f"a placeholder of the partition format '{text}' has no name", place=place, allowed=_ALLOWED)
    if not colon:
        return Placeholder(name=name), "([^/]+)"
    parts, pieces, at = [], [], 0
    for token in _DATE.finditer(date):
        pattern, part = _DATE_PARTS[token[0]]
        parts.append(part)
        pieces += [re.escape(date[at : token.start()]), f"({pattern})"]
        at = token.end()
    pieces.append(re.escape(date[at:]))
    literal = "".join(date[i] for i in range(len(date)) if not any(token.start() <= i < token.end() for token in _DATE.finditer(date)))
    if "year" not in parts or len(set(parts)) < len(parts) or re.search(r"[A-Za-z]", literal):
        raise UserError(
            f"'{{{inside}}}' in the partition format '{text}' is not a date that can be read",
            place=place,
            allowed="yyyy, and MM, dd, HH, mm, ss, each once, with punctuation between them",
        )
    return Placeholder(name=name, date=date, parts=tuple(parts)), "".join(pieces)


def key_text(value: object) -> str:
    """A key as the manifest and `partition_key_value` have it where it comes from a path: text as it is, moments as ISO 8601."""
    return value.isoformat() if isinstance(value, datetime) else str(value)


def pick(values: Mapping[str, object], keys: tuple[str, ...]) -> tuple[str, ...]:
    """The texts of the wanted keys, in their order."""
    return tuple(key_text(values[key]) for key in keys)
