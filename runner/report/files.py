"""Text files that grow line by line, written in groups: an observer must be quick."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path

_EVERY = 1.0  # seconds that a line may wait
_LARGE = 1024 * 1024  # characters that may wait
_TAIL = 256 * 1024  # characters of the end that are kept of a file beyond its cap
LOG_CAP = 64 * 1024 * 1024  # characters of one log file


class _File:
    """What waits for one file, and how much it has got. Beyond `cap` only the last lines are kept, and written at the end."""

    def __init__(self, cap: int | None) -> None:
        self.cap = cap
        self.waiting: list[str] = []
        self.size = 0
        self.tail: deque[str] = deque()
        self.tail_size = 0
        self.left_out = 0

    def add(self, text: str) -> None:
        self.size += len(text)
        if self.cap is None or self.size <= self.cap:
            self.waiting.append(text)
            return
        self.tail.append(text)
        self.tail_size += len(text)
        while self.tail_size > _TAIL and len(self.tail) > 1:
            dropped = self.tail.popleft()
            self.tail_size -= len(dropped)
            self.left_out += len(dropped)

    def end(self) -> None:
        if self.left_out:
            self.waiting.append(f"[… {self.left_out} characters left out …]\n")
        self.waiting.extend(self.tail)
        self.tail.clear()


class TextFiles:
    """Any number of files below one folder. A failing disk loses lines, never the job: the first error is kept in `error`.

    A thread writes what waits, at most once a second, and sleeps while nothing does.
    """

    def __init__(self, cap: int | None = LOG_CAP) -> None:
        self._cap = cap
        self._files: dict[Path, _File] = {}
        self._waiting = 0
        self._lock = threading.Lock()
        self._writing = threading.Lock()
        self._some = threading.Event()
        self._end = threading.Event()
        self._thread: threading.Thread | None = None
        self.error: OSError | None = None

    def add(self, path: Path, text: str, *, capped: bool = True) -> None:
        """Appends whole lines; thread-safe, does not wait for the disk unless much is waiting."""
        with self._lock:
            file = self._files.get(path)
            if file is None:
                file = self._files[path] = _File(self._cap if capped else None)
            file.add(text)
            self._waiting += len(text)
            large = self._waiting > _LARGE
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="logs", daemon=True)
                self._thread.start()
        if large:
            self.flush()
        else:
            self._some.set()

    def replace(self, path: Path, text: str) -> None:
        """Writes a whole file at once."""
        self.guarded(lambda: self._write(path, text, "w"))

    def flush(self) -> None:
        """Writes what waits, now."""
        with self._writing:
            with self._lock:
                todo = [(path, "".join(file.waiting)) for path, file in self._files.items() if file.waiting]
                for file in self._files.values():
                    file.waiting.clear()
                self._waiting = 0
                self._some.clear()
            for path, text in todo:
                self.guarded(lambda path=path, text=text: self._write(path, text, "a"))  # type: ignore[misc]

    def close(self) -> None:
        """Writes everything that is left, the ends of capped files included. More may be added afterwards, and another close follow."""
        with self._lock:
            for file in self._files.values():
                file.end()
            thread, self._thread = self._thread, None
        if thread is not None:
            self._end.set()
            self._some.set()
            thread.join()
            self._end.clear()
        self.flush()

    def _run(self) -> None:
        while not self._end.is_set():
            self._some.wait()
            if self._end.wait(_EVERY):
                return
            self.flush()

    @staticmethod
    def _write(path: Path, text: str, mode: str) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        with open(path, mode, encoding="utf-8", errors="backslashreplace", newline="\n") as file:
            file.write(text)

    def guarded(self, write: Callable[[], None]) -> None:
        """Calls it, and keeps the first OSError."""
        try:
            write()
        except OSError as error:
            self.error = self.error or error


def stamp(at: float) -> str:
    """`20260131-120000`, in file names: seconds are enough there."""
    return time.strftime("%Y%m%d-%H%M%S", time.gmtime(at))
