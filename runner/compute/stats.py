"""What the owner of a job tells the scheduler of its work: counts, every few seconds and at the end, for whoever watches the cluster."""

from __future__ import annotations

import secrets
import threading
from collections.abc import Callable, Mapping

SECONDS = 5.0
Numbers = Mapping[str, float]


class Stats:
    """Of one step under one coordinator. `progress()` is that of the step, whoever has owned it before; `totals()` begin with this one;
    `levels()` are as they are at the moment.

    No line has differences: one that is lost costs nothing. `life` tells the lines of one process from another's.
    """

    def __init__(
        self,
        *,
        progress: Callable[[], Numbers],
        totals: Callable[[], Numbers],
        levels: Callable[[], Numbers],
        send: Callable[[dict[str, object]], None],
    ) -> None:
        self._progress, self._totals, self._levels, self._send = progress, totals, levels, send
        self._first: Numbers = {}
        self._life, self._number = secrets.token_hex(6), 0
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, name="stats", daemon=True)

    def start(self) -> None:
        self._first = dict(self._progress())
        self._thread.start()

    def close(self, *, last: bool = True) -> None:
        """`last`: with a last line."""
        self._over.set()
        self._thread.join()
        if last:
            self._tell({})

    def _run(self) -> None:
        while not self._over.wait(SECONDS):
            self._tell(self._levels())

    def _tell(self, levels: Numbers) -> None:
        self._number += 1
        counts = {"first": self._first, "progress": dict(self._progress()), "totals": dict(self._totals()), "levels": dict(levels)}
        self._send({"life": self._life, "number": self._number, **counts})
