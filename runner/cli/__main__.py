"""`python -m runner.cli`, and what the installed `runner` command calls."""

from __future__ import annotations

import sys

from runner.cli.app import run


def main() -> None:
    sys.exit(run())


if __name__ == "__main__":
    main()
