"""Files of a network file system whose handle has gone stale: what has the same name now may be opened again."""

from __future__ import annotations

import errno
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


def again_if_stale(call: Callable[[], T]) -> T:
    """`call` opens what it reads by its name. It is called once more where the server knows the handle no longer (ESTALE)."""
    try:
        return call()
    except OSError as error:
        if not is_stale(error):
            raise
    return call()


def is_stale(error: OSError) -> bool:
    return error.errno == errno.ESTALE
