"""Telling run(mini_batch) from run(mini_batch, mini_batch_context)."""

from __future__ import annotations

import functools
from types import ModuleType

import pytest

from runner.worker.entry_script import EntryScript, EntryScriptError, wants_context


def one(mini_batch): ...
def with_default(mini_batch, verbose=False): ...
def with_optional_context(mini_batch, mini_batch_context=None): ...
def two(mini_batch, context): ...
def star(*args): ...
def one_and_star(mini_batch, *args): ...
def keywords(mini_batch, **options): ...
def keyword_with_default(mini_batch, *, level=1): ...


def logged(function):
    @functools.wraps(function)
    def wrapper(*args, **kwargs):
        return function(*args, **kwargs)

    return wrapper


class Model:
    def __call__(self, mini_batch): ...
    def method(self, mini_batch, context): ...


@pytest.mark.parametrize(
    ("run", "expected"),
    [
        (one, False),
        (with_default, False),
        (with_optional_context, True),
        (two, True),
        (star, True),
        (one_and_star, True),
        (keywords, False),
        (keyword_with_default, False),
        (logged(one), False),
        (logged(two), True),
        (functools.partial(two, context=1), False),
        (functools.partial(two, 1), False),
        (Model(), False),
        (Model().method, True),
        (list, False),
        (lambda batch, context: [], True),
    ],
)
def test_wants_context(run, expected):
    assert wants_context(run) is expected


@pytest.mark.parametrize("run", [lambda: None, lambda a, b, c: [], lambda a, *, key: []])
def test_runs_that_nobody_can_call(run):
    with pytest.raises(EntryScriptError, match=r"allowed: run\(mini_batch\) or run\(mini_batch, mini_batch_context\)"):
        wants_context(run)


def test_init_that_is_no_function():
    module = ModuleType("score")
    module.run, module.init = one, 3  # type: ignore[attr-defined]
    with pytest.raises(EntryScriptError, match="`init` of the entry script is int"):
        EntryScript(module)
