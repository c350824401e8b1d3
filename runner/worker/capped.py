"""Files that hold the head and the tail of what is written to them."""

import os
from typing import Optional

CUT_SEARCH = 4096  # bytes within which a cut is moved to the end of a line
READ_SIZE = 1 << 16
FULL_PIPE = 1 << 20  # what a pipe can hold at most, without privileges


class CappedFile(object):
    """At most `cap` bytes: the first half stays, of the rest the newest quarter or more; a line between says how much was left out.

    Bytes go to the file as they come. When it is full, what stands between head and tail is dropped by moving the tail up. What an
    earlier process left in the file counts as written. A full disk loses bytes, and raises nothing: user code must not stop for a log.
    """

    def __init__(self, path: str, cap: int) -> None:
        self._cap = cap
        self._left_out = self._head = 0  # bytes; head is 0 while nothing was left out
        self._file: Optional[int] = None
        self._size = 0
        try:
            self._file = os.open(path, os.O_RDWR | os.O_CREAT | getattr(os, "O_CLOEXEC", 0), 0o666)
            self._size = os.lseek(self._file, 0, os.SEEK_END)
        except OSError as error:
            os.write(2, ("cannot write %s: %s\n" % (path, error)).encode("utf-8", "surrogateescape"))

    def write(self, data: bytes) -> None:
        if self._file is None:
            return
        try:
            if self._size + len(data) > self._cap:
                self._compact(data)
            else:
                self._size += os.pwrite(self._file, data, self._size)
        except OSError:
            pass

    def close(self) -> None:
        if self._file is not None:
            os.close(self._file)
            self._file = None

    def _compact(self, data: bytes) -> None:
        if not self._head:
            data = self._first_cut(data)
        keep = self._cap // 4
        start = self._tail_start()
        length = self._size - start + len(data)
        if len(data) < keep:
            at = max(start, self._size - (keep - len(data)))
            tail = os.pread(self._file, self._size - at, at) + data
        else:
            tail = data[-keep:]
        tail = tail[tail.find(b"\n", 0, CUT_SEARCH) + 1 :]
        self._left_out += length - len(tail)
        marker = self._marker()
        os.ftruncate(self._file, self._head)
        self._size = self._head + os.pwrite(self._file, marker + tail, self._head)

    def _first_cut(self, data: bytes) -> bytes:
        """Fixes the head; gives what of the data is not in it."""
        half = self._cap // 2
        missing = max(0, half - self._size)
        if missing:
            self._size += os.pwrite(self._file, data[:missing], self._size)
        near = os.pread(self._file, min(CUT_SEARCH, half // 2), half - min(CUT_SEARCH, half // 2))
        self._head = half - len(near) + near.rfind(b"\n") + 1 if b"\n" in near else half
        return data[missing:]

    def _marker(self) -> bytes:
        return b"\n[... %20d bytes left out here ...]\n" % self._left_out

    def _tail_start(self) -> int:
        return self._head + (len(self._marker()) if self._left_out else 0)


class Pump(object):
    """Moves what a process writes to a pipe into a capped file. `ended`: all writers have closed it."""

    def __init__(self, path: str, cap: int) -> None:
        self.read_end, self.write_end = os.pipe()
        os.set_blocking(self.read_end, False)
        self._file = CappedFile(path, cap)
        self.ended = self.closed = False

    def fileno(self) -> int:
        return self.read_end

    def move(self) -> bool:
        """Takes one piece of what is there; False when there was nothing."""
        try:
            data = os.read(self.read_end, READ_SIZE)
        except BlockingIOError:
            return False
        self.ended = not data
        self._file.write(data)
        return bool(data)

    def drain(self) -> None:
        """Takes what was in the pipe when it was called; a writer that goes on writing does not hold it up."""
        for _ in range(FULL_PIPE // READ_SIZE):
            if not self.move():
                break

    def close_write_end(self) -> None:
        os.close(self.write_end)

    def close(self) -> None:
        self.closed = True
        os.close(self.read_end)
        self._file.close()
