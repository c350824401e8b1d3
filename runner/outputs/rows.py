"""Rows in input order, exactly once: parts that instances write, and the one file that is put together from them.

A part is a file that one instance appends to; a journal record says where in it the rows of a run of mini-batches lie.
What no record speaks of does not exist: it is deleted, or never read.
"""

from __future__ import annotations

import glob
import os
import secrets
import zlib
from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

from runner.errors import RunnerError
from runner.failpoints import failpoint
from runner.model.batch import Segment

PART_SIZE = 64 << 20  # bytes after which a new part is begun
COPY_SIZE = 1 << 20


class PartWriter:
    """The parts of one instance in one epoch of a job. Used by one thread."""

    def __init__(self, folder: Path, prefix: str) -> None:
        self._folder, self._prefix = folder, prefix
        self._number = -1
        self._file = -1
        self._size = 0
        self._dirty = False
        self.part = ""

    def append(self, rows: Sequence[bytes]) -> tuple[str, int, int, int]:
        """Writes rows at the end of a part; returns (part, offset, length, CRC-32). Durable after `sync`."""
        length = sum(map(len, rows))
        if length == 0:
            return "", 0, 0, 0
        if self._file < 0 or self._size >= PART_SIZE:
            self._begin()
        offset, crc = self._size, 0
        try:
            for data in joined(rows, COPY_SIZE):
                crc = zlib.crc32(data, crc)
                view = memoryview(data)
                while view:
                    view = view[os.write(self._file, view) :]
        except OSError:
            os.ftruncate(self._file, offset)
            os.lseek(self._file, offset, os.SEEK_SET)
            raise
        self._size += length
        self._dirty = True
        failpoint("part.written")
        return self.part, offset, length, crc

    def sync(self) -> None:
        if self._dirty:
            os.fsync(self._file)
            self._dirty = False
            failpoint("part.synced")

    def close(self) -> None:
        if self._file >= 0:
            os.close(self._file)
            self._file = -1

    def _begin(self) -> None:
        self.sync()
        self.close()
        self._number += 1
        self.part = f"{self._prefix}-{self._number:06d}.part"
        self._folder.mkdir(parents=True, exist_ok=True)
        self._file = os.open(self._folder / self.part, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        sync_folder(self._folder)
        self._size = 0
        failpoint("part.begun")


def discard_unrecorded(folder: Path, segments: Iterable[Segment]) -> None:
    """Deletes the parts that no journal record speaks of."""
    known = {segment.part for segment in segments}
    if folder.is_dir():
        for path in folder.iterdir():
            if path.name not in known:
                path.unlink()


def publish(
    folder: Path,
    segments: Iterable[Segment],
    target: Path,
    *,
    job: str,
    header: str = "",
    owned: Callable[[], AbstractContextManager[None]] = nullcontext,
) -> int:
    """Puts the rows of the segments, in their order, into `target`, which appears or is replaced at one moment, while it is `owned`.

    Returns its size in bytes. Errors: RunnerError when a part does not have the checksum that its record says; OSError, with nothing
    left behind.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    partial = _partial(target, job)
    try:
        with open(partial, "wb") as out:
            out.write(header.encode("utf-8", "surrogateescape"))
            for segment in segments:
                copy_rows(folder, segment, out.write)
            out.flush()
            failpoint("output.written")
            os.fsync(out.fileno())
            size = out.tell()
        failpoint("output.synced")
        with owned():
            partial.replace(target)
        failpoint("output.renamed")
        sync_folder(target.parent)
    except OSError:
        partial.unlink(missing_ok=True)
        raise
    return size


def _partial(target: Path, job: str) -> Path:
    """A new name beside the target: a process that believes that it owns the job may be writing there as well. Older ones are removed."""
    stem = f".{target.name[:150]}.{job[:60]}"
    for path in target.parent.glob(f"{glob.escape(stem)}.*.partial"):
        path.unlink(missing_ok=True)
    return target.with_name(f"{stem}.{secrets.token_hex(4)}.partial")


def sync_folder(folder: Path) -> None:
    """Makes a rename or a new name in the folder durable."""
    file = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(file)
    finally:
        os.close(file)


def copy_rows(folder: Path, segment: Segment, write: Callable[[bytes], object]) -> None:
    """Hands the rows of a segment that lies in a part to `write`. Errors: RunnerError when they are not what its record says."""
    crc, left = 0, segment.length
    if not left:
        return
    with open(folder / segment.part, "rb", buffering=0) as part:
        part.seek(segment.offset)
        while left:
            data = part.read(min(left, COPY_SIZE))
            if not data:
                break
            crc = zlib.crc32(data, crc)
            write(data)
            left -= len(data)
    if left or crc != segment.crc:
        raise RunnerError(
            f"part {segment.part} is damaged: the rows of mini-batches {segment.first} to {segment.last} differ from what was written; "
            f"`job resume` cannot use them"
        )


def joined(rows: Sequence[bytes], least: int) -> Iterable[bytes]:
    """Small pieces joined to large ones, of `least` bytes and more but for the last."""
    batch: list[bytes] = []
    size = 0
    for data in rows:
        batch.append(data)
        size += len(data)
        if size >= least:
            yield b"".join(batch)
            batch, size = [], 0
    if batch:
        yield b"".join(batch)
