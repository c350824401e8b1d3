"""A command in the place of an entry script."""

from __future__ import annotations

import os
import sys
import tracemalloc
from pathlib import Path

import pytest

from runner.worker import command
from runner.worker.command import TAIL_LINES, Command, CommandError, describe, with_python


def run(text: str, *arguments: str) -> str:
    """The error; empty for none."""
    try:
        assert Command(text, list(arguments)).run([]) == []
    except CommandError as error:
        return str(error)
    return ""


def test_it_gets_its_arguments_and_no_input(capfd: pytest.CaptureFixture[str]) -> None:
    assert not run('cat; printf "[%s]" "$0" "$@"; echo said >&2', "a b", "$(exit 9)", "")
    out, err = capfd.readouterr()
    assert out == "[bash][a b][$(exit 9)][]"
    assert err == "said\n"


def test_the_last_lines_of_stderr_are_kept_and_all_of_them_handed_on(capfd: pytest.CaptureFixture[str]) -> None:
    error = run("seq 100000 >&2; printf 'the end' >&2; exit 7").splitlines()
    assert error[0] == "the command ended with status 7: the end"
    assert error[2:] == [str(number) for number in range(100_002 - TAIL_LINES, 100_001)] + ["the end"]
    assert capfd.readouterr().err.endswith("100000\nthe end")


def test_a_long_line_is_cut(capfd: pytest.CaptureFixture[str]) -> None:
    error = run("head -c 3000000 /dev/zero | tr '\\0' x >&2; exit 1")
    assert len(error) < 600
    assert len(capfd.readouterr().err) == 3_000_000


def test_of_a_progress_bar_the_last_state_is_quoted(capfd: pytest.CaptureFixture[str]) -> None:
    error = run(
        "printf 'begin\\n' >&2; for n in 1 2 3; do printf '\\r%d of 3' $n >&2; done; printf '\\r\\n\\000\\377 end\\r\\n' >&2; exit 1"
    )
    assert error.split("\n") == [
        "the command ended with status 1: \0\N{REPLACEMENT CHARACTER} end",
        "",
        "begin",
        "3 of 3",
        "\0\N{REPLACEMENT CHARACTER} end",
    ]
    assert capfd.readouterr().err.startswith("begin\n\r1 of 3\r2 of 3\r3 of 3\r\n")


@pytest.mark.parametrize("filter_", ["cat", "tr '\\n' ' '"])
def test_output_without_end_takes_no_memory(monkeypatch: pytest.MonkeyPatch, filter_: str) -> None:
    """With and without the ends of lines."""
    sizes: list[int] = []
    monkeypatch.setattr(command, "write_all", lambda _descriptor, data: sizes.append(len(data)))
    tracemalloc.start()
    try:
        assert run(f"yes 'so it goes' | {filter_} | head -c 50000000 >&2; exit 1")
        assert tracemalloc.get_traced_memory()[1] < 10 << 20
    finally:
        tracemalloc.stop()
    assert sum(sizes) == 50_000_000


@pytest.mark.parametrize(
    ("status", "tail", "text"),
    [
        (1, [], "the command ended with status 1; it wrote nothing to stderr"),
        (1, ["", " "], "the command ended with status 1; it wrote nothing to stderr"),
        (2, ["no"], "the command ended with status 2: no"),
        (2, ["no", "way", ""], "the command ended with status 2: way\n\nno\nway\n"),
        (-15, [], "the command was killed by signal SIGTERM; it wrote nothing to stderr"),
        (-99, [], "the command was killed by signal 99; it wrote nothing to stderr"),
        (137, ["x"], "the command ended with status 137 (signal SIGKILL): x"),
        (255, ["x"], "the command ended with status 255 (signal 127): x"),
    ],
)
def test_how_it_ended(status: int, tail: list[str], text: str) -> None:
    assert describe(status, tail) == text


def test_what_the_system_does_not_start(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert run("true", "x" * (1 << 20)) == "the command cannot be started: Argument list too long"
    monkeypatch.setenv("PATH", str(tmp_path))
    assert "there is no shell" in run("true")
    (tmp_path / "sh").symlink_to("/bin/sh")
    assert not run('/usr/bin/test "$0" = sh')


def fake_python(folder: Path) -> Path:
    folder.mkdir(parents=True)
    (folder / "python").touch(mode=0o755)
    return folder


def test_python_is_that_of_the_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    own, other, bare = fake_python(tmp_path / "own"), fake_python(tmp_path / "other"), tmp_path / "bare"
    monkeypatch.setattr(command.sys, "executable", str(own / "python3"))
    assert with_python(f"{other}:{own}") == f"{own}:{other}:{own}"
    assert with_python(str(bare)) == f"{own}:{bare}"
    assert with_python(f"{own}:{other}") == f"{own}:{other}"  # as an image has it: left as it is
    monkeypatch.setattr(command.sys, "executable", str(bare / "python3"))
    assert with_python(str(other)) == str(other)  # its folder has no `python`, which would hide nothing


def test_its_variables(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
    monkeypatch.delenv("PYTHONUNBUFFERED", raising=False)
    monkeypatch.setenv("WORD", "a b")
    assert not run('echo "$WORD $PYTHONUNBUFFERED"')
    monkeypatch.setenv("PYTHONUNBUFFERED", "")
    assert not run('echo "[$PYTHONUNBUFFERED]"')
    assert capfd.readouterr().out == "a b 1\n[]\n"
    assert os.path.dirname(sys.executable) in command.variables()["PATH"]
