"""What is finished, on disk, record by record: a job goes on from it after any kind of death.

One record per line: the CRC-32 of the text in hexadecimal, a blank, the text (JSON). A torn last line is cut off at the next opening.
Records: {"open": epoch} at each opening; {"segment": […]}; {"listed": mini-batches, "items": 0 if not known};
{"header": [mini-batch, text]};
{"retry": true}: what has failed for good so far is tried afresh, as if it had not run; {"published": true}; {"ended": status}.
"""

from __future__ import annotations

import json
import os
import zlib
from dataclasses import astuple, dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

from runner.failpoints import failpoint
from runner.model.batch import Segment, Tally


@dataclass(kw_only=True)
class Restored:
    """What a journal says when it is opened. `segments` are disjoint and in input order."""

    epoch: int = 1
    segments: list[Segment] = field(default_factory=list)
    listed: int | None = None
    items: int = 0
    header: tuple[int, str] | None = None
    published: bool = False
    ended: str = ""


class Journal:
    """Appends are in memory until `sync`, which writes and syncs all of them at once. Used by one thread at a time."""

    def __init__(self, path: Path) -> None:
        self.restored = Restored()
        self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        self._pending: list[bytes] = []
        self._restore()
        self._append({"open": self.restored.epoch})

    def segment(self, segment: Segment) -> None:
        self._append({"segment": encode_segment(segment)})

    def listed(self, total: int, items: int) -> None:
        self._append({"listed": total, "items": items})

    def header(self, index: int, text: str) -> None:
        self._append({"header": [index, text]})

    def published(self) -> None:
        self._append({"published": True})

    def retry_failed(self) -> None:
        self._append({"retry": True})
        self.restored.segments = [segment for segment in self.restored.segments if not segment.tally.failed]

    def ended(self, status: str) -> None:
        self._append({"ended": status})

    def sync(self) -> None:
        """Makes durable what was appended. Errors: OSError (a full disk) leaves the journal as it was."""
        if not self._pending:
            return
        data = b"".join(self._pending)
        size = os.fstat(self._file).st_size
        try:
            failpoint("journal.before")
            view = memoryview(data)
            while view:
                view = view[os.write(self._file, view) :]
            failpoint("journal.written")
            os.fsync(self._file)
        except OSError:
            os.ftruncate(self._file, size)
            raise
        self._pending.clear()
        failpoint("journal.synced")

    def close(self) -> None:
        os.close(self._file)

    def _append(self, record: dict[str, object]) -> None:
        text = json.dumps(record, separators=(",", ":")).encode()
        self._pending.append(b"%08x %s\n" % (zlib.crc32(text), text))

    def _restore(self) -> None:
        with open(self._file, "rb", closefd=False) as file:
            os.ftruncate(self._file, _replay(file, self.restored))


def encode_segment(segment: Segment) -> list[object]:
    return [segment.first, segment.last, *astuple(segment.tally), segment.part, segment.offset, segment.length, segment.crc]


def decode_segment(values: object) -> Segment:
    assert isinstance(values, list)
    first, last, succeeded, failed, items, items_failed, returned, retries, part, offset, length, crc = values
    tally = Tally(succeeded=succeeded, failed=failed, items=items, items_failed=items_failed, returned=returned, retries=retries)
    return Segment(first=first, last=last, tally=tally, part=part, offset=offset, length=length, crc=crc)


def read_segments(path: Path) -> list[Segment]:
    """The segments of a journal that nobody writes to at the moment, in input order."""
    restored = Restored()
    with open(path, "rb") as file:
        _replay(file, restored)
    return restored.segments


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
    elif key == "retry":
        restored.segments = [segment for segment in restored.segments if not segment.tally.failed]
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
