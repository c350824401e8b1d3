"""Things that are costly to make, kept for those who need them again."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable
from typing import Any


class Cache:
    """Least recently used things by key, up to a weight; each is made once, however many threads ask for it."""

    def __init__(self, limit: int) -> None:
        self._limit, self._weight = limit, 0
        self._entries: OrderedDict[Any, tuple[Any, int]] = OrderedDict()
        self._lock = threading.Lock()
        self._making: dict[Any, threading.Lock] = {}

    def get(self, key: Any, make: Callable[[], tuple[Any, int]]) -> Any:
        with self._lock:
            making = self._making.setdefault(key, threading.Lock())
        with making:
            with self._lock:
                if key in self._entries:
                    self._entries.move_to_end(key)
                    return self._entries[key][0]
            try:
                value, weight = make()
            except BaseException:
                with self._lock:
                    self._making.pop(key, None)
                raise
            with self._lock:
                self._entries[key] = value, weight
                self._weight += weight
                while self._weight > self._limit and len(self._entries) > 1:
                    dropped, (_, freed) = self._entries.popitem(last=False)
                    self._weight -= freed
                    self._making.pop(dropped, None)
            return value

    @property
    def weight(self) -> int:
        """Of all that is kept."""
        return self._weight

    def drop(self, key: Any) -> None:
        """It will hardly be needed again."""
        with self._lock:
            _, freed = self._entries.pop(key, (None, 0))
            self._weight -= freed
            self._making.pop(key, None)
