"""The bytes of blobs, fetched in ranges by threads, ahead of those who read.

Each range is asked for under the condition that the blob is still the one that was listed (ETag), so versions never mix.
Measured: what a request costs is a few milliseconds of both sides, whatever its size; so neighbours are fetched together.
"""

from __future__ import annotations

import io
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Any, BinaryIO

from runner.inputs.bytes_of import Bytes, Range
from runner.inputs.files import FileEntry
from runner.inputs.tabular import BadInputError
from runner.inputs.windows import LARGEST, Fetch, ReadAhead, Window
from runner.storage.problems import BlobChanged, BlobMissing
from runner.storage.stores import Stores

THREADS = 8  # requests at a time, of all that read an input in this process; the SDK keeps ten connections
NEAR_AHEAD, NEAR_BEHIND = 16, 4  # small ranges: on their way, and kept
BUFFER = 1 << 20  # bytes that a stream asks for at a time


@dataclass(frozen=True, kw_only=True)
class BlobBytes:
    """A blob that was listed. Threads may share it."""

    file: FileEntry
    fetch: Fetch
    read_ahead: ReadAhead

    def pread(self, length: int, offset: int) -> bytes:
        end = min(offset + length, self.file.size)
        if end <= offset:
            return b""
        return self.guarded(lambda: self.read_ahead.read(self.file, self.fetch, offset, end))

    def want(self, start: int, end: int) -> None:
        start, end = max(0, start), min(end, self.file.size)
        if start < end:
            self.read_ahead.want(self.file, self.fetch, start, end)

    def near(self, ranges: Iterator[Range]) -> Bytes:
        return _Near(self, ranges, ahead=NEAR_AHEAD, behind=NEAR_BEHIND)

    def stream(self) -> BinaryIO:
        return io.BufferedReader(BlobFile(self), BUFFER)

    def arrow(self, ranges: Iterable[Range] = ()) -> Any:
        import pyarrow as pa

        wanted = list(ranges)
        source: Bytes = _Near(self, iter(wanted), ahead=len(wanted), behind=len(wanted)) if wanted else self
        return pa.PythonFile(BlobFile(source), mode="r")

    def close(self) -> None:
        """Nothing is open."""

    def __enter__(self) -> BlobBytes:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def guarded(self, call: Callable[[], bytes]) -> bytes:
        """Calls what waits for ranges of this blob; errors as of all methods."""
        try:
            return call()
        except BlobChanged:
            raise BadInputError(
                changed=True, problem="has changed since it was listed", file=self.file.path, todo="start a new job"
            ) from None
        except BlobMissing:
            raise BadInputError(problem="cannot be read: it is no longer there", file=self.file.path) from None


class _Near:
    """A blob of which certain ranges are fetched ahead, in their order. Threads may share it."""

    def __init__(self, blob: BlobBytes, ranges: Iterator[Range], *, ahead: int, behind: int) -> None:
        self._blob, self._ranges, self._ahead, self._behind = blob, ranges, ahead, behind
        self._following = next(ranges, None)
        self._lock = threading.Lock()
        self._windows: deque[Window] = deque()

    @property
    def file(self) -> FileEntry:
        return self._blob.file

    def pread(self, length: int, offset: int) -> bytes:
        end = min(offset + length, self.file.size)
        with self._lock:
            windows = self._cover(offset, end)
        if not windows:
            return self._blob.pread(length, offset)
        return self._blob.guarded(lambda: b"".join([window.part(offset, end) for window in windows]))

    def _cover(self, start: int, end: int) -> list[Window]:
        """The windows that the range lies in; none where it does not."""
        while self._following and self._following[0] < end:
            self._fetch_next()
        windows, at = [], start
        last = 0
        for number, window in enumerate(self._windows):
            if window.start <= at < window.end:
                windows.append(window)
                at, last = window.end, number
        if not windows or at < end:
            return []
        while self._following and len(self._windows) - last <= self._ahead:
            self._fetch_next()
        for _ in range(last - self._behind):
            self._windows.popleft()
        return windows

    def _fetch_next(self) -> None:
        assert self._following
        start, end = self._following
        end = min(end, self.file.size)
        self._following = next(self._ranges, None)
        for at in range(start, end, LARGEST):
            part = min(at + LARGEST, end)
            held = self._blob.read_ahead.holding(self.file, at, part)
            self._windows.append(held or Window(at, part, self._blob.fetch(at, part)))

    def want(self, start: int, end: int) -> None:
        self._blob.want(start, end)

    def near(self, ranges: Iterator[Range]) -> Bytes:
        return self._blob.near(ranges)

    def stream(self) -> BinaryIO:
        return self._blob.stream()

    def arrow(self, ranges: Iterable[Range] = ()) -> Any:
        return self._blob.arrow(ranges)

    def close(self) -> None:
        """Nothing is open."""

    def __enter__(self) -> Bytes:
        return self

    def __exit__(self, *_: object) -> None:
        pass


class BlobFile(io.RawIOBase):
    """As Python and Arrow read files."""

    def __init__(self, source: Bytes) -> None:
        self._source, self._at = source, 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        self._at = offset + {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._source.file.size}[whence]
        return self._at

    def tell(self) -> int:
        return self._at

    def read(self, size: int = -1) -> bytes:
        data = self._source.pread(size if size >= 0 else self._source.file.size, self._at)
        self._at += len(data)
        return data

    def readinto(self, buffer: Any) -> int:
        data = self.read(len(buffer))
        buffer[: len(data)] = data
        return len(data)


class Blobs:
    """Opens the blobs of an input. Threads may share it."""

    def __init__(self, stores: Stores) -> None:
        self._stores = stores
        self._read_ahead = ReadAhead()
        self._pool = ThreadPoolExecutor(THREADS, thread_name_prefix="fetch")

    def open(self, file: FileEntry) -> BlobBytes:
        """Errors: UserError for a store that nobody knows."""
        container, path = self._stores.at(file.path)

        def fetch(start: int, end: int) -> Future[bytes]:
            return self._pool.submit(partial(container.read, path, start, end - start, etag=str(file.version)))

        return BlobBytes(file=file, fetch=fetch, read_ahead=self._read_ahead)
