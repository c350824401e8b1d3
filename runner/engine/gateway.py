"""What an instance and those around it know of each other."""

from __future__ import annotations

from typing import Protocol

from runner.engine.courier import Exchange
from runner.model.batch import ErrorRecord


class Gateway(Exchange, Protocol):
    """What an instance needs of the coordinator."""

    def leave(self, epoch: int, *, gave_up: str = "", lost: bool = False) -> None: ...
    def init_failed(self, epoch: int, error: ErrorRecord) -> None: ...
    def fail(self, code: str, message: str) -> None: ...


class InstanceLost(Exception):
    """The keeper has died, and all workers with it; another instance may take the place. `busy`: mini-batches were running."""

    def __init__(self, text: str, *, busy: bool) -> None:
        super().__init__(text)
        self.busy = busy
