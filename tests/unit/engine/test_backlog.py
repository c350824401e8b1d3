from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Future
from pathlib import Path
from typing import Any

from runner.engine.backlog import Backlog
from runner.engine.workers import Frame
from runner.model.batch import ErrorRecord, Lease, Loaded
from runner.model.ports import Room


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
    room = Room()

    def weight(self, line: bytes) -> int:
        return 0

    def free(self, scratch: Sequence[str]) -> None:
        pass

    def end(self, scratch: Path) -> None:
        pass

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


class Chosen(Tables):
    """Notes which way mini-batches went."""

    def __init__(self) -> None:
        super().__init__()
        self.ways: list[tuple[int, int, str]] = []

    def load(self, first: int, lines: Sequence[bytes], scratch: Path, transport: str) -> Loaded:
        self.ways.append((first, len(lines), transport))
        return super().load(first, lines, scratch, transport)


def test_what_a_worker_cannot_read_goes_through_the_loader_and_keeps_its_attempt(tmp_path: Path) -> None:
    loader = Chosen()
    work, pool, arrived = backlog(tmp_path, loader)
    work.transport = "direct"
    work.load_ahead(4, frames=1)
    pool.run()
    work.arrived(*arrived.pop())
    frame = work.take(9)
    assert frame is not None
    frame.attempt, frame.beside = 2, 1
    work.not_plain(frame, 1)
    assert work.count == 7
    work.load_ahead(4, frames=2)
    pool.run()
    assert loader.ways == [(0, 4, "direct"), (1, 1, "arrow"), (4, 4, "direct")]
    for each in arrived:
        work.arrived(*each)
    again = work.take(9)
    assert again is not None
    assert (again.first, list(again.lines), again.attempt, again.beside) == (1, [b"1 loaded"], 2, 1)
    work.again(again, 1, attempt=3)  # once it is known not to be plain, it is not tried once more
    work.load_ahead(4, frames=3)
    pool.run()
    assert loader.ways[-2:] == [(1, 1, "arrow"), (8, 2, "direct")]


def test_workers_get_nothing_more_to_read_where_little_of_it_is_plain(tmp_path: Path) -> None:
    loader = Chosen()
    work, pool, arrived = backlog(tmp_path, loader)
    work.transport = "direct"
    for count in range(10):
        work.load_ahead(1, frames=1)
        pool.run()
        work.arrived(*arrived.pop())
        frame = work.take(1)
        assert frame is not None
        if loader.ways[-1][2] == "direct" and count < 5:
            work.not_plain(frame, frame.first)
            work.load_ahead(1, frames=1)
            pool.run()
            work.arrived(*arrived.pop())
            assert work.take(1) is not None
    assert [way for _, _, way in loader.ways] == ["direct", "arrow"] * 5 + ["arrow"] * 5


class Files(Tables):
    """Mini-batch number n has n bytes."""

    room = Room(on_disk=True, ahead=10, frame=6, loads=4)

    def __init__(self) -> None:
        super().__init__()
        self.freed: list[str] = []

    def weight(self, line: bytes) -> int:
        return int(line)

    def load(self, first: int, lines: Sequence[bytes], scratch: Path, transport: str) -> Loaded:
        names = tuple(line.decode() for line in lines)
        return Loaded(lines=[line + b" here" for line in lines], scratch=names, bytes=sum(map(int, lines)))

    def free(self, scratch: Sequence[str]) -> None:
        self.freed += scratch


def test_so_many_bytes_of_files_lie_ahead_and_one_mini_batch_at_least(tmp_path: Path) -> None:
    work, pool, arrived = backlog(tmp_path, Files())
    work.load_ahead(9, frames=2)  # 0 1 2 3 in one frame; then 4 in another: 4 + 5 would be too much for it, and 5 for what lies ahead
    assert [(frame.first, frame.count) for _, (frame,) in pool.waiting] == [(0, 4), (4, 1)]
    pool.run()
    for each in arrived:
        work.arrived(*each)
    arrived.clear()
    work.load_ahead(9, frames=2)
    assert pool.waiting == []
    first = work.take(9)
    assert first is not None
    work.load_ahead(9, frames=2)
    assert [(frame.first, frame.count) for _, (frame,) in pool.waiting] == [(5, 1)]
    assert work.oldest_loading == float("inf")
    assert work.is_loading


def test_a_further_attempt_gets_the_files_that_are_here(tmp_path: Path) -> None:
    loader = Files()
    work, pool, arrived = backlog(tmp_path, loader)
    work.load_ahead(3, frames=1)
    pool.run()
    for each in arrived:
        work.arrived(*each)
    frame = work.take(9)
    assert frame is not None
    assert frame.scratch is not None
    before = work.count
    work.again(frame, 1, attempt=2, beside=3)
    frame.scratch.release()
    assert loader.freed == []
    again = work.take(9)
    assert again is not None
    assert (again.first, list(again.lines), again.attempt, again.beside, work.count) == (1, [b"1 here"], 2, 3, before)
    assert again.scratch is not None
    again.scratch.release()
    assert loader.freed == ["0", "1", "2"]


def test_a_frame_that_could_not_be_loaded_at_all(tmp_path: Path) -> None:
    work, pool, _ = backlog(tmp_path, Files())
    work.load_ahead(3, frames=1)
    pool.run()
    frame = next(iter(work._loading.values()))
    work.not_loaded(frame)
    assert work.count == 10 - frame.count
