"""What is finished, on disk, record by record: a job goes on from it after any kind of death.

One record per line: the CRC-32 of the text in hexadecimal, a blank, the text (JSON). A torn last line is cut off at the next opening.
Records: {"open": epoch} at each opening, which takes the journal over; {"segment": […]}; {"listed": mini-batches, "items": 0 if not known};
{"header": [mini-batch, text]};
rows in a blob: {"block": […]}, which segments' rows lie in it now; {"gone": [block id, …]}, blocks that are lost, with what only they had;
{"target": ETag}, of what the rows will replace; {"commit": token}, of a commit that is about to be made;
{"retry": true}: what has failed for good so far is tried afresh, as if it had not run; {"published": true}; {"ended": status}.
"""

from __future__ import annotations

import json
import threading
import zlib
from bisect import bisect_left
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import astuple, dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

from runner.engine.sole_file import SoleFile
from runner.model.batch import Block, Progress, Segment, Tally
from runner.outputs.block_ids import blocks_of


@dataclass(kw_only=True)
class Restored:
    """What a journal says when it is opened. `segments` are disjoint and in input order.

    `target`: the ETag of the blob that the rows will replace, empty when there was none; None: not known yet.
    """

    epoch: int = 1
    segments: list[Segment] = field(default_factory=list)
    blocks: list[Block] = field(default_factory=list)
    target: str | None = None
    commit: str = ""
    listed: int | None = None
    items: int = 0
    header: tuple[int, str] | None = None
    published: bool = False
    ended: str = ""

    @property
    def progress(self) -> Progress:
        """Of a job that is complete."""
        tally = sum((segment.tally for segment in self.segments), Tally())
        return Progress(
            total=tally.succeeded + tally.failed,
            listed=True,
            succeeded=tally.succeeded,
            failed=tally.failed,
            retries=tally.retries,
            items=tally.items,
            items_listed=self.items,
            items_failed=tally.items_failed,
        )

    def forget_failed(self) -> None:
        """Their mini-batches are not done. They may get rows now: blocks around them are cut apart, into the parts that these came from."""
        self.segments.sort(key=lambda segment: segment.first)
        failed = [segment.first for segment in self.segments if segment.tally.failed]
        self.segments = [segment for segment in self.segments if not segment.tally.failed]
        self.blocks = [block for block in self.blocks if bisect_left(failed, block.first) == bisect_left(failed, block.last + 1)]

    def forget_blocks(self, ids: Collection[str]) -> None:
        """What lay only in these blocks is not done."""
        self.segments = [segment for segment in self.segments if not any(one in ids for one in blocks_of(segment))]
        self.blocks = [block for block in self.blocks if block.id not in ids]


class Journal:
    """Appends are in memory until `sync`, which writes and syncs all of them at once. Any thread may append, one at a time syncs.

    Opening it takes it over from whoever has written to it before (see SoleFile).
    """

    def __init__(self, path: Path, *, confirm: Callable[[], None] = lambda: None) -> None:
        """`confirm` raises Superseded where the job is another machine's."""
        self._confirm = confirm
        self.restored = Restored()
        self._pending: list[bytes] = []
        self.syncs = 0  # that have written something
        self._adding = threading.Lock()
        self._file = SoleFile(path, self._begin)

    def segment(self, segment: Segment) -> None:
        self._append({"segment": encode_segment(segment)})

    def block(self, block: Block) -> None:
        self._append({"block": encode_block(block)})

    def gone(self, ids: Sequence[str]) -> None:
        self._append({"gone": list(ids)})
        self.restored.forget_blocks(frozenset(ids))

    def target(self, etag: str) -> None:
        self._append({"target": etag})
        self.restored.target = etag

    def commit(self, token: str) -> None:
        self._append({"commit": token})
        self.restored.commit = token

    def listed(self, total: int, items: int) -> None:
        self._append({"listed": total, "items": items})

    def header(self, index: int, text: str) -> None:
        self._append({"header": [index, text]})

    def published(self) -> None:
        self._append({"published": True})

    def retry_failed(self) -> None:
        self._append({"retry": True})
        self.restored.forget_failed()

    def ended(self, status: str) -> None:
        self._append({"ended": status})

    def sync(self) -> None:
        """Makes durable what was appended before. Errors: Superseded; OSError (a full disk), after which it is still to be made so."""
        with self._adding:
            pending, self._pending = self._pending, []
        try:
            if pending:
                self._file.append(b"".join(pending))
                self.syncs += 1
        except BaseException:
            with self._adding:
                self._pending[:0] = pending
            raise

    def held(self) -> AbstractContextManager[None]:
        """For what must not be done beside a coordinator that has taken over the journal. Errors: Superseded on entering."""
        return self._file.owned()

    @contextmanager
    def owned(self) -> Iterator[None]:
        """The same for what others see: `confirm` says that the job has not been taken over elsewhere, with another folder."""
        self._confirm()
        with self.held():
            yield

    def close(self) -> None:
        self._file.close()

    def _append(self, record: dict[str, object]) -> None:
        with self._adding:
            self._pending.append(_line(record))

    def _begin(self, file: BinaryIO) -> tuple[int, bytes]:
        good = _replay(file, self.restored)
        return good, _line({"open": self.restored.epoch})


def read_journal(path: Path) -> Restored:
    """What a journal says, without taking it over."""
    restored = Restored()
    with open(path, "rb") as file:
        _replay(file, restored)
    return restored


def raise_epoch(path: Path, epoch: int) -> None:
    """The next opening will have at least this epoch: names that go by it are none that another folder's journal has given meanwhile."""
    if read_journal(path).epoch < epoch:
        with open(path, "ab") as file:
            file.write(_line({"open": epoch - 1}))


def _line(record: dict[str, object]) -> bytes:
    text = json.dumps(record, separators=(",", ":")).encode()
    return b"%08x %s\n" % (zlib.crc32(text), text)


def encode_segment(segment: Segment) -> list[object]:
    return [segment.first, segment.last, *astuple(segment.tally), segment.part, segment.offset, segment.length, segment.crc]


def decode_segment(values: object) -> Segment:
    assert isinstance(values, list)
    first, last, succeeded, failed, items, items_failed, returned, retries, part, offset, length, crc = values
    tally = Tally(succeeded=succeeded, failed=failed, items=items, items_failed=items_failed, returned=returned, retries=retries)
    return Segment(first=first, last=last, tally=tally, part=part, offset=offset, length=length, crc=crc)


def read_segments(path: Path) -> list[Segment]:
    """The segments of a journal, in input order."""
    return read_journal(path).segments


def encode_block(block: Block) -> list[object]:
    return [block.first, block.last, block.id, block.length]


def decode_block(values: object) -> Block:
    assert isinstance(values, list)
    first, last, id_, length = values
    return Block(first=int(first), last=int(last), id=str(id_), length=int(length))


def _replay(file: BinaryIO, restored: Restored) -> int:
    """Reads all whole records; returns where the last of them ends."""
    good = 0
    for line in file:
        record = _parse(line)
        if record is None:
            break
        good += len(line)
        for key, value in record.items():
            _apply(key, value, restored)
    restored.segments.sort(key=lambda segment: segment.first)
    return good


def _apply(key: str, value: Any, restored: Restored) -> None:
    if key == "segment":
        restored.segments.append(decode_segment(value))
    elif key == "block":
        restored.blocks.append(decode_block(value))
    elif key == "gone":
        restored.forget_blocks(frozenset(value))
    elif key == "target":
        restored.target = str(value)
    elif key == "commit":
        restored.commit = str(value)
    elif key == "retry":
        restored.forget_failed()
    elif key == "open":
        restored.epoch = int(value) + 1
    elif key == "header":
        restored.header = (int(value[0]), str(value[1]))
    elif key == "listed":
        restored.listed = int(value)
    elif key == "items":
        restored.items = int(value)
    elif key == "published":
        restored.published = True
    elif key == "ended":
        restored.ended = str(value)


def _parse(line: bytes) -> dict[str, object] | None:
    if not line.endswith(b"\n") or line[8:9] != b" ":
        return None
    text = line[9:-1]
    try:
        if int(line[:8], 16) != zlib.crc32(text):
            return None
        record = json.loads(text)
    except ValueError:
        return None
    return record if isinstance(record, dict) else None
