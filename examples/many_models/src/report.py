"""Looks at what has been trained: the brands, and the models that are furthest off."""

from __future__ import annotations

import argparse
from pathlib import Path

import pandas as pd

SHOWN = 5


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--trained", type=Path, required=True)
    parser.add_argument("--models", type=Path, required=True)
    parser.add_argument("--report", type=Path, required=True)
    arguments = parser.parse_args()
    trained = pd.read_csv(arguments.trained)
    models = len(list(arguments.models.glob("*.json")))
    lines = [f"# {models} models", "", "| brand | mean error |", "| --- | --- |"]
    lines += [f"| {brand} | {error:.2%} |" for brand, error in trained.groupby("brand")["error"].mean().items()]
    lines += ["", "| furthest off | error |", "| --- | --- |"]
    worst = trained.sort_values(["error", "store", "brand"], ascending=[False, True, True])[:SHOWN]
    lines += [f"| {row.brand} in store {row.store} | {row.error:.2%} |" for row in worst.itertuples()]
    arguments.report.write_text("\n".join(lines) + "\n")
    print("\n".join(lines))


if __name__ == "__main__":
    main()
