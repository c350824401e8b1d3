"""How fast files are listed: a flat folder (default: a million files), the first mini-batch, memory, and beside a busy thread.

    python -m benchmarks.listing [--files N] [--folder DIR]

The folder is made once (about 20 s for a million files) and kept.
"""

from __future__ import annotations

import argparse
import os
import resource
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path

from runner.inputs.file_list import Root
from runner.inputs.files import Tree
from runner.inputs.lister import AT_HOME, count_chunks


def make(folder: Path, files: int) -> None:
    """Names in an order that is not theirs, as a real folder has them."""
    done = folder / f".made-{files}"
    if done.exists():
        return
    folder.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(folder, os.O_RDONLY)
    for number in range(files):
        os.close(os.open(f"image_{(number * 7919) % files:07}.png", os.O_CREAT | os.O_WRONLY, dir_fd=descriptor))
    os.close(descriptor)
    done.touch()


def peak() -> float:
    """MB this process, and the largest of its children, have held."""
    return max(resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)) / 1024


def names(folder: Path) -> tuple[float, int]:
    """Scanned and sorted, nothing asked about each file."""
    started = time.perf_counter()
    opened = Tree(str(folder), hidden=False)._open(b"", state=frozenset(), after=b"", through_link=False)
    return time.perf_counter() - started, len(opened.names)


def lines(folder: Path, files_each: int, at_home: int) -> tuple[float, float, int]:
    """Seconds to the first mini-batch, to the last, and how many there were."""
    started = time.perf_counter()
    first, count = 0.0, 0
    root = Root(kind="folder", path=str(folder), hidden=False, absolute=False)
    for chunk in count_chunks([root], files_each, print, at_home=at_home):
        first = first or time.perf_counter() - started
        count += len(chunk.lines)
    return first, time.perf_counter() - started, count


def beside_a_busy_thread(measure: Callable[[], tuple[float, float, int]]) -> tuple[float, float, int]:
    stop = threading.Event()

    def compute() -> None:
        while not stop.is_set():
            sum(range(1000))

    thread = threading.Thread(target=compute)
    thread.start()
    try:
        return measure()
    finally:
        stop.set()
        thread.join()


def in_fresh_process(what: str, folder: Path) -> None:
    subprocess.run([sys.executable, "-m", "benchmarks.listing", "--folder", str(folder), "--only", what], check=True)


def measure(what: str, folder: Path) -> None:
    if what == "names":
        seconds, count = names(folder)
        print(f"{'listed and sorted, sizes not asked':45} {seconds:6.2f} s {count / seconds:12,.0f} files/s {peak():6.0f} MB")
        return
    files_each = 10 if what.startswith("ten") else 1
    home = sys.maxsize if what.endswith("home") else AT_HOME
    if "busy" in what:
        first, seconds, count = beside_a_busy_thread(lambda: lines(folder, files_each, home))
    else:
        first, seconds, count = lines(folder, files_each, home)
    print(f"{TITLES[what]:45} {seconds:6.2f} s {count / seconds:12,.0f} mini-batches/s {peak():6.0f} MB, the first after {first:.2f} s")


TITLES = {
    "names": "",
    "one home": "manifest, 1 file each, in this process",
    "one": "manifest, 1 file each, with a child",
    "ten": "manifest, 10 files each, with a child",
    "one busy": "the same of 1 file, beside a busy thread",
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--files", type=int, default=1_000_000)
    parser.add_argument("--folder", type=Path)
    parser.add_argument("--only", choices=TITLES)
    asked = parser.parse_args()
    folder = asked.folder or Path(tempfile.gettempdir(), f"runner-listing-{asked.files}")
    if asked.only:
        measure(asked.only, folder)
        return
    make(folder, asked.files)
    for what in TITLES:
        in_fresh_process(what, folder)


if __name__ == "__main__":
    main()
