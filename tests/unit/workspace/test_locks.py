from __future__ import annotations

import os
from pathlib import Path

import pytest

from runner.errors import JobConflict, UserError
from runner.workspace.locks import hold_outputs, is_held, take_lock


def test_second_job_is_refused_and_told_the_first(workspace, tmp_path):
    outside = tmp_path / "elsewhere" / "rows.txt"
    inside = workspace.data_folder("one") / "rows"
    with hold_outputs([outside, inside], job="one", registry=workspace.locks):
        for path in (outside, inside):
            with pytest.raises(JobConflict, match="job one is writing to"):
                hold_outputs([tmp_path / "free", path], job="two", registry=workspace.locks)
    with hold_outputs([outside, inside], job="two", registry=workspace.locks):
        pass
    assert list((tmp_path / "elsewhere").iterdir()) == []
    assert list(workspace.locks.iterdir()) == []
    assert not list(tmp_path.glob(".runner-*"))


def test_the_same_place_by_another_name(workspace, tmp_path):
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    with (
        hold_outputs([tmp_path / "real" / "a"], job="one", registry=workspace.locks),
        pytest.raises(JobConflict),
    ):
        hold_outputs([tmp_path / "link" / "a"], job="two", registry=workspace.locks)


def test_a_job_may_name_a_path_twice(workspace, tmp_path):
    with hold_outputs([tmp_path / "a", tmp_path / "a"], job="one", registry=workspace.locks):
        pass


def test_a_file_in_the_way_of_the_output_folder(workspace, tmp_path):
    (tmp_path / "file").write_text("")
    with hold_outputs([tmp_path / "file" / "out"], job="one", registry=workspace.locks) as locks:
        assert locks.locks[0].path.parent == workspace.locks
    with pytest.raises(UserError, match="cannot be reserved"):
        hold_outputs([tmp_path / "x" / ("y" * 300) / "out"], job="one", registry=workspace.locks)


def test_a_link_in_the_place_of_a_lock_empties_nothing(tmp_path: Path) -> None:
    (tmp_path / "precious").write_text("text")
    (tmp_path / "lock").symlink_to(tmp_path / "precious")
    with pytest.raises(OSError, match="symbolic links"):
        take_lock(tmp_path / "lock")
    assert (tmp_path / "precious").read_text() == "text"


def test_a_pipe_in_the_place_of_a_lock_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "lock", 0o444)
    assert not is_held(tmp_path / "lock")
