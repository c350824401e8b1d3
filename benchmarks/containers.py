"""Containers against processes: start-up, empty mini-batches, a table of 1 GB. Needs a Docker engine and the images of the tests.

Both sides have the same Python: for processes an interpreter of this machine is copied into the image (`python38`).
"""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Callable
from functools import partial

from benchmarks import empty_batches, tables
from benchmarks.measure import CACHE, command, interleaved, job_file, show
from tests.conftest import find_python
from tests.images.build import ensure

IMAGE = "runner-test/python38"
REQUIREMENTS = ("pandas==2.0.3", "pyarrow==17.0.0", "numpy==1.24.4")  # what the image has
FIRST = """
import os, time

def run(mini_batch):
    with open(os.path.join(os.environ["AZUREML_BI_OUTPUT_PATH"], "first.txt"), "w") as file:
        file.write(repr(time.time()))
    return mini_batch
"""


def python() -> str:
    """An interpreter of this machine with the packages of the image."""
    folder = CACHE / "python38"
    if not (folder / "complete").exists():
        found = find_python("3.8")
        assert found, "needs Python 3.8"
        subprocess.run([found, "-m", "venv", str(folder)], check=True)
        subprocess.run([str(folder / "bin" / "python"), "-m", "pip", "install", "--quiet", *REQUIREMENTS], check=True)
        (folder / "complete").touch()
    return str(folder / "bin" / "python")


def words(image: str | None) -> list[str]:
    """The end of a command that runs a job in containers of an image, or in processes."""
    return ["--set", f"task.environment.image={image}"] if image else ["--local", "--python", python()]


def first_run(image: str | None) -> float:
    """Seconds from the command to the first line of `run`."""
    folder = CACHE / "first"
    shutil.rmtree(folder / "out", ignore_errors=True)
    for name in ("input", "code", "out"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    (folder / "input" / "0.txt").touch()
    (folder / "code" / "score.py").write_text(FIRST)
    job_file(
        folder,
        inputs={"data": {"type": "uri_folder", "path": "input"}},
        outputs={"rows": {"type": "uri_file", "path": "out/rows.txt"}},
        input_data="${{inputs.data}}",
        max_concurrency_per_instance=1,
        task={"type": "run_function", "code": "code", "entry_script": "score.py", "append_row_to": "${{outputs.rows}}"},
    )
    began = time.time()
    command("job", "create", "-f", "job.yml", "--stream", *words(image), cwd=folder, workspace=folder)
    return float((folder / "out" / "first.txt").read_text()) - began


def bare_run() -> float:
    """Seconds from `docker run` to the first line of a program in the container."""
    began = time.time()
    script = "import time; print(repr(time.time()))"
    done = subprocess.run(["docker", "run", "--rm", IMAGE, "python3", "-c", script], check=True, capture_output=True, text=True)
    return float(done.stdout) - began


def compare(title: str, unit: str, amount: float, run: Callable[[str | None, bool], float], rounds: int) -> None:
    """`run(image, small)` gives the seconds of a job, or of one with a hundredth of the work: the loop is what is between them."""
    whole: dict[str, list[float]] = {"processes": [], "containers": []}
    loop: dict[str, list[float]] = {"processes": [], "containers": []}
    for _ in range(rounds):
        for name, image in (("processes", None), ("containers", IMAGE)):
            took, start = run(image, False), run(image, True)
            whole[name].append(amount / took)
            loop[name].append(0.99 * amount / (took - start))
    show(f"{title}: the loop", unit, loop, against="processes")
    show(f"{title}: the whole command", unit, whole, against="processes")


def empty(image: str | None, small: bool) -> float:
    return empty_batches.runner(empty_batches.folder_of_files(empty_batches.COUNT // (100 if small else 1)), *words(image))


def table(kind: str, image: str | None, small: bool) -> float:
    return tables.runner(tables.make_data(tables.SMALL if small else tables.LARGE), kind, "one row each", *words(image))


def main() -> None:
    ensure([IMAGE.rpartition("/")[2]])
    rounds = int(os.environ.get("BENCHMARK_ROUNDS", "5"))
    starts = {"docker run": bare_run, "runner, in a container": lambda: first_run(IMAGE), "runner, in processes": lambda: first_run(None)}
    for run in starts.values():
        run()
    found = interleaved(starts, 2 * rounds)
    found["in a container, minus docker run"] = [a - b for a, b in zip(found["runner, in a container"], found["docker run"], strict=True)]
    show("From the command to the first line of user code", "seconds", found)
    compare(f"Empty mini-batches, {empty_batches.COUNT:,} of them", "per second", empty_batches.COUNT, empty, rounds)
    for kind in ("csv", "parquet"):
        compare(f"{kind}, {tables.LARGE / 2**30:.1f} GB, one row each", "MB/s", tables.LARGE / 1e6, partial(table, kind), rounds)


if __name__ == "__main__":
    main()
