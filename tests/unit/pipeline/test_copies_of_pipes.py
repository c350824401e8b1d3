"""Outputs with pipes in them: nobody may wait for what is never written."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from runner.pipeline.content import Contents
from runner.pipeline.copies import copy_output
from runner.storage.stores import Stores


@pytest.fixture
def made(tmp_path: Path) -> Path:
    made = tmp_path / "made"
    made.mkdir()
    (made / "rows.txt").write_text("x\n")
    os.mkfifo(made / "pipe")
    (made / "link").symlink_to("pipe")
    return made


def test_a_copy_has_the_files(made: Path, tmp_path: Path) -> None:
    copy_output(str(made), str(tmp_path / "copy"), Stores(), lambda: False)
    assert (tmp_path / "copy" / "rows.txt").read_text() == "x\n"
    assert not (tmp_path / "copy" / "pipe").exists()


def test_the_content_is_that_of_the_files(made: Path, tmp_path: Path) -> None:
    before = Contents(tmp_path / "cache", Stores()).of(str(made))
    (made / "link").unlink()
    (made / "pipe").unlink()
    assert Contents(tmp_path / "cache", Stores()).of(str(made)) == before
