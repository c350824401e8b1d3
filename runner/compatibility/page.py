"""docs/azure-compatibility.md, made from the table."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from runner.compatibility.table import STATUSES, Section, sections

_INTRO = """\
# Compatibility with Azure ML

<!-- Made from runner/compatibility/table.yml by `python -m runner.compatibility`; edit that, and run it. -->

Whether your jobs run here as they are: one row per key, keyword, argument and behaviour. Of a file of your own,
`runner job validate -f job.yml --compat` says the same key by key. `same` means: as Azure ML documents it, or as its SDK does.
"""
_NOTICE = """\
A *notice* is a line that `runner job validate` prints, and that a job says before it starts, in its logs, and on its last page.
"""


def render() -> str:
    """The whole page, with its final line end."""
    count = Counter(row.status for section in sections() for row in section.rows)
    statuses = "\n".join(f"* **{name}** ({count[name]} rows): {meaning}" for name, meaning in STATUSES.items())
    return "\n".join([_INTRO, statuses, "", _NOTICE, *(line for section in sections() for line in _section(section))]).rstrip() + "\n"


def _section(section: Section) -> Iterator[str]:
    yield f"## {section.title}"
    yield ""
    if section.text:
        yield from (section.text, "")
    yield f"| {section.head} | status | here |"
    yield "| --- | --- | --- |"
    for row in section.rows:
        yield f"| {row.what} | {row.status} | {row.here} |" if row.here else f"| {row.what} | {row.status} | |"
    yield ""
