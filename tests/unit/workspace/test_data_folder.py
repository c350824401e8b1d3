from __future__ import annotations

import os
from pathlib import Path

import pytest

from runner.errors import UserError
from runner.workspace.config import Workspace
from runner.workspace.settings import Settings


@pytest.mark.needs("root")
def test_a_folder_for_logs_and_outputs_that_somebody_else_has_made_first_is_not_used(tmp_path: Path) -> None:
    """What is written there is written with the user's rights: links in it would lead to the user's own files."""
    settings = Settings(datastores={"shared": tmp_path / "data"}, shared=frozenset(("shared",)), default_datastore="shared")
    workspace = Workspace(root=tmp_path / "ws", settings=settings)
    (tmp_path / "data").mkdir()
    workspace.make()
    workspace.claim_data_folder("mine")
    workspace.claim_data_folder("mine")
    assert workspace.data_folder("mine").is_dir()
    workspace.data_folder("linked").symlink_to(tmp_path)
    with pytest.raises(UserError, match="another user's"):
        workspace.claim_data_folder("linked")
    workspace.data_folder("theirs").mkdir()
    os.chown(workspace.data_folder("theirs"), 12345, 12345)
    with pytest.raises(UserError, match="another user's"):
        workspace.claim_data_folder("theirs")
