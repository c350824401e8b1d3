"""Paths of the host in `docker_args`: where they really lead, and whether they are harmless."""

from __future__ import annotations

import os
import posixpath
import pwd
import stat
from collections.abc import Iterable
from pathlib import Path

Identity = tuple[int, int]  # device, inode
# What the kernel shows of processes and devices: a link there leads to somewhere else for each process that looks.
KERNEL = ("/proc", "/sys", "/dev")
_SOCKETS = (
    "/var/run/docker.sock",
    "/run/docker.sock",
    "/run/containerd/containerd.sock",
    "/run/docker/containerd/containerd.sock",
    "/run/podman/podman.sock",
    "/run/crio/crio.sock",
)
_MOST_LINKS = 40


class HostPathError(Exception):
    """A path that leads through the kernel's own file systems, or round in circles; says what it does."""


def is_below(path: str, root: str) -> bool:
    """Whether a path is the root or lies in it; both absolute and clean."""
    return path == root or path.startswith(root.rstrip("/") + "/")


def real_path(path: str) -> str:
    """Where an absolute path leads when all links are followed. One that passes through /proc, /sys or /dev on its way is an error:
    what such a link says is not where it leads (`/proc/7/root/etc` says `/etc`)."""
    todo = [part for part in posixpath.normpath(path).split("/") if part][::-1]
    done, links = "/", 0
    while todo:
        part = todo.pop()
        here = posixpath.dirname(done) if part == ".." else posixpath.join(done, part)
        if any(is_below(here, kernel) for kernel in KERNEL):
            raise HostPathError(f"leads through {here}")
        try:
            target = str(Path(here).readlink())
        except OSError:  # not a link, or not there
            done = here
            continue
        links += 1
        if links > _MOST_LINKS:
            raise HostPathError("leads through a circle of links")
        done = "/" if target.startswith("/") else done
        todo += [one for one in target.split("/") if one not in ("", ".")][::-1]
    return done


def may_read(status: os.stat_result, uid: int) -> bool:
    """Whether a user may read a file, by its mode; access lists are not looked at, so that they never give more."""
    if uid == os.geteuid() or uid == 0:
        return True  # the process could open it
    if status.st_uid == uid:
        return bool(status.st_mode & stat.S_IRUSR)
    if status.st_gid in _groups(uid):
        return bool(status.st_mode & stat.S_IRGRP)
    return bool(status.st_mode & stat.S_IROTH)


def _groups(uid: int) -> Iterable[int]:
    try:
        user = pwd.getpwuid(uid)
    except KeyError:
        return ()
    return os.getgrouplist(user.pw_name, user.pw_gid)


def engine_sockets() -> tuple[str, ...]:
    """Where an engine may listen, on this machine: who has its socket has the machine, or of a rootless one all that is its user's."""
    address = os.environ.get("DOCKER_HOST", "")
    own = os.environ.get("XDG_RUNTIME_DIR") or f"/run/user/{os.getuid()}"
    named = (address.removeprefix("unix://"),) if address.startswith("unix://") else ()
    return (*_SOCKETS, f"{own}/docker.sock", f"{own}/podman/podman.sock", *named)


def identities(path: str) -> set[Identity]:
    """A file and all folders above it, by device and inode: another name for one of them (a link, a bind mount) has the same."""
    found: set[Identity] = set()
    here = os.path.realpath(path)
    while here:
        try:
            status = Path(here).stat()
            found.add((status.st_dev, status.st_ino))
        except OSError:
            pass
        here = "" if here == "/" else posixpath.dirname(here)
    return found


def gives_socket(path: str, sockets: Iterable[str]) -> bool:
    """Whether a mounted file or folder would carry the engine's socket into the container."""
    try:
        status = Path(path).stat()
    except OSError:
        return False
    return any((status.st_dev, status.st_ino) in identities(socket) for socket in sockets if _may_exist(socket))


def _may_exist(path: str) -> bool:
    """Whether it is there, or in a folder into which this user cannot look."""
    try:
        Path(path).stat()
    except PermissionError:
        return True
    except OSError:
        return False
    return True
