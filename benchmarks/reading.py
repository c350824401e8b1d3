"""How fast tables are read into pandas: our loader, the `mltable` package, and pyarrow and pandas by hand.

    python benchmarks/reading.py [--megabytes 200] [--rounds 5] [--cache FOLDER]

Each reading is a process of its own, which reads the file twice and tells the time of the second, as in a worker that has been at
work for a while; rounds go through all readers in turn, and medians are shown. Ours: mini-batches of 1 MiB, loaded by two threads,
eight to a call, into an Arrow file in /dev/shm, mapped, and turned into one DataFrame each by the main thread. `mltable` uses all
cores; pyarrow and pandas are told to use one.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from runner.model.batch import Loaded
    from runner.model.ports import Loader

THREADS = int(os.environ.get("LOADER_THREADS", "2"))  # an instance has at least two
EACH = 8  # mini-batches to a call

READERS = {
    "numbers.csv": ("ours", "mltable", "pyarrow", "pandas"),
    "mixed.csv": ("ours", "mltable", "pyarrow", "pandas"),
    "numbers.parquet": ("ours", "mltable", "pyarrow", "pandas"),
    "sales.parquet": ("ours", "mltable", "pyarrow", "pandas"),
}
WORDS = ("red", "green", "blue", "yellow", "a longer word")


def numbers_table(rows: int, seed: int) -> object:
    import numpy as np
    import pyarrow as pa

    random = np.random.default_rng(seed)
    columns = {f"x{number}": random.normal(size=rows).round(9) for number in range(5)}
    return pa.table({"id": np.arange(rows) + seed * rows, "count": random.integers(0, 10**6, rows), **columns})


def sales_table(rows: int, seed: int) -> object:
    """Five columns of about 23 bytes a row in Parquet."""
    import numpy as np
    import pyarrow as pa

    random = np.random.default_rng(seed)
    seconds = np.datetime64("2024-01-01T00:00:00") + seed * rows + np.arange(rows)
    words = np.array(WORDS, dtype=object)[random.integers(0, len(WORDS), rows)]
    columns = {"id": np.arange(rows) + seed * rows, "at": pa.array(seconds.astype("datetime64[us]")), "word": words}
    return pa.table({**columns, "count": random.integers(0, 100, rows), "price": random.normal(size=rows)})


def mixed_table(rows: int, seed: int) -> object:
    import numpy as np
    import pyarrow as pa

    random = np.random.default_rng(seed)
    days = np.datetime64("2015-01-01") + random.integers(0, 3000, rows)
    words = np.array(WORDS, dtype=object)[random.integers(0, len(WORDS), rows)]
    columns = {"id": np.arange(rows) + seed * rows, "day": days.astype("datetime64[s]"), "word": words, "flag": random.integers(0, 2, rows)}
    table = pa.table({**columns, **{f"x{number}": random.normal(size=rows).round(9) for number in range(3)}})
    return table.set_column(1, "day", table.column("day").cast(pa.timestamp("s")).cast(pa.date32()))


def make(folder: Path, megabytes: int) -> None:
    """The three tables, each with its MLTable file."""
    import pyarrow.csv
    import pyarrow.parquet

    for name in READERS:
        target = folder / f"{name}-{megabytes}"
        if (target / "MLTable").exists():
            continue
        shutil.rmtree(target, ignore_errors=True)
        target.mkdir(parents=True)
        table = {"mixed": mixed_table, "sales": sales_table}.get(name.split(".")[0], numbers_table)
        path, rows, part = target / name, 500_000 if name == "sales.parquet" else 200_000, 0
        first = table(rows, 0)
        if name.endswith(".csv"):
            with path.open("wb") as sink, pyarrow.csv.CSVWriter(sink, first.schema) as writer:
                while sink.tell() < megabytes << 20:
                    writer.write_table(table(rows, part))
                    part += 1
        else:
            with pyarrow.parquet.ParquetWriter(path, first.schema) as writer:
                while not path.exists() or path.stat().st_size < megabytes << 20:
                    writer.write_table(table(rows, part), row_group_size=rows)
                    part += 1
        step = "read_delimited: {delimiter: ','}" if name.endswith(".csv") else "read_parquet: {}"
        (target / "MLTable").write_text(f"type: mltable\npaths: [{{file: ./{name}}}]\ntransformations:\n  - {step}\n")


def read_ours(folder: Path, _file: Path) -> int:
    from runner.inputs.source import open_source
    from runner.model.job import JobInput, ParallelStep

    scratch = Path(tempfile.mkdtemp(dir="/dev/shm" if os.path.isdir("/dev/shm") else None))
    step = ParallelStep(name="job", inputs={"t": JobInput(type="mltable", path=str(folder))}, input_data="t")
    source = open_source(step, scratch=scratch, warn=print)
    assert source.loader is not None
    rows = 0
    lines = [line for chunk in source.chunks(iter(())) for line in chunk.lines]
    starts = range(0, len(lines), EACH)
    with ThreadPoolExecutor(THREADS) as pool:
        load = partial(load_some, source.loader, lines, scratch)
        for loaded in ahead(pool, load, starts):
            rows += rows_of(loaded)
    shutil.rmtree(scratch)
    return rows


def load_some(loader: Loader, lines: list[bytes], scratch: Path, start: int) -> Loaded:
    return loader.load(start, lines[start : start + EACH], scratch, "arrow")


def ahead(pool: Executor, load: Callable[[int], Loaded], starts: Iterable[int]) -> Iterator[Loaded]:
    """In order, with a few loaded ahead, as an instance does it."""
    waiting: deque[Future[Loaded]] = deque()
    for start in starts:
        waiting.append(pool.submit(load, start))
        if len(waiting) > THREADS + 1:
            yield waiting.popleft().result()
    while waiting:
        yield waiting.popleft().result()


def rows_of(loaded: Loaded) -> int:
    """Maps the file and makes a frame of each mini-batch, as a worker does."""
    import pyarrow as pa

    assert not loaded.failed
    with pa.memory_map(loaded.scratch[0]) as mapped:
        reader = pa.ipc.open_file(mapped)
        rows = sum(len(reader.get_batch(number).to_pandas()) for number in range(reader.num_record_batches))
    os.unlink(loaded.scratch[0])
    return rows


def read_mltable(folder: Path, _file: Path) -> int:
    import mltable

    return len(mltable.load(str(folder)).to_pandas_dataframe())


def read_pyarrow(_folder: Path, file: Path) -> int:
    import pyarrow.csv
    import pyarrow.parquet

    if file.suffix == ".csv":
        return len(pyarrow.csv.read_csv(file, read_options=pyarrow.csv.ReadOptions(use_threads=False)).to_pandas())
    return len(pyarrow.parquet.read_table(file, use_threads=False).to_pandas(use_threads=False))


def read_pandas(_folder: Path, file: Path) -> int:
    import pandas

    return len(pandas.read_csv(file) if file.suffix == ".csv" else pandas.read_parquet(file, use_threads=False))


READ: dict[str, Callable[[Path, Path], int]] = {
    "ours": read_ours, "mltable": read_mltable, "pyarrow": read_pyarrow, "pandas": read_pandas,
}  # fmt: skip


def one(reader: str, folder: Path, file: Path) -> None:
    """In a process of its own: prints seconds and rows of the second reading."""
    READ[reader](folder, file)
    started = time.perf_counter()
    rows = READ[reader](folder, file)
    print(json.dumps({"seconds": time.perf_counter() - started, "rows": rows}))


def measure(reader: str, folder: Path, file: Path) -> tuple[float, int]:
    command = [sys.executable, __file__, "--one", reader, str(folder), str(file)]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])}
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
    told = json.loads(done.stdout.splitlines()[-1])
    return told["seconds"], told["rows"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--megabytes", type=int, default=200)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--cache", type=Path, default=Path(tempfile.gettempdir()) / "runner-benchmark-tables")
    parser.add_argument("--one", nargs=3, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.one:
        one(given.one[0], Path(given.one[1]), Path(given.one[2]))
        return
    make(given.cache, given.megabytes)
    print(f"{'MB/s of the file, median of ' + str(given.rounds):32}" + "".join(f"{name:>10}" for name in READ) + "   ours / mltable")
    for name, readers in READERS.items():
        folder = given.cache / f"{name}-{given.megabytes}"
        file = folder / name
        times: dict[str, list[float]] = {reader: [] for reader in readers}
        rows = set()
        for _ in range(given.rounds):
            for reader in readers:
                seconds, count = measure(reader, folder, file)
                times[reader].append(seconds)
                rows.add(count)
        assert len(rows) == 1, rows
        speed = {reader: file.stat().st_size / 1e6 / statistics.median(measured) for reader, measured in times.items()}
        shown = "".join(f"{speed[reader]:10.0f}" for reader in readers)
        print(f"{name:32}{shown}{speed['ours'] / speed['mltable']:14.1f} ×")


if __name__ == "__main__":
    main()
