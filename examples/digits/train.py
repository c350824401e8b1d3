"""Writes what the example needs: the 1,797 handwritten digits that scikit-learn ships, as PNG files, and a small model.

    python train.py FOLDER

makes FOLDER/images/digit-0000.png …, FOLDER/labels.csv (file name, digit) and FOLDER/model.npz.
"""

from __future__ import annotations

import csv
import sys
from pathlib import Path

import numpy as np
from PIL import Image
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression

BRIGHTEST = 16  # a pixel of this data set is 0 … 16


def main(folder: Path) -> None:
    images = folder / "images"
    images.mkdir(parents=True, exist_ok=True)
    digits = load_digits()
    names = [f"digit-{number:04}.png" for number in range(len(digits.target))]
    for name, pixels in zip(names, digits.images, strict=True):
        Image.fromarray((pixels * (255 / BRIGHTEST)).astype(np.uint8)).save(images / name)
    with (folder / "labels.csv").open("w", newline="") as file:
        csv.writer(file).writerows(zip(names, digits.target, strict=True))

    # Every second image trains the model, so that the others can show how good it is.
    model = LogisticRegression(max_iter=1000).fit(digits.data[::2] / BRIGHTEST, digits.target[::2])
    np.savez(folder / "model.npz", weights=model.coef_, bias=model.intercept_)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
