"""Divides a table: a file of its own for each store and brand, and an MLTable that knows them by their paths."""

from __future__ import annotations

import argparse
from pathlib import Path

import pandas as pd

MLTABLE = """\
type: mltable
paths:
  - pattern: ./*/*/*.csv
transformations:
  - read_delimited:
      delimiter: ","
      header: all_files_same_headers
      include_path_column: true
  - extract_columns_from_partition_format:
      partition_format: "/{store}/{brand}/sales.csv"
  - drop_columns: Path
"""


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--sales", type=Path, required=True)
    parser.add_argument("--partitioned", type=Path, required=True)
    arguments = parser.parse_args()
    parts = 0
    for (store, brand), rows in pd.read_csv(arguments.sales).groupby(["store", "brand"]):
        folder = arguments.partitioned / str(store) / str(brand)
        folder.mkdir(parents=True, exist_ok=True)
        rows.drop(columns=["store", "brand"]).to_csv(folder / "sales.csv", index=False)
        parts += 1
    (arguments.partitioned / "MLTable").write_text(MLTABLE)
    print(f"{parts} parts")


if __name__ == "__main__":
    main()
