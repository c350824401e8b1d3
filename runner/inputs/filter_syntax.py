"""The text of a `filter` as a tree: `col("x") > 1 and not name.startswith("a")`. The parser is our own; nothing is evaluated as Python."""

from __future__ import annotations

import ast
import re
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NoReturn

from runner.errors import Place, UserError

ALLOWED = 'col("x") or x; == != < <= > >= and or not ( ) + - * / // % **; numbers, "text", True, False, datetime(y, m, d), .startswith("…")'
COMPARISONS = ("==", "!=", "<", "<=", ">", ">=")

_TOKEN = re.compile(
    r"""\s*(?:(?P<number>(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)
    |(?P<text>"(?:[^"\\\n]|\\.)*"|'(?:[^'\\\n]|\\.)*')
    |(?P<word>[^\W\d]\w*)
    |(?P<sign>\*\*|//|[=!<>]=|[-+*/%<>().,&|~=!\[\]]))""",
    re.VERBOSE,
)


@dataclass(frozen=True, kw_only=True)
class Node:
    """`op` is number, text, truth, moment (`value`), column (`value`: its name), or an operator with its `operands`."""

    op: str
    at: int  # where in the filter's text
    value: Any = None
    operands: tuple[Node, ...] = ()


@dataclass(frozen=True, kw_only=True)
class _Token:
    kind: str  # number, text, word, sign, end
    text: str
    at: int


def error(text: str, at: int, problem: str, place: Place | None, todo: str = "") -> UserError:
    """What is wrong at a position of a filter."""
    return UserError(f"filter {text!r}, at character {at + 1}: {problem}", place=place, allowed=ALLOWED, todo=todo)


def parse(text: str, place: Place | None = None) -> Node:
    """Raises a UserError at `place` for everything outside the grammar."""
    try:
        return _Parser(text, place).parse()
    except RecursionError:
        raise error(text[:80], 0, "nested too deeply", place) from None


class _Parser:
    def __init__(self, text: str, place: Place | None) -> None:
        self._text, self._place = text, place
        self._tokens = self._tokenize()
        self._next = 0

    def parse(self) -> Node:
        node = self._either()
        if self._token.kind != "end":
            self._refuse()
        return node

    def _tokenize(self) -> list[_Token]:
        tokens, at = [], 0
        end = len(self._text.rstrip())
        while at < end:
            match = _TOKEN.match(self._text, at)
            if not match:
                start = at + len(self._text[at:]) - len(self._text[at:].lstrip())
                raise error(self._text, start, f"unexpected {self._text[start]!r}", self._place)
            kind = str(match.lastgroup)
            tokens.append(_Token(kind=kind, text=match[kind], at=match.start(kind)))
            at = match.end()
        return [*tokens, _Token(kind="end", text="", at=end)]

    @property
    def _token(self) -> _Token:
        return self._tokens[self._next]

    def _take(self, *texts: str) -> _Token | None:
        token = self._token
        if token.kind in ("word", "sign") and token.text in texts:
            self._next += 1
            return token
        return None

    def _expect(self, text: str) -> None:
        if not self._take(text):
            self._refuse(f"'{text}' is missing")

    def _refuse(self, problem: str = "") -> NoReturn:
        token = self._token
        todo = {"&": "write `and`", "|": "write `or`", "~": "write `not`", "=": "write `==`", "!": "write `not`"}.get(token.text, "")
        if token.text == "in":
            todo = 'write x == "a" or x == "b"'
        found = "the end" if token.kind == "end" else f"{token.text!r}"
        raise error(self._text, token.at, problem or f"unexpected {found}", self._place, todo)

    def _either(self) -> Node:
        node = self._both()
        while token := self._take("or"):
            node = Node(op="or", at=token.at, operands=(node, self._both()))
        return node

    def _both(self) -> Node:
        node = self._negated()
        while token := self._take("and"):
            node = Node(op="and", at=token.at, operands=(node, self._negated()))
        return node

    def _negated(self) -> Node:
        if token := self._take("not"):
            return Node(op="not", at=token.at, operands=(self._negated(),))
        return self._comparison()

    def _comparison(self) -> Node:
        node = self._sum()
        if token := self._take(*COMPARISONS):
            node = Node(op=token.text, at=token.at, operands=(node, self._sum()))
            if self._token.text in COMPARISONS and self._token.kind == "sign":
                raise error(
                    self._text, self._token.at, "comparisons cannot be chained", self._place, "write 1 < x and x < 5, with `and` between"
                )
        return node

    def _sum(self) -> Node:
        node = self._product()
        while token := self._take("+", "-"):
            node = Node(op=token.text, at=token.at, operands=(node, self._product()))
        return node

    def _product(self) -> Node:
        node = self._signed()
        while token := self._take("*", "/", "//", "%"):
            node = Node(op=token.text, at=token.at, operands=(node, self._signed()))
        return node

    def _signed(self) -> Node:
        if token := self._take("-", "+"):
            return Node(op="negative" if token.text == "-" else "positive", at=token.at, operands=(self._signed(),))
        return self._power()

    def _power(self) -> Node:
        node = self._method()
        if token := self._take("**"):
            return Node(op="**", at=token.at, operands=(node, self._signed()))
        return node

    def _method(self) -> Node:
        node = self._atom()
        while token := self._take("."):
            if not self._take("startswith"):
                self._refuse("only .startswith(…) is known here")
            self._expect("(")
            node = Node(op="startswith", at=token.at, value=self._string(), operands=(node,))
            self._expect(")")
        return node

    def _atom(self) -> Node:
        token = self._token
        if self._take("("):
            node = self._either()
            self._expect(")")
            return node
        if token.kind == "number":
            self._next += 1
            return Node(op="number", at=token.at, value=int(token.text) if token.text.isdigit() else float(token.text))
        if token.kind == "text":
            return Node(op="text", at=token.at, value=self._string())
        if token.kind == "word" and token.text not in ("and", "or", "not", "in"):
            return self._word()
        return self._refuse()

    def _word(self) -> Node:
        token = self._token
        self._next += 1
        if token.text in ("True", "False"):
            return Node(op="truth", at=token.at, value=token.text == "True")
        if token.text in ("col", "datetime") and self._take("("):
            node = self._column(token) if token.text == "col" else self._moment(token)
            self._expect(")")
            return node
        if self._token.text == "(":
            raise error(self._text, token.at, f"there is no function '{token.text}'", self._place)
        return Node(op="column", at=token.at, value=token.text)

    def _column(self, token: _Token) -> Node:
        return Node(op="column", at=token.at, value=self._string())

    def _moment(self, token: _Token) -> Node:
        numbers = []
        while self._token.kind == "number" and self._token.text.isdigit():
            numbers.append(int(self._token.text))
            self._next += 1
            if not self._take(","):
                break
        try:
            return Node(op="moment", at=token.at, value=datetime(*numbers))  # type: ignore[arg-type]
        except (TypeError, ValueError) as problem:
            raise error(self._text, token.at, f"no date: {problem}", self._place, "write datetime(2024, 1, 31)") from None

    def _string(self) -> str:
        token = self._token
        if token.kind != "text":
            self._refuse("a text in quotes is missing")
        self._next += 1
        return str(ast.literal_eval(token.text))
