"""One worker process as its supervisor sees it: its socket, the frames it was given, and what it is busy with."""

from __future__ import annotations

import errno
import socket
import threading
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from runner.engine.gather import Piece
from runner.model.batch import Tally
from runner.worker.protocol import Slot, message

RECEIVE_SIZE = 1 << 18
_BARRIER = threading.Lock()


@dataclass(kw_only=True, eq=False)
class Scratch:
    """Files that several frames share; freed when the last of them is done."""

    files: tuple[str, ...]
    bytes: int
    free: Callable[[Sequence[str]], None]
    users: int = 0

    def release(self) -> int:
        """One user less; returns the bytes that became free."""
        self.users -= 1
        if self.users > 0:
            return 0
        self.free(self.files)
        return self.bytes


@dataclass(kw_only=True, eq=False)
class Frame:
    """Mini-batches first … first + count − 1 on their way through a worker, in this order."""

    first: int
    lines: Sequence[bytes]  # what goes to the worker
    attempt: int = 1
    beside: int | None = None  # how many other workers there may be while it runs: after one has run out of memory
    careful: bool = False  # it goes through the loader, whatever a worker can read itself
    sources: Sequence[bytes] = ()  # their manifest lines, where `lines` are not these
    scratch: Scratch | None = None
    weight: int = 0  # bytes that a loader makes of it, as far as that is known
    count: int = 0  # how many of them are still this worker's
    seq: int = 0
    done: int = 0
    cut: int = 0  # those before are gathered
    began: float = 0.0
    results: list[tuple[int, int, int, int]] = field(default_factory=list)  # since `cut`: index, items, returned, nanoseconds
    rows: list[bytes] = field(default_factory=list)  # since `cut`

    def __post_init__(self) -> None:
        self.count = len(self.lines)

    @property
    def next(self) -> int:
        """The mini-batch whose result comes next."""
        return self.first + self.done

    def manifest_line(self, index: int) -> bytes:
        return (self.sources or self.lines)[index - self.first]

    def gather(self) -> tuple[Piece, list[tuple[int, int, int, int]]] | None:
        """What has succeeded since the last call, as one piece, and its results."""
        if not self.results:
            return None
        results, rows = self.results, self.rows
        self.results, self.rows = [], []
        _, items, returned, _ = zip(*results, strict=True)
        given, came = sum(items), sum(returned)
        tally = Tally(succeeded=len(results), items=given, returned=came, retries=(self.attempt - 1) * len(results))
        self.cut = self.done
        return Piece(first=results[0][0], last=results[-1][0], tally=tally, rows=rows), results

    def rest(self, keep: int = 0) -> Frame | None:
        """A new frame of what has not been done, behind the first `keep`, and nothing more of it here."""
        first = max(self.done, keep)
        if first >= self.count:
            return None
        rest = self.part(first, self.count)
        self.count = first
        return rest

    def part(self, start: int, end: int) -> Frame:
        """Some of its mini-batches as a frame of their own, which uses the same scratch files."""
        if self.scratch:
            self.scratch.users += 1
        return Frame(
            first=self.first + start, lines=self.lines[start:end], sources=self.sources[start:end], attempt=self.attempt,
            beside=self.beside, careful=self.careful, scratch=self.scratch,
        )  # fmt: skip


@dataclass(kw_only=True, eq=False)
class Worker:
    """`state`: preparing (its code is being copied), starting, ready, ending (told to go), gone (its process has ended)."""

    number: int
    process: str
    lane: int  # 0 … processes − 1: which of the instance's places it fills; a replacement fills the same
    slot: Slot
    copy: Path
    stdout: str
    stderr: str
    log: str
    started: float
    state: str = "preparing"
    pid: int = 0
    socket: socket.socket | None = None
    buffer: bytearray = field(default_factory=bytearray)
    need: int = 0  # bytes that must be there before parsing is worth while
    outbox: deque[bytes] = field(default_factory=deque)
    frames: deque[Frame] = field(default_factory=deque)
    seq: int = 0  # of the next mini-batch sent
    recalled: int = 0  # unstarted ones were taken back: nothing is sent until the worker has said so of all before this sequence number
    killed: str = ""  # why it is being killed: timeout, overhead, init, stop
    doomed: int = -1  # the mini-batch that was running when it was killed: a late result of it is not accepted
    check_at: float = float("inf")

    @property
    def busy(self) -> bool:
        return bool(self.frames)

    @property
    def unstarted(self) -> int:
        """Mini-batches it has that it is not busy with."""
        return max(0, sum(frame.count - frame.done for frame in self.frames) - 1)

    def running(self) -> int:
        """The mini-batch it is executing right now, or −1."""
        at = self.slot.running - 1
        for frame in self.frames:
            if frame.seq + frame.done <= at < frame.seq + frame.count:
                return frame.first + at - frame.seq
        return -1

    def hold(self, seq: int) -> int:
        """Has it start nothing from this sequence number on; gives the one behind what it had started by then, at the latest.

        It may not start that one, either: then it says that it is unstarted.
        """
        self.slot.limit = seq
        with _BARRIER:  # so that the worker's look at `limit` and ours at `running` cannot both miss the other's writing
            pass
        return self.slot.running

    def let_go(self) -> None:
        """It may start again whatever it has."""
        self.recalled, self.slot.limit = 0, self.slot.NO_LIMIT

    def send(self, header: dict[str, object], payload: bytes = b"") -> None:
        self.outbox.append(message(header, payload))
        self.flush()

    def flush(self) -> None:
        """Writes as much as the socket takes."""
        assert self.socket is not None
        while self.outbox:
            data = self.outbox[0]
            try:
                sent = self.socket.send(data)
            except BlockingIOError:
                return
            except OSError as error:
                if error.errno not in (errno.EPIPE, errno.ECONNRESET, errno.ENOTCONN):
                    raise
                self.outbox.clear()  # it has died: the keeper says how
                return
            if sent == len(data):
                self.outbox.popleft()
            else:
                self.outbox[0] = data[sent:]

    def receive(self) -> bool:
        """Takes what the socket has into the buffer; False at its end."""
        assert self.socket is not None
        try:
            data = self.socket.recv(RECEIVE_SIZE)
        except BlockingIOError:
            return True
        except ConnectionResetError:
            return False
        self.buffer += data
        return bool(data)
