"""Mini-batches that are taken back from workers at the very moment that these go on: none is lost, and none runs twice.

The workers run their own loop (runner.worker.loop), each in a thread that stops wherever it uses the page it shares with the supervisor, or
its connection. A seed says who goes on, and when: also in between two looks of the supervisor at that page.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random
from types import SimpleNamespace
from typing import Any

import pytest

from runner.engine.backlog import Backlog
from runner.engine.feeder import Feeder
from runner.engine.gather import Piece
from runner.engine.results import Results
from runner.engine.workers import Worker
from runner.model.batch import Lease
from runner.worker.channel import Disconnected
from runner.worker.loop import Loop
from runner.worker.protocol import Reader, Slot, message

COUNT, WORKERS = 30, 2
PATIENCE = 2000  # turns of the supervisor: these seeds take 36 to 107
SECOND_AHEAD = 1.0  # of the supervisor's clock: whatever runs has always run for long enough


class Page:
    """The words of a slot; `look` is called before each use of them."""

    def __init__(self, words: memoryview, look: Callable[[], None]) -> None:
        self._words, self._look = words, look

    def __getitem__(self, word: int) -> int:
        self._look()
        return self._words[word]

    def __setitem__(self, word: int, value: int) -> None:
        self._look()
        self._words[word] = value


class Puppet:
    """A worker that goes one step when it is told to: its loop's thread, the mini-batches, the entry script, the channel, and the other end
    of that, which is the supervisor's socket.
    """

    wants_context = False

    def __init__(self, page: memoryview) -> None:
        self.ran: Counter[int] = Counter()
        self.socket: Any = SimpleNamespace(send=self._received, recv=self._sent)
        self._inbox, self._reader, self._outbox = deque[Any](), Reader(), bytearray()
        self._go, self._paused, self._over = threading.Semaphore(0), threading.Semaphore(0), False
        config = {"append_rows": False, "to_csv": {}, "header": False}
        self._loop = Loop(config, self, self, self, Page(page, self._pause), None)  # type: ignore[arg-type]
        self._thread = threading.Thread(target=self._live)
        self._thread.start()

    # The supervisor's

    def step(self) -> None:
        self._go.release()
        self._paused.acquire()

    def end(self) -> None:
        self._over = True
        self._go.release()
        self._thread.join()

    def _received(self, data: bytes) -> int:
        self._reader.feed(data)
        self._inbox.extend(self._reader)
        return len(data)

    def _sent(self, _size: int) -> bytes:
        if not self._outbox:
            raise BlockingIOError
        data, self._outbox[:] = bytes(self._outbox), b""
        return data

    # The worker's

    def load(self, line: dict[str, Any]) -> tuple[int, int]:
        return line["files"][0][0], 1

    def run(self, batch: int) -> list[int]:
        self.ran[batch] += 1
        return [batch]

    def receive(self) -> Iterator[tuple[Any, bytes]]:
        while True:
            self._pause()
            if self._inbox:
                yield self._inbox.popleft()

    def send(self, header: dict[str, Any]) -> None:
        self.send_bytes(message(header))

    def send_bytes(self, data: bytes) -> None:
        self._pause()
        self._outbox += data

    def _live(self) -> None:
        with contextlib.suppress(Disconnected):
            self._pause(first=True)
            self._loop.run()

    def _pause(self, *, first: bool = False) -> None:
        if not first:
            self._paused.release()
        self._go.acquire()
        if self._over:
            raise Disconnected


class Supervision:
    """The parts of an instance that feed its workers; time, courier and processes are put up."""

    def __init__(self, seed: int) -> None:
        self.random, self.finished = Random(seed), Counter[int]()
        memory = bytearray(Slot.SIZE * WORKERS)
        self.puppets, self.workers = list[Puppet](), dict[int, Worker]()
        for number in range(WORKERS):
            slot = Slot(memory, number)
            slot.limit = Slot.NO_LIMIT
            puppet = Puppet(slot.words)
            slot.words = Page(slot.words, self.others)  # type: ignore[assignment]
            self.puppets.append(puppet)
            self.workers[number] = Worker(
                number=number, process="", lane=number, slot=slot, copy=Path(), stdout="", stderr="", log="", started=0, state="ready",
                socket=puppet.socket,
            )  # fmt: skip
        retry = {"timeout": 1e9, "task_overhead_timeout": 1e9, "error_threshold": -1, "max_retries": 0}
        settings: Any = SimpleNamespace(worker=SimpleNamespace(node="node_0", processes=WORKERS), **retry)
        clock: Any = SimpleNamespace(now=lambda: time.monotonic() + SECOND_AHEAD, wall=lambda: 0.0)
        crew: Any = SimpleNamespace(workers=self.workers, ready=lambda: list(self.workers.values()), vacant=())
        courier: Any = SimpleNamespace(finish=self.finish, pending_bytes=0)
        pool: Any = None
        self.backlog = Backlog(loader=None, pool=pool, scratch=Path(), loaded=lambda *_: None, now=clock.now)
        self.results = Results(settings, courier=courier, backlog=self.backlog, crew=crew, publish=lambda _: None, clock=clock)
        switchboard: Any = SimpleNamespace(watch=lambda _: None)
        self.feeder = Feeder(
            settings, crew=crew, backlog=self.backlog, courier=courier, results=self.results, switchboard=switchboard, clock=clock
        )

    def close(self) -> None:
        for puppet in self.puppets:
            puppet.end()

    def finish(self, piece: Piece, *, attempts: int) -> None:
        self.finished.update(range(piece.first, piece.last + 1))

    def others(self) -> None:
        """What the workers do while the supervisor is on its way from one thing to the next."""
        for _ in range(self.random.choice([0, 0, 1, 3, 12])):
            self.random.choice(self.puppets).step()

    def turn(self) -> None:
        self.others()
        for worker in self.workers.values():
            if self.random.random() < 0.7:
                worker.receive()
                assert not list(self.results.take_in(worker))
        if self.random.random() < 0.1:
            self.results.gather_before(float("inf"))
        self.feeder.dispatch()
        self.feeder.rebalance()


@pytest.mark.parametrize("first", range(0, 300, 50))
def test_nothing_is_lost_and_nothing_runs_twice(first: int) -> None:
    for seed in range(first, first + 50):
        lines = b"\n".join(b'{"files":[[%d]]}' % index for index in range(COUNT))
        with contextlib.closing(Supervision(seed)) as supervision:
            supervision.backlog.add(Lease(first=0, count=COUNT, lines=lines))
            turns = 0
            while len(supervision.finished) < COUNT and turns < PATIENCE:
                supervision.turn()
                turns += 1
        lost = sorted(set(range(COUNT)) - set(supervision.finished))
        assert not lost, f"seed {seed}: never came back: {lost}"
        assert set(supervision.finished.values()) == {1}, f"seed {seed}: {supervision.finished}"
        ran = sum((puppet.ran for puppet in supervision.puppets), Counter())
        assert ran == Counter(range(COUNT)), f"seed {seed}: {ran - Counter(range(COUNT))} ran too often"
