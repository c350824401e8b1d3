"""The rows of an instance on their way into the blob that the job makes.

What comes in large pieces is staged at once, as blocks of the final blob. Small pieces go to a part in the job's folder, and are put
together into blocks as soon as neighbours are large enough: a blob has 50,000 blocks at most, however slowly rows come. Parts are kept
to the job's end, so that blocks made of them may be lost, or cut apart when a mini-batch among them is tried afresh.
"""

from __future__ import annotations

import threading
import time
import zlib
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from runner.failpoints import failpoint
from runner.model.batch import Block, Segment
from runner.outputs.block_ids import BlockIds, part_of
from runner.outputs.outlet import HURRY_SECONDS, Durable, Run
from runner.outputs.rows import PartWriter, copy_rows
from runner.outputs.spill import Neighbours, Spill

LEAST_BLOCK = 4 << 20
STAGED = 8 << 20  # bytes and more of a block where rows are cut into several, which threads stage side by side
LARGEST_BLOCK = 64 << 20
LARGEST_PUT_TOGETHER = 256 << 20
BLOCKS_PLANNED = 5_000  # each block has at least such a share of all rows that there are when it is made
THREADS = 4


class Staging(Protocol):
    """What is needed of a container of blobs (storage.blob.BlobContainer)."""

    def stage(self, path: str, block: str, data: bytes) -> None: ...


def least_block(written: int) -> int:
    """Bytes that are worth a block of their own, in a job that has written so many: with n bytes, 5,000 (1 + ln(n / 20 GiB)) of them."""
    return min(max(LEAST_BLOCK, written // BLOCKS_PLANNED), LARGEST_PUT_TOGETHER)


@dataclass(eq=False)
class _Carried:
    """A run on its way to the storage. Whoever claims it, having staged it or going to write it to a part, is the only one who tells."""

    run: Run
    ids: list[str]
    pieces: Iterator[tuple[str, bytes]]  # each id and its bytes, which are put together when a thread takes them
    left: int  # blocks that are not staged
    crc: int = 0
    claimed: bool = False
    taking: threading.Lock = field(default_factory=threading.Lock)

    def take(self) -> tuple[str, bytes]:
        with self.taking:
            name, data = next(self.pieces)
            self.crc = zlib.crc32(data, self.crc)
        return name, data


class BlockRows:
    """`Rows` (outlet.py) of one instance, whose blob is at `path` of `container`; `folder` is that of `parts`."""

    def __init__(self, container: Staging, path: str, *, parts: PartWriter, folder: Path, changed: Callable[[], None]) -> None:
        self._container, self._path, self._folder, self._changed = container, path, folder, changed
        self._parts, self._writing = parts, threading.Lock()
        self._ids = BlockIds()
        self._pool = ThreadPoolExecutor(THREADS, thread_name_prefix="stage")
        self._lock = threading.Condition()
        self._carried: list[_Carried] = []
        self._joining = 0  # neighbours that are being put together
        self._segments: list[Segment] = []
        self._blocks: list[Block] = []
        self._spill = Spill()
        self._least = LEAST_BLOCK
        self._over = False  # nothing more comes
        self.error: Exception | None = None

    @property
    def flush_bytes(self) -> int:
        return min(2 * self._least, LARGEST_BLOCK // 2)

    def write(self, runs: Sequence[Run]) -> None:
        small: list[Run] = []
        for run in runs:
            if self.error is None and sum(map(len, run.rows)) >= self._least:
                carried = self._cut(run)
                with self._lock:
                    self._carried.append(carried)
                for _ in carried.ids:
                    self._pool.submit(self._stage, carried)
            else:
                small.append(run)
        if small:
            self._write_part(small)

    def take(self) -> Durable:
        with self._lock:
            segments, self._segments = self._segments, []
            blocks, self._blocks = self._blocks, []
        return Durable(segments=tuple(segments), blocks=tuple(blocks))

    def acknowledged(self, segments: Sequence[Segment], written: int) -> None:
        with self._lock:
            self._least = least_block(written)
            for segment in segments:
                if segment.length and segment.part.startswith("block:"):
                    continue
                near = self._spill.add(segment)
                if near.length >= self._least and self.error is None and not self._over:
                    self._spill.remove(near)
                    self._join(near)

    def finish(self, *, patiently: bool) -> None:
        deadline = float("inf") if patiently else time.monotonic() + HURRY_SECONDS
        with self._lock:
            self._over = True
            while self._carried and (left := deadline - time.monotonic()) > 0:
                self._lock.wait(min(left, 60))
            late = [one for one in self._carried if self._claim(one)]
        for one in late:
            self._write_claimed(one)
        with self._lock:
            while self._carried:  # others are being written
                self._lock.wait()
        self._parts.close()

    def put_together(self) -> None:
        with self._lock:
            for near in self._spill.take_all():
                self._join(near)
            while self._joining:
                self._lock.wait()
        self._pool.shutdown(wait=False)

    # In the pool

    def _stage(self, carried: _Carried) -> None:
        """One of its blocks."""
        try:
            name, data = carried.take()
            if not carried.claimed:
                self._container.stage(self._path, name, data)
                failpoint("block.staged")
        except Exception as error:  # whatever it is, the courier tells it
            self._failed(error)
            self._write_instead(carried)
        else:
            with self._lock:
                carried.left -= 1
                if not carried.left and self._claim(carried):
                    self._told(carried, [_staged_segment(carried)])
        self._changed()

    def _write_instead(self, carried: _Carried) -> None:
        with self._lock:
            mine = self._claim(carried)
        if mine:
            self._write_claimed(carried)

    def _write_claimed(self, carried: _Carried) -> None:
        segments: list[Segment] = []
        try:
            with self._writing:
                segments = write_part(self._parts, [carried.run])
        except OSError as error:
            self._failed(error)
        with self._lock:
            self._told(carried, segments)

    def _put_together(self, near: Neighbours) -> None:
        data = bytearray()
        id_ = self._ids.many(1)[0]
        try:
            for segment in near.segments:
                copy_rows(self._folder, segment, data.extend)
            self._container.stage(self._path, id_, bytes(data))
            failpoint("block.joined")
        except Exception as error:
            self._failed(error)
        else:
            block = Block(first=near.segments[0].first, last=near.segments[-1].last, id=id_, length=len(data))
            with self._lock:
                self._blocks.append(block)
        with self._lock:
            self._joining -= 1
            self._lock.notify_all()
        self._changed()

    # Inside

    def _cut(self, run: Run) -> _Carried:
        length = sum(map(len, run.rows))
        count = max(1, length // max(STAGED, min(self._least, LARGEST_BLOCK)))
        size = -(-length // count)
        ids = self._ids.many(-(-length // size))
        return _Carried(run, ids, zip(ids, _cut(run.rows, size), strict=True), len(ids))

    def _join(self, near: Neighbours) -> None:
        self._joining += 1
        self._pool.submit(self._put_together, near)

    def _claim(self, carried: _Carried) -> bool:
        """Whether nobody has before. The lock is held."""
        before, carried.claimed = carried.claimed, True
        return not before

    def _told(self, carried: _Carried, segments: Sequence[Segment]) -> None:
        """The lock is held."""
        self._segments += segments
        self._carried.remove(carried)
        self._lock.notify_all()

    def _failed(self, error: Exception) -> None:
        with self._lock:
            self.error = self.error or error

    def _write_part(self, runs: Sequence[Run]) -> None:
        """Errors: OSError."""
        with self._writing:
            segments = write_part(self._parts, runs)
        with self._lock:
            self._segments += segments
        self._changed()


class PartRows:
    """`Rows` that stay in parts until they are published."""

    error: Exception | None = None

    def __init__(self, parts: PartWriter, flush_bytes: int) -> None:
        self._parts, self._flush_bytes = parts, flush_bytes
        self._lock = threading.Lock()
        self._segments: list[Segment] = []

    @property
    def flush_bytes(self) -> int:
        return self._flush_bytes

    def write(self, runs: Sequence[Run]) -> None:
        segments = write_part(self._parts, runs)
        with self._lock:
            self._segments += segments

    def take(self) -> Durable:
        with self._lock:
            segments, self._segments = self._segments, []
        return Durable(segments=tuple(segments))

    def acknowledged(self, segments: Sequence[Segment], written: int) -> None:
        """Nothing is to be done about them."""

    def finish(self, *, patiently: bool) -> None:  # noqa: ARG002 - a disk is always waited for
        self._parts.close()

    def put_together(self) -> None:
        """They are, when they are published."""


def write_part(parts: PartWriter, runs: Sequence[Run]) -> list[Segment]:
    """Makes the rows of the runs durable; returns what the journal is to say of them. Errors: OSError."""
    segments = []
    for run in runs:
        part, offset, length, crc = parts.append(run.rows)
        segments.append(Segment(first=run.first, last=run.last, tally=run.tally, part=part, offset=offset, length=length, crc=crc))
    parts.sync()
    return segments


def _staged_segment(carried: _Carried) -> Segment:
    run, length = carried.run, sum(map(len, carried.run.rows))
    return Segment(first=run.first, last=run.last, tally=run.tally, part=part_of(carried.ids), length=length, crc=carried.crc)


def _cut(rows: Sequence[bytes], size: int) -> Iterator[bytes]:
    """The rows in pieces of exactly `size` bytes, but for the last."""
    batch: list[memoryview] = []
    have = 0
    for data in rows:
        rest = memoryview(data)
        while have + len(rest) >= size:
            batch.append(rest[: size - have])
            rest = rest[size - have :]
            yield b"".join(batch)
            batch, have = [], 0
        batch.append(rest)
        have += len(rest)
    if have:
        yield b"".join(batch)
