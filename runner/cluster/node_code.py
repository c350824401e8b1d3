"""The code of a job on a node: fetched from the shared datastore once, however many jobs and workers run it there."""

from __future__ import annotations

import contextlib
import secrets
import shutil
from pathlib import Path

from runner.workspace.code import SIGNATURE, signature_of

KEPT = 20  # copies on a node, of one user; the oldest make room


def on_this_node(code: Path, cache: Path) -> Path:
    """The copy of this snapshot below `cache`, made now where there is none yet. Errors: OSError."""
    signed = code.with_name(SIGNATURE)
    digest = signed.read_text(encoding="ascii").strip() if signed.exists() else signature_of(code)
    copy = cache / digest
    if not copy.exists():
        cache.mkdir(parents=True, exist_ok=True)
        own = cache / f".{digest}.{secrets.token_hex(4)}"
        try:
            shutil.copytree(code, own)
            with contextlib.suppress(OSError):  # another instance was faster
                own.rename(copy)
        finally:
            shutil.rmtree(own, ignore_errors=True)
    copy.touch()
    _make_room(cache, copy)
    return copy


def _make_room(cache: Path, used: Path) -> None:
    """Workers have copies of their own once they run: what is removed here is missed by nobody for long."""
    copies = sorted((path for path in cache.iterdir() if path.is_dir() and path != used), key=lambda path: path.stat().st_mtime)
    for path in copies[: max(0, len(copies) - KEPT)]:
        shutil.rmtree(path, ignore_errors=True)
