"""How fast tables are read into pandas: our loader, the `mltable` package, and pyarrow and pandas by hand.

    python benchmarks/reading.py [--megabytes 200] [--rounds 5] [--cache FOLDER]

Each reading is a process of its own, which reads the file twice and tells the time of the second, as in a worker that has been at
work for a while; rounds go through all readers in turn, and medians are shown. Ours: mini-batches of 8 MiB through two processes, each
doing what an instance's loader and then a worker do: row groups of Parquet and plain text straight from the file; text with quotes into
an Arrow file in memory, mapped, and turned into a DataFrame. `mltable` uses all cores; pyarrow and pandas are told to use one.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from multiprocessing.pool import Pool

    from runner.model.ports import Loader, Source

PROCESSES = 2
MINI_BATCH = 8 << 20
SCRATCH = Path(os.environ.get("READING_SCRATCH", ""))  # of a reading process and its pool

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
    """Two processes, as two workers of a job: what an instance's loader does, and then what a worker does with it."""
    pool, lines = started(folder)
    return sum(pool.imap_unordered(rows_of, [(number, line) for number, line in enumerate(lines)]))


@cache
def started(folder: Path) -> tuple[Pool, list[bytes]]:
    context = multiprocessing.get_context("spawn")
    lines = [line for chunk in source_of(folder).chunks(iter(())) for line in chunk.lines]
    return context.Pool(PROCESSES, initializer=begin, initargs=(str(folder),)), lines


def source_of(folder: Path) -> Source:
    from runner.inputs.source import open_source
    from runner.model.job import JobInput, Step

    step = Step(name="job", inputs={"t": JobInput(type="mltable", path=str(folder))}, input_data="t", mini_batch_size=MINI_BATCH)
    return open_source(step, scratch=SCRATCH, warn=print)


def begin(folder: str) -> None:
    from runner.worker.batches import TableBatches
    from runner.worker.linux import keep_freed_memory

    keep_freed_memory()  # as a worker does
    global _loader, _batches
    _loader, _batches = source_of(Path(folder)).loader, TableBatches()


def rows_of(work: tuple[int, bytes]) -> int:
    number, line = work
    assert _loader is not None
    from runner.worker.delimited import NotPlainError

    loaded = _loader.load(number, [line], SCRATCH, "direct")
    assert not loaded.failed
    try:
        frame, rows = _batches.load(json.loads(loaded.lines[0]))
    except NotPlainError:  # a worker gives it back, but few of those that follow
        loaded = _loader.load(number, [line], SCRATCH, "arrow")
        frame, rows = _batches.load(json.loads(loaded.lines[0]))
    del frame
    for path in loaded.scratch:
        os.unlink(path)
    return int(rows)


_loader: Loader | None = None
_batches: Any = None


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
    began = time.perf_counter()
    rows = READ[reader](folder, file)
    print(json.dumps({"seconds": time.perf_counter() - began, "rows": rows}), flush=True)
    os._exit(0)  # the pool has nothing to tidy up


def measure(reader: str, folder: Path, file: Path) -> tuple[float, int]:
    command = [sys.executable, __file__, "--one", reader, str(folder), str(file)]
    with tempfile.TemporaryDirectory(dir="/dev/shm" if os.path.isdir("/dev/shm") else None) as scratch:
        environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[1]), "READING_SCRATCH": scratch}
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
