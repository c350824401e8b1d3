"""Outputs with more in them than files: pipes, for which nobody may wait, and links to themselves."""

from __future__ import annotations

import os
import shutil
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


def test_links_into_the_output_do_not_need_what_they_were_copied_from(tmp_path: Path) -> None:
    made, copy = tmp_path / "made", tmp_path / "copy"
    (made / "runs" / "1").mkdir(parents=True)
    (made / "runs" / "1" / "rows.txt").write_text("x\n")
    (made / "latest").symlink_to(made / "runs" / "1")
    (made / "runs" / "rows.txt").symlink_to(made / "latest" / "rows.txt")
    (made / "beside").symlink_to(tmp_path / "made-by-others")
    copy_output(str(made), str(copy), Stores(), lambda: False)
    shutil.rmtree(made)
    assert (copy / "latest" / "rows.txt").read_text() == "x\n"
    assert (copy / "runs" / "rows.txt").read_text() == "x\n"
    assert (copy / "beside").readlink() == tmp_path / "made-by-others"
