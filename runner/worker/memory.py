"""The memory limit that this process lives under, and how often it has cost somebody's life: from the kernel's control groups."""

import os
from typing import Iterator, List, Tuple

NO_LIMIT = 1 << 60  # bytes; version 1 writes a huge number where there is none
# (name in /proc/self/cgroup, where it is mounted, file of the limit, file that counts kills)
VERSION_1 = ("memory", "/sys/fs/cgroup/memory", "memory.limit_in_bytes", "memory.oom_control")
VERSION_2 = ("", "/sys/fs/cgroup", "memory.max", "memory.events")
WORKER_SCORE = "500"  # of 1000: when memory is short the kernel takes a worker, not the keeper


class OutOfMemory(object):
    """Tells whether a process that was killed was killed for memory."""

    def __init__(self) -> None:
        self._group = next(_groups(_memberships()), None)
        self._seen = self._kills()

    def killed_one(self) -> bool:
        """Whether the kernel has killed a process of this group that has not been asked for yet. To be called once for each that was."""
        if self._kills() <= self._seen:
            return False
        self._seen += 1
        return True

    @property
    def limit(self) -> int:
        """Bytes; 0 where there is no limit."""
        if self._group is None:
            return 0
        text = _read(self._group[0]).strip()
        limit = int(text) if text.isdigit() else 0
        return limit if limit < NO_LIMIT else 0

    def _kills(self) -> int:
        words = _read(self._group[1]).split() if self._group else []
        return int(words[words.index("oom_kill") + 1]) if "oom_kill" in words else 0


def be_first_choice() -> None:
    """Has the kernel take this process, and what it starts, before others when memory is short."""
    try:
        with open("/proc/self/oom_score_adj", "w") as file:
            file.write(WORKER_SCORE)
    except OSError:  # it is higher already, or this kernel has none
        pass


def _memberships() -> List[List[str]]:
    """[number, controllers, path] of each line of /proc/self/cgroup."""
    return [line.split(":", 2) for line in _read("/proc/self/cgroup").splitlines() if line.count(":") >= 2]


def _groups(memberships: List[List[str]]) -> Iterator[Tuple[str, str]]:
    """(limit file, kill file) of this process's group. In a container the group is the root of what is mounted there."""
    for name, mount, limit, kills in (VERSION_1, VERSION_2):
        for _, controllers, path in memberships:
            if name in controllers.split(","):
                for folder in (mount + path.rstrip("/"), mount):
                    if os.path.exists(os.path.join(folder, kills)):
                        yield os.path.join(folder, limit), os.path.join(folder, kills)


def _read(path: str) -> str:
    try:
        with open(path) as file:
            return file.read()
    except OSError:
        return ""
