"""`make bench`: all measurements, one after the other. Names of some may follow: `python -m benchmarks startup tables`."""

from __future__ import annotations

import importlib
import sys

ALL = (
    *("startup", "empty_batches", "coordinator", "simulation", "listing", "reading", "tables"),
    *("blob_files", "blob_tables", "blob_rows", "blob_job", "containers", "cluster"),
)


def main() -> None:
    names = [name for name in ALL if name in sys.argv[1:]] or ALL
    for name in names:
        importlib.import_module(f"benchmarks.{name}").main()


if __name__ == "__main__":
    main()
