"""`python -m runner.cli`, and what the installed `runner` command calls."""

from __future__ import annotations

import os
import sys
import threading

from runner.cli.app import run


def main() -> None:
    """Ends at once when all is done: Python would take apart every module first, which takes it 70 ms when pyarrow is among them.

    Threads that nobody waits for would be stopped either way.
    """
    status = run()
    if all(thread.daemon for thread in threading.enumerate() if thread is not threading.main_thread()):
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)
    sys.exit(status)


if __name__ == "__main__":
    main()
