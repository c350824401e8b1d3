"""Where the socket of a job's folder is: in it, but not on a network file system, which has none, or shows it to other machines."""

from __future__ import annotations

import os
import stat
from pathlib import Path

MEMORY = "/dev/shm"  # noqa: S108
MOUNTS = Path("/proc/self/mountinfo")
NETWORK = frozenset(
    {"nfs", "nfs4", "cifs", "smb3", "smbfs", "9p", "afs", "beegfs", "ceph", "glusterfs", "gpfs", "lustre", "virtiofs", "sshfs", "blobfuse2"}
)


def socket_place(path: Path, *, make: bool = False) -> Path:
    """For a socket that would be `path`. The other place goes by the identity of the folder, and is for the folder's owner only.

    Errors: OSError; PermissionError where somebody else has made that place.
    """
    folder = path.parent.stat()
    if not is_network(file_system(folder.st_dev)):
        return path
    home = Path(MEMORY, f"runner-control-{folder.st_uid}")
    if make:
        home.mkdir(mode=0o700, exist_ok=True)
    status = home.lstat()
    if not stat.S_ISDIR(status.st_mode) or status.st_uid != folder.st_uid or status.st_mode & 0o077:
        raise PermissionError(f"{home} is not a folder of the user {folder.st_uid} alone")
    return home / f"{folder.st_dev:x}-{folder.st_ino:x}.sock"


def is_network(kind: str) -> bool:
    """By the name that the kernel has for a file system; one of FUSE may be of any sort, and is taken for what it says."""
    return kind.removeprefix("fuse.") in NETWORK


def file_system(device: int) -> str:
    """The kind of what is mounted with this device number; empty where nobody knows."""
    wanted = f"{os.major(device)}:{os.minor(device)}"
    for line in MOUNTS.read_text(encoding="utf-8", errors="replace").splitlines():
        mount, _, rest = line.partition(" - ")
        if mount.split(" ", 3)[2] == wanted:
            return rest.split(" ", 1)[0]
    return ""
