"""Small steps: each reads what it is given and writes files."""

import argparse
import os
import pathlib

parser = argparse.ArgumentParser()
parser.add_argument("step")
for name in ("data", "model", "out", "name", "suffix"):
    parser.add_argument(f"--{name}")
parser.add_argument("--times", type=int, default=1)
parser.add_argument("--rate", type=float, default=0.0)
args = parser.parse_args()


def texts(folder):
    path = pathlib.Path(folder)
    return {one.name: one.read_text().strip() for one in (sorted(path.iterdir()) if path.is_dir() else [path])}


def write(name, text):
    folder = pathlib.Path(args.out)
    if args.step.endswith("-file"):
        folder.write_text(text + "\n")
        return
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_text(text + "\n")


if args.step.startswith("hello"):
    write("hello.txt", f"Hello, {args.name}{os.environ.get('MARK', '.')}")
elif args.step.startswith("prep"):
    for name, text in texts(args.data).items():
        write(name, text.upper() * args.times + (args.suffix or ""))
elif args.step.startswith("train"):
    write("model.txt", f"{'+'.join(texts(args.data).values())}@{args.rate:g}")
elif args.step.startswith("score"):
    write("scores.txt", f"{'|'.join(texts(args.model).values())}:{len(texts(args.data))}")
elif args.step.startswith("fail"):
    raise SystemExit("this step fails")
