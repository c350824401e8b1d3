"""When what changes all the time is told of."""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass(kw_only=True)
class Cadence:
    """Not before a pause is over, which may grow by a factor up to `longest`; and not what was told already. Seconds of any one clock."""

    pause: float
    growth: float = 1.0
    longest: float = math.inf
    next: float = -math.inf
    told: object = None

    def due(self, now: float, what: object) -> bool:
        """Whether it is to be told now; it counts as told then."""
        if now < self.next or what == self.told:
            return False
        self.next, self.told = now + self.pause, what
        self.pause = min(self.longest, self.pause * self.growth)
        return True
