"""How a copy of files gets on, for people: a bar on a terminal, plain lines elsewhere. Everything goes to stderr."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Iterator
from typing import TextIO

from runner.workspace.transfer import Moved, Watch
from runner.workspace.units import show_size

_EVERY = 15.0  # seconds between plain lines


@contextlib.contextmanager
def shown(doing: str, done: str, stream: TextIO | None = None) -> Iterator[Watch]:
    """What `transfer` is to tell; the last line says what was moved. `doing`, `done`: "downloading", "downloaded" and the like."""
    stream = stream or sys.stderr
    began, seen = time.monotonic(), list[Moved]()
    with _bar(doing, stream) if stream.isatty() else _lines(doing, stream) as tell:

        def watch(moved: Moved) -> None:
            if not seen or seen[-1] is not moved:
                seen.append(moved)
            tell(moved)

        yield watch
    count = sum(moved.done_files for moved in seen)
    files = "1 file" if count == 1 else f"{count:,} files"
    print(f"{done} {files}, {show_size(sum(moved.done_bytes for moved in seen))}, in {time.monotonic() - began:.1f} s", file=stream)


@contextlib.contextmanager
def _bar(doing: str, stream: TextIO) -> Iterator[Watch]:
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn

    counts = TextColumn("{task.fields[files]} files")
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn(), counts, TimeRemainingColumn())
    with Progress(*columns, console=Console(file=stream), transient=True) as bar:
        task = bar.add_task(doing, total=None, files="")

        def tell(moved: Moved) -> None:
            bar.update(task, total=moved.bytes, completed=moved.done_bytes, files=f"{moved.done_files:,}/{moved.files:,}")

        yield tell


@contextlib.contextmanager
def _lines(doing: str, stream: TextIO) -> Iterator[Watch]:
    told = time.monotonic()

    def tell(moved: Moved) -> None:
        nonlocal told
        if time.monotonic() - told >= _EVERY:
            told = time.monotonic()
            size = f"{show_size(moved.done_bytes)} of {show_size(moved.bytes)}"
            print(f"{doing}: {moved.done_files:,} of {moved.files:,} files, {size}", file=stream, flush=True)

    yield tell
