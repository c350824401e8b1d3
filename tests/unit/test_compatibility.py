"""docs/compatibility.md has a row for everything that a user can write."""

from __future__ import annotations

import inspect
import re
from pathlib import Path

import pytest

from runner.parallel import parallel_run_function
from runner.sdk.run_function import _FURTHER
from runner.spec import schema
from runner.spec.arguments import OPTIONS

PAGE = Path(__file__).resolve().parents[2] / "docs" / "compatibility.md"
STATUSES = {"same", "chosen", "differs", "later", "none"}


def rows() -> list[tuple[str, str, str]]:
    """(what, status, here) of every table, without the heads."""
    found = []
    for line in PAGE.read_text(encoding="utf-8").splitlines():
        cells = [cell.strip() for cell in line.strip("| ").split(" | ")] if line.startswith("|") else []
        if cells and cells[0] not in ("what", "key", "argument", "---"):
            found.append((cells[0], cells[1], " | ".join(cells[2:])))
    return found


def below(prefix: str, keys: tuple[str, ...]) -> set[str]:
    return {f"{prefix}.{key}" for key in keys}


KEYS = (
    {*schema.PARALLEL, *schema.PIPELINE, *schema.COMPONENT, *schema.WRITTEN_BY_AZURE}
    | below("settings", schema.PIPELINE_SETTINGS)
    | below("retry_settings", schema.RETRY_SETTINGS)
    | below("resources", schema.RESOURCES)
    | below("task", schema.TASK)
    | below("environment", schema.ENVIRONMENT)
    | below("build", schema.BUILD)
    | below("inputs.*", schema.INPUT)
    | below("outputs.*", schema.OUTPUT)
)
KEYWORDS = {*inspect.signature(parallel_run_function).parameters, *_FURTHER} - {"kwargs"}


@pytest.mark.parametrize(
    "wanted",
    [KEYS, KEYWORDS, {f"--{name}" for name in OPTIONS}, {"eval_mount", "eval_download"}],
    ids=["keys", "keywords", "arguments", "modes"],
)
def test_everything_has_a_row(wanted):
    named = {name for what, _, _ in rows() for name in re.findall(r"`([^`]+)`", what)}
    assert wanted - named == set()


def test_what_is_refused_by_name_is_named():
    text = PAGE.read_text(encoding="utf-8")
    words = {*schema.OTHER_JOBS, *schema.OTHER_TASKS, *schema.IDENTITY, *schema.INPUT_MODES, *schema.OUTPUT_MODES}
    assert {word for word in words if f"`{word}`" not in text} == set()


def test_every_row_has_a_status():
    assert [row for row in rows() if row[1] not in STATUSES] == []
    assert len(rows()) > 100
