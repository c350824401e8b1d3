"""Between an instance and the coordinator: what is durable is handed in, and nobody waits for a storage that does not answer."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from runner.engine.courier import Courier
from runner.engine.gather import Piece
from runner.model.batch import Lease, Recall, Report, Stop, Tally, Wait
from runner.outputs import outlet as outlet_module
from runner.outputs.blocks import BlockRows, PartRows
from runner.outputs.outlet import Outlet
from runner.outputs.rows import PartWriter
from runner.storage.problems import StorageUnavailable


class RealClock:
    now = staticmethod(time.monotonic)
    wall = staticmethod(time.time)


class Exchange:
    def __init__(self) -> None:
        self.reports: list[tuple[Report, int]] = []
        self.answer: Wait | Stop = Wait()

    def join(self, name: str, *, workers: int, wake: Callable[[], None]) -> int:
        return 1

    def exchange(self, epoch: int, report: Report, want: int) -> Lease | Wait | Recall | Stop:
        self.reports.append((report, want))
        if want and isinstance(self.answer, Wait):
            return Lease(first=0, count=1, lines=b"x")
        return self.answer

    @property
    def done(self) -> list[int]:
        return sorted(i for report, _ in self.reports for one in report.segments for i in range(one.first, one.last + 1))


class Storage:
    """`gate` closed: it does not answer."""

    def __init__(self) -> None:
        self.gate = threading.Event()
        self.gate.set()
        self.broken = False
        self.blocks: dict[str, bytes] = {}

    def stage(self, path: str, block: str, data: bytes) -> None:
        self.gate.wait(30)
        if self.broken:
            raise StorageUnavailable("datastore 'az' did not answer for 900 s")
        self.blocks[block] = data


class Folder:
    def __init__(self) -> None:
        self.synced = 0
        self.broken = False

    def sync(self) -> None:
        if self.broken:
            raise StorageUnavailable("gone")
        self.synced += 1


class Bench:
    def __init__(self, folder: Path, *, blob: bool = True, folders: Sequence[Folder] = (), background: bool = True) -> None:
        self.exchange, self.storage = Exchange(), Storage()
        self.delivered: list[object] = []

        def outlet(prefix: str, changed: Callable[[], None]) -> Outlet:
            parts = PartWriter(folder / "parts", prefix)
            blocks = BlockRows(self.storage, "rows", parts=parts, folder=folder / "parts", changed=changed)
            return Outlet(blocks if blob else PartRows(parts, 8 << 20), folders, background=background, changed=changed)

        self.courier = Courier(
            exchange=self.exchange,
            name="node_0",
            workers=2,
            outlet=outlet,
            prefix="p",
            clock=RealClock(),
            deliver=self.delivered.append,
            waiting=lambda: not self.storage.gate.is_set(),
        )
        self.courier.start()

    def finish(self, index: int, size: int, *, idle: bool = True) -> None:
        piece = Piece(first=index, last=index, tally=Tally(succeeded=1), rows=[b"x" * size])
        self.courier.finish(piece, attempts=1)
        self.courier.ask(0, idle=idle)


def until(happened: Callable[[], object]) -> None:
    end = time.monotonic() + 20
    while not happened():
        assert time.monotonic() < end
        time.sleep(0.01)


LARGE = 5 << 20


def test_leases_are_fetched_while_the_storage_does_not_answer(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    bench.storage.gate.clear()
    bench.finish(0, LARGE)
    until(lambda: not bench.courier._pieces)
    bench.courier.ask(5, idle=False)
    until(lambda: any(isinstance(one, Lease) for one in bench.delivered))
    assert bench.courier.pending_bytes == LARGE
    assert not bench.exchange.done
    bench.storage.gate.set()
    until(lambda: bench.exchange.done == [0])
    until(lambda: bench.courier.pending_bytes == 0)
    bench.courier.end()


def test_a_wait_is_reported_so_that_nobody_takes_it_for_a_standstill(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("runner.engine.courier.WAITING_SECONDS", 0.1)
    bench = Bench(tmp_path)
    bench.storage.gate.clear()
    bench.finish(0, LARGE)
    until(lambda: sum(report.waiting for report, _ in bench.exchange.reports) >= 3)
    bench.storage.gate.set()
    bench.courier.end()
    assert bench.exchange.done == [0]
    assert not bench.exchange.reports[-1][0].waiting


def test_at_the_end_small_pieces_are_put_together(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    for index in range(5):
        bench.finish(index, 10)
        until(lambda index=index: bench.exchange.done == list(range(index + 1)))  # type: ignore[misc]
    assert not bench.storage.blocks
    bench.courier.end(whole=True)
    assert [len(data) for data in bench.storage.blocks.values()] == [50]
    (block,) = bench.exchange.reports[-1][0].blocks
    assert (block.first, block.last, block.length) == (0, 4, 50)


def test_of_a_fenced_instance_nothing_is_put_together(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    bench.finish(0, 10)
    until(lambda: bench.exchange.done)
    bench.exchange.answer = Stop(reason="fenced")
    bench.courier.end(patiently=False, whole=True)
    assert not bench.storage.blocks


def test_an_outage_that_lasts_too_long_ends_the_instance_and_loses_nothing(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    bench.storage.broken = True
    bench.finish(0, LARGE)
    until(lambda: Stop(reason="output") in bench.delivered)
    bench.finish(1, LARGE)
    bench.courier.end(patiently=False)
    assert bench.exchange.done == [0, 1]
    assert isinstance(bench.courier.error, StorageUnavailable)


@pytest.mark.parametrize("background", [False, True])
def test_files_come_before_the_mini_batches_that_wrote_them(tmp_path: Path, background: bool) -> None:
    folder = Folder()
    bench = Bench(tmp_path, blob=False, folders=[folder], background=background)
    bench.finish(0, 10)
    until(lambda: bench.exchange.done == [0])
    assert folder.synced == 1
    bench.courier.end(whole=True)
    assert folder.synced == 1 + background  # a last look


def test_mini_batches_whose_files_could_not_be_uploaded_are_not_done(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outlet_module, "HURRY_SECONDS", 0.5)
    folder = Folder()
    bench = Bench(tmp_path, blob=False, folders=[folder])
    bench.finish(0, 10)
    until(lambda: bench.exchange.done == [0])
    folder.broken = True
    bench.finish(1, 10)
    until(lambda: Stop(reason="output") in bench.delivered)
    bench.courier.end(patiently=False)
    assert bench.exchange.done == [0]
