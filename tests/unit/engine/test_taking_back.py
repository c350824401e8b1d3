"""Mini-batches that are taken back from workers at the very moment that these go on: none is lost, and none runs twice.

The workers run their own loop (runner.worker.loop), each in a thread that stops wherever it uses the page it shares with the supervisor, or
its connection. A seed says who goes on, and when: also in between two looks of the supervisor at that page.
"""

from __future__ import annotations

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
from runner.worker.loop import Loop
from runner.worker.protocol import Reader, Slot, message

COUNT, WORKERS = 30, 2
PATIENCE = 2000  # turns of the supervisor: with luck it takes 100
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


class Puppet(threading.Thread):
    """A worker that goes one step when it is told to, and what is between it and the supervisor: channel, socket, entry script."""

    wants_context = False

    def __init__(self, page: memoryview) -> None:
        super().__init__(daemon=True)
        self.ran: Counter[int] = Counter()
        self._inbox, self._reader, self._outbox = deque[Any](), Reader(), bytearray()
        self._go, self._paused = threading.Semaphore(0), threading.Semaphore(0)
        config = {"append_rows": False, "to_csv": {}, "header": False}
        self._loop = Loop(config, self, self, self, Page(page, self._pause), None)  # type: ignore[arg-type]
        self.start()

    def step(self) -> None:
        self._go.release()
        self._paused.acquire()

    def run(self, *batch: Any) -> Any:
        """Of the thread; and of the script, with a mini-batch."""
        if batch:
            self.ran[batch[0]] += 1
            return [batch[0]]
        self._go.acquire()
        self._loop.run()
        self._paused.release()
        return None

    def load(self, line: dict[str, Any]) -> tuple[int, int]:
        return line["files"][0][0], 1

    def receive(self) -> Iterator[tuple[Any, bytes]]:
        while True:
            self._pause()
            if self._inbox:
                yield self._inbox.popleft()

    def send_bytes(self, data: bytes) -> None:
        self._pause()
        self._outbox += data

    def send(self, header: Any, payload: bytes = b"") -> Any:
        """Both of the channel, with a header, and of the supervisor's socket, with bytes."""
        if isinstance(header, dict):
            return self.send_bytes(message(header, payload))
        self._reader.feed(header)
        self._inbox.extend(self._reader)
        return len(header)

    def recv(self, _size: int) -> bytes:
        if not self._outbox:
            raise BlockingIOError
        data, self._outbox[:] = bytes(self._outbox), b""
        return data

    def _pause(self) -> None:
        self._paused.release()
        self._go.acquire()


class Supervision:
    """The parts of an instance that feed its workers; time, courier and processes are put up."""

    def __init__(self, seed: int) -> None:
        self.random, self.finished = Random(seed), Counter[int]()
        memory = bytearray(Slot.SIZE * WORKERS)
        self.puppets, self.workers = [], dict[int, Worker]()
        for number in range(WORKERS):
            slot = Slot(memory, number)
            slot.limit = Slot.NO_LIMIT
            puppet = Puppet(slot.words)
            slot.words = Page(slot.words, self.others)  # type: ignore[assignment]
            self.puppets.append(puppet)
            self.workers[number] = Worker(
                number=number, process="", lane=number, slot=slot, copy=Path(), stdout="", stderr="", log="", started=0, state="ready",
                socket=puppet,  # type: ignore[arg-type]
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
        supervision = Supervision(seed)
        lines = b"\n".join(b'{"files":[[%d]]}' % index for index in range(COUNT))
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
