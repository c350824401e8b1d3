"""How fast tables come out of blob storage: our loader, and the SDK used by hand in the best way that we know.

    python -m benchmarks.blob_tables [--megabytes 300] [--rounds 5]

One Azurite in memory, one container, a CSV and a Parquet file; rounds go through all candidates in turn, each in a process of its own.
All of them end with an Arrow file in memory for each mini-batch, as a worker maps it. By hand: the client's range downloads, four at a
time, of 8 MiB of text (cut at the last line break) or of a row group, and Arrow's readers told the types. Ours: the loader, from as many
threads as an instance with two workers has. CPU seconds and requests are those of listing and loading; memory is what the process held at
most beyond what it did when its imports were done. On a busy machine trust the CPU seconds.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

from benchmarks.measure import CACHE
from benchmarks.reading import make

FILES = ("numbers.csv", "sales.parquet")
MINI_BATCH = {"ours": 8 << 20, "ours, 1 MiB": 1 << 20}
PARSERS, DOWNLOADS, RANGE = 2, 4, 8 << 20
FOOTER = 1 << 16


def one(who: str, given: dict[str, Any]) -> None:
    """In a process of its own: reads the blob, and prints what that took."""

    from runner.inputs import columnar, table_source  # noqa: F401 - imported before memory is looked at
    from runner.storage import blob  # noqa: F401

    began = time.process_time()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with tempfile.TemporaryDirectory(dir="/dev/shm" if os.path.isdir("/dev/shm") else None) as scratch:
        found = ours(given, MINI_BATCH[who], Path(scratch)) if who in MINI_BATCH else by_hand(given, Path(scratch))
    found["cpu"] = time.process_time() - began
    found["memory"] = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) << 10
    print(json.dumps(found), flush=True)


# Ours


def ours(given: dict[str, Any], size: int, scratch: Path) -> dict[str, float]:
    from runner.inputs.source import open_source
    from runner.model.datastore import BlobStore
    from runner.model.job import JobInput, Step
    from runner.storage.blob import BlobContainer
    from runner.storage.stores import Stores

    requests = [0]
    read = BlobContainer._read

    def counted(self: BlobContainer, *rest: Any) -> bytes:
        requests[0] += 1
        return read(self, *rest)

    BlobContainer._read = counted  # type: ignore[method-assign]
    store = BlobStore.from_json(given["store"])
    began = time.perf_counter()
    table = JobInput(type="mltable", path=f"{store.root}/{given['folder']}")
    step = Step(name="job", inputs={"t": table}, input_data="t", mini_batch_size=size)
    source = open_source(step, stores=Stores([store]), scratch=scratch, warn=print)
    lines = [line for chunk in source.chunks(iter(())) for line in chunk.lines]
    listed = time.perf_counter()

    def load(number: int) -> int:
        assert source.loader is not None
        loaded = source.loader.load(number, [lines[number]], scratch, "direct")
        assert not loaded.failed
        source.loader.free(loaded.scratch)
        return int(json.loads(loaded.lines[0])["rows"])

    loads = max(PARSERS + 1, source.loader.room.loads) if source.loader else 0  # frames that an instance has on their way
    with ThreadPoolExecutor(loads) as pool:
        rows = sum(pool.map(load, range(len(lines))))
    return {"seconds": time.perf_counter() - listed, "listing": listed - began, "rows": rows, "requests": requests[0]}


# By hand


def by_hand(given: dict[str, Any], scratch: Path) -> dict[str, float]:
    from azure.storage.blob import BlobClient

    store = given["store"]
    requests = [0]
    client = BlobClient(
        store["endpoint"], store["container"], given["path"], credential=store["credential"]["secret"], max_single_get_size=64 << 20
    )  # fmt: skip

    def fetch(start: int, end: int) -> bytes:
        requests[0] += 1
        data: bytes = client.download_blob(offset=start, length=end - start).readall()
        return data

    began = time.perf_counter()
    read = text_by_hand if given["path"].endswith(".csv") else parquet_by_hand
    rows = read(given["size"], fetch, scratch)
    return {"seconds": time.perf_counter() - began, "listing": 0, "rows": rows, "requests": requests[0]}


def text_by_hand(size: int, fetch: Callable[[int, int], bytes], scratch: Path) -> int:
    import pyarrow as pa
    import pyarrow.csv

    names: list[str] = []

    def parse(data: bytes) -> int:
        types = {name: pa.int64() if name in ("id", "count") else pa.float64() for name in names}
        table = pa.csv.read_csv(
            pa.BufferReader(data),
            read_options=pa.csv.ReadOptions(use_threads=False, column_names=names, block_size=len(data) + 1),
            parse_options=pa.csv.ParseOptions(quote_char=False),
            convert_options=pa.csv.ConvertOptions(column_types=types),
        )
        return written(table, scratch)

    rest, parsed, rows = b"", deque[Future[int]](), 0
    with ThreadPoolExecutor(DOWNLOADS) as downloads, ThreadPoolExecutor(PARSERS) as parsers:
        for data in in_order(downloads, fetch, [(start, min(start + RANGE, size)) for start in range(0, size, RANGE)]):
            if not names:
                head, _, data = data.partition(b"\n")
                names = [name.strip('"') for name in head.decode().split(",")]
            data = rest + data
            cut = data.rfind(b"\n") + 1
            rest = data[cut:]
            parsed.append(parsers.submit(parse, data[:cut]))
            if len(parsed) > DOWNLOADS:
                rows += parsed.popleft().result()
        return rows + sum(each.result() for each in parsed) + (parse(rest) if rest else 0)


def in_order(pool: ThreadPoolExecutor, fetch: Callable[[int, int], bytes], ranges: list[tuple[int, int]]) -> Iterator[bytes]:
    waiting = deque(pool.submit(fetch, *each) for each in ranges[:DOWNLOADS])
    for following in [*ranges[DOWNLOADS:], *[None] * len(waiting)]:
        data = waiting.popleft().result()
        if following:
            waiting.append(pool.submit(fetch, *following))
        yield data


def parquet_by_hand(size: int, fetch: Callable[[int, int], bytes], scratch: Path) -> int:
    import pyarrow as pa
    import pyarrow.parquet as pq

    tail = fetch(size - FOOTER, size)
    length = int.from_bytes(tail[-8:-4], "little")
    footer = pq.read_metadata(pa.BufferReader(b"PAR1" + tail[-length - 8 :]))

    def read(number: int) -> int:
        group = footer.row_group(number)
        columns = [group.column(at) for at in range(group.num_columns)]
        starts = [min(each.data_page_offset, each.dictionary_page_offset or each.data_page_offset) for each in columns]
        start, end = starts[0], starts[-1] + columns[-1].total_compressed_size
        part = pa.PythonFile(Part(start, fetch(start, end), size), mode="r")
        return written(pq.ParquetFile(part, metadata=footer).read_row_groups([number], use_threads=False), scratch)

    with ThreadPoolExecutor(DOWNLOADS) as pool:
        return sum(pool.map(read, range(footer.num_row_groups)))


class Part:
    """A range of a file, as Arrow reads files."""

    closed = False

    def __init__(self, start: int, data: bytes, size: int) -> None:
        self._start, self._data, self._size, self._at = start, memoryview(data), size, 0

    def read(self, count: int) -> memoryview:
        at = self._at - self._start
        self._at += count
        return self._data[at : at + count]

    def seek(self, offset: int, whence: int = 0) -> int:
        self._at = offset if whence == 0 else self._size + offset
        return self._at

    def tell(self) -> int:
        return self._at

    def close(self) -> None:
        pass


def written(table: Any, scratch: Path) -> int:
    """As an Arrow file in memory, which is gone at once."""
    import pyarrow as pa

    path = scratch / os.urandom(4).hex()
    with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_file(sink, table.schema) as writer:
        writer.write_batch(table.combine_chunks().to_batches()[0])
    path.unlink()
    return int(table.num_rows)


# All of it


def measured(who: str, given: dict[str, Any]) -> dict[str, float]:
    command = [sys.executable, "-m", "benchmarks.blob_tables", "--one", who]
    done = subprocess.run(
        command, input=json.dumps(given), capture_output=True, text=True, check=False, cwd=Path(__file__).parents[1]
    )  # fmt: skip
    if done.returncode:
        raise RuntimeError(done.stderr)
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found


def compare(name: str, given: dict[str, Any], rounds: int) -> None:
    found: dict[str, list[dict[str, float]]] = {who: [] for who in (*MINI_BATCH, "by hand")}
    for _ in range(rounds):
        for who in found:
            found[who].append(measured(who, given))
    assert len({each["rows"] for runs in found.values() for each in runs}) == 1
    size = given["size"]
    print(f"\n{name}, {size / 1e6:.0f} MB; medians of {rounds}")
    print(f"  {'':16}{'MB/s':>8}{'with listing':>14}{'× by hand':>11}{'CPU s':>8}{'requests/GB':>13}{'memory, MB':>12}")
    for who, runs in found.items():
        seconds = statistics.median(run["seconds"] for run in runs)
        listed = statistics.median(run["seconds"] + run["listing"] for run in runs)
        ratio = statistics.median(hand["seconds"] / run["seconds"] for run, hand in zip(runs, found["by hand"], strict=True))
        requests = statistics.median(run["requests"] for run in runs) / size * 1e9
        cpu = statistics.median(run["cpu"] for run in runs)
        memory = statistics.median(run["memory"] for run in runs) / 1e6
        print(f"  {who:16}{size / 1e6 / seconds:8.0f}{size / 1e6 / listed:14.0f}{ratio:11.2f}{cpu:8.2f}{requests:13.0f}{memory:12.0f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--megabytes", type=int, default=300)
    parser.add_argument("--rounds", type=int, default=int(os.environ.get("BENCHMARK_ROUNDS", "5")))
    parser.add_argument("--one", help=argparse.SUPPRESS)
    given, _ = parser.parse_known_args()
    if given.one:
        one(given.one, json.load(sys.stdin))
        return
    from tests.azurite import find_azurite, running_azurite

    program = find_azurite()
    if program is None:
        print("NOT RUN: there is no azurite-blob")
        return
    make(CACHE, given.megabytes)
    with running_azurite(program) as azurite:
        store = azurite.store(azurite.container())
        for name in FILES:
            folder = CACHE / f"{name}-{given.megabytes}"
            with azurite.client(store.container) as client:
                for path in (folder / "MLTable", folder / name):
                    with path.open("rb") as file:
                        client.upload_blob(f"{name}/{path.name}", file, overwrite=True)
            blob = {"store": store.to_json(), "folder": name, "path": f"{name}/{name}", "size": (folder / name).stat().st_size}
            compare(name, blob, given.rounds)


if __name__ == "__main__":
    main()
