"""Calls that other threads leave for the thread of a selector, which they wake."""

from __future__ import annotations

import contextlib
import queue
import selectors
import socket
from collections.abc import Callable


class Inbox:
    """`post` is called by any thread, everything else by the selector's own."""

    def __init__(self, selector: selectors.BaseSelector) -> None:
        """Registers itself; the data of its key is a function of the mask, as of all keys of the selectors here."""
        self._calls: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()
        # Sockets, not the numbers of a pipe: those could be another file's by the time that somebody still rings.
        self._bell, self._button = socket.socketpair()
        self._bell.setblocking(False)
        self._button.setblocking(False)
        selector.register(self._bell, selectors.EVENT_READ, self._rung)

    def post(self, call: Callable[[], None]) -> None:
        self._calls.put(call)
        with contextlib.suppress(OSError):  # it is full: it rings anyway; or closed: the thread has ended
            self._button.send(b"!")

    def take(self) -> None:
        """Makes the calls that have been left."""
        while not self._calls.empty():
            self._calls.get()()

    def close(self) -> None:
        self._bell.close()
        self._button.close()

    def _rung(self, _mask: int) -> None:
        with contextlib.suppress(BlockingIOError):
            while self._bell.recv(4096):
                pass
        self.take()
