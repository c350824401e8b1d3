"""Trying again: how long for what, and saying so while one waits."""

from __future__ import annotations

import errno
import os
import random
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeVar

from runner.errors import UserError
from runner.storage.problems import StorageUnavailable

T = TypeVar("T")

FIRST_PAUSE, LONGEST_PAUSE = 0.25, 15.0  # seconds between two attempts; doubled each time
LONGEST_ASKED = 60.0  # seconds that a server may ask us to wait (Retry-After)
PATIENCE = 900.0  # seconds after which an outage is a failure
REFUSED = os.strerror(errno.ECONNREFUSED).lower()  # the reason where nothing listens
TOLD_AFTER = 5.0  # seconds after which a wait is spoken of
TOLD_EVERY = 15.0


class Again(Exception):
    """An attempt failed in a way that may pass: `reason` in words, `after` how many seconds the server asks us to wait, or 0.

    `refusal`: what it is where it has not passed after `trial` seconds and nothing has ever worked: something is written wrongly then.
    """

    def __init__(self, reason: str, after: float = 0.0, *, refusal: Exception | None = None, trial: float = 0.0) -> None:
        super().__init__(reason)
        self.reason, self.after = reason, after
        self.refusal, self.trial = refusal, trial


@dataclass(kw_only=True)
class Patience:
    """Shared by all threads that use one container, so that a wait is told once. `say(text)` gets one line at a time, `over(text)` the one
    by which a wait that was told of is over; None: it is said, too.

    `stop` ends all waiting at once, with StorageUnavailable; after the first failure then, nothing is tried any more.
    """

    name: str
    say: Callable[[str], None]
    over: Callable[[str], None] | None = None
    seconds: float = PATIENCE
    now: Callable[[], float] = time.monotonic
    pause: Callable[[threading.Event, float], object] = threading.Event.wait
    _stopped: threading.Event = field(default_factory=threading.Event)
    _woken: threading.Event = field(default_factory=threading.Event)  # set when it answers again: nobody sleeps on; and when stopped
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _given_up: str = ""  # why, after it was stopped
    _since: float | None = None  # when the outage began
    _told: float = 0.0
    _worked: bool = False  # something, once
    _ended: float = float("-inf")  # when the last outage was over

    def attempt(self, call: Callable[[], T]) -> T:
        """The result of `call`, which raises Again for what may pass. Errors: StorageUnavailable; whatever else `call` raises."""
        began, pause = self.now(), FIRST_PAUSE
        while True:
            if self._given_up:
                raise self._stopped_by(self._given_up)
            try:
                result = call()
            except Again as again:
                left = self._give_up(again, self.now() - began)
                self._tell(again.reason)
                asked = min(again.after, LONGEST_ASKED)
                waited_for = self._stopped if asked else self._woken
                self.pause(waited_for, max(asked, min(left, pause * random.uniform(0.5, 1.0))))  # noqa: S311 - no secret
                if self._stopped.is_set():
                    self._give_up(again, self.now() - began)
                pause = min(2 * pause, LONGEST_PAUSE)
            except UserError:
                self._over()  # that was an answer
                raise
            else:
                self._worked = True
                self._over()
                return result

    @property
    def calm_since(self) -> float:
        """When the last outage was over; inf while one lasts, -inf when there was none."""
        return self._ended if self._since is None else float("inf")

    def stop(self) -> None:
        self._stopped.set()
        with self._lock:
            self._woken.set()

    def _give_up(self, again: Again, waited: float) -> float:
        """Raises, when it is time to; else the seconds until then."""
        if self._stopped.is_set():
            self._given_up = again.reason
            raise self._stopped_by(again.reason) from None
        refusal = None if self._worked else again.refusal
        if refusal is not None and waited >= again.trial:
            raise refusal from None
        if waited >= self.seconds:
            failed = "could not be reached" if again.reason == REFUSED else "did not answer"
            raise StorageUnavailable(f"{self.name} {failed} for {waited:.0f} s: {again.reason}") from None
        return (self.seconds if refusal is None else min(self.seconds, again.trial)) - waited

    def _stopped_by(self, reason: str) -> StorageUnavailable:
        return StorageUnavailable(f"nobody waits any longer for {self.name}: {reason}")

    def _tell(self, reason: str) -> None:
        with self._lock:
            now = self.now()
            if self._since is None:
                self._since, self._told = now, now - TOLD_EVERY + TOLD_AFTER
            if now - self._told < TOLD_EVERY:
                return
            self._told, waited = now, now - self._since
        self.say(f"waiting for {self.name}: {reason} (for {waited:.0f} s; gives up after {self.seconds:.0f} s)")

    def _over(self) -> None:
        if self._since is None:
            return
        with self._lock:
            if self._since is None:
                return
            since, self._since, self._ended = self._since, None, self.now()
            told = self._told >= since
            if told and not self._stopped.is_set():  # after a shorter one nobody sleeps for long
                self._woken.set()
                self._woken = threading.Event()
        if told:
            (self.over or self.say)(f"{self.name} answers again")
