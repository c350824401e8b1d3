"""Looks for a secret in everything that a job leaves behind, in each way in which it may be written down.

A source gives (name, bytes): `files_below` a folder, `processes` of this machine, `containers` of its engine, or whatever else a test has
(an answer of a gateway).
"""

from __future__ import annotations

import base64
import contextlib
import json
import os
import subprocess
from collections.abc import Iterable, Iterator
from pathlib import Path
from urllib.parse import quote, quote_plus, unquote

Source = Iterable[tuple[str, bytes]]


def spellings(secret: str) -> set[bytes]:
    """As it is, URL-encoded in either case, in JSON, and as a part of any text that was base64-encoded."""
    raw = {secret, unquote(secret)}
    texts = raw | {spelled for text in raw for spelled in (quote(text, safe=""), quote(text), quote_plus(text), json.dumps(text)[1:-1])}
    texts |= {text.replace("%2B", "%2b").replace("%2F", "%2f").replace("%3D", "%3d") for text in texts}
    found = {text.encode() for text in texts}
    return found | {encoded for text in set(found) for encoded in _base64(text)}


def search(secret: str, *sources: Source) -> list[str]:
    """The names of what has the secret in it."""
    wanted = spellings(secret)
    return [name for source in sources for name, data in source if any(spelling in data for spelling in wanted)]


def files_below(folder: Path, *, leave_out: Iterable[str] = ()) -> Iterator[tuple[str, bytes]]:
    """All files at any depth, and their names; `leave_out`: names of the user's own files."""
    for path in sorted(folder.rglob("*")):
        yield str(path), str(path).encode("utf-8", "surrogateescape")
        if path.is_file() and path.name not in leave_out:
            yield str(path), path.read_bytes()


def processes(since: float) -> Iterator[tuple[str, bytes]]:
    """Environments and command lines of the processes that have started since (time.monotonic()) and may be read."""
    for process in Path("/proc").iterdir():
        if process.name.isdigit() and _started(process) >= since:
            for name in ("environ", "cmdline"):
                with contextlib.suppress(OSError):  # it has ended, or is another user's
                    yield f"{process}/{name}", (process / name).read_bytes()


def _started(process: Path) -> float:
    try:
        ticks = int((process / "stat").read_bytes().rpartition(b")")[2].split()[19])
    except (OSError, IndexError):
        return float("-inf")
    return ticks / os.sysconf("SC_CLK_TCK") + 1 / os.sysconf("SC_CLK_TCK")  # of the boot's clock, which is rounded down


def containers() -> Iterator[tuple[str, bytes]]:
    """What the Docker engine says of each container that is there now."""
    numbers = subprocess.run(["docker", "ps", "-aq"], capture_output=True, text=True, check=True).stdout.split()
    for number in numbers:
        done = subprocess.run(["docker", "inspect", number], capture_output=True, check=False)  # it may have gone
        yield f"docker inspect {number}", done.stdout


def said(**texts: str) -> Iterator[tuple[str, bytes]]:
    """What was printed, by name."""
    for name, text in texts.items():
        yield name, text.encode("utf-8", "backslashreplace")


def _base64(text: bytes) -> Iterator[bytes]:
    """The characters that do not depend on what stands before and behind the text, for each of the three ways it may lie."""
    for before in range(3):
        encoded = base64.b64encode(b"\0" * before + text)
        first, last = (before * 8 + 5) // 6, (before + len(text)) * 8 // 6
        if last - first >= 12:
            yield encoded[first:last]
            yield base64.urlsafe_b64encode(b"\0" * before + text)[first:last]
