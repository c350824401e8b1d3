"""`job prune`: it asks, and an interrupted one says how far it has come."""

from __future__ import annotations

import pytest

from runner.cli import job
from runner.workspace.prune import Removal


class Workspace:
    """Takes the place of a client whose second removal is interrupted."""

    def prune(self, removals, say):
        yield removals[0]
        raise KeyboardInterrupt


def _removals(*names):
    return [Removal(kind="job", name=name, bytes=2048, last_used=0.0, paths=()) for name in names]


def test_interrupted_it_says_what_has_been_removed(capsys):
    with pytest.raises(KeyboardInterrupt):
        job._remove(Workspace(), _removals("one", "two", "three"), yes=True)
    assert "1 of 3 are removed, 2.0 KB: one\n" in capsys.readouterr().err


def test_it_asks_before_anything_is_removed(monkeypatch):
    asked = []

    def no(question, *, yes):
        asked.append((question, yes))
        raise RuntimeError("no")

    monkeypatch.setattr(job, "ask", no)
    with pytest.raises(RuntimeError):
        job._remove(Workspace(), _removals("one", "two"), yes=False)
    assert asked == [("Remove jobs with their logs and outputs (one, two), and caches (0): 4.0 KB?", False)]
