"""Engines of other kinds than the machine's own, for tests of root's: each in namespaces and folders of its own.

An engine sees no network but its own, so that its bridges and rules are not those of the machine's engine; its /run is empty; and with
its first process the kernel ends all of it: containers, helpers, mounts.
"""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.docker_engine import TESTER, answers, find_tester

START_SECONDS = 30
# Docker's own packages have the script on the path, Debian's has it here.
ROOTLESS_DOCKER = shutil.which("dockerd-rootless.sh") or "/usr/share/docker.io/contrib/dockerd-rootless.sh"
USER_PROGRAMS = ("newuidmap", "slirp4netns")
PODMAN = ("podman", "--cgroup-manager=cgroupfs", "--events-backend=file")
# What engines keep stands in memory: on a disk it would take seconds to write, and more to remove. A machine without udev keeps the two
# devices for root; an ordinary user's network needs the first, some of its file systems the second.
PREPARE = """
set -e
ip link set lo up
mkdir data
mount -t tmpfs -o "mode=711,uid=$1" tmpfs data
shift
mount -t tmpfs -o mode=755 tmpfs /run
mkdir /run/lock
if [ -d /var/lib/cni ]; then mount -t tmpfs tmpfs /var/lib/cni; fi
device() { if [ -e "$1" ]; then mknod -m 666 "$2" c 10 "$3" && mount --bind "$2" "$1"; fi; }
device /dev/net/tun /run/tun 200
device /dev/fuse /run/fuse 229
exec "$@"
"""


@dataclass(frozen=True)
class Kind:
    """How an engine is started. In `words` {folder} is a folder of its own, in which it makes its socket."""

    words: tuple[str, ...]
    programs: tuple[str, ...]  # that have to be there
    rootless: bool = False  # started by TESTER
    settings: str = ""  # {folder}/settings


KINDS = {
    "docker-rootless": Kind(
        (ROOTLESS_DOCKER, "--data-root={folder}/data", "-H=unix://{folder}/socket"), ("rootlesskit", *USER_PROGRAMS), True
    ),
    "docker-userns": Kind(
        (
            *("dockerd", f"--userns-remap={TESTER}", "--data-root={folder}/data", "--exec-root={folder}/exec"),
            *("--pidfile={folder}/pid", "--group=root", "-H=unix://{folder}/socket"),
        ),
        ("dockerd",),
    ),
    "podman": Kind(
        (*PODMAN, "--root={folder}/data", "--runroot={folder}/exec", "system", "service", "--time=0", "unix://{folder}/socket"), ("podman",)
    ),
    "podman-rootless": Kind(
        (
            *("env", "CONTAINERS_CONF={folder}/settings"),
            *(*PODMAN, "--storage-driver=overlay", "--root={folder}/data", "--runroot={folder}/exec"),
            *("system", "service", "--time=0", "unix://{folder}/socket"),
        ),
        ("podman", *USER_PROGRAMS),
        rootless=True,
        settings='[containers]\nuserns = "keep-id"\n',  # root of containers is then not the submitter, unless that is asked for
    ),
}


def find_kind(name: str) -> tuple[str | None, str]:
    """The name, where this machine can start such an engine, else None; and what would have to be there."""
    kind = KINDS[name]
    programs = ("unshare", "setpriv", "ip", "iptables", *kind.programs)
    there = not os.geteuid() and all(map(shutil.which, programs)) and Path(ROOTLESS_DOCKER).exists() >= (name == "docker-rootless")
    what = f"root, {', '.join(programs)}, and the user {TESTER} with ranges in /etc/subuid and /etc/subgid (.ci/run makes one)"
    return (name if there and has_ranges() and find_tester() else None), what


def has_ranges() -> bool:
    """Whether the ordinary user has numbers of users and groups to give to containers."""
    files = (Path("/etc/subuid"), Path("/etc/subgid"))
    return all(file.exists() and any(line.startswith(f"{TESTER}:") for line in file.read_text().splitlines()) for file in files)


@contextmanager
def started(name: str) -> Iterator[str]:
    """The address of an engine of this kind, which ends with the block."""
    folder = Path(tempfile.mkdtemp(prefix="engine-"))
    folder.chmod(0o711)
    (folder / "settings").write_text(KINDS[name].settings)
    log, address = folder / "log", f"unix://{folder}/socket"
    with log.open("wb") as output:
        process = subprocess.Popen(
            command(KINDS[name], folder), stdout=output, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, cwd=folder
        )
    try:
        wait_for(address, process, log)
        yield address
    finally:
        end(process)
        shutil.rmtree(folder, ignore_errors=True)


def command(kind: Kind, folder: Path) -> list[str]:
    namespaces = ["unshare", "--net", "--mount", "--propagation=slave", "--pid", "--fork", "--kill-child", "--mount-proc"]
    words = [word.format(folder=folder) for word in kind.words]
    owner = 0
    if kind.rootless:
        user = pwd.getpwnam(TESTER)
        owner = user.pw_uid
        os.chown(folder, user.pw_uid, user.pw_gid)
        switch = ["setpriv", f"--reuid={user.pw_uid}", f"--regid={user.pw_gid}", "--init-groups", "--"]
        words = [*switch, "env", f"HOME={folder}", f"XDG_RUNTIME_DIR={folder}", f"USER={TESTER}", *words]
    # The engine ends with the tests also where they are killed.
    return ["setpriv", "--pdeathsig=KILL", "--", *namespaces, "sh", "-c", PREPARE, "sh", str(owner), *words]


def wait_for(address: str, process: subprocess.Popen[bytes], log: Path) -> None:
    until = time.monotonic() + START_SECONDS
    while not answers(address):
        if process.poll() is not None or time.monotonic() > until:
            raise RuntimeError(f"the engine at {address} does not answer; the end of its log:\n{log.read_text(errors='replace')[-3000:]}")
        time.sleep(0.1)


def end(process: subprocess.Popen[bytes]) -> None:
    """Ends the first process in the engine's namespace, and with it, before unshare returns, all others there."""
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
    try:
        for child in children.read_text().split():
            os.kill(int(child), signal.SIGKILL)
    except OSError:  # it has ended by itself
        pass
    try:
        process.wait(10)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
