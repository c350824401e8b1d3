"""Is there room for another job?"""

from __future__ import annotations

import shutil
from collections.abc import Iterable
from pathlib import Path

from runner.errors import UserError
from runner.storage.addresses import is_address
from runner.workspace.config import CONFIG_FILE, Workspace
from runner.workspace.units import show_size


def check_space(workspace: Workspace, outputs: Iterable[str]) -> None:
    """Raises `UserError` if a file system that the job will write to has less free than the workspace's floor."""
    floor = workspace.settings.free_space_floor
    for path in (workspace.root, *(Path(one) for one in outputs if not is_address(one))):
        existing = next(folder for folder in (path, *path.parents) if folder.exists())
        free = shutil.disk_usage(existing).free
        if free < floor:
            raise UserError(
                f"only {show_size(free)} are free on the file system of {path}; no job starts with less than {show_size(floor)}",
                todo="make room (`runner job prune --keep 30d` removes old jobs), or lower the floor: "
                f"`defaults: {{free_space_floor: 100MB}}` in {workspace.root / CONFIG_FILE}",
            )
