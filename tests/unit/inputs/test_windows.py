"""What is read ahead of blobs: the right bytes whatever is read, few requests for who reads on, and little memory."""

from __future__ import annotations

import random
import threading
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor

import pytest

from runner.inputs import windows
from runner.inputs.blob_bytes import BlobBytes
from runner.inputs.files import FileEntry
from runner.inputs.tabular import BadInputError
from runner.inputs.windows import ReadAhead
from runner.storage.problems import BlobChanged

DATA = random.Random(1).randbytes(1 << 20)
FILE = FileEntry("https://host/container/blob", len(DATA), "etag")


class Storage:
    """Answers at once, or fails."""

    def __init__(self) -> None:
        self.asked: list[tuple[int, int]] = []
        self.error: Exception | None = None
        self._lock = threading.Lock()

    def fetch(self, start: int, end: int) -> Future[bytes]:
        with self._lock:
            self.asked.append((start, end))
        answer: Future[bytes] = Future()
        if self.error:
            answer.set_exception(self.error)
        else:
            answer.set_result(DATA[start:end])
        return answer


@pytest.fixture
def storage() -> Storage:
    return Storage()


@pytest.fixture
def blob(storage: Storage, monkeypatch: pytest.MonkeyPatch) -> BlobBytes:
    """With small windows."""
    monkeypatch.setattr(windows, "PART", 1 << 14)
    monkeypatch.setattr(windows, "LARGEST", 1 << 14)
    monkeypatch.setattr("runner.inputs.blob_bytes.LARGEST", 1 << 14)
    return BlobBytes(file=FILE, fetch=storage.fetch, read_ahead=ReadAhead(limit=1 << 16))


def test_who_reads_on_makes_few_requests(blob: BlobBytes, storage: Storage) -> None:
    found = b"".join(blob.pread(1000, offset) for offset in range(0, len(DATA), 1000))
    assert found == DATA
    assert len(storage.asked) < len(DATA) // (1 << 14) + 10
    assert sum(end - start for start, end in storage.asked) == len(DATA)
    assert blob.read_ahead._held <= 1 << 16


def test_a_range_that_nobody_reads_on_from_is_asked_for_alone(blob: BlobBytes, storage: Storage) -> None:
    blob.want(0, 500)
    assert blob.pread(400, 100) == DATA[100:500]
    assert blob.pread(100, 5000) == DATA[5000:5100]
    assert storage.asked == [(0, 500), (5000, 5100)]


def test_any_order_and_many_threads_find_the_right_bytes(blob: BlobBytes) -> None:
    chance = random.Random(2)
    places = [(chance.randrange(len(DATA)), chance.choice([1, 300, 3000, 60_000])) for _ in range(2000)]
    places += [(offset, 2500) for offset in range(0, len(DATA), 2500)]
    with ThreadPoolExecutor(4) as pool:
        for (offset, length), found in zip(places, pool.map(lambda at: blob.pread(at[1], at[0]), places), strict=True):
            assert found == DATA[offset : offset + length]
    assert blob.pread(10, len(DATA)) == b""
    assert blob.read_ahead._held <= 1 << 16


def test_ranges_that_are_named_are_on_their_way(blob: BlobBytes, storage: Storage) -> None:
    def ranges() -> Iterator[tuple[int, int]]:
        yield from ((at, at + 100) for at in range(0, len(DATA), 10_000))

    near = blob.near(ranges())
    assert near.pread(50, 20) == DATA[20:70]
    assert 10 < len(storage.asked) < 25
    for at in range(0, len(DATA), 10_000):
        assert near.pread(100, at) == DATA[at : at + 100]
        assert near.pread(10, max(0, at - 9_950)) == DATA[max(0, at - 9_950) :][:10]
    assert len(storage.asked) == len(range(0, len(DATA), 10_000))
    assert near.pread(300, 50) == DATA[50:350]


def test_a_changed_blob_is_bad_input_and_is_asked_for_again(blob: BlobBytes, storage: Storage) -> None:
    storage.error = BlobChanged("other")
    blob.want(0, 100)
    for _ in range(2):
        with pytest.raises(BadInputError, match="has changed since it was listed"):
            blob.pread(100, 0)
    with pytest.raises(BadInputError, match="has changed since it was listed"):
        blob.near(iter([(0, 100)])).pread(10, 0)
    blob.want(0, 100)
    storage.error = None
    assert blob.pread(100, 0) == DATA[:100]
