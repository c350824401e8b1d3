from __future__ import annotations

import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from runner.cluster.bootstrap import check_state
from runner.errors import UserError
from runner.workspace.config import Workspace


def workspace(state: Path) -> Workspace:
    made: Any = SimpleNamespace(state=state)
    return cast("Workspace", made)


def test_a_state_folder_of_ones_own_is_taken(tmp_path: Path) -> None:
    state = tmp_path / ".runner"
    check_state(workspace(state))  # not there yet
    state.mkdir(mode=0o755)
    check_state(workspace(state))


@pytest.mark.needs("root")
def test_a_state_folder_that_a_user_has_made_first_is_not_taken(tmp_path: Path) -> None:
    state = tmp_path / ".runner"
    state.mkdir()
    state.chmod(0o777)
    with pytest.raises(UserError, match="others may write"):
        check_state(workspace(state))
    state.chmod(0o755)
    os.chown(state, 12345, 12345)
    with pytest.raises(UserError, match="no folder of the user"):
        check_state(workspace(state))
    state.rmdir()
    (tmp_path / "mine").mkdir()
    state.symlink_to(tmp_path / "mine")
    os.lchown(state, 12345, 12345)
    with pytest.raises(UserError, match="no folder of the user"):
        check_state(workspace(state))
