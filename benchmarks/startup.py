"""Whole processes: a small job, the import, the help."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

from benchmarks.measure import CACHE, command, interleaved, job_file, seconds, show


def small_job() -> float:
    folder = CACHE / "small"
    shutil.rmtree(folder, ignore_errors=True)
    (folder / "input").mkdir(parents=True)
    (folder / "code").mkdir()
    for number in range(3):
        (folder / "input" / f"{number}.txt").write_text(str(number))
    (folder / "code" / "score.py").write_text("def run(mini_batch):\n    return mini_batch\n")
    job_file(
        folder,
        inputs={"data": {"type": "uri_folder", "path": "input"}},
        outputs={"rows": {"type": "uri_file", "path": "rows.txt"}},
        input_data="${{inputs.data}}",
        mini_batch_size="1",
        task={"type": "run_function", "code": "code", "entry_script": "score.py", "append_row_to": "${{outputs.rows}}"},
    )
    return seconds(lambda: command("job", "create", "-f", "job.yml", "--local", "--stream", cwd=folder, workspace=folder))


def python(*words: str) -> float:
    return seconds(lambda: subprocess.run([sys.executable, *words], check=True, capture_output=True, cwd=Path(__file__).parents[1]))


def main() -> None:
    rounds = int(os.environ.get("BENCHMARK_ROUNDS", "9"))
    candidates = {
        "python -c pass": lambda: python("-c", "pass"),
        "import runner": lambda: python("-c", "import runner"),
        "runner --help": lambda: python("-m", "runner", "--help"),
        "job create --local --stream, 3 mini-batches": small_job,
    }
    for run in candidates.values():
        run()
    show("Start-up, whole process", "seconds", interleaved(candidates, rounds))


if __name__ == "__main__":
    main()
