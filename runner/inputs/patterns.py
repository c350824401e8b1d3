"""`pattern` entries of an MLTable file: which folders to enter and which files to take.

`*`, `?`, `[ab]`, `[0-9]` stay within one level of folders, `**/` spans none or several; hidden names match. As mltable has it, a
last segment `**` matches nothing and `{a,b}` is plain text.
"""

from __future__ import annotations

import fnmatch
import re
from functools import cache

MAGIC = re.compile(r"[*?\[]")

State = frozenset[int]  # positions in the pattern that the folders entered so far can have reached


class Pattern:
    """Matches a relative path level by level, so that folders which cannot hold a match are never listed."""

    def __init__(self, text: str) -> None:
        self._segments = [segment for segment in text.split("/") if segment not in ("", ".")]
        self._regexes = [re.compile(fnmatch.translate(segment)) for segment in self._segments]
        self.start = self._reach({0} if self._segments else set())

    def enter(self, state: State, folder: str) -> State | None:
        """The state inside the folder of that name; None when nothing in it can match."""
        reached = set()
        for at in state:
            if self._segments[at] == "**":
                reached.add(at)
            elif at + 1 < len(self._segments) and self._regexes[at].match(folder):
                reached.add(at + 1)
        return self._reach(reached) or None

    def accepts(self, state: State, name: str) -> bool:
        """Whether the file of that name matches."""
        last = len(self._segments) - 1
        return last in state and self._segments[last] != "**" and self._regexes[last].match(name) is not None

    def matches(self, path: str) -> bool:
        """Whether a relative path matches as a whole."""
        *folders, name = path.split("/")
        state: State | None = self.start
        for folder in folders:
            state = self.enter(state, folder) if state else None
        return bool(state) and self.accepts(state or frozenset(), name)

    def _reach(self, positions: set[int]) -> State:
        for at in sorted(positions):
            while self._segments[at] == "**" and at + 1 < len(self._segments):
                at += 1
                positions.add(at)
        return frozenset(positions)


@cache
def compiled(text: str) -> Pattern:
    return Pattern(text)


def split_pattern(text: str, *, inside: str = "") -> tuple[str, str]:
    """The folder that a pattern starts from, and the rest of it: `data/2024/**/*.csv` → `data/2024`, `**/*.csv`.

    In a pattern that lies below the folder `inside`, the name of that folder is taken as it is, whatever characters it has.
    """
    if inside and text.startswith(f"{inside}/"):
        folder, rest = split_pattern(text[len(inside) + 1 :])
        return inside if folder == "." else f"{inside}/{folder}", rest
    segments = text.split("/")
    first = next((at for at, segment in enumerate(segments) if MAGIC.search(segment)), len(segments) - 1)
    folder = "/".join(segments[:first])
    return folder or ("/" if first and text.startswith("/") else "."), "/".join(segments[first:])
