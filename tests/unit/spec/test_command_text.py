"""What a shell makes of a command: always run by one, since only that says how a place is quoted."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from runner.errors import Place, UserError
from runner.model.job import JobInput, JobOutput
from runner.spec.command_text import read_command, with_values
from runner.spec.expressions import Ports, Scope, has_expression
from runner.spec.problems import Problems

PLACE = Place(file="job.yml", line=3)
A = "/data/my images"
HOSTILE = 'it\'s "$(touch pwned)" `touch pwned` $HOME; touch pwned # \\ *'
SCOPE = Scope(
    own=Ports(
        inputs={
            "a": JobInput(type="uri_folder", path="/data/my images"),
            "bad": JobInput(type="string", value=HOSTILE),
            "n": JobInput(type="integer", value=7),
            "none": JobInput(type="string", value=""),
            "unset": JobInput(type="string", optional_unset=True),
            **{f"i{number}": JobInput(type="integer", value=number) for number in range(12)},
        },
        outputs={"o": JobOutput(type="uri_file", path="/out/rows.txt")},
    )
)
SHOW = "show() { for word in \"$@\"; do printf '<%s>' \"$word\"; done; printf '\\n'; }; "


def shells() -> list[str]:
    return [name for name in ("bash", "sh") if shutil.which(name)]


def run(text: str, folder: Path, shell: str = "bash") -> str:
    command = read_command(SHOW + text, SCOPE, PLACE, Problems())
    words = [shell, "-c", command.text, shell, *command.values]
    done = subprocess.run(
        words, cwd=folder, capture_output=True, text=True, timeout=20, check=False, env={"X": "x y", "PATH": "/usr/bin:/bin"}
    )
    assert list(folder.iterdir()) == [], "something was run"
    return done.stdout + done.stderr


ANY_SHELL = [
    ("show --data ${{inputs.a}} end", "<--data></data/my images><end>"),
    ("show --x=${{inputs.a}}/sub", "<--x=/data/my images/sub>"),
    ("show ${{ inputs.n }}${{inputs.n}} ${{outputs.o}}", "<77></out/rows.txt>"),
    ('show "--x=${{inputs.a}}/sub" "a ${{inputs.n}}"', "<--x=/data/my images/sub><a 7>"),
    ("show '--x=${{inputs.a}}/$X' \"$X\" $X ${X}", "<--x=/data/my images/$X><x y><x><y><x><y>"),
    ("show ${{inputs.bad}} \"${{inputs.bad}}\" '${{inputs.bad}}'", f"<{HOSTILE}>" * 3),
    ("show ${{inputs.none}} '${{inputs.none}}'", "<><>"),
    ("show $(echo ${{inputs.a}}) \"$(echo \"${{inputs.a}}\" '${{inputs.n}}')\"", "</data/my><images></data/my images 7>"),
    ("show \"$(echo \"a $(echo '${{inputs.bad}}')\")\"", f"<a {HOSTILE}>"),
    ('show `echo ${{inputs.a}}` "`echo ${{inputs.n}}`"', "</data/my><images><7>"),
    ("show $((${{inputs.n}} * (2 + 1))) $(( ((1)) + ${{inputs.n}} )) ${{inputs.a}}", "<21><8></data/my images>"),
    ("# don't ${{inputs.a}} \"\nshow ${{inputs.a}} # isn't\nshow a#'b ${{inputs.n}}' ${{inputs.a}}", f"<{A}>\n<a#b 7><{A}>"),
    (r"""show \"${{inputs.a}}\" \' "\"${{inputs.a}}" \\${{inputs.n}}""", r"""<"/data/my images"><'><"/data/my images><\7>"""),
    (r"""show \${{inputs.a}} "\${{inputs.n}}" '\${{inputs.n}}'""", r"""</data/my images><\7><\7>"""),
    ("show ${Y:-${{inputs.a}}} \"${Y:-${{inputs.a}}}\"", "</data/my images></data/my images>"),
    ("show \\\n  ${{inputs.a}} \\\n  end", "</data/my images><end>"),
    ("(show ${{inputs.a}}); { show \"${{inputs.n}}\"; } | cat", "</data/my images>\n<7>"),
    ("case ${{inputs.n}} in 7) show '${{inputs.a}}' ;; *) show no ;; esac", "</data/my images>"),
    ("cat <<EOF\n\"${{inputs.a}}\" isn't $(echo '${{inputs.bad}}') $X\nEOF\nshow '${{inputs.n}}'", f"\"{A}\" isn't {HOSTILE} x y\n<7>"),
    ("cat <<'END OF' # isn't\n\"${{inputs.a}}\" ${{inputs.bad}} $X $(touch pwned) \\$X `\nEND OF\nshow '${{inputs.n}}'",
     f"\"/data/my images\" {HOSTILE} $X $(touch pwned) \\$X `\n<7>"),
    ("cat <<-\"E\" <<F\n\t\t${{inputs.n}} $X\n\tE\n${{inputs.n}} $X\nF\nshow ${{inputs.n}}", "7 x y\n<7>"),
    ("cat <<'E'\n$X\nE\nshow ${{inputs.n}}", "$X\n<7>"),
    ("f() { show \"$1\" \"$#\" ${{inputs.a}} \"$@\"; }; f own two", "<own><2></data/my images><own><two>"),
    ("show \"$1\" \"${1}\" \"$#\" \"$@\" ${{inputs.n}}", "<><><0><7>"),
    ("set -- q ${{inputs.n}}; shift; show \"$1\" ${{inputs.a}}", "<7></data/my images>"),
    ("set -eu; show ${{inputs.a}}; false; show no", "</data/my images>"),
    (" ".join(["show", *(f"${{{{inputs.i{number}}}}}" for number in range(12))]), "".join(f"<{number}>" for number in range(12))),
    ("show a $[[--none ${{inputs.unset}}]] $[[--n ${{inputs.n}}]] b", "<a><--n><7><b>"),
    ("show '$[[x]]' $[[\"--n ${{inputs.a}}\"]]", "<x><--n /data/my images>"),
    ("env | grep -c RUNNER_; show ${{inputs.a}}", "0\n</data/my images>"),
]  # fmt: skip
BASH_ONLY = [
    ("show $'a\\'b ${{inputs.a}} \\'' ${{inputs.n}}", "<a'b /data/my images '><7>"),
    ('show $"a ${{inputs.a}}" <<< ${{inputs.n}}', "<a /data/my images>"),
    ("cat <<< ${{inputs.a}}; ((1 << 2)); show ${{inputs.a}}", "/data/my images\n</data/my images>"),
    ("cat <(echo ${{inputs.a}}); [[ ${{inputs.bad}} == \"${{inputs.bad}}\" ]] && show \"$(( 1 << ${{inputs.n}} ))\"", f"{A}\n<128>"),
    ("list=(${{inputs.a}} b); show \"${list[@]}\"", "</data/my images><b>"),
    ("EOF=2; ((x=1<<EOF)); show $x ${{inputs.a}}", "<4></data/my images>"),
]  # fmt: skip


@pytest.mark.parametrize("shell", shells())
@pytest.mark.parametrize(("text", "printed"), ANY_SHELL)
def test_values_are_words_whatever_is_in_them(text: str, printed: str, shell: str, tmp_path: Path) -> None:
    assert run(text, tmp_path, shell).rstrip("\n") == printed


@pytest.mark.parametrize(("text", "printed"), BASH_ONLY)
def test_what_only_bash_knows(text: str, printed: str, tmp_path: Path) -> None:
    assert run(text, tmp_path).rstrip("\n") == printed


def test_a_command_without_expressions_stays_as_it_is() -> None:
    command = read_command("echo \"$1\" $(ls) '$X'\n", SCOPE, PLACE, Problems())
    assert with_values(command.text, command.values) == command.text
    assert (command.text, command.values) == ("echo \"$1\" $(ls) '$X'\n", ())


@pytest.mark.parametrize("size", [131_071, 131_072])
@pytest.mark.parametrize(("text", "big"), [("printf %s ${{inputs.big}}", "inputs.big"), (": ", "the command")])
def test_what_is_too_long_for_the_system(text: str, big: str, size: int) -> None:
    """One byte less is taken, here and by the system."""
    scope = Scope(own=Ports(inputs={"big": JobInput(type="string", value=size * "y")}))
    written = text if has_expression(text) else text.ljust(size, "x")
    if size > 131_071:
        with pytest.raises(UserError, match=rf"(?s)'{big}' has more than 131,071 bytes.*in a file"):
            read_command(written, scope, PLACE, Problems())
    else:
        command = read_command(written, scope, PLACE, Problems())
        subprocess.run(["bash", "-c", command.text, "bash", *command.values], stdout=subprocess.DEVNULL, check=True, timeout=20)


def test_each_value_is_handed_over_once() -> None:
    command = read_command("a ${{inputs.a}} ${{ inputs.a }} '${{inputs.n}}'", SCOPE, PLACE, Problems())
    assert command.values == ("/data/my images", "7")
    assert command.text == """RUNNER_1=${1} RUNNER_2=${2}; set --; a "${RUNNER_1}" "${RUNNER_1}" ''"${RUNNER_2}"''"""


def test_a_command_as_it_is_shown() -> None:
    command = read_command('a --x=${{inputs.a}}/b "${{inputs.n}} ${{inputs.bad}}" $X', SCOPE, PLACE, Problems())
    assert with_values(command.text, command.values) == f"a --x='/data/my images'/b \"7 {HOSTILE}\" $X"


def test_a_command_with_single_quotes_as_it_is_shown() -> None:
    command = read_command("a '${{inputs.a}}' '<${{inputs.bad}}>' 'b'${{inputs.n}} $'\\t${{inputs.a}}'", SCOPE, PLACE, Problems())
    escaped = HOSTILE.replace("'", "'\\''")
    assert with_values(command.text, command.values) == f"a '/data/my images' '<{escaped}>' 'b'7 $'\\t/data/my images'"


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("x ${{inputs.b}}", "has no input 'b'"),
        ("x ${{inputs.unset}}", "optional input that got no value"),
        ("x ${{inputs.a", "is not closed"),
        ("x $[[ ${{inputs.a}}", r"'\$\[\[' is not closed"),
        ("x ${inputs.a}", "too few braces"),
        ("x '\0'", "NUL"),
    ],
)
def test_mistakes(text: str, says: str) -> None:
    with pytest.raises(UserError, match=says) as caught:
        read_command(text, SCOPE, PLACE, Problems())
    assert caught.value.place == PLACE


@pytest.mark.parametrize(("text", "said"), [("x inputs.a $outputs.o {{inputs.n}}", 3), ("x inputs.other my.inputs_a outputs.a", 0)])
def test_names_without_braces_are_worth_a_word(text: str, said: int) -> None:
    problems = Problems()
    assert read_command(text, SCOPE, PLACE, problems).text == text
    assert len(problems.notices) == said
