"""Writes what the example needs: three years of weekly sales of three brands in eight stores, made up.

python make_data.py FOLDER

makes FOLDER/sales.csv: store, brand, week, price, sold.
"""

from __future__ import annotations

import csv
import math
import random
import sys
from pathlib import Path

STORES, BRANDS, WEEKS = 8, ("dominicks", "minute_maid", "tropicana"), 156


def main(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    chance = random.Random(7)
    with (folder / "sales.csv").open("w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["store", "brand", "week", "price", "sold"])
        for week in range(1, WEEKS + 1):
            for store in range(1, STORES + 1):
                for rank, brand in enumerate(BRANDS):
                    price = round(1.5 + 0.6 * rank + 0.4 * chance.random(), 2)
                    season = 40 * math.sin(2 * math.pi * week / 52)
                    sold = 900 + 50 * store - (150 + 20 * rank) * price + season + 0.5 * week + chance.gauss(0, 12)
                    writer.writerow([store, brand, week, price, round(sold)])


if __name__ == "__main__":
    main(Path(sys.argv[1]))
