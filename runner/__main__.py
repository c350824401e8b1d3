"""`python -m runner`."""

from __future__ import annotations

from runner.cli.__main__ import main

if __name__ == "__main__":
    main()
