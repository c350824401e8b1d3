"""Errors of user code, in words."""

from __future__ import annotations

import pytest

from runner.worker.failures import Failures
from runner.worker.rows import ReturnTypeError


@pytest.fixture
def script(tmp_path):
    """Compiles user code as if it stood in the code folder; gives its functions."""

    def load(text):
        path = tmp_path / "code" / "score.py"
        names = {}
        exec(compile(text, str(path), "exec"), names)
        return names

    return load


def raised(call, *arguments):
    try:
        call(*arguments)
    except BaseException as error:
        return error
    raise AssertionError("nothing was raised")


def test_the_innermost_line_of_the_users_code(tmp_path, script):
    run = script("import json\ndef run(b):\n    for path in b:\n        json.loads('{')\n")["run"]
    for name in ("a", "b"):
        (tmp_path / name).touch()
    failures = Failures(str(tmp_path / "code"), str(tmp_path), "log")
    error = raised(run, [str(tmp_path / "a"), str(tmp_path / "b")])
    record = failures.record(error, {"files": [["b", 1, 1], ["a", 1, 1]]})
    assert (record["kind"], record["type"], record["item"]) == ("exception", "JSONDecodeError", "a")
    assert (record["file"], record["line"]) == ("score.py", 4)


def test_the_only_file_of_a_mini_batch_is_the_item(tmp_path, script):
    (tmp_path / "a").touch()
    record = Failures(str(tmp_path / "code"), str(tmp_path), "").record(ValueError("x"), {"files": [["a", 1, 1]]})
    assert (record["item"], record["file"]) == ("a", "")


def test_a_pathlib_path_counts_too(tmp_path, script):
    for name in ("a", "b"):
        (tmp_path / name).touch()
    run = script("import pathlib\ndef run(b):\n    p = pathlib.Path(b)\n    b = None\n    1 / 0\n")["run"]
    failures = Failures(str(tmp_path / "code"), str(tmp_path), "")
    record = failures.record(raised(run, str(tmp_path / "b")), {"files": [["a", 1, 1], ["b", 1, 1]]})
    assert record["item"] == "b"


def test_a_group_of_exceptions_and_notes(tmp_path, script):
    error = ValueError("x")
    error.__cause__ = KeyError("y")
    record = Failures(str(tmp_path), "", "").record(error)
    assert record["traceback"].index("KeyError") < record["traceback"].index("ValueError")


def test_long_texts_are_cut(tmp_path):
    record = Failures(str(tmp_path), "", "").record(ValueError("x" * 100_000))
    assert len(record["message"]) < 5000
    assert "characters left out" in record["message"]


def test_a_wrong_return_has_no_traceback(tmp_path):
    record = Failures(str(tmp_path), "", "").record(ReturnTypeError("run() returned None"))
    assert (record["kind"], record["type"], record["traceback"]) == ("return_type", "TypeError", "")


def test_an_exception_that_cannot_be_shown(tmp_path):
    class Broken(Exception):
        def __str__(self):
            raise RuntimeError

        __repr__ = __str__

    record = Failures(str(tmp_path), "", "").record(Broken(Broken()))
    assert (record["type"], record["message"]) == ("Broken", "<the exception's text cannot be shown>")
    assert "Broken" in record["traceback"]
