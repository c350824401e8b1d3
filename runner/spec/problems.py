"""Gathers the mistakes of a job, so that one run shows them all."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

from runner.errors import NotSupportedHere, Place, UserError, UserErrors
from runner.spec.expressions import FollowUpError


class Problems:
    """Errors in the order they were found, and notices: lines said before the job starts."""

    def __init__(self, errors: list[UserError] | None = None, named: dict[str, Place] | None = None) -> None:
        self.errors: list[UserError] = [] if errors is None else errors
        self._named: dict[str, Place] = {} if named is None else named  # files of components, and who names each
        self.notices: list[str] = []

    def for_step(self) -> Problems:
        """The same list of errors, with notices of its own."""
        return Problems(self.errors, self._named)

    def name_file(self, file: str | None, place: Place) -> None:
        """What is wrong in that file is told with the place that names it, the first of several."""
        if file and file != place.file:
            self._named.setdefault(file, place)

    def add(self, problem: str, place: Place | None, *, allowed: str = "", todo: str = "") -> None:
        self._append(UserError(problem, place=place, allowed=allowed, todo=todo))

    def unsupported(self, problem: str, place: Place | None, *, allowed: str = "", todo: str = "") -> None:
        """Something that Azure ML has and this build cannot honour."""
        self._append(NotSupportedHere(problem, place=place, allowed=allowed, todo=todo))

    def notice(self, text: str) -> None:
        if text not in self.notices:
            self.notices.append(text)

    def _append(self, error: UserError) -> None:
        error = self._with_name(error)
        if not isinstance(error, FollowUpError) and str(error) not in map(str, self.errors):
            self.errors.append(error)

    def _with_name(self, error: UserError) -> UserError:
        named = self._named.get(error.place.file or "") if error.place else None
        if named is None or error.place is None or type(error) not in (UserError, NotSupportedHere):
            return error
        place = replace(error.place, named_at=str(replace(named, field=None, named_at="")))
        return type(error)(error.problem, place=place, allowed=error.allowed, todo=error.todo)

    @contextmanager
    def catching(self) -> Iterator[None]:
        """Keeps a UserError of the block instead of letting it end the whole check."""
        try:
            yield
        except UserErrors as errors:
            for error in errors.errors:
                self._append(error)
        except UserError as error:
            self._append(error)

    def raise_if_any(self) -> None:
        """Raises the one error, or all of them together, in the order of the file's lines."""
        if not self.errors:
            return
        if len(self.errors) == 1:
            raise self.errors[0]
        raise UserErrors(sorted(self.errors, key=_order))


def _order(error: UserError) -> tuple[str, int]:
    return (error.place.file or "", error.place.line or 0) if error.place else ("", 0)
