"""`python -m runner.cluster.bootstrap JSON`, on the head: sees to it that the cluster has a scheduler, and says where its gateway is."""

from __future__ import annotations

import grp
import json
import os
import secrets
import stat
import sys
from collections.abc import Mapping
from typing import Any

from runner.cluster.hosts import SCHEDULER
from runner.compute import ray as adapter
from runner.compute.ray import HostHandle
from runner.errors import UserError
from runner.workspace.config import Workspace, find_workspace

START_SECONDS = 60.0


def start(fields: Mapping[str, Any]) -> str:
    """`fields`: see `start.bootstrap_settings`. Errors: UserError."""
    workspace = find_workspace(fields["workspace"], must_exist=True)
    if not workspace.is_shared:
        raise UserError(
            f"the default datastore of {workspace.root} is not shared",
            todo="say in its workspace.yml which folder all machines of the cluster share: `datastores: {NAME: {type: local, path: …, "
            "shared: true}}`, `default_datastore: NAME`",
        )
    check_state(workspace)  # before anything is made in there
    workspace.make()
    check_state(workspace)
    make_admin_key(workspace)
    adapter.connect(fields.get("address", "auto"))
    try:
        handle = HostHandle.find(SCHEDULER) or HostHandle.start(
            SCHEDULER,
            "runner.cluster.scheduler:Scheduler",
            {**fields, "workspace": str(workspace.root)},
            node=adapter.own_node(),
            restarts=-1,
        )
        return str(handle.call("gateway", timeout=START_SECONDS))
    finally:
        adapter.disconnect()


def check_state(workspace: Workspace) -> None:
    """The queue in the state folder says as whom jobs run: whoever owns that folder is anybody. Errors: UserError for one that users own.

    Everybody may make folders in the datastore, this one too, as long as there is none.
    """
    try:
        owners = {os.lstat(workspace.state).st_uid, (status := workspace.state.stat()).st_uid}
    except FileNotFoundError:
        return
    if not stat.S_ISDIR(status.st_mode) or owners - {0, os.geteuid()} or status.st_mode & stat.S_IWOTH:
        raise UserError(
            f"{workspace.state} is no folder of the user that starts the head, or others may write to it",
            todo="move it away, or look at what is in it (queue, admin.key), and then make it root's: `chown root`, `chmod 755`",
        )


def make_admin_key(workspace: Workspace) -> None:
    """What proves an administrator: who can read the file is one. The group is that of `administrators`."""
    path = workspace.state / "admin.key"
    if not path.exists():
        temporary = path.with_name(".admin.key")
        temporary.touch(mode=0o600)
        temporary.write_text(secrets.token_hex(32))
        temporary.replace(path)
    group = workspace.settings.administrators
    if group:
        try:
            os.chown(path, -1, grp.getgrnam(group).gr_gid)
        except KeyError:
            raise UserError(f"there is no group '{group}' on this machine", todo="mend `administrators` in workspace.yml") from None
        path.chmod(0o640)


def main() -> int:
    """The command."""
    try:
        print(f"gateway on {start(json.loads(sys.argv[1]))}", flush=True)
    except UserError as error:
        print(f"Error: {error.describe()}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
