"""The time that all replicas share: the store's clock, carried on here between two questions.

The order of what happened at two replicas, and how long something has lasted, is told by it and by no replica's own.
"""

from __future__ import annotations

import time
from collections.abc import Callable


class StoreClock:
    """Seconds since the epoch as the store counts them. wall: what is taken for them until it was asked."""

    def __init__(self, wall: Callable[[], float] = time.time) -> None:
        self._offset = wall() - boot_time()

    def __call__(self) -> float:
        return boot_time() + self._offset

    def set(self, now: float) -> None:
        """What the store has just said."""
        self._offset = now - boot_time()


def boot_time() -> float:
    """Seconds that nobody sets and that count the time in which the machine, or this process, stood still."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)
