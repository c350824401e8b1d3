"""The way of rows into a blob, from an instance's courier to the commit: with a journal, and a real Azurite where it says so."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from runner.engine.journal import Journal, read_journal
from runner.errors import UserError
from runner.model.batch import Block, Report, Segment, Tally
from runner.model.datastore import BlobInfo
from runner.outputs import blocks as blocks_module
from runner.outputs.aggregate import Content, RowsLost
from runner.outputs.blob_aggregate import BlobAggregate, lay_out
from runner.outputs.block_ids import BlockIds, blocks_of, part_of
from runner.outputs.blocks import BlockRows, least_block
from runner.outputs.rows import PartWriter
from runner.outputs.spill import Spill
from runner.storage.blob import BlobContainer
from runner.storage.problems import BlobChanged, BlobMissing, BlocksLost, StorageUnavailable
from tests.azurite import Azurite


@dataclass
class Run:
    first: int
    last: int
    rows: list[bytes]
    failed: bool = False

    @property
    def tally(self) -> Tally:
        count = self.last + 1 - self.first
        return Tally(failed=count) if self.failed else Tally(succeeded=count)


@dataclass
class FakeContainer:
    """One blob in memory, as the service would have it; `broken` is raised by each call while it is set."""

    waiting: dict[str, bytes] = field(default_factory=dict)
    committed: dict[str, bytes] = field(default_factory=dict)
    order: list[str] = field(default_factory=list)
    metadata: dict[str, str] | None = None
    version: int = 0
    broken: Exception | None = None
    lose_answer: bool = False
    gate: threading.Event = field(default_factory=threading.Event)

    def __post_init__(self) -> None:
        self.gate.set()

    def address(self, path: str) -> str:
        return f"azureml://datastores/az/paths/{path}"

    def _pass(self) -> None:
        self.gate.wait(20)
        if self.broken:
            raise self.broken

    def stage(self, path: str, block: str, data: bytes) -> None:
        self._pass()
        assert len(block) == 44
        self.waiting[block] = data

    def staged(self, path: str) -> dict[str, int]:
        self._pass()
        return {name: len(data) for name, data in {**self.committed, **self.waiting}.items()}

    def info(self, path: str) -> BlobInfo:
        self._pass()
        if self.metadata is None:
            raise BlobMissing("there is nothing")
        return BlobInfo(path=path, size=len(self.content), etag=str(self.version), metadata=self.metadata)

    def commit(self, path: str, blocks: Sequence[str], *, etag: str | None, metadata: Mapping[str, str]) -> str:
        self._pass()
        if etag is not None and etag != (str(self.version) if self.version else ""):
            raise BlobChanged("written by somebody else")
        known = {**self.committed, **self.waiting}
        if set(blocks) - known.keys():
            raise BlocksLost("blocks are gone")
        self.committed = {name: known[name] for name in blocks}
        self.order, self.waiting, self.metadata = list(blocks), {}, dict(metadata)
        self.version += 1
        if self.lose_answer:
            raise BlobChanged("the second try of a commit whose answer was lost")
        return str(self.version)

    def put(self, path: str, data: bytes) -> str:
        self.written = (path, data)
        return "x"

    def check_writable(self, path: str) -> None:
        self._pass()

    @property
    def content(self) -> bytes:
        return b"".join(self.committed[name] for name in self.order)


class Bench:
    """An instance's rows, the journal that a coordinator would write, and the owner's end."""

    def __init__(self, folder: Path, container: FakeContainer | BlobContainer, path: str = "out/rows.txt") -> None:
        folder.mkdir(exist_ok=True)
        self.folder, self.container, self.path = folder, container, path
        self.said: list[str] = []
        self.written = self.lives = 0
        self.open()

    def open(self) -> None:
        self.journal = Journal(self.folder / "journal.log")
        self.lives += 1
        parts = PartWriter(self.folder / "parts", f"p{self.lives}")
        self.rows = BlockRows(self.container, self.path, parts=parts, folder=self.folder / "parts", changed=lambda: None)

    def reopen(self) -> None:
        """As after a crash: what the instance has in memory is lost, the journal and the parts are there."""
        self.journal.close()
        self.open()

    @property
    def aggregate(self) -> BlobAggregate:
        return BlobAggregate(
            container=self.container, path=self.path, parts=self.folder / "parts", job="job", records=self.journal, say=self.said.append
        )

    def write(self, *runs: Run) -> None:
        self.rows.write(list(runs))

    def report(self, *, sync: bool = True) -> Report:
        """What the courier does: hands in what is durable, and says that it was taken."""
        durable = self.rows.take()
        for segment in durable.segments:
            self.written += segment.length
            self.journal.segment(segment)
        for block in durable.blocks:
            self.journal.block(block)
        if sync:
            self.journal.sync()
        self.rows.acknowledged(durable.segments, self.written)
        return Report(segments=durable.segments, blocks=durable.blocks)

    def end(self) -> None:
        self.rows.finish(patiently=True)
        self.report()
        self.rows.put_together()
        self.report()

    def content(self, header: str = "", **marks: str) -> Content:
        restored = read_journal(self.folder / "journal.log")
        return Content(segments=restored.segments, blocks=restored.blocks, header=header, marks=marks)

    def publish(self, header: str = "") -> None:
        self.aggregate.publish(self.content(header))
        self.journal.published()
        self.journal.sync()


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    bench = Bench(tmp_path, FakeContainer())
    assert not bench.aggregate.begin(b"")
    yield bench
    bench.journal.close()


@pytest.fixture
def real(tmp_path: Path, azurite: Azurite) -> Bench:
    """In a real Azurite."""
    bench = Bench(tmp_path, BlobContainer(azurite.store(azurite.container())))
    assert not bench.aggregate.begin(b"")
    return bench


def fake(bench: Bench) -> FakeContainer:
    assert isinstance(bench.container, FakeContainer)
    return bench.container


def text(index: int, size: int = 20) -> bytes:
    return b"%08d %s\n" % (index, b"x" * (size - 10))


def until(happened: Callable[[], object]) -> None:
    end = time.monotonic() + 20
    while not happened():
        assert time.monotonic() < end
        time.sleep(0.01)


# Where rows go


def test_large_runs_are_staged_and_small_ones_written_to_a_part(bench: Bench) -> None:
    large = b"L" * (5 << 20)
    bench.write(Run(0, 3, [large, large]), Run(4, 4, [b"small\n"]), Run(5, 5, [], failed=True))
    bench.rows.finish(patiently=True)
    found = {one.first: one for one in bench.report().segments}
    assert [bool(blocks_of(found[i])) for i in (0, 4, 5)] == [True, False, False]
    assert found[4].part
    assert not found[5].part
    bench.rows.put_together()
    assert [block.first for block in bench.report().blocks] == [4]
    bench.publish()
    assert fake(bench).content == large + large + b"small\n"
    assert fake(bench).metadata is not None
    assert fake(bench).metadata["runner_job"] == "job"


def test_a_large_run_is_cut_so_that_several_threads_stage_it(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(blocks_module, "STAGED", 1 << 20)
    monkeypatch.setattr(bench.rows, "_least", 1 << 20)
    rows = [bytes([number]) * 700_000 for number in range(9)] + [b"!" * 3_000_001]
    bench.write(Run(0, 9, rows))
    bench.end()
    bench.publish()
    assert fake(bench).content == b"".join(rows)
    assert len(fake(bench).order) == 8
    assert min(len(data) for data in fake(bench).committed.values()) >= 1 << 20


def test_small_neighbours_are_put_together_while_the_job_runs(bench: Bench) -> None:
    size = 100_000
    for index in range(100):
        bench.write(Run(index, index, [text(index, size)]))
        bench.report()
    until(lambda: len(fake(bench).waiting) >= 2)
    bench.end()
    bench.publish()
    assert fake(bench).content == b"".join(text(i, size) for i in range(100))
    assert len(fake(bench).order) == 3
    assert all(len(data) >= 4 << 20 for data in list(fake(bench).committed.values())[:-1])


def test_blocks_are_made_larger_as_the_output_grows() -> None:
    assert least_block(0) == 4 << 20
    assert least_block(100 << 30) == (100 << 30) // 5000
    total = blocks = 0
    while total < 2_000 << 30:
        total += least_block(total)
        blocks += 1
    assert blocks < 50_000


def test_the_header_stands_first_and_no_rows_make_an_empty_blob(bench: Bench) -> None:
    bench.end()
    bench.publish()
    assert fake(bench).metadata is not None
    assert fake(bench).content == b""
    bench.aggregate.publish(bench.content("a,b\n"))
    assert fake(bench).content == b"a,b\n"


def test_what_no_instance_could_put_together_the_owner_stages(bench: Bench) -> None:
    bench.write(*(Run(i, i, [text(i)]) for i in range(0, 10, 2)))
    bench.report()
    bench.reopen()
    bench.write(*(Run(i, i, [text(i)]) for i in range(1, 10, 2)))
    bench.report()
    bench.reopen()
    bench.publish("h\n")
    assert fake(bench).content == b"h\n" + b"".join(text(i) for i in range(10))
    assert len(fake(bench).order) == 2


def test_neighbours() -> None:
    spill = Spill()
    for first in (4, 0, 2, 3, 7, 1):
        near = spill.add(Segment(first=first, last=first, tally=Tally(succeeded=1), part="p", length=first != 3))
    assert (near.first, near.last, near.length, [one.first for one in near.segments]) == (0, 4, 4, [0, 1, 2, 4])
    spill.remove(near)
    assert [one.first for one in spill.take_all()] == [7]


def test_ids() -> None:
    ids = BlockIds()
    one, several = ids.many(1), ids.many(3)
    for names in (one, several):
        assert blocks_of(Segment(first=0, last=0, tally=Tally(), part=part_of(names))) == names
    assert {len(name) for name in one + several} == {44}
    assert len({*one, *several, *BlockIds().many(1)}) == 5


def test_a_block_that_does_not_fit_its_segments_is_left_out() -> None:
    def segment(first: int, length: int = 10, part: str = "p") -> Segment:
        return Segment(first=first, last=first, tally=Tally(succeeded=1), part=part, length=length)

    rows = [segment(0), segment(1), segment(2), segment(4)]
    assert lay_out(rows, [Block(first=0, last=2, id="b", length=30)])[0].ids == ["b"]
    for block in (Block(first=0, last=2, id="b", length=29), Block(first=0, last=3, id="b", length=20)):
        (only,) = lay_out(rows, [block])
        assert len(only.spilled) == 4
    (name,) = BlockIds().many(1)
    staged = segment(1, part=part_of([name]))
    assert [len(one.spilled) for one in lay_out([rows[0], staged, rows[2]], [Block(first=0, last=2, id="b", length=30)])] == [1, 0, 1]


# What can go wrong


def test_a_storage_that_does_not_answer_costs_no_rows(bench: Bench) -> None:
    fake(bench).broken = StorageUnavailable("gone")
    bench.write(Run(0, 0, [b"L" * (5 << 20)]))
    until(lambda: bench.rows.error)
    bench.write(Run(1, 1, [b"M" * (5 << 20)]))
    bench.rows.finish(patiently=True)
    assert [one.first for one in sorted(bench.report().segments, key=lambda one: one.first)] == [0, 1]
    assert isinstance(bench.rows.error, StorageUnavailable)
    fake(bench).broken = None
    bench.reopen()
    bench.publish()
    assert fake(bench).content == b"L" * (5 << 20) + b"M" * (5 << 20)


def test_a_job_that_has_failed_does_not_wait_for_the_storage(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(blocks_module, "HURRY_SECONDS", 0.2)
    fake(bench).gate.clear()
    bench.write(Run(0, 0, [b"L" * (5 << 20)]))
    bench.rows.finish(patiently=False)
    (segment,) = bench.report().segments
    assert not blocks_of(segment)
    fake(bench).gate.set()
    time.sleep(0.1)
    assert not bench.rows.take()


def test_lost_blocks_are_done_again_and_what_is_in_parts_is_not(bench: Bench) -> None:
    bench.write(Run(0, 1, [b"L" * (5 << 20)]), Run(2, 2, [b"small\n"]))
    bench.end()
    fake(bench).waiting.clear()
    with pytest.raises(RowsLost, match="2 mini-batches are done again"):
        bench.publish()
    bench.reopen()
    assert [one.first for one in bench.journal.restored.segments] == [2]
    assert not bench.aggregate.begin(b"")
    bench.write(Run(0, 1, [b"M" * (5 << 20)]))
    bench.end()
    bench.publish()
    assert fake(bench).content == b"M" * (5 << 20) + b"small\n"


def test_lost_blocks_are_noticed_when_a_job_goes_on(bench: Bench) -> None:
    bench.write(Run(0, 1, [b"L" * (5 << 20)]))
    bench.end()
    bench.reopen()
    fake(bench).waiting.clear()
    assert not bench.aggregate.begin(b"")
    assert not bench.journal.restored.segments
    assert "2 mini-batches are done again" in bench.said[0]


def test_a_second_writer_is_noticed_and_replaced_when_the_job_goes_on(bench: Bench) -> None:
    bench.write(Run(0, 0, [b"mine\n"]))
    bench.end()
    fake(bench).commit("", [], etag=None, metadata={"of": "somebody else"})
    with pytest.raises(UserError, match=r"written by somebody else.*job resume"):
        bench.publish()
    bench.reopen()
    assert not bench.aggregate.begin(b"")
    bench.publish()
    assert fake(bench).content == b"mine\n"


def test_a_commit_whose_answer_was_lost_is_known_again(bench: Bench) -> None:
    bench.write(Run(0, 0, [b"mine\n"]))
    bench.end()
    fake(bench).lose_answer = True
    bench.publish()
    assert fake(bench).content == b"mine\n"


def test_a_table_is_described_only_once_its_rows_are_there(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    def somebody_was_faster(*_given: object, **_named: object) -> str:
        raise BlobChanged("written by somebody else")

    bench.write(Run(0, 0, [b"mine\n"]))
    bench.end()
    content = replace(bench.content(), table=b"table")
    with monkeypatch.context() as patch:
        patch.setattr(fake(bench), "commit", somebody_was_faster)
        with pytest.raises(UserError, match="written by somebody else"):
            bench.aggregate.publish(content)
    assert not hasattr(fake(bench), "written")
    bench.aggregate.publish(content)
    assert fake(bench).written == ("out/MLTable", b"table")


def test_a_commit_after_which_the_owner_died_is_known_again(bench: Bench) -> None:
    bench.write(Run(0, 0, [b"mine\n"]))
    bench.end()
    bench.aggregate.publish(bench.content())
    bench.reopen()
    assert bench.aggregate.begin(b"table")
    assert fake(bench).written == ("out/MLTable", b"table")


def test_an_incomplete_output_is_marked_and_the_job_can_go_on(real: Bench) -> None:
    large = b"L" * (5 << 20)
    real.write(Run(0, 0, [large]), Run(2, 2, [b"two\n"]))
    real.end()
    real.aggregate.publish(real.content(runner_incomplete="true"))
    real.reopen()
    info = real.container.info(real.path)
    assert info.metadata["runner_incomplete"] == "true"
    assert info.size == len(large) + 4
    assert not real.aggregate.begin(b"")
    assert len(real.journal.restored.segments) == 2  # its blocks are in the blob, and may be named again
    real.write(Run(1, 1, [b"one\n"]))
    real.end()
    real.publish()
    assert isinstance(real.container, BlobContainer)
    assert real.container.read(real.path) == large + b"one\ntwo\n"
    assert "runner_incomplete" not in real.container.info(real.path).metadata


def test_mini_batches_tried_afresh_cut_a_block_apart(bench: Bench) -> None:
    bench.write(Run(0, 0, [b"0\n"]), Run(1, 1, [], failed=True), Run(2, 2, [b"2\n"]))
    bench.end()
    assert [(one.first, one.last) for one in read_journal(bench.folder / "journal.log").blocks] == [(0, 2)]
    bench.journal.retry_failed()
    bench.write(Run(1, 1, [b"1\n"]))
    bench.report()
    bench.publish()
    assert fake(bench).content == b"0\n1\n2\n"


# With a real Azurite


def test_sixty_thousand_flushes_make_few_blocks(real: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """More than a blob may have blocks: each flush durable, and reported, by itself; a minute's waiting for the disk is left out."""
    monkeypatch.setattr("os.fsync", lambda _file: None)
    count, size = 60_000, 700
    for index in range(count):
        real.write(Run(index, index, [text(index, size)]))
        real.report(sync=index % 1000 == 0)
    real.end()
    real.publish()
    assert isinstance(real.container, BlobContainer)
    assert len(real.container.staged(real.path)) <= count * size // (4 << 20) + 2
    assert real.container.read(real.path) == b"".join(text(index, size) for index in range(count))


def test_an_empty_blob_and_a_second_writer(real: Bench) -> None:
    real.write(Run(0, 0, [b"mine\n"]))
    real.end()
    container = real.container
    assert isinstance(container, BlobContainer)
    container.put(real.path, b"of somebody else")
    with pytest.raises(UserError, match="written by somebody else"):
        real.publish()
    real.reopen()
    assert not real.aggregate.begin(b"")
    real.publish()
    assert container.read(real.path) == b"mine\n"
    assert container.info(real.path).metadata["runner_job"] == "job"
    empty = Bench(real.folder / "second", container, "empty")
    assert not empty.aggregate.begin(b"")
    empty.publish()
    assert container.info("empty").size == 0
