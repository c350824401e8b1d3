"""Whose container it is: the process that made it, told from later ones of the same number, so that what the dead have left is known."""

from __future__ import annotations

import os
from pathlib import Path

LABEL_OWNER = "runner.owner"


def own_mark() -> str:
    """Of this process: the machine's boot, the namespace in which processes are numbered, the number, and when it was started."""
    return f"{_place()} {os.getpid()} {_started(os.getpid())}"


def is_over(mark: str) -> bool:
    """Whether that process has ended. Of another machine or namespace it cannot be known from here: False."""
    place, _, process = mark.partition(" ")
    pid, _, started = process.partition(" ")
    return place == _place() and pid.isdigit() and _started(int(pid)) != started


def _place() -> str:
    boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    return f"{boot}:{Path('/proc/self/ns/pid').readlink()}"


def _started(pid: int) -> str:
    """In ticks since the machine's start; empty where there is no such process, or only what its parent has not asked for yet."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()
    except OSError:
        return ""
    return "" if fields[0] in "ZX" else fields[19]
