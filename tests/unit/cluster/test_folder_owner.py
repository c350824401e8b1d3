from __future__ import annotations

import os
from pathlib import Path

import pytest

from runner.cluster.requests import check_owner


@pytest.mark.needs("root")
def test_a_folder_that_another_user_has_put_in_the_place_of_a_job_is_not_run(tmp_path: Path) -> None:
    """The job was accepted as its user's; after `rm -r` of its folder anybody can make one of that name."""
    check_owner(tmp_path)
    os.chown(tmp_path, 12345, 12345)
    with pytest.raises(PermissionError):
        check_owner(tmp_path)
    link = tmp_path / "link"
    link.symlink_to("/")
    os.lchown(link, 12345, 12345)
    with pytest.raises(PermissionError):
        check_owner(link)
