"""How many of one Envoy's access-log entries arrived, against how many Envoy counts: what goes missing is known. Pure.

Envoy counts an entry as dropped when its buffer is full, and as written when it went into that buffer. A written one
is lost when the stream to the agent breaks or can't be opened, and nothing but this comparison tells. Entries of which
only spans are made count, too: Envoy's numbers do not tell them apart. It is exact where traffic pauses for LOOKS
seconds: before that, what came since hides what did not come.
"""

from __future__ import annotations

from collections import deque
from typing import Final

LOOKS: Final = 5
"""One a second. What was written so many looks ago and has not come is lost: Envoy flushes five times a second."""
FULL, BROKEN, ENDED, AGENT_ENDED = "access_log_full", "access_log_broken", "envoy_ended", "agent_ended"
"""Reasons of gaps: Envoy's buffer was full; the stream broke or could not be opened; Envoy ended before it sent them;
Envoy ran on after its agent had ended.
"""


class Ledger:
    """The entries of one Envoy process. Whoever takes them counts `received` up."""

    def __init__(self) -> None:
        self.received = 0
        self._dropped = 0
        self._missing = 0
        self._written: deque[int] = deque([0], maxlen=LOOKS)

    def look(self, written: int, dropped: int, received: int) -> dict[str, int]:
        """What is newly known to be lost, by reason. `received` is what it was before Envoy was asked for the others."""
        # entries that come after all take the place of some that were called lost
        self._missing = max(0, min(self._missing, written - received))
        self._written.append(written)
        lost = max(0, self._written[0] - received - self._missing)
        full, self._dropped = max(0, dropped - self._dropped), dropped
        self._missing += lost
        return {reason: count for reason, count in ((FULL, full), (BROKEN, lost)) if count}

    @property
    def behind(self) -> int:
        """What was written at the last look and has neither come nor been called lost."""
        return max(0, self._written[-1] - self.received - self._missing)
