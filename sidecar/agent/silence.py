"""Whether a child that says nothing hangs, or only waits for a processor. Pure; scheduling.py reads what it is told.

What counts is the time in which the child could have answered and been heard: not the time that it or whoever listens
waited for a processor, and not the time in which the listener was late itself. A stopped child, one that waits for ever
and one that computes for ever had their time.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

STARVED: Final = 10.0
"""So many times the limit may a child be silent when it gets no processor: then nobody is served by waiting on."""
_STOPPED = frozenset("Tt")
_RUNNABLE = "R"


@dataclass(frozen=True, slots=True, kw_only=True)
class Scheduling:
    """What the kernel says of a process: `state` of its main thread, and seconds of the threads that count since they
    began.
    """

    state: str
    ran: float
    waited: float
    """Runnable, without a processor."""


class Silence:
    """How long a child has been silent. `every`: seconds between two looks when nobody is late."""

    def __init__(self, every: float, now: float) -> None:
        self._most = 2 * every
        self.heard(now)

    def heard(self, now: float) -> None:
        """It answered, or was given something long to do."""
        self._looked = now
        self._watched = self._own = 0.0
        self._before: tuple[Scheduling | None, ...] = ()

    def look(self, now: float, *seen: Scheduling | None) -> None:
        """Count the time since the last look. `seen`: the child, then the listener where an answer may wait for it; None
        where the kernel does not tell.
        """
        passed = min(now - self._looked, self._most)
        excuses = [_excused(passed, *pair) for pair in zip(self._before, seen, strict=False)]
        self._watched += passed
        self._own += passed - max(excuses, default=0.0)
        self._looked, self._before = now, seen

    def longer_than(self, limit: float) -> bool:
        """Whether it had `limit` seconds of its own to answer in, or was watched being silent far too long, whatever the
        reason. A listener that stood still itself (a paused container) watched nothing meanwhile.
        """
        return self._own > limit or self._watched > STARVED * limit


def _excused(passed: float, before: Scheduling | None, seen: Scheduling | None) -> float:
    """Of the time between two looks, what the child had no processor for."""
    if before is None or seen is None or seen.state in _STOPPED:
        return 0.0
    waited = seen.waited - before.waited
    if not waited and seen.state == _RUNNABLE and seen.ran == before.ran:
        return passed  # the kernel adds the wait up when it is over
    return min(passed, max(0.0, waited))
