"""The one tree of errors.

A `UserError` is a mistake that the user can mend: it is printed without our traceback, as what was wrong, where it
stands, what is allowed and what to do next. Every other exception is a bug of ours and shows its traceback.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

# What moves the cursor, hides or turns text on a terminal; surrogates are the business of the stream's encoding.
_CONTROLS = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]")


# Signatures and keys of Azure storage in texts that a user wrote, of which a message may quote a part.
_SECRETS = re.compile(r"\b(sig=|AccountKey=)[^&;\s'\"]+", re.IGNORECASE)


def without_secrets(text: str) -> str:
    """Last resort: whoever knows that a text may have a secret in it does not quote it."""
    return _SECRETS.sub(r"\1…", text)


def one_line(text: str) -> str:
    """A text that may come from binary data, on one line: control characters and line breaks as Python writes them (`\\x1b`, `\\n`)."""
    return _CONTROLS.sub(lambda found: repr(found[0])[1:-1], text)


def printable(text: str) -> str:
    """The same for a text of several lines: its line ends and tabs stay."""
    return "\n".join("\t".join(map(one_line, line.split("\t"))) for line in text.split("\n"))


@dataclass(frozen=True, kw_only=True)
class Place:
    """Where in a user's file something stands: `job.yml:12`, or only a field such as `jobs.score.inputs.images`."""

    file: str | None = None
    line: int | None = None  # 1-based
    field: str | None = None
    named_at: str = ""  # where another file names this one

    def __str__(self) -> str:
        where = ":".join(str(part) for part in (self.file, self.line) if part is not None)
        named = f"(named at {self.named_at})" if self.named_at else ""
        return " ".join(part for part in (where, f"`{self.field}`" if self.field else "", named) if part)


class RunnerError(Exception):
    """Base of all errors that this package raises on purpose."""


class UserError(RunnerError):
    """A mistake of the user's: `problem` (what was wrong), `place`, `allowed` (what may stand there), `todo` (what to do next)."""

    def __init__(self, problem: str, *, place: Place | None = None, allowed: str = "", todo: str = "") -> None:
        self.problem, self.place, self.allowed, self.todo = without_secrets(problem), place, allowed, todo
        super().__init__(self.describe())

    def describe(self, *, placed: bool = True) -> str:
        problem = printable(self.problem)
        place = one_line(str(self.place)) if placed and self.place else ""
        head = f"{place}: {problem}" if place else problem
        allowed = f"  allowed: {one_line(self.allowed)}" if self.allowed else ""
        todo = f"  next: {printable(self.todo)}" if self.todo else ""
        return "\n".join(part for part in (head, allowed, todo) if part)


class UserErrors(UserError):
    """Several mistakes found in one go, each a `UserError`; shown together so that one edit can mend them all.

    One that stands in several places is shown once.
    """

    def __init__(self, errors: Iterable[UserError]) -> None:
        self.errors = tuple(errors)
        alike: dict[str, list[UserError]] = {}
        for error in self.errors:
            alike.setdefault(error.describe(placed=False), []).append(error)
        super().__init__("\n".join(_at_all_places(same) for same in alike.values()))


def _at_all_places(errors: Sequence[UserError]) -> str:
    places = dict.fromkeys(str(error.place) for error in errors if error.place and str(error.place))
    return f"{one_line(', '.join(places))}: {errors[0].describe(placed=False)}" if places else errors[0].describe()


class NotSupportedHere(UserError):
    """Something Azure ML has and this build cannot honour yet; always said before anything starts."""


class SetupError(UserError):
    """What a job runs in could not be made, as the output of pip or a build tells, or is taken by others: the job has failed, which its
    file has no part in, and its log has all of that."""


class InputError(UserError):
    """A broken input: a row that does not parse, a file that is gone. Fails its mini-batch, without further attempts."""


class JobConflict(UserError):
    """The name, the job or the output is in use by another process."""


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """`did you mean 'x'?` for the nearest of the known names, or an empty string."""
    near = difflib.get_close_matches(word, list(known), n=1, cutoff=0.6)
    return f"did you mean '{near[0]}'?" if near else ""
