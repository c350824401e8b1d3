"""Tables through a numeric `run()`: the runner against a hand-written loop of two processes with the same chunks and readers.

Both as whole commands, and as loops: what a gigabyte takes longer than ten megabytes, so that start-up counts for neither.
"""

from __future__ import annotations

import io
import json
import multiprocessing
import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

from benchmarks.measure import CACHE, command, seconds, show

LARGE = int(float(os.environ.get("BENCHMARK_GB", "1")) * 2**30)
SMALL = LARGE // 100
CHUNK = 8 << 20
PANDAS = " by pandas"
COLUMNS = [f"x{i}" for i in range(8)]
SCRIPTS = {
    "nothing returned": "def run(frame):\n    (frame.x0 * 2 + frame.x1).sum()\n    return []\n",
    "one row each": "def run(frame):\n    total = (frame.x0 * 2 + frame.x1).sum()\n    return [f'{total:.6f}']\n",
    "all rows": "def run(frame):\n    return (frame.x0 * 2 + frame.x1).round(3).astype(str).tolist()\n",
}


def make_data(size: int) -> Path:
    folder = CACHE / f"tables-{size}"
    if (folder / ".complete").exists():
        return folder
    import numpy as np
    import pyarrow as pa
    import pyarrow.csv
    import pyarrow.parquet

    for kind in ("csv", "parquet"):
        (folder / kind).mkdir(parents=True, exist_ok=True)
    chance = np.random.default_rng(7)
    rows, written = 200_000, 0
    with open(folder / "csv" / "data.csv", "wb") as text:
        writer = None
        while written < size:
            table = pa.table({name: chance.normal(size=rows).round(6) for name in COLUMNS})
            options = pyarrow.csv.WriteOptions(include_header=text.tell() == 0)
            pyarrow.csv.write_csv(table, text, options)
            written = text.tell()
    total = 0
    while total < size:
        table = pa.table({name: chance.normal(size=rows) for name in COLUMNS})
        writer = writer or pyarrow.parquet.ParquetWriter(folder / "parquet" / "data.parquet", table.schema, compression="snappy")
        writer.write_table(table, row_group_size=CHUNK // (8 * len(COLUMNS)))
        total += table.nbytes
    assert writer is not None
    writer.close()
    (folder / "csv" / "MLTable").write_text(
        "type: mltable\npaths:\n  - file: ./data.csv\ntransformations:\n  - read_delimited:\n      delimiter: ','\n      encoding: utf8\n"
    )
    (folder / "parquet" / "MLTable").write_text("type: mltable\npaths:\n  - file: ./data.parquet\ntransformations:\n  - read_parquet\n")
    (folder / ".complete").touch()
    return folder


def runner(folder: Path, kind: str, script: str, *words: str) -> float:
    """`words`: where the job runs; in processes by default."""
    work = CACHE / "tables-work"
    shutil.rmtree(work, ignore_errors=True)
    (work / "code").mkdir(parents=True)
    (work / "code" / "score.py").write_text(SCRIPTS[script])
    job = {
        "type": "parallel",
        "inputs": {"table": {"type": "mltable", "path": str(folder / kind), "mode": "direct"}},
        "outputs": {"rows": {"type": "uri_file", "path": "rows.txt"}},
        "input_data": "${{inputs.table}}",
        "mini_batch_size": str(CHUNK),
        "max_concurrency_per_instance": 2,
        "task": {"type": "run_function", "code": "code", "entry_script": "score.py", "append_row_to": "${{outputs.rows}}"},
    }
    (work / "job.yml").write_text(json.dumps(job))
    return seconds(lambda: command("job", "create", "-f", "job.yml", "--stream", *(words or ["--local"]), cwd=work, workspace=work))


def by_hand(folder: Path, kind: str, script: str) -> float:
    """Two processes; each takes chunks, reads, computes, and sends its rows back in order."""
    path = folder / kind.removesuffix(PANDAS) / f"data.{kind.removesuffix(PANDAS)}"
    return seconds(lambda: _loop(path, kind, script))


def _loop(path: Path, kind: str, script: str) -> None:
    pieces = row_groups(path) if kind == "parquet" else csv_ranges(path)
    processes = multiprocessing.get_context("spawn").Pool(2, initializer=_begin, initargs=(SCRIPTS[script],))
    with processes as pool, open(CACHE / "rows.txt", "w") as rows:
        for result in pool.imap(_score, [(str(path), kind, piece) for piece in pieces]):
            if result:
                rows.write("\n".join(result) + "\n")


_run: Callable[..., list[str]]


def _begin(script: str) -> None:
    global _run
    names: dict[str, Callable[..., list[str]]] = {}
    exec(script, names)
    _run = names["run"]


def _score(work: tuple[str, str, tuple[int, int]]) -> list[str]:
    path, kind, (start, end) = work
    if kind == "parquet":
        import pyarrow.parquet

        frame = pyarrow.parquet.ParquetFile(path).read_row_groups(list(range(start, end)), use_threads=False).to_pandas()
    else:
        with open(path, "rb") as file:
            file.seek(start)
            data = file.read(end - start)
        names = None if start == 0 else COLUMNS
        if kind.endswith(PANDAS):
            import pandas

            return _run(pandas.read_csv(io.BytesIO(data), names=names))
        import pyarrow as pa
        import pyarrow.csv

        options = pyarrow.csv.ReadOptions(use_threads=False, column_names=names, block_size=2 * CHUNK)
        frame = pyarrow.csv.read_csv(pa.BufferReader(data), read_options=options).to_pandas()
    return _run(frame)


def csv_ranges(path: Path) -> list[tuple[int, int]]:
    size, edges = path.stat().st_size, [0]
    with open(path, "rb") as file:
        for at in range(CHUNK, size, CHUNK):
            file.seek(at)
            file.readline()
            edges.append(file.tell())
    return list(zip(edges, [*edges[1:], size], strict=True))


def row_groups(path: Path) -> list[tuple[int, int]]:
    import pyarrow.parquet

    return [(i, i + 1) for i in range(pyarrow.parquet.ParquetFile(path).num_row_groups)]


def main() -> None:
    rounds = int(os.environ.get("BENCHMARK_ROUNDS", "3"))
    kinds = [kind for kind in ("csv", "parquet") if kind in sys.argv] or ["csv", "parquet"]
    large, small = make_data(LARGE), make_data(SMALL)
    for kind in kinds:
        for script in os.environ.get("BENCHMARK_SCRIPTS", ",".join(SCRIPTS)).split(","):
            compare(large, small, kind, script, rounds)


def compare(large: Path, small: Path, kind: str, script: str, rounds: int) -> None:
    names = {"runner": runner, "hand-written loop": by_hand}
    if kind == "csv":
        names["the same with pandas.read_csv"] = lambda folder, kind, script: by_hand(folder, kind + PANDAS, script)
    whole: dict[str, list[float]] = {name: [] for name in names}
    loop: dict[str, list[float]] = {name: [] for name in names}
    for _ in range(rounds):
        for name, run in names.items():
            took, start = run(large, kind, script), run(small, kind, script)
            whole[name].append(LARGE / 1e6 / took)
            loop[name].append((LARGE - SMALL) / 1e6 / (took - start))
    title = f"{kind}, {LARGE / 2**30:.1f} GB, {script}"
    show(f"{title}: the loop", "MB/s", loop, against="hand-written loop")
    show(f"{title}: the whole command", "MB/s", whole, against="hand-written loop")


if __name__ == "__main__":
    main()
