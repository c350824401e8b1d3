"""Writes what the example needs: the iris table that scikit-learn ships, as an `mltable`, and a small model.

    python train.py FOLDER

makes FOLDER/table/iris.csv, FOLDER/table/MLTable, FOLDER/labels.csv (flower, species) and FOLDER/model.json.
"""

from __future__ import annotations

import csv
import json
import sys
from pathlib import Path

from sklearn.datasets import load_iris
from sklearn.linear_model import LogisticRegression

COLUMNS = ["sepal_length", "sepal_width", "petal_length", "petal_width"]
MLTABLE = """\
type: mltable
paths:
  - file: ./iris.csv
transformations:
  - read_delimited:
      delimiter: ","
      header: all_files_same_headers
"""


def main(folder: Path) -> None:
    table = folder / "table"
    table.mkdir(parents=True, exist_ok=True)
    iris = load_iris()
    with (table / "iris.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["flower", *COLUMNS])
        writer.writerows([number, *values] for number, values in enumerate(iris.data.tolist(), start=1))
    (table / "MLTable").write_text(MLTABLE)
    with (folder / "labels.csv").open("w", newline="") as file:
        csv.writer(file).writerows((number, iris.target_names[species]) for number, species in enumerate(iris.target, start=1))

    # Every second flower trains the model, so that the others can show how good it is.
    model = LogisticRegression(max_iter=1000).fit(iris.data[::2], iris.target[::2])
    parts = {"columns": COLUMNS, "species": list(iris.target_names), "weights": model.coef_.tolist(), "bias": model.intercept_.tolist()}
    (folder / "model.json").write_text(json.dumps(parts, indent=1))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
