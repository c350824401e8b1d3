"""Long requests to the engine, pulls and builds: their answers as they come, a time-out, and a way to stop them."""

from __future__ import annotations

import contextlib
import queue
import re
import threading
import time
from collections import deque
from collections.abc import Callable, Generator, Iterable, Mapping
from typing import Any

from runner.errors import SetupError
from runner.model.image_reference import hide_credentials

Say = Callable[[str], None]
OnCancel = Callable[[Callable[[], None]], None]
Event = Mapping[str, Any]
# What the engine sends for one layer, in the order in which it happens; the last three mean that its bytes are here.
HERE = ("Download complete", "Extracting", "Pull complete", "Already exists")
LINES_IN_ERROR = 15
COLOURS = re.compile(r"\x1b\[[0-9;]*m")
PROGRESS_SECONDS = 1.0


class Stopped(Exception):
    """A request was stopped: by its time-out, or on request."""

    def __init__(self, *, cancelled: bool) -> None:
        super().__init__()
        self.cancelled = cancelled


class Request:
    """One long request. `events` makes it and gives what the engine answers; `stop` may be called from any thread."""

    def __init__(self, seconds: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock, self._deadline = clock, clock() + seconds
        self._queue: queue.SimpleQueue[object] = queue.SimpleQueue()
        self._responses: list[Any] = []
        self._cancelled = threading.Event()
        self._lock = threading.Lock()
        self._over = False

    def stop(self) -> None:
        self._cancelled.set()
        self._queue.put(Stopped(cancelled=True))

    def opened(self, response: Any) -> None:
        """To be told of the HTTP response as soon as there is one: closing its socket is what makes the engine stop."""
        with self._lock:
            self._responses.append(response)
            over = self._over
        if over:
            hang_up(response)

    def events(self, start: Callable[[], Iterable[Event]]) -> Generator[Event, None, None]:
        """Errors: Stopped, and whatever `start` raises."""
        threading.Thread(target=self._read, args=(start,), daemon=True, name="engine-request").start()
        try:
            while (item := self._next()) is not self:
                if isinstance(item, BaseException):
                    raise item
                yield item  # type: ignore[misc]  # the reader puts in events and errors only
        finally:
            with self._lock:
                self._over = True
                opened = list(self._responses)
            for response in opened:
                hang_up(response)

    def _next(self) -> object:
        if self._cancelled.is_set():
            raise Stopped(cancelled=True)
        try:
            return self._queue.get(timeout=max(0.0, self._deadline - self._clock()))
        except queue.Empty:
            raise Stopped(cancelled=False) from None

    def _read(self, start: Callable[[], Iterable[Event]]) -> None:
        try:
            for event in start():
                self._queue.put(event)
            self._queue.put(self)
        except BaseException as error:  # handed to the thread that waits
            self._queue.put(error)


def hang_up(response: Any) -> None:
    """Ends a response that another thread may be reading."""
    with contextlib.suppress(Exception):  # it has ended meanwhile
        response.raw.shutdown()
    with contextlib.suppress(Exception):
        response.close()


class PullProgress:
    """The state of a pull, from the engine's events, as a line at most once a second."""

    def __init__(self, name: str, clock: Callable[[], float] = time.monotonic) -> None:
        self.name, self._clock = name, clock
        self._bytes: dict[str, int] = {}
        self._state: dict[str, str] = {}
        self._said = clock()
        self._line = ""

    def feed(self, event: Event) -> str | None:
        """The line to show now, if it is time for one."""
        layer, status = str(event.get("id", "")), str(event.get("status", ""))
        if layer and not status.startswith("Pulling from"):
            self._state[layer] = status
            if status == "Downloading":
                self._bytes[layer] = int((event.get("progressDetail") or {}).get("current") or 0)
        now, line = self._clock(), self.line()
        if now - self._said < PROGRESS_SECONDS or line == self._line:
            return None
        self._said, self._line = now, line
        return line

    def line(self) -> str:
        here = sum(state in HERE for state in self._state.values())
        return f"pulling {self.name}: {here} of {len(self._state)} layers, {sum(self._bytes.values()) / 1e6:.0f} MB"


class LastLines:
    """Hands lines on, without what is secret in them, and keeps the last ones for an error."""

    def __init__(self, say: Say) -> None:
        self._say = say
        self._last: deque[str] = deque(maxlen=LINES_IN_ERROR)

    def feed(self, text: str) -> None:
        for raw in text.splitlines():
            line = hide_credentials(COLOURS.sub("", raw).rstrip())
            if line:
                self._last.append(line)
                self._say(line)

    @property
    def text(self) -> str:
        return "\n".join(self._last)

    def error(self, problem: str, todo: str) -> SetupError:
        return SetupError(f"{problem}:" + "".join(f"\n    {line}" for line in self._last), todo=todo)


def show_seconds(seconds: float) -> str:
    number, unit = (seconds, "second") if seconds < 120 else (seconds / 60, "minute")
    return f"{number:g} {unit}{'' if number == 1 else 's'}"
