"""`make demo`: makes the data of the examples, runs both jobs with the command line, and shows what came out.

.venv/bin/python examples/demo.py
"""

from __future__ import annotations

import csv
import json
import os
import subprocess
import sys
from itertools import islice
from pathlib import Path

EXAMPLES = Path(__file__).resolve().parent
DATA = EXAMPLES / "data"
RUNNER = Path(sys.executable).with_name("runner")
LINES_SHOWN = 5


def run_job(job: Path) -> Path:
    """Runs the job to its end and returns the file with its rows. Its progress goes to stderr."""
    command = [
        os.path.relpath(RUNNER) if RUNNER.is_relative_to(Path.cwd()) else str(RUNNER),
        "job",
        "create",
        "-f",
        os.path.relpath(job),
        "--local",
        "--stream",
        "-o",
        "json",
    ]
    print(f"\n$ {' '.join(command[:-2])}", flush=True)
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode:
        sys.exit(done.returncode)
    return Path(json.loads(done.stdout)["outputs"]["predictions"]["path"])


def read_answers(path: Path) -> dict[str, str]:
    """The first two columns of a CSV file: what is asked → the answer."""
    with path.open(newline="") as file:
        return {row[0]: row[1] for row in csv.reader(file)}


def show(name: str, things: str, result: Path, labels: Path) -> None:
    """Where the result is, its first lines, and how many of its answers are right."""
    print(f"\n{name}: the result is {result}")
    with result.open() as file:
        for line in islice(file, LINES_SHOWN):
            print(f"    {line.rstrip()}")
    predicted, known = read_answers(result), read_answers(labels)
    right = sum(predicted.get(key) == answer for key, answer in known.items())
    held_out = list(known)[1::2]  # train.py has shown the model the others
    right_held_out = sum(predicted.get(key) == known[key] for key in held_out)
    print(
        f"{name}: {right} of {len(known)} {things} right ({right / len(known):.1%}); "
        f"of the {len(held_out)} that the model had never seen, {right_held_out / len(held_out):.1%}"
    )


def main() -> None:
    for name, things in (("digits", "images"), ("iris", "flowers")):
        print(f"\n{name}: making the data and training a small model", flush=True)
        subprocess.run([sys.executable, str(EXAMPLES / name / "train.py"), str(DATA / name)], check=True)
        show(name, things, run_job(EXAMPLES / name / "job.yml"), DATA / name / "labels.csv")


if __name__ == "__main__":
    main()
