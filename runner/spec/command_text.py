"""`command`: text for a shell, and the values of its expressions, which the shell gets as arguments and never reads as text.

Each expression becomes a variable of the shell, quoted as the place that it stands in demands: a value with blanks, quotes or `$(…)` in it
is one word, or part of one, and nothing of it is run. The text begins by taking the values from the arguments and clearing these, so that
`$1`, `$@` and functions of the user's own find what they would find without us; the variables are not exported.
"""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from runner.errors import Place, UserError
from runner.model.job import JobInput
from runner.spec.expressions import Scope, as_text, check_closed, drop_optional, has_expression, meaning
from runner.spec.problems import Problems
from runner.spec.yaml_source import shown

LONGEST = 131_071  # bytes of one argument on Linux: MAX_ARG_STRLEN without the NUL at its end
_WHOLE = r"\$\{\{.*?\}\}"
_LOOSE = re.compile(r"(\$\{)?\b((inputs|outputs)\.([A-Za-z_][\w-]*))")
_VARIABLE = "RUNNER_{}"  # names that begin so are the runner's: a job cannot set them (settings.py)

_TAKEN = "; set --; "

# How a value is put where it stands: nothing there splits it into words or reads it as code.
_WRITTEN = {"plain": '"{}"', "double": "{}", "here": "{}", "sum": "{}", "comment": "{}", "single": "'\"{}\"'", "ansi": "'\"{}\"$'"}

_HERE = r"(?<!<)<<(?!<)(?P<tabs>-?)[ \t]*(?:'(?P<one>[^'\n]+)'|\"(?P<two>[^\"\n]+)\"|(?P<word>\\?[A-Za-z_][\w.-]*))"
_TOKENS = {
    "plain": rf"""\\?{_WHOLE}|\\.|\$?'|\$?"|\$\(\(|[$<>]?\(|\)|`|\n|(?:(?<=[\s;&|()])|\A)\#|{_HERE}""",
    "double": rf"""\\?{_WHOLE}|\\.|"|\$\(\(|\$\(|`""",
    "here": rf"""\\?{_WHOLE}|\\.|\$\(\(|\$\(|`""",
    "sum": rf"""{_WHOLE}|\\.|\$?'|"|\$\(\(|\$?\(|\)|`""",  # quotes, since `$((ls) | wc)` begins as one does
    "single": rf"{_WHOLE}|'",
    "ansi": rf"{_WHOLE}|\\.|'",
    "comment": rf"{_WHOLE}|\n",
}
_TOKEN = {kind: re.compile(pattern, re.DOTALL) for kind, pattern in _TOKENS.items()}
_OPENS = {"'": ("single", "'"), "$'": ("ansi", "'"), '"': ("double", '"'), '$"': ("double", '"'), "#": ("comment", ""), "`": ("plain", "`")}
_HERE_END = "RUNNER_END"


@dataclass(frozen=True, kw_only=True)
class Command:
    """As `bash -c TEXT bash VALUE …` wants it."""

    text: str
    values: tuple[str, ...] = ()


def read_command(text: str, scope: Scope, place: Place, problems: Problems) -> Command:
    """Errors: UserError."""
    text = drop_optional(text, scope, place)
    check_closed(text, place)
    _check_loose(re.sub(_WHOLE, "", text, flags=re.DOTALL), scope, place, problems)
    values: dict[str, str] = {}

    def variable(written: str) -> str:
        inner = written[3:-2].strip()
        values.setdefault(inner, as_text(meaning(inner, scope, place), written, place))
        return f"${{{_VARIABLE.format([*values].index(inner) + 1)}}}"

    scanner = _Scanner(variable=variable)
    replaced = scanner.replaced(text)
    for inner in scanner.bare:
        found = meaning(inner, scope, place)
        if isinstance(found, JobInput) and not found.is_data and len(values[inner].split()) > 1:
            problems.notice(
                f"command: the value of '${{{{{inner}}}}}' has blanks and is one word here, where Azure makes several of it; "
                f"for several write $(echo ${{{{{inner}}}}})"
            )
    if "\0" in replaced or any("\0" in value for value in values.values()):
        raise UserError("the command has a NUL character", place=place, todo="remove it")
    taken = " ".join(f"{_VARIABLE.format(number)}=${{{number}}}" for number in range(1, len(values) + 1))
    whole = f"{taken}{_TAKEN}{replaced}" if values else replaced
    if too_long := [written for written, value in (("the command", whole), *values.items()) if len(os.fsencode(value)) > LONGEST]:
        raise UserError(
            f"{shown(too_long[0])} has more than {LONGEST:,} bytes, which is all that the system takes in one argument",
            place=place,
            todo="hand it over in a file",
        )
    return Command(text=whole, values=tuple(values.values()))


def with_values(text: str, values: Sequence[str]) -> str:
    """The text of a Command as somebody would have written it who knew the values: for show, nobody runs that."""

    def value(found: re.Match[str]) -> str:
        before, quoted, number, after = found.groups(default="")
        known = values[int(number) - 1]
        if before and quoted and after:  # in single quotes, which were closed and opened again for it
            return known.replace("'", "'\\''")
        return before + (shlex.quote(known) if quoted else known) + after

    pattern = r"""(')?("?)\$\{RUNNER_(\d+)\}\2(\$?')?"""
    return re.sub(pattern, value, text.partition(_TAKEN)[2]) if values else text


def _check_loose(text: str, scope: Scope, place: Place, problems: Problems) -> None:
    """Names of ports that stand without their braces: a mistake where no shell could read it, else worth a word."""
    for found in _LOOSE.finditer(text):
        ports = scope.own.inputs if found[3] == "inputs" else scope.own.outputs
        if found[4] not in ports:
            continue
        right = f"${{{{{found[2]}}}}}"
        if found[1]:
            raise UserError(f"{shown(found[0] + '}')} has too few braces", place=place, allowed=right, todo=f"write {right}")
        problems.notice(f"command: '{found[2]}' is handed on as it stands; its value is {right}")


@dataclass(kw_only=True)
class _HereDocument:
    word: str
    quoted: bool
    tabs: bool  # `<<-`: leading tabs are none of its
    at: int  # of its operator in what has been written

    def end_in(self, text: str, position: int) -> re.Match[str] | None:
        """The line that ends it; None: what looks like its operator is something else."""
        tabs = r"\t*" if self.tabs else ""
        return re.compile(rf"^{tabs}{re.escape(self.word)}$", re.MULTILINE).search(text, position)


@dataclass(kw_only=True)
class _Scanner:
    """Reads a text as a shell does, as far as to know how each place of it is quoted."""

    variable: Callable[[str], str]
    written: list[str] = field(default_factory=list)
    open: list[tuple[str, str]] = field(default_factory=lambda: [("plain", "")])  # (kind, what closes it), innermost last
    here: list[_HereDocument] = field(default_factory=list)  # whose texts begin with the next line
    bare: list[str] = field(default_factory=list)  # expressions that stand in no quotes and no other command

    def replaced(self, text: str, kind: str = "plain") -> str:
        self.open = [(kind, "")]
        position = 0
        while found := _TOKEN[self.open[-1][0]].search(text, position):
            self.written.append(text[position : found.start()])
            position = found.end()
            piece, kind = found[0], self.open[-1][0]
            if "${{" in piece:
                self._expression(piece)
            elif piece == "\n" and kind == "comment":
                self.open.pop()
                position = found.start()
            elif piece == "\n" and self.here:
                position = self._here_texts(text, position)
            else:
                if "<<" in piece:
                    self._begin_here(found, text)
                self.written.append(piece)
                self._open_or_close(piece)
        self.written.append(text[position:])
        return "".join(self.written)

    def _expression(self, piece: str) -> None:
        kind = self.open[-1][0]
        if kind == "plain" and len(self.open) == 1:
            self.bare.append(piece.removeprefix("\\")[3:-2].strip())
        value = _WRITTEN[kind].format(self.variable(piece.removeprefix("\\")))
        # A backslash before a value: outside quotes it would vanish, inside it would stay.
        self.written.append(("\\\\" if piece.startswith("\\") and kind != "plain" else "") + value)

    def _open_or_close(self, piece: str) -> None:
        kind, closing = self.open[-1]
        if piece == closing:
            self.open.pop()
        elif piece in _OPENS:
            self.open.append(_OPENS[piece])
        elif piece == "$((":
            self.open += [("sum", ")"), ("sum", ")")]
        elif piece.endswith("("):
            self.open.append(("sum" if kind == "sum" and piece == "(" else "plain", ")"))

    def _begin_here(self, found: re.Match[str], text: str) -> None:
        word = found["word"] or ""
        document = _HereDocument(
            word=found["one"] or found["two"] or word.removeprefix("\\"),
            quoted=not word or word.startswith("\\"),
            tabs=bool(found["tabs"]),
            at=len(self.written),
        )
        if document.end_in(text, found.end()):
            self.here.append(document)

    def _here_texts(self, text: str, position: int) -> int:
        """Writes the line end, and the texts that begin after it; returns where they end."""
        self.written.append("\n")
        for document in self.here:
            end = document.end_in(text, position)
            if end is None:
                break
            self._here_text(document, text[position : end.start()], end[0])
            position = end.end()
        self.here.clear()
        return position

    def _here_text(self, document: _HereDocument, body: str, end: str) -> None:
        if not document.quoted:
            body = _Scanner(variable=self.variable).replaced(body, "here")
        elif has_expression(body):  # a shell replaces nothing in it: it is made one in which our variables are replaced, and nothing else
            end = _HERE_END
            self.written[document.at] = f"<<{end}"
            body = re.sub("^\t+", "", body, flags=re.MULTILINE) if document.tabs else body
            parts = re.split(rf"({_WHOLE})", body, flags=re.DOTALL)
            body = "".join(self.variable(part) if number % 2 else re.sub(r"[\\$`]", r"\\\g<0>", part) for number, part in enumerate(parts))
        self.written += [body, end]
