"""The end of an instance where finished work becomes durable: first the files that its scripts wrote, then its rows.

With local outputs that is done when `write` returns. What goes over a network is done by threads, so that nobody waits for it: neither
the courier, which has leases to fetch, nor the workers.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from runner.model.batch import Block, Segment, Tally

HURRY_SECONDS = 5.0  # for a storage, when the job has failed or is cancelled


class Run(Protocol):
    """A contiguous run of finished mini-batches, all succeeded or all failed for good."""

    first: int
    last: int
    tally: Tally
    rows: list[bytes]


@dataclass(frozen=True, kw_only=True)
class Durable:
    """What has become durable since the last look."""

    segments: tuple[Segment, ...] = ()
    blocks: tuple[Block, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.segments or self.blocks)


class Rows(Protocol):
    """Where the rows go. One thread calls `write`, another one the rest."""

    error: Exception | None  # after which rows are kept as well as can be, and the job is to fail

    @property
    def flush_bytes(self) -> int:
        """Rows that make a flush due at once."""

    def write(self, runs: Sequence[Run]) -> None:
        """Errors: OSError, of a disk of this machine."""

    def take(self) -> Durable: ...
    def acknowledged(self, segments: Sequence[Segment], written: int) -> None: ...
    def finish(self, *, patiently: bool) -> None: ...
    def put_together(self) -> None: ...


class Folder(Protocol):
    """A folder that scripts write to."""

    def prepare(self) -> None:
        """Before scripts run. Errors: OSError, UserError."""

    def sync(self) -> None:
        """Makes durable what is in it now. Errors: OSError, UserError."""


class Outlet:
    """The courier calls all methods. `changed` is called from any thread when there is something to take, or an error.

    `background`: something goes over a network, and errors are kept in `error`. `withheld`: folders of which nothing is to be seen after
    a failure.
    """

    def __init__(
        self,
        rows: Rows,
        folders: Sequence[Folder],
        *,
        withheld: Sequence[Folder] = (),
        background: bool,
        changed: Callable[[], None],
    ) -> None:
        self._rows, self._folders, self._withheld, self._changed = rows, folders, withheld, changed
        self._given = threading.Condition()
        self._queue: list[Run] = []
        self._over = self._given_up = False
        self._error: Exception | None = None
        self._thread = threading.Thread(target=self._work, name="outlet", daemon=True) if background else None
        if self._thread:
            self._thread.start()

    @property
    def error(self) -> Exception | None:
        """What is wrong with a storage: the job is to fail."""
        return self._error or self._rows.error

    @property
    def flush_bytes(self) -> int:
        """Rows that make a flush due at once."""
        return self._rows.flush_bytes

    def prepare(self) -> None:
        """Before scripts run. Errors: OSError, UserError."""
        for folder in (*self._folders, *self._withheld):
            folder.prepare()

    def write(self, runs: Sequence[Run]) -> None:
        """Errors: OSError, where nothing is in the background."""
        if not runs:
            return
        if self._thread is None:
            self._flush(runs)
        else:
            with self._given:
                self._queue += runs
                self._given.notify()

    def take(self) -> Durable:
        return self._rows.take()

    def acknowledged(self, segments: Sequence[Segment], written: int) -> None:
        """The journal has them. `written`: bytes of rows that the whole job has so far."""
        self._rows.acknowledged(segments, written)

    def finish(self, *, patiently: bool) -> None:
        """Nothing more is written; returns when all is durable that can be. `patiently`: a storage that does not answer is waited for."""
        if self._thread is not None:
            with self._given:
                self._over = True
                self._given.notify()
            self._thread.join(None if patiently else HURRY_SECONDS)
            self._given_up = True
        self._rows.finish(patiently=patiently)

    def put_together(self) -> None:
        """After `finish`, when all of the work here is done: the last files of the scripts, and what lies in small pieces."""
        if self._thread is not None and self.error is None:
            self._guarded([])
            self._rows.put_together()

    # The thread

    def _work(self) -> None:
        while True:
            with self._given:
                while not self._queue and not self._over:
                    self._given.wait()
                runs, self._queue = self._queue, []
            if not runs:
                return
            self._guarded(runs)
            self._changed()

    def _guarded(self, runs: Sequence[Run]) -> None:
        """What comes after files that could not be made durable does not count as done."""
        try:
            if self._error is None:
                self._flush(runs)
        except Exception as error:  # whatever it is, the courier tells it
            self._error = error

    def _flush(self, runs: Sequence[Run]) -> None:
        all_failed = bool(runs) and not any(run.tally.succeeded for run in runs)
        for folder in self._folders if all_failed else (*self._folders, *self._withheld):
            folder.sync()
        if runs and not self._given_up:
            self._rows.write(runs)
