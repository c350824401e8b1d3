"""Makes pictures of one size out of the first of a folder, by name."""

from __future__ import annotations

import argparse
from pathlib import Path

from PIL import Image


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--pictures", type=Path, required=True)
    parser.add_argument("--count", type=int, required=True)
    parser.add_argument("--size", type=int, required=True)
    parser.add_argument("--prepared", type=Path, required=True)
    arguments = parser.parse_args()
    size = (arguments.size, arguments.size)
    for path in sorted(arguments.pictures.glob("*.png"))[: arguments.count]:
        with Image.open(path) as picture:
            picture.convert("L").resize(size, Image.Resampling.NEAREST).save(arguments.prepared / path.name)


if __name__ == "__main__":
    main()
