from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Future
from pathlib import Path
from typing import Any

from runner.engine.backlog import Backlog
from runner.engine.workers import Frame
from runner.model.batch import ErrorRecord, Lease, Loaded


class AtOnce:
    """An executor that runs nothing until it is told to."""

    def __init__(self) -> None:
        self.waiting: list[Any] = []

    def submit(self, call: Any, *arguments: Any) -> Future[None]:
        self.waiting.append((call, arguments))
        return Future()

    def run(self) -> None:
        waiting, self.waiting = self.waiting, []
        for call, arguments in waiting:
            call(*arguments)


class Tables:
    def __init__(self, broken: Sequence[int] = ()) -> None:
        self.broken = broken

    def load(self, first: int, lines: Sequence[bytes], scratch: Path, transport: str) -> Loaded:
        error = ErrorRecord(kind="input")
        failed = {at: error for at in range(len(lines)) if first + at in self.broken}
        return Loaded(lines=[line + b" loaded" for line in lines], failed=failed, bytes=len(lines))


def backlog(tmp_path: Path, loader: Tables | None, time: list[float] | None = None) -> tuple[Backlog, AtOnce, list[tuple[Frame, Any]]]:
    pool, arrived = AtOnce(), []
    moments = time or [1.0]
    made = Backlog(
        loader=loader,
        pool=pool,  # type: ignore[arg-type]
        scratch=tmp_path,
        loaded=lambda frame, loaded: arrived.append((frame, loaded)),
        now=lambda: moments[-1],
    )
    made.transport = "arrow"
    made.add(Lease(first=0, count=10, lines=b"\n".join(b"%d" % i for i in range(10))))
    return made, pool, arrived


def test_long_leases_are_cut_from_the_front(tmp_path: Path) -> None:
    work, _, _ = backlog(tmp_path, None)
    frames = [work.take(4), work.take(4), work.take(4), work.take(4)]
    assert [(frame.first, list(frame.lines)) for frame in frames if frame] == [
        (0, [b"0", b"1", b"2", b"3"]),
        (4, [b"4", b"5", b"6", b"7"]),
        (8, [b"8", b"9"]),
    ]
    assert work.count == 0


def test_what_was_not_tried_is_given_back(tmp_path: Path) -> None:
    work, _, _ = backlog(tmp_path, None)
    frame = work.take(3)
    assert frame is not None
    work.again(frame, 1, attempt=2)
    assert work.give_back() == [(3, 9)]
    assert work.count == 1
    again = work.take(5)
    assert again is not None
    assert (again.first, again.attempt) == (1, 2)


def test_what_cannot_be_read_leaves_a_gap(tmp_path: Path) -> None:
    work, pool, arrived = backlog(tmp_path, Tables(broken=[1, 4]))
    work.load_ahead(5, frames=1)
    pool.run()
    failed = [index for index, _ in work.arrived(*arrived[0])]
    assert failed == [1, 4]
    first, second = work.take(9), work.take(9)
    assert first is not None
    assert second is not None
    assert [(frame.first, list(frame.lines)) for frame in (first, second)] == [(0, [b"0 loaded"]), (2, [b"2 loaded", b"3 loaded"])]
    assert first.manifest_line(0) == b"0"
    assert work.count == 5


def test_loading_that_takes_too_long_is_given_up_and_ignored_later(tmp_path: Path) -> None:
    work, pool, arrived = backlog(tmp_path, Tables(), [5.0])
    work.load_ahead(3, frames=1)
    assert work.oldest_loading == float("inf")
    pool.run()  # it has begun, and ended, but the loop does not know yet
    assert work.oldest_loading == 5.0
    assert work.give_up_loading(4.0) == []
    assert work.give_up_loading(6.0) == [0, 1, 2]
    assert work.arrived(*arrived[0]) == []
    assert work.take(9) is None
    assert work.count == 7
