"""Empty mini-batches per second: two workers, one file each, everything on, against a process pool and Ray Data."""

from __future__ import annotations

import multiprocessing
import os
import shutil
import sys
from pathlib import Path

from benchmarks.measure import CACHE, command, interleaved, job_file, seconds, show

COUNT = 500_000
RAY_COUNT = 1_000
POOL = "Pool(2).imap_unordered(chunksize=1)"
SCRIPT = "def run(mini_batch):\n    return mini_batch\n"


def folder_of_files(count: int) -> Path:
    folder = CACHE / f"files-{count}"
    if not (folder / ".complete").exists():
        (folder / "input").mkdir(parents=True, exist_ok=True)
        for number in range(count):
            (folder / "input" / f"image-{number:07d}.png").touch()
        (folder / ".complete").touch()
    return folder


def echo(mini_batch: list[str]) -> list[str]:
    return mini_batch


def runner(folder: Path, *words: str) -> float:
    """Seconds. `words`: where the job runs; in processes by default."""
    shutil.rmtree(folder / ".runner", ignore_errors=True)
    (folder / "code").mkdir(exist_ok=True)
    (folder / "code" / "score.py").write_text(SCRIPT)
    job_file(
        folder,
        inputs={"images": {"type": "uri_folder", "path": "input"}},
        outputs={"rows": {"type": "uri_file", "path": "rows.txt"}},
        input_data="${{inputs.images}}",
        mini_batch_size="1",
        max_concurrency_per_instance=2,
        task={"type": "run_function", "code": "code", "entry_script": "score.py", "append_row_to": "${{outputs.rows}}"},
    )
    return seconds(lambda: command("job", "create", "-f", "job.yml", "--stream", *(words or ["--local"]), cwd=folder, workspace=folder))


def pool(folder: Path) -> float:
    def run() -> None:
        paths = sorted(str(path) for path in (folder / "input").iterdir())
        with multiprocessing.Pool(2) as processes, open(folder / "pool.txt", "w") as rows:
            rows.writelines("\n".join(result) + "\n" for result in processes.imap_unordered(echo, [[path] for path in paths], chunksize=1))

    return COUNT / seconds(run)


def ray_data() -> float:
    import ray

    paths = [f"/input/image-{number:07d}.png" for number in range(RAY_COUNT)]
    os.environ.setdefault("RAY_AUTH_MODE", "disabled")
    ray.init(num_cpus=2, log_to_driver=False, include_dashboard=False, logging_level="ERROR")
    ray.data.DataContext.get_current().enable_progress_bars = False

    def score(batch: dict[str, object]) -> dict[str, object]:
        return batch

    def run() -> None:
        data = ray.data.from_items([{"path": path} for path in paths], override_num_blocks=RAY_COUNT)
        data.map_batches(score, batch_size=1).take_all()

    run()
    spent = seconds(run)
    ray.shutdown()
    return RAY_COUNT / spent


def main() -> None:
    folder = folder_of_files(COUNT)
    rounds = int(os.environ.get("BENCHMARK_ROUNDS", "5"))
    candidates = {"runner (whole command)": lambda: COUNT / runner(folder), POOL: lambda: pool(folder)}
    show(f"Empty mini-batches, one file each, {COUNT:,} of them", "per second", interleaved(candidates, rounds), against=POOL)
    if "--no-ray" not in sys.argv:
        show(f"Ray Data map_batches(batch_size=1), {RAY_COUNT:,} of them", "per second", {"Ray Data": [ray_data()]})


if __name__ == "__main__":
    main()
