"""Azure pastes values into the text of a command. For a value without blanks, quotes and signs, ours must come to the same: tried with
texts made at random, run by real shells."""

from __future__ import annotations

import random
import subprocess
from pathlib import Path

import pytest

from runner.errors import Place
from runner.model.job import JobInput
from runner.spec.command_text import read_command
from runner.spec.expressions import Ports, Scope
from runner.spec.problems import Problems
from tests.unit.spec.test_command_text import shells

E, VALUE = "${{inputs.a}}", "/v"
SCOPE = Scope(own=Ports(inputs={"a": JobInput(type="string", value=VALUE)}))
SHOW = "show() { printf '<%s>' \"$@\"; echo; }; "
BROKEN = ("syntax", "unexpected", "delimited", "Unterminated")  # what shells say of a text that is none of theirs
IN_SINGLE = (E, "a b", '"', "\\", "$X", "`", "# ")
IN_DOUBLE = (E, "a b", "'", "# ", '\\"', "\\\\", "\\$X", "${X}", "\\x", f"${{Y:-{E}}}", "(", ")")
IN_HERE = (E, "a b\n", "'", '"', "\\$X", "${X}", "\\\\", f"$(show '{E}')", "(")


class Texts:
    """Makes a command at random."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)

    def some(self, pieces: tuple[str, ...], most: int = 4) -> str:
        return "".join(self.random.choice(pieces) for _ in range(self.random.randint(0, most)))

    def word(self, depth: int) -> str:
        return "".join(self.piece(depth) for _ in range(self.random.randint(1, 3)))

    def piece(self, depth: int) -> str:
        kind = self.random.randrange(12)
        if kind < 4 or depth > 3:
            return E
        made = {
            4: lambda: f"'{self.some(IN_SINGLE)}'",
            5: lambda: f'"{self.some(IN_DOUBLE)}"',
            6: lambda: f'"{self.some(IN_DOUBLE)}{self.inner(depth)}{self.some(IN_DOUBLE)}"',
            7: lambda: self.inner(depth),
            8: lambda: self.random.choice(["\\ ", "\\'", '\\"', "\\\\", "\\#", "a#b", "$#", "${#X}", "${X}", "x"]),
            9: lambda: f"${{Y:-{self.word(depth + 2)}}}",
            10: lambda: "$((1 + ${#X} + (2)))",
            11: lambda: self.random.choice([f"`show x{E}`", f'`show "{E}"`', f"`show '{E}'`"]) if depth < 2 else "x",
        }
        return made[kind]()

    def inner(self, depth: int) -> str:
        return f"$({self.command(depth + 1)})"

    def command(self, depth: int = 0) -> str:
        text = f"show {self.word(depth)} {self.word(depth)}"
        word = self.word(depth + 2)
        return self.random.choice(
            [
                text,
                f"({text})",
                f"{text} | cat",
                f'f() {{ show "$1" {word}; }}; f {word} two',
                f"{text}\n# it's \"a {E}\nshow {word}",
                f"cat <<END # isn't\n{self.some(IN_HERE)}\nEND\n{text}",
                f"cat <<'AN END'\n{self.some((*IN_HERE, '`'))}\nAN END\n{text}",
                f'for i in {word} y; do show "$i"; done; {text}',
                f'V={word}; show "$V" $V; {text}',
                f"set -- {word}; {text}; shift; show $#",
            ]
        )


def run(shell: str, text: str, values: tuple[str, ...], folder: Path) -> tuple[int, bytes, bytes]:
    words = [shell, "-c", text, shell, *values]
    done = subprocess.run(words, cwd=folder, capture_output=True, timeout=20, check=False, env={"X": "x", "PATH": "/usr/bin:/bin"})
    return done.returncode, done.stdout, done.stderr


@pytest.mark.parametrize("shell", shells())
@pytest.mark.parametrize("seed", range(3))
def test_a_plain_value_comes_to_what_it_would_pasted_in(seed: int, shell: str, tmp_path: Path) -> None:
    texts, compared = Texts(seed), 0
    for _ in range(40):
        text = SHOW + texts.command()
        status, printed, said = run(shell, text.replace(E, VALUE), (), tmp_path)
        if any(word.encode() in said for word in BROKEN):
            continue
        command = read_command(text, SCOPE, Place(), Problems())
        assert run(shell, command.text, command.values, tmp_path)[:2] == (status, printed), f"{text}\n---\n{command.text}"
        compared += 1
    assert compared > 20
