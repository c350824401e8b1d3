"""Rows into one blob: an instance's courier against a hand-written loop of `stage_block`, on the same Azurite.

The loop has all rows in memory, in order, in blocks of the size that the runner makes, staged by
as many threads, by the SDK's own client. The runner gets them as workers hand them in: mini-batch by mini-batch, out of order, with a
coordinator that writes its journal, and rows that must not fill the memory.
Also: what the coordinator sends, gets and writes, as a share of the rows.
"""

from __future__ import annotations

import os
import shutil
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

from azure.storage.blob import BlobBlock, ContainerClient

from benchmarks.measure import interleaved, show
from runner.engine.coordinator import Coordinator
from runner.engine.courier import Courier
from runner.engine.feeder import PENDING_LIMIT
from runner.engine.gather import Piece
from runner.engine.journal import Journal, read_journal
from runner.engine.manifest import Manifest
from runner.engine.remote.wire import answer_to_frame, report_to_header
from runner.engine.session import CoordinatorSettings
from runner.model.batch import Chunk, Lease, Report, Tally
from runner.outputs.aggregate import Content
from runner.outputs.blob_aggregate import BlobAggregate
from runner.outputs.blocks import THREADS, BlockRows
from runner.outputs.outlet import Outlet
from runner.outputs.rows import PartWriter
from runner.storage.blob import BlobContainer
from runner.worker.protocol import message
from tests.azurite import Azurite, find_azurite, running_azurite

MEGABYTES = int(os.environ.get("BENCHMARK_MB", "500"))
ROUNDS = int(os.environ.get("BENCHMARK_ROUNDS", "5"))
PIECE = 100_000  # bytes of rows of a mini-batch
BLOCK = 8_300_000  # what the runner's blocks have here: a flush
COUNT = MEGABYTES * 10
ROWS = b"".join(b"%098d\n" % number for number in range(PIECE // 99))


class Clock:
    now = staticmethod(time.monotonic)
    wall = staticmethod(time.time)


class Counted:
    """A coordinator, and what would go over the network to it and back."""

    def __init__(self, coordinator: Coordinator) -> None:
        self._coordinator = coordinator
        self.join = coordinator.join
        self.bytes = 0

    def exchange(self, epoch: int, report: Report, want: int) -> Any:
        answer = self._coordinator.exchange(epoch, report, want)
        self.bytes += len(message(report_to_header(report))) + len(message(*answer_to_frame(answer)))
        return answer


def by_hand(azurite: Azurite, name: str) -> float:
    client = ContainerClient(azurite.endpoint, name, credential=azurite.key, connection_data_block_size=1 << 20)
    blob = client.get_blob_client("by-hand")
    each = BLOCK // len(ROWS)
    data = ROWS * each
    count = -(-COUNT // each)
    began = time.perf_counter()
    with ThreadPoolExecutor(THREADS) as pool:
        list(pool.map(lambda number: blob.stage_block(f"{number:044d}", data, length=len(data)), range(count)))
    blob.commit_block_list([BlobBlock(f"{number:044d}") for number in range(count)])
    return count * len(data) / 1e6 / (time.perf_counter() - began)


def runner(azurite: Azurite, name: str, shares: list[float]) -> float:
    folder = Path(tempfile.mkdtemp(prefix="blob-rows-"))
    container = BlobContainer(azurite.store(name))
    journal = Journal(folder / "journal.log")
    aggregate = BlobAggregate(container=container, path="rows", parts=folder / "parts", job="bench", records=journal, say=print)
    coordinator = Coordinator(settings=CoordinatorSettings(), manifest=Manifest(folder / "manifest"), journal=journal, clock=Clock())
    coordinator.feed(Chunk(lines=[b"{}"] * COUNT, items=COUNT, bytes=COUNT))
    coordinator.feed_done()
    aggregate.begin(b"")
    counted, leases = Counted(coordinator), list[Lease]()

    def outlet(prefix: str, changed: Callable[[], None]) -> Outlet:
        parts = PartWriter(folder / "parts", prefix)
        rows = BlockRows(container, "rows", parts=parts, folder=folder / "parts", changed=changed)
        return Outlet(rows, [], background=True, changed=changed)

    courier = Courier(
        exchange=counted, name="node_0", workers=2, outlet=outlet, prefix="p", clock=Clock(),
        deliver=lambda answer: leases.append(answer) if isinstance(answer, Lease) else None,
    )  # fmt: skip
    began = time.perf_counter()
    courier.start()
    courier.ask(COUNT, idle=False)
    for index in range(COUNT):
        neighbour = index ^ 1 if index ^ 1 < COUNT else index  # two workers, the second one always faster
        while courier.pending_bytes > PENDING_LIMIT or neighbour >= sum(one.count for one in leases):
            time.sleep(0.001)
            courier.received()
            courier.ask(COUNT - sum(one.count for one in leases), idle=False)
        courier.finish(Piece(first=neighbour, last=neighbour, tally=Tally(succeeded=1), rows=[ROWS]), attempts=1)
    courier.ask(0, idle=True)
    while coordinator.wait(0.01) is None:
        pass
    courier.end(whole=True)
    coordinator.close()
    restored = read_journal(folder / "journal.log")
    aggregate.publish(Content(segments=restored.segments, blocks=restored.blocks))
    took = time.perf_counter() - began
    assert container.info("rows").size == COUNT * len(ROWS)
    shares.append(100 * (counted.bytes + (folder / "journal.log").stat().st_size) / (COUNT * len(ROWS)))
    journal.close()
    shutil.rmtree(folder)
    return COUNT * len(ROWS) / 1e6 / took


def main() -> None:
    program = find_azurite()
    if program is None:
        print("\nblob_rows: needs azurite-blob, or node and npm")
        return
    shares: list[float] = []
    with running_azurite(program) as azurite:
        name = azurite.container()
        found = interleaved({"by hand": partial(by_hand, azurite, name), "runner": partial(runner, azurite, name, shares)}, ROUNDS)
    show(f"rows into a blob, {MEGABYTES} MB, {THREADS} threads", "MB/s", found, against="by hand")
    show("through the coordinator: exchanges and journal", "% of the rows", {"runner": shares})
