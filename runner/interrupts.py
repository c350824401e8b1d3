"""Ctrl-C and SIGTERM while a job runs in this process: the first cancels the job, the second ends the process."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
from collections.abc import Callable, Iterator

from runner.pipeline.options import Cancellation

SIGNALS = (signal.SIGINT, signal.SIGTERM)


@contextlib.contextmanager
def cancelled_by_signals(cancel: Cancellation, *, give_up: Callable[[], None]) -> Iterator[None]:
    """Within the block. Outside the main thread, where no handler can be set, it does nothing.

    The C level writes signals into a pipe and a thread acts on them: a handler could interrupt the main thread while that
    holds the very lock which a cancellation needs.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    thread = threading.Thread(target=_listen, args=(reading, cancel, give_up), name="signals", daemon=True)
    thread.start()
    before = {number: signal.signal(number, _noted) for number in SIGNALS}
    wakeup = signal.set_wakeup_fd(writing, warn_on_full_buffer=False)
    try:
        yield
    finally:
        signal.set_wakeup_fd(wakeup)
        for number, handler in before.items():
            signal.signal(number, handler)
        os.close(writing)
        thread.join()
        os.close(reading)


def _noted(_number: int, _frame: object) -> None:
    """The pipe has got it already."""


def _listen(reading: int, cancel: Cancellation, give_up: Callable[[], None]) -> None:
    asked = 0
    while data := os.read(reading, 64):
        asked += sum(1 for number in data if number in SIGNALS)
        if asked:
            cancel.request()
        if asked > 1:
            give_up()
