"""The table as records. It is data (table.yml) that code only reads."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import yaml

STATUSES = {
    "same": "a job file or script that relies on it works here unchanged.",
    "chosen": "Azure's documents are silent or contradict each other; what stands here was decided, and holds.",
    "differs": "Azure does something else; how and why stands in the row.",
    "later": "not in this release. The row says what happens: an error before the job starts, or a notice. Nothing is ignored in silence.",
    "none": "has no meaning outside Azure; the row says what happens.",
}
COMMAND = "Keys of a command"
_NAME = re.compile(r"`([^`]+)`")


@dataclass(frozen=True, kw_only=True)
class Row:
    """`what` has keys in backticks, or says a behaviour; `here` is what happens, "" where there is no more to say than the status."""

    what: str
    status: str
    here: str

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(_NAME.findall(self.what))


@dataclass(frozen=True, kw_only=True)
class Section:
    title: str
    text: str
    head: str  # of the first column
    rows: tuple[Row, ...]


@cache
def sections() -> tuple[Section, ...]:
    data = yaml.safe_load(Path(__file__).with_name("table.yml").read_text(encoding="utf-8"))
    return tuple(_section(one) for one in data["sections"])


def _section(data: Mapping[str, object]) -> Section:
    rows = data["rows"]
    assert isinstance(rows, list)
    return Section(
        title=str(data["title"]),
        text=str(data.get("text", "")),
        head=str(data["head"]),
        rows=tuple(Row(what=one["what"], status=one["status"], here=one.get("here", "")) for one in rows),
    )


@cache
def row_of(key: str, *, command: bool = False) -> Row | None:
    """The row for a key, as a path like `task.code` or `inputs.*.mode`; of a command, its own row comes before that of parallel jobs."""
    mine = [one for one in sections() if one.title == COMMAND]
    others = [one for one in sections() if one.title != COMMAND]
    ordered = [*mine, *others] if command else [*others, *mine]
    return next((row for section in ordered for row in section.rows if key in row.names), None)
