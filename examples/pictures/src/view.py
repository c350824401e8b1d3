"""Writes a page with each picture and what it was taken for, and one picture of all of them."""

from __future__ import annotations

import argparse
import csv
import html
import shutil
from pathlib import Path

from PIL import Image

COLUMNS = 20


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--pictures", type=Path, required=True)
    parser.add_argument("--predictions", type=Path, required=True)
    parser.add_argument("--page", type=Path, required=True)
    arguments = parser.parse_args()
    with arguments.predictions.open(newline="") as file:
        rows = list(csv.reader(file))
    (arguments.page / "pictures").mkdir(parents=True, exist_ok=True)
    entries = []
    for name, digit in rows:
        shutil.copyfile(arguments.pictures / name, arguments.page / "pictures" / name)
        entries.append(f'<figure><img src="pictures/{html.escape(name)}"><figcaption>{html.escape(digit)}</figcaption></figure>')
    (arguments.page / "index.html").write_text(
        "<!doctype html><title>Digits</title><style>figure {display: inline-block; margin: 4px}</style>\n" + "\n".join(entries) + "\n"
    )
    sheet([arguments.pictures / name for name, _ in rows]).save(arguments.page / "all.png")
    print(f"{len(rows)} pictures are on the page")


def sheet(paths: list[Path]) -> Image.Image:
    """All pictures, row by row."""
    side = Image.open(paths[0]).width
    whole = Image.new("L", (COLUMNS * side, -(-len(paths) // COLUMNS) * side))
    for number, path in enumerate(paths):
        with Image.open(path) as picture:
            whole.paste(picture, (number % COLUMNS * side, number // COLUMNS * side))
    return whole


if __name__ == "__main__":
    main()
